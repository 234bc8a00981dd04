package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// djangoHost is the host of the Django, in the same domain as the app.
const djangoHost = "www.example.com"

// djangoPassword is the password of Django's users.
const djangoPassword = "correct horse battery"

// djangoSite is an unmodified Django with its admin and its page for logging in,
// which testdata/interop/django_site.py starts, behind a server that terminates
// HTTPS. Its sessions are for the whole domain.
type djangoSite struct {
	origin string // such as https://www.example.com:1234
	addr   string // where Django itself listens
	dsn    string
	in     *json.Encoder
	out    *bufio.Reader
}

// startDjangoSite runs a Django that sends users back to a gateway's host, with
// more settings.
func startDjangoSite(t *testing.T, scheme, gateway string, settings map[string]any) *djangoSite {
	t.Helper()
	program := testprogram.Python(t, "django", "pymysql")
	if mariadb == nil {
		t.Skip("MariaDB isn't installed, and Django needs it (Debian: apt-get install mariadb-server)")
	}
	dsn := testpeer.NewDatabase(t, mariadb.Server, "django")
	command := exec.Command(program, "../testdata/interop/django_site.py")
	command.Env = testprogram.PythonEnv()
	dialog := testprogram.StartDialog(t, command)
	d := &djangoSite{dsn: dsn, in: json.NewEncoder(dialog.In), out: bufio.NewReader(dialog.Out)}
	var started struct{ Port json.Number }
	given := djangoSettings(t, d.dsn, scheme, gateway)
	maps.Copy(given, settings)
	d.exchange(t, given, &started)
	d.addr = net.JoinHostPort("127.0.0.1", started.Port.String())
	d.origin = scheme + "://" + net.JoinHostPort(djangoHost, portOf(startProxy(t, scheme, d.addr)))
	return d
}

// djangoSettings are what the settings of a project with the gateway beside it have.
func djangoSettings(t *testing.T, dsn, scheme, gateway string) map[string]any {
	t.Helper()
	return map[string]any{
		"SECRET_KEY": secretKey, "USE_TZ": true, "GATEWAY": gateway,
		"SESSION_COOKIE_DOMAIN":   ".example.com",
		"SESSION_COOKIE_SECURE":   scheme == "https",
		"SECURE_PROXY_SSL_HEADER": []string{"HTTP_X_FORWARDED_PROTO", "https"},
		"DATABASES":               map[string]any{"default": testpeer.DjangoDatabase(t, dsn)},
	}
}

// startProxy runs a server in front of another, as Django has it in production,
// and returns where it listens.
func startProxy(t *testing.T, scheme, to string) (addr string) {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host
			r.Out.Header.Set("X-Forwarded-Proto", scheme)
		},
		// Django's server knows no connections that stay.
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	return startServer(t, scheme, proxy)
}

// exchange sends Django a line, and reads its answer.
func (d *djangoSite) exchange(t *testing.T, line map[string]any, answer any) {
	t.Helper()
	if err := d.in.Encode(line); err != nil {
		t.Fatalf("asking Django: %v", err)
	}
	said, err := d.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("Django's answer: %v", err)
	}
	if err := json.Unmarshal(said, answer); err != nil {
		t.Fatalf("Django's answer %s: %v", said, err)
	}
}

// user makes a user of Django's who may use the admin.
func (d *djangoSite) user(t *testing.T, name string) testUser {
	t.Helper()
	var made struct {
		ID       int64
		Password string
		Error    string
	}
	d.exchange(t, map[string]any{"do": "create", "username": name, "password": djangoPassword}, &made)
	if made.Error != "" {
		t.Fatalf("Django makes no user: %s", made.Error)
	}
	return testUser{id: made.ID, username: name, hash: made.Password}
}

// startBeside starts a gateway and a Django for one another.
func startBeside(t *testing.T, up *upstream, scheme, options string) (*gateway, *djangoSite) {
	t.Helper()
	port := freePort(t)
	d := startDjangoSite(t, scheme, net.JoinHostPort(appHost, port), nil)
	return startGateway(t, up, site{scheme: scheme, port: port, dsn: d.dsn, options: d.options(options)}), d
}

// options are a gateway's for sessions of this Django, with more of its block.
func (d *djangoSite) options(more string) string {
	return "django_session {\ncookie_domain example.com\nlogin_url " + d.origin + "/accounts/login/\n" + more + "\n}"
}

// logIn types name and password into Django's form, which the tab must show.
func (b *tab) logIn(name, password string) {
	b.t.Helper()
	b.do(
		chromedp.Clear(chromedp.CSS("#id_username")),
		chromedp.SendKeys(chromedp.CSS("#id_username"), name),
		chromedp.SendKeys(chromedp.CSS("#id_password"), password),
	)
	b.click(`#login-form input[type="submit"]`)
}

// logOutOfAdmin opens Django's admin, and presses what logs out there.
func (b *tab) logOutOfAdmin(origin string) {
	b.t.Helper()
	b.open(origin + "/admin/")
	b.wantTitle(adminTitle)
	b.click(`#user-tools a[href="/admin/logout/"], #logout-form button`) // the former before Django 4.1
}

// addGroup has Django's admin add something, by its form.
func (b *tab) addGroup(origin string) {
	b.t.Helper()
	b.open(origin + "/admin/auth/group/add/")
	b.do(chromedp.SendKeys(chromedp.CSS("#id_name"), "readers"))
	b.click(`input[name="_save"]`)
	if got := b.text(`document.querySelector(".messagelist")?.innerText`); !strings.Contains(got, "was added successfully") {
		b.t.Errorf("the admin has added no group: %s", b.text(`document.body.innerText`))
	}
}

// The titles of Django's admin, and of the page for logging in that its own pages
// lead to.
const (
	adminTitle      = "Site administration | Django site admin"
	adminLoginTitle = "Log in | Django site admin"
)

// sessionOf is the value of Django's cookie that the tab sends with requests to an
// origin.
func (b *tab) sessionOf(origin string) string {
	b.t.Helper()
	for _, cookie := range call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{origin}}).Cookies {
		if cookie.Name == "sessionid" {
			return cookie.Value
		}
	}
	b.t.Fatalf("the browser has no session for %s", origin)
	return ""
}

// wantSessionOf fails the test unless a session is a user's for Django, whose name
// is empty for none.
func (d *djangoSite) wantSessionOf(t *testing.T, session, name string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+d.addr+"/whoami/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.AddCookie(&http.Cookie{Name: "sessionid", Value: session})
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if who, err := io.ReadAll(answer.Body); err != nil || string(who) != name {
		t.Errorf("Django takes the session for one of %q (%v), want %q", who, err, name)
	}
}

// wantDjangosLogin fails the test unless the gateway has sent the tab to log in,
// for a page of its own.
func (b *tab) wantDjangosLogin(d *djangoSite, next string) {
	b.t.Helper()
	want := d.origin + "/accounts/login/?" + url.Values{"next": {next}}.Encode()
	if got := b.url(); got != want {
		b.t.Errorf("the tab is at %s, want %s", got, want)
	}
	if got := b.text(`document.querySelector("#id_username")?.name`); got != "username" {
		b.t.Errorf("there is no form to log in: %s", b.text(`document.body.innerText`))
	}
}

// wantNoSession fails the test if the upstream got what only the gateway and
// Django are to see, or nothing.
func (up *upstream) wantNoSession(t *testing.T) {
	t.Helper()
	requests := up.take()
	if len(requests) == 0 {
		t.Error("the upstream got no request")
	}
	for _, request := range requests {
		if cookies := strings.Join(request.header["Cookie"], "; "); strings.Contains(cookies, "sessionid") {
			t.Errorf("the upstream got the cookies %s", cookies)
		}
	}
}

// bothSchemes runs a test over HTTPS, and over plain HTTP, where browsers don't
// say where a request comes from but by Origin.
func bothSchemes(t *testing.T, test func(t *testing.T, scheme string)) {
	t.Helper()
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) { test(t, scheme) })
	}
}

// TestBrowserLogsInByDjangosFormUntilItsLogout asks for a page of the gateway's,
// mistypes the password in Django's form, types it, and logs out in the admin.
func TestBrowserLogsInByDjangosFormUntilItsLogout(t *testing.T) {
	bothSchemes(t, func(t *testing.T, scheme string) {
		up := startUpstream(t)
		g, d := startBeside(t, up, scheme, "")
		d.user(t, "ada")
		b := newTab(t)
		b.expected = "favicon.ico" // which Django doesn't have
		asked := g.origin + "/reports/7?x=1&y=%7e"
		b.open(asked)
		b.wantDjangosLogin(d, asked)
		if requests := up.take(); len(requests) > 0 {
			t.Errorf("the upstream got %v before the login", requests)
		}
		b.logIn("ada", "wrong")
		b.wantDjangosLogin(d, asked)
		b.logIn("ada", djangoPassword)
		b.wantUser("ada")
		if got := b.url(); got != asked {
			t.Errorf("the address bar shows %s, want %s", got, asked)
		}
		if got := b.text(`document.cookie`); got != "" {
			t.Errorf("scripts can read the cookie %s", got)
		}
		b.click("#next")
		b.wantUser("ada")
		up.wantNoSession(t)

		other := b.sibling()
		other.expected = b.expected
		other.logOutOfAdmin(d.origin)
		up.take()
		b.open(g.origin + "/reports/8")
		b.wantDjangosLogin(d, g.origin+"/reports/8")
		if requests := up.take(); len(requests) > 0 {
			t.Errorf("the upstream got %v after the logout", requests)
		}
	})
}

// TestLinkOpensDjangosAdminUntilTheLogoutOfEither opens a link of the gateway's,
// works in the admin, and logs out at the gateway, then in the admin.
func TestLinkOpensDjangosAdminUntilTheLogoutOfEither(t *testing.T) {
	bothSchemes(t, func(t *testing.T, scheme string) {
		up := startUpstream(t)
		g, d := startBeside(t, up, scheme, "write on")
		link := g.origin + "/reports/7?sesame=" + tokenFor(t, d.user(t, "ada"))
		b := newTab(t)
		b.expected = "favicon.ico"
		b.open(d.origin + "/admin/")
		b.wantTitle(adminLoginTitle) // and the browser has a CSRF token
		b.open(link)
		b.wantUser("ada")
		up.wantNoSession(t)
		b.addGroup(d.origin)
		session := b.sessionOf(d.origin)
		d.wantSessionOf(t, session, "ada")

		b.open(g.origin + "/_sesame/logout")
		b.pressButton()
		d.wantSessionOf(t, session, "") // not just the cookie is gone
		b.open(d.origin + "/admin/")
		b.wantTitle(adminLoginTitle)
		b.open(g.origin + "/reports/7")
		b.wantDjangosLogin(d, g.origin+"/reports/7")

		b.open(link)
		b.wantUser("ada")
		b.logOutOfAdmin(d.origin)
		b.open(g.origin + "/reports/7")
		b.wantDjangosLogin(d, g.origin+"/reports/7")
	})
}

// TestLinkOpensDjangoBehindTheGateway has Django itself behind the gateway, and
// logs out in its admin there, then at the gateway.
func TestLinkOpensDjangoBehindTheGateway(t *testing.T) {
	bothSchemes(t, func(t *testing.T, scheme string) {
		port := freePort(t)
		d := startDjangoSite(t, scheme, net.JoinHostPort(appHost, port), nil)
		g := startGateway(t, nil, site{
			scheme: scheme, port: port, dsn: d.dsn, after: "reverse_proxy " + d.addr,
			options: d.options("write on\npass_cookie on"),
		})
		admin := g.origin + "/admin/"
		b := newTab(t)
		b.expected = "favicon.ico"
		b.open(admin + "?sesame=" + tokenFor(t, d.user(t, "ada")))
		b.wantTitle(adminTitle)
		b.addGroup(g.origin)
		b.logOutOfAdmin(g.origin)
		b.open(admin)
		b.wantDjangosLogin(d, admin)

		b.logIn("ada", djangoPassword)
		b.wantTitle(adminTitle)
		if got := b.url(); got != admin {
			t.Errorf("the address bar shows %s, want %s", got, admin)
		}
		b.open(g.origin + "/_sesame/logout")
		b.pressButton()
		b.open(admin)
		b.wantDjangosLogin(d, admin)
	})
}

// TestLinkOfAnotherUserSwitchesDjangosUser opens a link of grace's while ada is
// logged in to Django.
func TestLinkOfAnotherUserSwitchesDjangosUser(t *testing.T) {
	bothSchemes(t, func(t *testing.T, scheme string) {
		g, d := startBeside(t, startUpstream(t), scheme, "write on")
		d.user(t, "ada")
		link := g.origin + "/reports/7?sesame=" + tokenFor(t, d.user(t, "grace"))
		b := newTab(t)
		b.expected = "favicon.ico"
		b.open(g.origin + "/")
		b.logIn("ada", djangoPassword)
		b.wantUser("ada")
		former := b.sessionOf(d.origin)
		b.open(link)
		b.wantTitle("Switch to another account?")
		d.wantSessionOf(t, former, "ada")
		b.pressButton()
		b.wantUser("grace")
		d.wantSessionOf(t, former, "")
		d.wantSessionOf(t, b.sessionOf(d.origin), "grace")
		b.addGroup(d.origin)
	})
}

// TestBrowserIsNotSentAroundWithoutEnd has a Django with another key, whose page for
// logging in sends a user who is logged in back at once.
func TestBrowserIsNotSentAroundWithoutEnd(t *testing.T) {
	bothSchemes(t, func(t *testing.T, scheme string) {
		up := startUpstream(t)
		port := freePort(t)
		d := startDjangoSite(t, scheme, net.JoinHostPort(appHost, port), map[string]any{"SECRET_KEY": "another key"})
		g := startGateway(t, up, site{scheme: scheme, port: port, dsn: d.dsn, options: d.options("")})
		d.user(t, "ada")
		b := newTab(t)
		b.expected = "favicon.ico"
		asked := g.origin + "/reports/7"
		b.open(asked)
		b.logIn("ada", djangoPassword) // and then around
		if got := b.url(); got != asked {
			t.Errorf("the tab is at %s, want %s", got, asked)
		}
		b.wantTitle("You need to log in")
		link := b.text(`document.querySelector("a[href*='/accounts/login/']")?.href`)
		want := d.origin + "/accounts/login/?" + url.Values{"next": {asked}}.Encode()
		if link != want {
			t.Errorf("the page leads to %s, want %s", link, want)
		}
		if requests := up.take(); len(requests) > 0 {
			t.Errorf("the upstream got %v", requests)
		}
	})
}

// formPage is a page of the app's with a form.
const formPage = `<!DOCTYPE html><html lang="en"><title>Form</title><link rel="icon" href="data:,">
<form method="post" action="/orders"><input name="what" value="7 apples"><button>Order</button></form>`

// TestFormsOfOtherOriginsFailWithDjangosSession has pages beside the app send
// forms, with which browsers send Django's cookie, and the app's own page. Over
// HTTPS, the cookie is SameSite=None, as for a Django within frames of others:
// browsers then send it with forms of every site.
func TestFormsOfOtherOriginsFailWithDjangosSession(t *testing.T) {
	bothSchemes(t, func(t *testing.T, scheme string) {
		up := startUpstream(t)
		up.HandleFunc("/form", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, formPage)
		})
		hosts, kinds := []string{siblingHost, appHost}, []string{"form"} // appHost has another port
		settings := map[string]any{"SESSION_COOKIE_SAMESITE": "Lax"}
		if scheme == "https" {
			hosts, kinds = append(hosts, otherHost), append(kinds, "form for the whole tab")
			settings["SESSION_COOKIE_SAMESITE"] = "None"
		}
		port := freePort(t)
		d := startDjangoSite(t, scheme, net.JoinHostPort(appHost, port), settings)
		g := startGateway(t, up, site{scheme: scheme, port: port, dsn: d.dsn, options: d.options("")})
		d.user(t, "ada")
		b := newTab(t)
		b.expected = ": " // whatever the browser has to say of it
		b.open(g.origin + "/form")
		b.logIn("ada", djangoPassword)
		b.wantTitle("Form")

		page := b.sibling()
		page.expected = ": "
		for _, host := range hosts {
			for _, policy := range []string{"no-referrer", "unsafe-url"} {
				for _, kind := range kinds {
					up.take()
					target := "/orders?" + url.Values{"by": {host + " " + policy + " " + kind}}.Encode()
					_ = chromedp.Do(page.ctx, chromedp.Navigate(startPage(t, scheme, host, policy, g.forcing(kind, target)))) // which the form may cut off
					g.awaitAnswer(t, target, http.StatusForbidden)
					if requests := withoutIcon(up.take()); len(requests) > 0 {
						t.Errorf("a %s of %s with %s: the upstream got %v", kind, host, policy, requests)
					}
				}
			}
		}

		b.click("button")
		b.wantUser("ada")
		requests := withoutIcon(up.take())
		if len(requests) == 0 || requests[0].method != http.MethodPost || requests[0].uri != "/orders" {
			t.Errorf("the upstream got %v, want the app's own form", requests)
		}
	})
}

// awaitAnswer waits until the access log has the answer to a request for a URI,
// and fails the test if its status is another.
func (g *gateway) awaitAnswer(t *testing.T, uri string, status int) {
	t.Helper()
	poll(t, "the answer to "+uri, func() bool {
		text, err := os.ReadFile(g.logs)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Logger  string
				Status  int
				Request struct{ URI string }
			}
			if json.Unmarshal([]byte(line), &entry) != nil || !strings.HasPrefix(entry.Logger, "http.log.access") || entry.Request.URI != uri {
				continue
			}
			if entry.Status != status {
				t.Errorf("%s: status %d, want %d", uri, entry.Status, status)
			}
			return true
		}
		return false
	})
}

// withoutIcon leaves out what browsers ask for by themselves for each page.
func withoutIcon(requests []recordedRequest) []recordedRequest {
	return slices.DeleteFunc(requests, func(r recordedRequest) bool { return r.uri == "/favicon.ico" })
}
