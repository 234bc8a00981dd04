package sesame_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLogoIsServedWithoutAUser, and nothing of the request goes on to the
// application.
func TestLogoIsServedWithoutAUser(t *testing.T) {
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600); err != nil {
		t.Fatal(err)
	}
	pages := "pages {\nname \"Example archive\"\nlogo " + logo + "\n}"
	db, up := anyDatabase(t), startUpstream(t)
	none := startGateway(t, db, up, site{})
	for name, options := range map[string]string{"with sessions": "session\n", "with tokens alone": "", "elsewhere": "session\nreserved_path /app/-/\n"} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, db, up, site{options: options + pages})
			page := g.get(t, "/", asBrowser...)
			page.wantStatus(t, http.StatusUnauthorized)
			if !strings.Contains(page.body, "Example archive</title>") {
				t.Errorf("the title lacks the site's name: %s", page.body)
			}
			for pattern, mediaType := range map[string]string{`<img src="([^"]+)"`: "image/svg+xml", `<link rel="icon" href="([^"]+)"`: "image/x-icon"} {
				match := regexp.MustCompile(pattern).FindStringSubmatch(page.body)
				if match == nil {
					t.Fatalf("%s isn't in %s", pattern, page.body)
				}
				image := g.get(t, match[1])
				image.wantStatus(t, http.StatusOK)
				wantHeader(t, image.header, "Content-Type", mediaType)
				wantHeader(t, image.header, "Cache-Control", "public, max-age=31536000, immutable")
				wantHeader(t, image.header, "Referrer-Policy", "")
			}
			up.takeNone(t)
		})
	}
	err := tryCaddyfile(none.caddyfile(db, up, site{options: "reserved_path off\n" + pages}))
	if err == nil || !strings.Contains(err.Error(), "reserved_path off: then browsers couldn't get the logo") {
		t.Errorf("without the reserved path: %v", err)
	}
}

// TestFaviconOfTheSite is the gateway's until there is a user, and then the
// application's.
func TestFaviconOfTheSite(t *testing.T) {
	db, up := anyDatabase(t), startUpstream(t)
	g := startGateway(t, db, up, sessionSite(""))
	for _, header := range [][]string{nil, {"Cookie", "sesame=bad"}, {"Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors", "Accept", "image/avif,*/*"}} {
		icon := g.get(t, "/favicon.ico", header...)
		icon.wantStatus(t, http.StatusOK)
		wantHeader(t, icon.header, "Content-Type", "image/x-icon")
		wantHeader(t, icon.header, "Cache-Control", "private, max-age=600")
		wantHeader(t, icon.header, "Www-Authenticate", "")
	}
	g.do(t, http.MethodPost, "/favicon.ico").wantStatus(t, http.StatusUnauthorized)
	g.get(t, "/static/favicon.ico").wantStatus(t, http.StatusUnauthorized)
	up.takeNone(t)
	b := newBrowser(g)
	b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
	b.get(t, "/favicon.ico").wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
}
