package sesame_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// asBrowser are the header fields that tell a browser's request for a page.
var asBrowser = []string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Mode", "navigate"}

// browser keeps cookies as a browser does, as far as these tests need it.
type browser struct {
	gateway *gateway
	cookies map[string]string
	last    *response
}

func newBrowser(g *gateway) *browser {
	return &browser{gateway: g, cookies: make(map[string]string)}
}

func (b *browser) do(t *testing.T, method, uri string, header ...string) *response {
	t.Helper()
	return b.exchange(t, method, uri, append(append([]string{}, asBrowser...), header...))
}

// exchange sends a request with the browser's cookies, and keeps those of the
// answer.
func (b *browser) exchange(t *testing.T, method, uri string, header []string) *response {
	t.Helper()
	return b.exchangeBody(t, method, uri, "", header)
}

// exchangeBody is exchange for a request with a body.
func (b *browser) exchangeBody(t *testing.T, method, uri, body string, header []string) *response {
	t.Helper()
	if len(b.cookies) > 0 {
		var pairs []string
		for name, value := range b.cookies {
			pairs = append(pairs, name+"="+value)
		}
		header = append(header, "Cookie", strings.Join(pairs, "; "))
	}
	if body == "" {
		b.last = b.gateway.do(t, method, uri, header...)
	} else {
		b.last = b.gateway.doWithBody(t, method, uri, body, header...)
	}
	answer := &http.Response{Header: b.last.header}
	for _, set := range answer.Cookies() {
		if set.MaxAge < 0 {
			delete(b.cookies, set.Name)
			continue
		}
		b.cookies[set.Name] = set.Value
	}
	return b.last
}

func (b *browser) get(t *testing.T, uri string, header ...string) *response {
	t.Helper()
	return b.do(t, http.MethodGet, uri, header...)
}

// follow follows the redirect that the last answer must be.
func (b *browser) follow(t *testing.T) *response {
	t.Helper()
	b.last.wantStatus(t, http.StatusSeeOther)
	return b.get(t, b.last.header.Get("Location"))
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)

// press presses the button of the page that the last answer must be.
func (b *browser) press(t *testing.T, header ...string) *response {
	t.Helper()
	match := formAction.FindStringSubmatch(b.last.body)
	if match == nil {
		t.Fatalf("no button on the page (status %d): %s", b.last.status, b.last.body)
	}
	return b.do(t, http.MethodPost, html.UnescapeString(match[1]), header...)
}
