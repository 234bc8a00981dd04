package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// nestedRoutes are ways by which a request meets the inner handler, INNER, where
// its path begins with /admin, and only the outer one elsewhere.
var nestedRoutes = []struct{ name, routes string }{
	{"in a subroute", "handle /admin* {\nINNER\nreverse_proxy UPSTREAM\n}\nhandle {\nreverse_proxy UPSTREAM\n}"},
	{"by invoke of a named route", "handle /admin* {\ninvoke inner\n}\nhandle {\nreverse_proxy UPSTREAM\n}\n}\n&(inner) {\nINNER\nreverse_proxy UPSTREAM"},
	{"behind forward_auth", "handle /admin* {\nforward_auth UPSTREAM {\nuri /auth\n}\nroute {\nINNER\nreverse_proxy UPSTREAM\n}\n}\nhandle {\nreverse_proxy UPSTREAM\n}"},
	{"within intercept", "intercept {\n@no status 418\nhandle_response @no {\nrespond 418\n}\n}\nhandle /admin* {\nINNER\nreverse_proxy UPSTREAM\n}\nhandle {\nreverse_proxy UPSTREAM\n}"},
	{"in error routes", "handle /admin* {\nerror 404\n}\nhandle {\nreverse_proxy UPSTREAM\n}\nhandle_errors {\nINNER\nreverse_proxy UPSTREAM\n}"},
	{"behind method and request_body", "handle /admin* {\nmethod GET\nrequest_body {\nmax_size 1MB\n}\nINNER\nreverse_proxy UPSTREAM\n}\nhandle {\nreverse_proxy UPSTREAM\n}"},
}

// startNested runs a gateway whose two handlers share no name of a parameter, cookie
// or field.
func startNested(t *testing.T, db *database, up *upstream, routes string) *gateway {
	t.Helper()
	return startGateway(t, db, up, nestedSite(up, strings.ReplaceAll(routes, "INNER", innerHandler(db))))
}

func innerHandler(db *database) string {
	return fmt.Sprintf("sesame {\nsecret_key inner\ntoken_name adm\ntoken_from query bearer header X-Adm\nlimit_failures off\nsession {\nname adm\nredirect off\n}\nconfirm off\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}\n}", db.dsn)
}

func nestedSite(up *upstream, routes string) site {
	return site{
		options: "optional\ntoken_from query\nsession {\nname app\n}\nconfirm off",
		after:   strings.ReplaceAll(routes, "UPSTREAM", up.addr),
	}
}

// TestInnerHandlersCredentialsReachNoUpstream sends the credentials of an inner
// handler to a path that only the outer handler serves, whose application must not
// get them, and to the inner handler, which must get them.
func TestInnerHandlersCredentialsReachNoUpstream(t *testing.T) {
	db := anyDatabase(t)
	for _, route := range nestedRoutes {
		t.Run(route.name, func(t *testing.T) {
			up := startUpstream(t)
			g := startNested(t, db, up, route.routes)
			made := tokenFor(t, carol, withKey("inner"))
			login := g.get(t, "/admin?adm="+made)
			cookie, err := http.ParseSetCookie(login.header.Get("Set-Cookie"))
			if err != nil || cookie.Name != "adm" {
				t.Fatalf("no session: %v, %v", login.header, err)
			}
			up.take()
			for _, c := range []struct{ name, query, field, value, user string }{
				{"a token in the query", "?a=1&adm=" + made, "", "", "carol"},
				{"a token in a damaged query", "?a=1&amp%3Badm=" + made, "", "", "carol"},
				{"a token behind another name", "?a=1&ADM=" + made, "", "", ""},
				{"a bearer token", "", "Authorization", "Bearer " + made, "carol"},
				{"a token in a header field", "", "X-Adm", made, "carol"},
				{"a session", "", "Cookie", "a=1; adm=" + cookie.Value + "; b=2", "carol"},
				{"a session with a prefix", "", "Cookie", "__Host-adm=" + cookie.Value, ""},
				{"a cookie that confirms", "", "Cookie", "adm-confirm=" + cookie.Value, ""},
				{"a parameter that confirms", "?adm_confirm=" + cookie.Value, "", "", ""},
				{"a token in Referer", "", "Referer", "http://x/?u=%2F%3Fadm%3D" + made, ""},
			} {
				for path, user := range map[string]string{"/general": "", "/admin": c.user} {
					var fields []string
					if c.field != "" {
						fields = []string{c.field, c.value}
					}
					g.get(t, path+c.query, fields...)
					for _, got := range up.take() {
						if text := fmt.Sprint(got); strings.Contains(text, made) || strings.Contains(text, cookie.Value) {
							t.Errorf("%s at %s: the upstream got %s", c.name, path, text)
						}
						if name := got.header.Get("Remote-User"); name != user && !strings.HasPrefix(got.uri, "/auth") {
							t.Errorf("%s at %s: the upstream saw %q, want %q", c.name, path, name, user)
						}
					}
				}
			}
			g.wantNoToken(t, made, cookie.Value)
		})
	}
}

// TestInnerHandlersCredentialsReachNoUpstreamAfterAReload reloads the configuration
// with another name for the inner handler's tokens: both names are taken out by the
// handlers that have them, and the former one's sources are forgotten.
func TestInnerHandlersCredentialsReachNoUpstreamAfterAReload(t *testing.T) {
	db, up := anyDatabase(t), startUpstream(t)
	route := nestedRoutes[0]
	g := startNested(t, db, up, route.routes)
	made := tokenFor(t, carol, withKey("inner"))
	look := func(target, field, value, user string) {
		t.Helper()
		g.get(t, target, field, value)
		for _, got := range up.take() {
			if text := fmt.Sprint(got); strings.Contains(text, made) {
				t.Errorf("%s: the upstream got %s", target, text)
			}
			wantHeader(t, got.header, "Remote-User", user)
		}
	}
	for _, name := range []string{"adm", "other", "adm"} {
		s := nestedSite(up, strings.ReplaceAll(route.routes, "INNER", strings.ReplaceAll(innerHandler(db), "token_name adm", "token_name "+name)))
		if err := tryCaddyfile(g.caddyfile(db, up, s)); err != nil {
			t.Fatal(err)
		}
		look("/general?"+name+"="+made, "Referer", "/?"+strings.ToUpper(name)+"%3D"+made, "")
		look("/general?amp%3B"+name+"="+made, "X-Adm", made, "")
		look("/general", "Authorization", "Bearer "+made, "")
		look("/admin?"+name+"="+made, "Referer", "", "carol")
	}
	g.wantNoToken(t, made)
}
