package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
)

// startDjango runs what stands for Django on another host of the domain: it logs a
// user in with a session in a cookie for the domain, and sends the browser back.
func startDjango(t *testing.T, user testUser) (loginURL string) {
	t.Helper()
	sessions, err := djangosession.New(djangosession.Settings{SecretKey: secretKey, Engine: djangosession.SignedCookies})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		password := user.password()
		data, _ := sessions.Login(djangosession.Data{}, strconv.FormatInt(user.id, 10), djangosession.ModelBackend, djangosession.User{Password: &password})
		http.SetCookie(w, &http.Cookie{Name: "sessionid", Value: sessions.Encode(data, time.Now()), Domain: "example.com", Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, r.URL.Query().Get("next"), http.StatusFound)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return "https://www.example.com:" + at.Port() + "/accounts/login/"
}

// TestBrowserIsSentToDjangoAndBack opens a page without a session, a link of
// another user, and the page for logging out.
func TestBrowserIsSentToDjangoAndBack(t *testing.T) {
	login := startDjango(t, alice)
	g := startGateway(t, startUpstream(t), site{options: "django_session {\nengine signed_cookies\ncookie_domain example.com\nwrite on\nlogin_url " + login + "\n}"})
	b := newTab(t)
	b.open(g.origin + "/reports/7?x=1&y=%7e")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/reports/7?x=1&y=%7e"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}

	b.open(g.origin + "/reports/7?sesame=" + tokenFor(t, carol))
	b.pressButton() // Alice is logged in
	b.wantUser("carol")
	if got := b.text(`document.cookie`); got != "" {
		t.Errorf("scripts can read the cookie %s", got)
	}

	b.open(g.origin + "/_sesame/logout")
	b.pressButton()
	b.open(g.origin + "/reports/7")
	b.wantUser("alice") // Django has logged her in again
}
