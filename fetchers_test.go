package sesame_test

import (
	"net/http"
	"strings"
	"testing"
)

// fetcher is a program that opens the links of messages and documents before their
// readers do, with the request that it was seen to send.
type fetcher struct {
	name, method string
	header       []string
}

// chromeAgent is what scanners that run a browser say.
const chromeAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/117.0.0.0 Safari/537.36"

var fetchers = []fetcher{
	{"Slack", http.MethodGet, []string{"User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Accept", "*/*", "Range", "bytes=0-32768"}},
	{"WhatsApp", http.MethodGet, []string{"User-Agent", "WhatsApp/2.23.20.0 A", "Accept", "*/*", "Accept-Language", "en"}},
	{"WhatsApp, as a page", http.MethodGet, []string{"User-Agent", "WhatsApp/2.2336.9 N", "Accept", "text/html"}},
	{"Teams and Skype", http.MethodGet, []string{"User-Agent", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com", "Accept", "*/*"}},
	{"Teams and Skype, as a page", http.MethodGet, []string{"User-Agent", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com", "Accept", "text/html, application/xhtml+xml, */*"}},
	{"Discord", http.MethodGet, []string{"User-Agent", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Accept", "*/*"}},
	{"Telegram", http.MethodGet, []string{"User-Agent", "TelegramBot (like TwitterBot)"}},
	{"Messages of Apple", http.MethodGet, []string{"User-Agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0", "Accept", asBrowser[1]}},
	{"Safe Links, as a browser", http.MethodGet, []string{"User-Agent", chromeAgent, "Accept", asBrowser[1], "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-User", "?1", "Sec-Fetch-Dest", "document", "Upgrade-Insecure-Requests", "1"}},
	{"Safe Links, by HEAD", http.MethodHead, []string{"User-Agent", chromeAgent, "Accept", "*/*"}},
	{"the new Outlook", http.MethodGet, []string{"User-Agent", chromeAgent + " Edg/117.0.2045.47 OneOutlook/1.2023.927.100", "X-Native-Host", "OneOutlook/1.2023.927.100", "Accept", asBrowser[1]}},
	{"Office looks for a server", http.MethodOptions, []string{"User-Agent", "Microsoft Office Protocol Discovery"}},
	{"Office looks for a document", http.MethodHead, []string{"User-Agent", "Microsoft Office Existence Discovery"}},
	{"Office resolves a link by HEAD", http.MethodHead, []string{"User-Agent", "Mozilla/4.0 (compatible; ms-office)", "Accept", "*/*"}},
	{"Office resolves a link", http.MethodGet, []string{"User-Agent", "Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Accept", "*/*", "X-Office-Major-Version", "16"}},
	{"Office resolves a link by Internet Explorer", http.MethodGet, []string{"User-Agent", "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; WOW64; Trident/7.0; InfoPath.3; ms-office)", "Accept", "*/*"}},
	{"Office resolves a link, without Accept", http.MethodGet, []string{"User-Agent", "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Word 16.0.17126; Pro)"}},
	{"Windows opens a folder", "PROPFIND", []string{"User-Agent", "Microsoft-WebDAV-MiniRedir/10.0.19045", "Depth", "0", "Translate", "f"}},
	{"curl", http.MethodGet, []string{"User-Agent", "curl/8.5.0", "Accept", "*/*"}},
	{"a scanner that sends a form", http.MethodPost, []string{"User-Agent", chromeAgent, "Accept", "*/*"}},
}

// wantNothingUsed has all fetchers open a link. None is redirected: Office would
// open the last URL in the browser in place of the link.
func wantNothingUsed(t *testing.T, g *gateway, up *upstream, link string) {
	t.Helper()
	for _, f := range fetchers {
		answer := g.do(t, f.method, link, f.header...)
		if answer.status >= 300 && answer.status != http.StatusMethodNotAllowed {
			t.Errorf("%s got status %d: %s", f.name, answer.status, answer.body)
		}
		if location := answer.header.Get("Location"); location != "" {
			t.Errorf("%s was sent to %s", f.name, location)
		}
		for _, cookie := range answer.header["Set-Cookie"] {
			if strings.HasPrefix(cookie, "sesame=") {
				t.Errorf("%s was logged in", f.name)
			}
		}
		if n := len(up.take()); n != 0 {
			t.Errorf("the upstream got the request of %s", f.name)
		}
	}
}

// TestStrictLinksAreUsedByTheButtonAlone: after all fetchers, the user's browser
// still logs in.
func TestStrictLinksAreUsedByTheButtonAlone(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		for name, s := range map[string]site{
			"with sessions":    sessionSite("one_time\nconfirm strict"),
			"without sessions": {options: "one_time\nconfirm strict"},
		} {
			t.Run(name, func(t *testing.T) {
				db.reset(t)
				up := startUpstream(t)
				g := startGateway(t, db, up, s)
				link := "/reports/7?x=1&sesame=" + tokenFor(t, alice, oneTime)
				wantNothingUsed(t, g, up, link)
				b := newBrowser(g)
				b.get(t, link).wantStatus(t, http.StatusOK)
				if b.press(t).status == http.StatusSeeOther {
					b.follow(t)
				}
				b.last.wantStatus(t, http.StatusOK)
				wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			})
		}
	})
}

// TestStrictReusableLinks: the page comes first for every client; other methods go
// on, as those of programs.
func TestStrictReusableLinks(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("confirm strict"))
		link := "/?sesame=" + tokenFor(t, alice)
		g.do(t, http.MethodGet, link, "Accept", "*/*").wantStatus(t, http.StatusOK)
		up.takeNone(t)
		g.do(t, http.MethodPost, link).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		g.do(t, http.MethodGet, "/", "Authorization", "Bearer "+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	})
}
