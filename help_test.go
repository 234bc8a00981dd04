package sesame_test

import (
	"encoding/json"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHelpURLTellsWhichPageWasAskedFor has the page in a parameter, without the
// token that failed.
func TestHelpURLTellsWhichPageWasAskedFor(t *testing.T) {
	up := startUpstream(t)
	age := withMaxAge(time.Minute)
	expired := tokenAt(t, alice, "", time.Now().Add(-time.Hour), age)
	g := startGateway(t, anyDatabase(t), up, sessionSite(`max_age 1m
		pages {
			help_url https://example.com/links?next={uri}&host={host}
			expired_hint
		}`))
	for _, test := range []struct{ uri, want string }{
		{"/reports/7?page=2", `https://example.com/links?next=%2Freports%2F7%3Fpage%3D2&host=127.0.0.1"`},
		{"/reports/7?page=2&sesame=bad", `https://example.com/links?next=%2Freports%2F7%3Fpage%3D2&host=127.0.0.1"`},
		{"/reports/7?sesame=" + expired + "&x=%26y", `https://example.com/links?next=%2Freports%2F7%3Fx%3D%2526y&host=127.0.0.1&user=1&until=`},
		{"/reports/7?SESAME=" + expired + "&next=%2Fx%3Fsesame%3D" + expired, `https://example.com/links?next=%2Freports%2F7%3Fnext%3D%252Fx&host=127.0.0.1"`},
		{"/reports%3Fsesame=" + expired, `https://example.com/links?next=%2F&`},
		{"/%22%3E%3Cscript%3E", `https://example.com/links?next=%2F%2522%253E%253Cscript%253E`},
	} {
		page := newBrowser(g).get(t, test.uri)
		page.wantStatus(t, http.StatusUnauthorized)
		text := html.UnescapeString(page.body)
		if !strings.Contains(text, test.want) {
			t.Errorf("%s: %s is not on the page: %s", test.uri, test.want, text)
		}
		if strings.Contains(page.body, expired) {
			t.Errorf("%s: the token is on the page: %s", test.uri, page.body)
		}
	}
}

// TestHelpURLBehindTheGateway: the log tells the operator as soon as a user is sent
// there. check and an error tell it before.
func TestHelpURLBehindTheGateway(t *testing.T) {
	const options = "max_age 10m\nsession\npages {\nhelp_url /links?next={uri}\n}"
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{options: options})
	for range 3 {
		g.get(t, "/links?next=%2F").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/other").wantStatus(t, http.StatusUnauthorized)
	}
	g.awaitLines(t, "http.log.access", 6)
	if n := strings.Count(string(g.log(t)), "help_url leads to a page behind sesame"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	err := tryCaddyfile(g.caddyfile(anyDatabase(t), up, site{options: strings.Replace(options, "/links", "/_sesame/login", 1)}))
	if err == nil || !strings.Contains(err.Error(), "help_url \"/_sesame/login") {
		t.Errorf("a page of the gateway's own: %v", err)
	}
}

func TestCheckCommandHelpURL(t *testing.T) {
	handler := func(matcher, url, more string) string {
		return "sesame " + matcher + " {\nsecret_key SECRET\nmax_age 10m\n" + more + "\npages {\nhelp_url " + url + "\n}\nuserstore mysql {\ndsn DSN\n}\n}\n"
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range []struct{ name, caddyfile, verdict string }{
			{"a path of the site", "app.example.com {\n" + handler("", "/links?next={uri}", "") + "}", "warn"},
			{"a URL of the site", "app.example.com {\n" + handler("", "https://app.example.com/links", "") + "}", "warn"},
			{"a URL of another site", "app.example.com {\n" + handler("", "https://example.com/links", "") + "}", ""},
			{"an e-mail address", "app.example.com {\n" + handler("", "mailto:help@example.com", "") + "}", ""},
			{"a path that passes by a matcher", "app.example.com {\n@protected not path /links\n" + handler("@protected", "/links", "") + "}", ""},
			{"an optional handler", "app.example.com {\n" + handler("", "/links", "optional") + "}", ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := newOperator(t, test.caddyfile, db.dsn).run(t, "check", "--json")
				var report checkReport
				if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
					t.Fatal(err)
				}
				if got := report.verdict("help_url"); got != test.verdict {
					t.Errorf("%s, want %s: %s", got, test.verdict, r.stdout)
				}
			})
		}
	})
}
