package login

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/session"
)

// A browser in which a user has logged in keeps the name of the method in a cookie,
// and nothing of the user. The page shows that method's form first.

// lastMethodAge is how long a browser keeps the method.
const lastMethodAge = 365 * 24 * time.Hour

// newLastMethod makes the cookie, from what all cookies of pages have.
func newLastMethod(cfg cookie.Config) (cookie.Cookie, error) {
	cfg.Name += "-method"
	return cookie.New(cfg)
}

// Cookie is the name of the cookie that the page sets, without the prefix __Host-.
func (p *Page) Cookie() string { return p.last.Name() }

// TakeLastMethod takes out of a request by which method its browser has logged in
// last; empty if that isn't known, or the page doesn't offer the method.
func (p *Page) TakeLastMethod(r *http.Request) string {
	for _, value := range p.last.Take(r) {
		if slices.Contains(p.Methods(), value) {
			return value
		}
	}
	return ""
}

// Remember has a browser keep the method of a login, if the page offers a choice and
// the method is one of the page's. A shared computer keeps nothing.
func (p *Page) Remember(w http.ResponseWriter, r *http.Request, by Login) {
	method, _, _ := strings.Cut(by.Method, methodSeparator)
	if len(p.methods) < 2 || by.Length == session.Shared || !slices.Contains(p.Methods(), method) {
		return
	}
	p.last.Set(w, r, method, lastMethodAge)
}

// lastFirst returns the methods in the order in which the page shows them to a
// browser that has logged in last by one of them.
func (p *Page) lastFirst(last string) []method {
	at := slices.IndexFunc(p.methods, func(m method) bool { return m.name() == last })
	if at < 0 {
		return p.methods
	}
	ordered := []method{p.methods[at]}
	ordered = append(ordered, p.methods[:at]...)
	return append(ordered, p.methods[at+1:]...)
}
