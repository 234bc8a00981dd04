package sesame_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// djangoSite is a real Django beside the gateway, on the same host, with cookies
// of its own and the tests' database. Its settings are in
// testdata/interop/django_site.py.
type djangoSite struct {
	*django
	addr string
	db   *database
}

// startDjangoSite runs a Django, of Debian's packages or of the directories in
// DJANGO_SITE. gateway is the host that it sends users back to.
func startDjangoSite(t *testing.T, gateway string, settings map[string]any) *djangoSite {
	t.Helper()
	if mariadb == nil {
		t.Skip("mariadbd is not on PATH, and Django needs it")
	}
	const name = "djangosite"
	db := &database{name: name, dsn: testpeer.NewDatabase(t, mariadb, name)}
	given := map[string]any{
		"SECRET_KEY": secretKey, "USE_TZ": true, "GATEWAY": gateway,
		"DATABASES": map[string]any{"default": testpeer.DjangoDatabase(t, db.dsn)},
	}
	maps.Copy(given, settings)
	program, folders := testprogram.Python(t, "django", "pymysql"), []string(nil)
	if other := os.Getenv("DJANGO_SITE"); other != "" {
		folders = strings.Split(other, string(os.PathListSeparator))
		if python := os.Getenv("DJANGO_SITE_PYTHON"); python != "" {
			program = python
		}
	}
	cmd := exec.Command(program, "testdata/interop/django_site.py") //nolint:gosec // the tests' own
	cmd.Env = testprogram.PythonEnv(folders...)
	dialog := testprogram.StartDialog(t, cmd)
	site := &djangoSite{django: &django{in: dialog.In, out: bufio.NewReader(dialog.Out), stderr: dialog.Errors}, db: db}
	if err := json.NewEncoder(site.in).Encode(given); err != nil {
		t.Fatal(err)
	}
	line, err := site.out.ReadBytes('\n')
	var answer struct{ Port int }
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil {
		t.Fatalf("starting Django: %v\n%s", err, site.stderr)
	}
	site.addr = fmt.Sprintf("127.0.0.1:%d", answer.Port)
	return site
}

// user makes a user of Django's who may use the admin, for tokens.
func (d *djangoSite) user(t *testing.T, name string) testUser {
	t.Helper()
	made := d.call(t, "create", "username", name, "password", "secret "+name)
	return testUser{id: int64(made["id"].(float64)), username: name, password: made["password"].(string), isActive: true}
}

// at has the browser speak to Django instead of the gateway, with the same
// cookies: browsers don't tell ports apart.
func (b *browser) at(d *djangoSite) *browser {
	return &browser{gateway: &gateway{addr: d.addr}, cookies: b.cookies}
}

var csrfField = regexp.MustCompile(`name="csrfmiddlewaretoken" value="([^"]+)"`)

// post sends Django's form with more fields, as its pages do.
func (d *djangoSite) post(t *testing.T, b *browser, uri string, fields url.Values) *http.Response {
	t.Helper()
	page := b.at(d).get(t, uri)
	if match := csrfField.FindStringSubmatch(page.body); match != nil {
		fields.Set("csrfmiddlewaretoken", html.UnescapeString(match[1]))
	} else {
		fields.Set("csrfmiddlewaretoken", b.cookies["csrftoken"])
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+d.addr+uri, strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range b.cookies {
		request.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	for _, set := range answer.Cookies() {
		if set.MaxAge < 0 || set.Value == "" {
			delete(b.cookies, set.Name)
		} else {
			b.cookies[set.Name] = set.Value
		}
	}
	return answer
}

// logInToDjango logs in by Django's form, and returns where that leads.
func (d *djangoSite) logInToDjango(t *testing.T, b *browser, user testUser, next string) string {
	t.Helper()
	answer := d.post(t, b, "/accounts/login/?"+url.Values{"next": {next}}.Encode(), url.Values{
		"username": {user.username}, "password": {"secret " + user.username}, "next": {next},
	})
	if answer.StatusCode != http.StatusFound {
		t.Fatalf("Django's login: status %d", answer.StatusCode)
	}
	return answer.Header.Get("Location")
}

// logOutOfDjango does that by a POST, which all versions take.
func (d *djangoSite) logOutOfDjango(t *testing.T, b *browser) {
	t.Helper()
	b.at(d).get(t, "/accounts/login/") // for a CSRF token
	if answer := d.post(t, b, "/admin/logout/", url.Values{}); answer.StatusCode >= http.StatusBadRequest {
		t.Fatalf("Django's logout: status %d", answer.StatusCode)
	}
}

// djangoEngines are settings of Django, and the options that they make.
var djangoEngines = map[string]struct {
	settings map[string]any
	options  string
}{
	"db":             {nil, ""},
	"cached_db":      {map[string]any{"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db", "CACHES": map[string]any{"default": map[string]any{"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}}, "engine cached_db"},
	"signed_cookies": {map[string]any{"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}, "engine signed_cookies"},
	"own settings":   {map[string]any{"SESSION_COOKIE_NAME": "mysession", "SESSION_COOKIE_AGE": 3600, "USE_TZ": false, "TIME_ZONE": "America/New_York", "SESSION_EXPIRE_AT_BROWSER_CLOSE": true}, "cookie_name mysession\ncookie_age 3600\nexpire_at_browser_close on"},
}

// startBeside starts a gateway and a Django for one another.
func startBeside(t *testing.T, settings map[string]any, options string) (*gateway, *djangoSite, *upstream) {
	t.Helper()
	g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
	d := startDjangoSite(t, g.addr, settings)
	up := startUpstream(t)
	lines := "django_session {\nlogin_url http://" + d.addr + "/accounts/login/\n" + options + "\n}"
	if settings["USE_TZ"] == false {
		lines += "\nuse_tz off\ntime_zone America/New_York"
	}
	loadCaddyfile(t, g.caddyfile(d.db, up, site{options: lines}))
	return g, d, up
}

func TestLinkAtTheGatewayOpensDjangosAdmin(t *testing.T) {
	for name, engine := range djangoEngines {
		t.Run(name, func(t *testing.T) {
			g, d, _ := startBeside(t, engine.settings, engine.options+"\nwrite on")
			user := d.user(t, "ada")
			b := newBrowser(g)
			b.at(d).get(t, "/remember/").wantStatus(t, http.StatusOK)
			before := b.cookies["sessionid"]

			b.get(t, "/x?sesame="+tokenFor(t, user))
			b.follow(t).wantStatus(t, http.StatusOK)
			if b.cookies["sessionid"] == before && before != "" {
				t.Error("the session has the key that it had before the login")
			}
			b.at(d).get(t, "/admin/").wantStatus(t, http.StatusOK)
			if who := b.at(d).get(t, "/whoami/").body; who != "ada" {
				t.Errorf("Django takes the user for %q", who)
			}
			if cart := b.at(d).get(t, "/recall/").body; cart != "7 apples" {
				t.Errorf("the session has lost what it held: %q", cart)
			}
			copied := maps.Clone(b.cookies)
			b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
			if who := b.at(d).get(t, "/whoami/").body; who != "" {
				t.Errorf("after the logout at the gateway, Django takes the user for %q", who)
			}
			b.cookies = copied
			if who := b.at(d).get(t, "/whoami/").body; who != "" && name != "signed_cookies" {
				t.Errorf("a copy of the cookie is still %q's", who)
			}
		})
	}
}

func TestLoginInDjangoOpensTheGatewayUntilItsLogout(t *testing.T) {
	for name, engine := range djangoEngines {
		t.Run(name, func(t *testing.T) {
			g, d, up := startBeside(t, engine.settings, engine.options)
			user := d.user(t, "ada")
			b := newBrowser(g)
			b.get(t, "/x?a=1&b=2").wantStatus(t, http.StatusSeeOther)
			to := b.last.header.Get("Location")
			at, err := url.Parse(to)
			if err != nil || at.Host != d.addr {
				t.Fatalf("sent to %s", to)
			}
			back := d.logInToDjango(t, b, user, at.Query().Get("next"))
			if back != "http://"+g.addr+"/x?a=1&b=2" {
				t.Fatalf("Django sends the user to %s", back)
			}
			b.get(t, "/x?a=1&b=2").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "ada")
			d.logOutOfDjango(t, b)
			b.get(t, "/x").wantStatus(t, http.StatusSeeOther)

			for event, change := range map[string][]any{
				"a new password": {"set_password", "username", "ada", "password", "other"},
				"a deactivation": {"set_active", "username", "ada", "is_active", false},
			} {
				d.call(t, "set_active", "username", "ada", "is_active", true)
				d.call(t, "set_password", "username", "ada", "password", "secret ada")
				b := newBrowser(g)
				d.logInToDjango(t, b, user, "")
				b.get(t, "/x").wantStatus(t, http.StatusOK)
				d.call(t, change[0].(string), change[1:]...)
				if b.get(t, "/x"); b.last.status != http.StatusSeeOther {
					t.Errorf("after %s: status %d", event, b.last.status)
				}
			}
		})
	}
}

// TestGatewayAndDjangoThatDisagreeDontSendABrowserAround has Django send users back
// at once who are logged in, and the gateway with another key.
func TestGatewayAndDjangoThatDisagreeDontSendABrowserAround(t *testing.T) {
	g, d, up := startBeside(t, map[string]any{"SECRET_KEY": "another key"}, "")
	b := newBrowser(g)
	d.logInToDjango(t, b, d.user(t, "ada"), "")
	hops := 0
	for ; hops < 10; hops++ {
		if b.get(t, "/x"); b.last.status != http.StatusSeeOther {
			break
		}
		to, _ := url.Parse(b.last.header.Get("Location"))
		if back := b.at(d).get(t, to.RequestURI()); back.header.Get("Location") != "http://"+g.addr+"/x" {
			t.Fatalf("Django answers %d and sends to %q", back.status, back.header.Get("Location"))
		}
	}
	b.last.wantStatus(t, http.StatusUnauthorized)
	if hops == 0 || hops > 3 {
		t.Errorf("the browser was sent to log in %d times", hops)
	}
	up.takeNone(t)
}

func TestDjangoReadsTheSessionThatTheGatewayExtends(t *testing.T) {
	g, d, _ := startBeside(t, nil, "touch 1s")
	b := newBrowser(g)
	d.logInToDjango(t, b, d.user(t, "ada"), "")
	poll(t, "the session to be extended", func() bool {
		time.Sleep(100 * time.Millisecond)
		return strings.Contains(b.get(t, "/x").header.Get("Set-Cookie"), "Max-Age=1209600")
	})
	if who := b.at(d).get(t, "/whoami/").body; who != "ada" {
		t.Errorf("Django takes the user for %q", who)
	}
}
