package sesame_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// TestPageTellsWhoseSessionEndsThatIsntAcceptedHere logs in on the login page in a
// browser with a session that a login replaces, though it doesn't let its user in: one
// for another scope, and one that only Django accepts. A form that was shown without
// telling that doesn't count.
func TestPageTellsWhoseSessionEndsThatIsntAcceptedHere(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		logIn   func(t *testing.T, db *database, b *browser) // carol
	}{
		"for another scope": {"session\nscope {http.request.uri.path.0}", func(t *testing.T, _ *database, b *browser) {
			b.get(t, "/b/?sesame="+tokenAt(t, carol, "b", time.Now())).wantStatus(t, http.StatusSeeOther)
		}},
		"by a backend that isn't listed": {"django_session {\nwrite on\n}", func(t *testing.T, db *database, b *browser) {
			cookie := db.logIn(t, djangoLogin{user: carol, backend: "a.Backend"})
			b.cookies["sessionid"] = keyOf(cookie)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			withSessions(t, func(t *testing.T, db *database) {
				s := passwordSite(31)
				s.options += "\nlogin {\npassword\n}\n" + test.options
				db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
				up := startUpstream(t)
				b := newBrowser(startGateway(t, db, up, s))
				form := url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}}

				b.get(t, "/_sesame/login?next=/a/").wantStatus(t, http.StatusOK)
				before := b.last
				test.logIn(t, db, b)
				b.last = before
				b.fill(t, form).wantStatus(t, http.StatusConflict)
				wantText(t, b.last.body, "You are logged in as carol")
				if strings.Contains(b.last.body, "Stay logged in as") {
					t.Error("the page offers a session with which carol isn't let in")
				}
				up.takeNone(t)

				b.fill(t, form).wantStatus(t, http.StatusSeeOther)
				b.follow(t).wantStatus(t, http.StatusOK)
				wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			})
		})
	}
}
