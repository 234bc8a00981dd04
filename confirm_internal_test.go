package sesame

import (
	"crypto/rand"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestConfirmValuesAreThoseThatThePageMakes: a value that another host of the domain
// may have planted is replaced, since that host knows it.
func TestConfirmValuesAreThoseThatThePageMakes(t *testing.T) {
	t.Parallel()
	made := rand.Text()
	fresh := func(cookies ...string) string {
		c := confirmation{cookies: cookies}
		return c.newConfirmValue()
	}
	for _, value := range []string{made, strings.Repeat("AZ27", 6) + "MP"} {
		if got := fresh("x", value, strings.Repeat("B", 26)); got != value {
			t.Errorf("%s is replaced by %s", value, got)
		}
	}
	for _, value := range []string{
		"", made[1:], made + "A", strings.Repeat("a", 26), strings.Repeat("1", 26), strings.Repeat("8", 26), strings.Repeat("@", 26), strings.Repeat("[", 26), "é" + made[2:], made[:25] + "=",
	} {
		if got := fresh(value); got == value || !isConfirmValue(got) {
			t.Errorf("%q becomes %q", value, got)
		}
	}
	if one, other := fresh(), fresh(); one == other {
		t.Error("two browsers get the same value")
	}
}

func TestSafariIsToldFromThoseThatNameIt(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]bool{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15":                  true,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1": true,
		"Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/140.0 Mobile/15E148":                       true,
		"Mozilla/5.0 (iPod touch; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15":                                                        true,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                                  false,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0":              false,
		"Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chromium/140.0 Safari/537.36":                                           false,
		"Opera (X11) AppleWebKit/537.36 Safari/537.36 OPR/120.0":                                                                                 false,
		"Mozilla/5.0 (Linux; U; Android 4.0; de) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30":                        false,
		"Edge/18 Safari/537.36": false,
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0": false,
		"Safari": false,
		"":       false,
	} {
		if got := isSafari(agent); got != want {
			t.Errorf("%s: %t", agent, got)
		}
	}
}

func TestLocationIsEscapedWhereURIsNeedIt(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/a?b=%20c#d": "/a?b=%20c#d", "/a b": "/a%20b", "/é": "/%C3%A9", "/\x00\x1f\x7f\xff": "/%00%1F%7F%FF", "/!~": "/!~", "": "",
	} {
		if got := escaped(target); got != want {
			t.Errorf("%q becomes %q, want %q", target, got, want)
		}
	}
}

// TestMarkOfALoginIsRecentForAMinute: browsers can send any other text as the mark,
// too.
func TestMarkOfALoginIsRecentForAMinute(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 999_999_999)
	b := &confirmer{g: &gate{now: func() time.Time { return now }}}
	mark := func(at time.Time) string { return strconv.FormatInt(at.Unix(), 36) }
	for text, want := range map[string]bool{
		mark(now):                            true,
		mark(now.Add(-59 * time.Second)):     true,
		mark(now.Add(-60 * time.Second)):     false,
		mark(now.Add(time.Second)):           false,
		mark(now) + "0":                      false,
		"-" + mark(now):                      false,
		"":                                   false,
		"x":                                  false,
		"no number":                          false,
		strings.Repeat("z", 30):              false,
		"-" + strings.Repeat("z", 30):        false,
		strconv.FormatInt(math.MinInt64, 36): false,
		strconv.FormatInt(math.MaxInt64, 36): false,
	} {
		if got := b.isRecent(text); got != want {
			t.Errorf("%q is recent: %t, want %t", text, got, want)
		}
	}
}
