package device

import (
	"strings"
	"testing"
)

func TestBrowserAndPlatformOfAUserAgent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ agent, browser, platform string }{
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", "Chrome", "Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86", "Edge", "Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox", "Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer", "Windows"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", "Safari", "macOS"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox", "macOS"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1", "Safari", "iPhone"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1", "Chrome", "iPhone"},
		{"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/133.0 Mobile/15E148 Safari/605.1.15", "Firefox", "iPad"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "Safari", "iPhone"},
		{"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36", "Chrome", "Android"},
		{"Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36", "Samsung Internet", "Android"},
		{"Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0", "Firefox", "Android"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36 OPR/85.0.0.0", "Opera", "Android"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox", "Linux"},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15 Epiphany/46.0", "GNOME Web", "Linux"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", "Chrome", "ChromeOS"},
		{"Mozilla/5.0 (X11; Ubuntu; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chromium/130.0.0.0 Chrome/130.0.0.0 Safari/537.36", "Chromium", "Linux"},
		{"curl/8.5.0", "curl", ""},
		{"python-requests/2.32.3", "Python", ""},
		{"Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)", "", "Android"},
		{"A program that isn't Firefox/1.0", "", ""},
		{"Mozilla/5.0 " + strings.Repeat("x", 600) + "Firefox/1 Windows", "", ""},
		{"\x00\xff<script>", "", ""},
		{"", "", ""},
	} {
		if browser, platform := Browser(test.agent), Platform(test.agent); browser != test.browser || platform != test.platform {
			t.Errorf("%q: %q on %q, want %q on %q", test.agent, browser, platform, test.browser, test.platform)
		}
	}
}

func TestNetworkOfAnAddressLeavesTheDeviceOut(t *testing.T) {
	t.Parallel()
	for client, want := range map[string]string{
		"192.0.2.77":                    "192.0.2.0/24",
		"::ffff:192.0.2.77":             "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6":          "2001:db8:1::/48",
		"fe80::1%eth0":                  "fe80::/48",
		"2001:0db8:ffff:ffff:ffff::77":  "2001:db8:ffff::/48",
		"":                              "",
		"unknown":                       "",
		"192.0.2.77:8080":               "",
		"192.0.2.0/24":                  "",
		"@":                             "",
		"2001:db8:ffff:ffff:ffff:1:2:3": "2001:db8:ffff::/48",
	} {
		if got := Network(client); got != want {
			t.Errorf("%q is in %q, want %q", client, got, want)
		}
	}
}

// FuzzDevice gives any text: the answers are names of the lists, or no answer.
func FuzzDevice(f *testing.F) {
	for _, seed := range []string{"", "Mozilla/5.0 (Windows NT 10.0) Firefox/133.0", "curl/8", "2001:db8::1", "::ffff:1.2.3.4", "fe80::1%\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		isIn := func(answer string, lists ...[]name) bool {
			for _, list := range lists {
				for _, n := range list {
					if answer == n.called {
						return true
					}
				}
			}
			return answer == ""
		}
		if got := Browser(text); !isIn(got, browsers, programs) {
			t.Errorf("%q is the browser %q", text, got)
		}
		if got := Platform(text); !isIn(got, platforms) {
			t.Errorf("%q is on %q", text, got)
		}
		if got := Network(text); len(got) > len("ffff:ffff:ffff::/48") {
			t.Errorf("%q is in %q", text, got)
		}
	})
}
