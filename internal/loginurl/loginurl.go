// Package loginurl sends browsers to another program's login page, and stops if
// they come back again and again without a login.
package loginurl

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
)

// nextParameter is the parameter that says where to go after the login, as in
// Django.
const nextParameter = "next"

// A Page is a page for logging in.
type Page struct {
	url    *url.URL
	cookie cookie.Cookie // counts how often a browser was sent to the page
}

// How often a browser is sent to the page before a pause. If the page takes its
// user for logged in and the gateway doesn't, the two would redirect the browser to
// each other for ever.
const (
	mostTimes = 3
	forgotten = time.Minute
)

// cookieName is the name of the cookie that counts, without the prefix __Host-.
const cookieName = "sesame-login"

// New returns the page with an absolute URL. secure is as in cookie.Config.
func New(address, secure string) (*Page, error) {
	at, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	counts, err := cookie.New(cookie.Config{Name: cookieName, Secure: secure})
	return &Page{at, counts}, err
}

// Cookie is the name of the cookie that the page sets, without the prefix __Host-.
func (p *Page) Cookie() string { return p.cookie.Name() }

// Take takes out of a request how often its browser was sent to the page lately.
func (p *Page) Take(r *http.Request) (times int) {
	for _, value := range p.cookie.Take(r) {
		if len(value) == 1 && value[0] > '0' && value[0] <= '9' {
			times = max(times, int(value[0]-'0'))
		}
	}
	return times
}

// Link returns the URL of the page, with the URI of the request's site to return
// to. An empty URI adds nothing.
func (p *Page) Link(r *http.Request, uri string) string {
	if uri == "" {
		return p.url.String()
	}
	to := *p.url
	if to.RawQuery != "" {
		to.RawQuery += "&"
	}
	to.RawQuery += url.Values{nextParameter: {origin.SiteOf(r) + bounded(uri)}}.Encode()
	return to.String()
}

// maxURI bounds the URI to return to, because some proxies limit a header field of
// a response to 4 to 8 kB.
const maxURI = 2000

// bounded returns a URI, without its query if it is too long, or else the root.
func bounded(uri string) string {
	if len(uri) > maxURI {
		uri, _, _ = strings.Cut(uri, "?")
	}
	if len(uri) > maxURI {
		return "/"
	}
	return uri
}

// Send redirects a browser to the page, if it asks for a page itself, and hasn't
// been sent there too often. It reports whether it did.
func (p *Page) Send(w http.ResponseWriter, r *http.Request, uri string, times int) bool {
	if !origin.Of(r).IsLink || times >= mostTimes || p.isAt(r, uri) {
		return false
	}
	p.cookie.Set(w, r, string(rune('1'+times)), forgotten)
	claim.ForbidLinking(w.Header())
	w.Header().Set("Location", p.Link(r, uri))
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// isAt reports whether a request is for the page itself: then the page is behind
// the gateway, which requires a login to see it.
func (p *Page) isAt(r *http.Request, uri string) bool {
	at, err := url.Parse(origin.SiteOf(r) + uri)
	return err == nil && strings.EqualFold(at.Hostname(), p.url.Hostname()) && portOf(at) == portOf(p.url) &&
		cmp.Or(at.Path, "/") == cmp.Or(p.url.Path, "/")
}

// portOf returns the port of a URL, or its scheme's default.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
