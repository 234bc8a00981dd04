package emaillink

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// purpose separates the keys of links from those of everything else.
const purpose = "caddy-sesame/email-link/1"

// signatureSize is that of the tokens in bytes.
const signatureSize = 16

// Settings returns the settings of the links' tokens, from those of the site's: other
// keys, so that neither is accepted for the other, one use, and the age of links. A
// new address ends a link, as it may have been sent to the former one.
func Settings(site token.Settings, maxAge time.Duration) token.Settings {
	own := site
	own.SecretKey = derived(site.SecretKey)
	own.SecretKeyFallbacks = nil
	for _, key := range site.SecretKeyFallbacks {
		own.SecretKeyFallbacks = append(own.SecretKeyFallbacks, derived(key))
	}
	own.Versions = []token.Version{token.V2}
	own.SignatureSize = signatureSize
	own.OneTime, own.MaxAge, own.InvalidateOnEmailChange = true, &maxAge, true
	return own
}

func derived(key string) string { return hex.EncodeToString(sign([]byte(key), purpose)) }

// Tokens returns what links are signed with, which depends on the site's.
func (l *Links) Tokens(ctx context.Context) (*token.Tokens, error) {
	if made := l.tokens.Load(); made != nil {
		return made, nil
	}
	site, err := l.env.Site(ctx)
	if err != nil {
		return nil, err
	}
	made, err := token.New(Settings(site, l.maxAge))
	if err != nil {
		return nil, err
	}
	l.tokens.Store(made)
	return made, nil
}

// The parameters of a link beside the token and the page.
const (
	parameterVia     = "via"
	viaEmail         = "email"
	parameterBrowser = "browser"
	parameterLength  = "length"
)

// Parameters are the names of these parameters: no token can be in one of them.
func Parameters() []string { return []string{parameterVia, parameterBrowser, parameterLength} }

// A Link is what the URL of a link says beside its token, which is signed with it.
type Link struct {
	Length session.Length // how long the session lasts
	// Browser identifies the browser that asked.
	Browser string
}

// LinkOf reads a URL. ok is false for one that isn't of an e-mailed link.
func LinkOf(query url.Values) (link Link, ok bool) {
	if query.Get(parameterVia) != viaEmail {
		return link, false
	}
	link.Browser = query.Get(parameterBrowser)
	switch query.Get(parameterLength) {
	case lengthShared:
		link.Length = session.Shared
	case lengthRemember:
		link.Length = session.Remembered
	}
	return link, true
}

// The values of the parameter length.
const (
	lengthShared   = "shared"
	lengthRemember = "remember"
)

func (l Link) lengthName() string {
	switch l.Length {
	case session.Shared:
		return lengthShared
	case session.Remembered:
		return lengthRemember
	}
	return ""
}

// Bound is what the token is signed with in addition to the page's scope.
func (l Link) Bound() string { return "\x00" + l.lengthName() + "\x00" + l.Browser }

// IsFrom reports whether a browser with these values of the cookie has asked for
// the link.
func (l *Links) IsFrom(link Link, ties []string) bool {
	for _, tie := range ties {
		if tie != "" && link.Browser == l.browser(tie) {
			return true
		}
	}
	return false
}

// browser identifies a browser by a value of its cookie.
func (l *Links) browser(tie string) string {
	return base64.RawURLEncoding.EncodeToString(sign(l.env.Key, "browser\x00"+tie)[:12])
}

// url is the URL of a link.
func (l *Links) url(link Link, made, next string) string {
	var b strings.Builder
	b.WriteString(l.base + l.env.Path + "?" + parameterVia + "=" + viaEmail)
	add := func(name, value string) {
		if value != "" {
			b.WriteString("&" + name + "=" + url.QueryEscape(value))
		}
	}
	add(parameterBrowser, link.Browser)
	add(parameterLength, link.lengthName())
	if next != "/" {
		add("next", next)
	}
	add(l.env.TokenName, made)
	return b.String()
}
