package cookie

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Exact is a cookie whose name another program has chosen, such as Django's
// sessionid: no prefix is put in front of it, and it is read as Django reads
// cookies (django/http/cookie.py, parse_cookie).
type Exact struct{ cookie Cookie }

// NewExact returns the cookie of a configuration, in which a name is needed. The
// error names the option that can't be right.
func NewExact(cfg Config) (Exact, error) {
	if !httpguts.ValidHeaderFieldName(cfg.Name) {
		return Exact{}, setting.Errorf("name", "name %q: that is not a name of a cookie", cfg.Name)
	}
	name := cfg.Name
	cfg.Name = ""
	made, err := New(cfg)
	made.name, made.isExact = name, true
	return Exact{made}, err
}

// Name is the cookie's.
func (e *Exact) Name() string { return e.cookie.name }

// Values returns the values that a request has of the cookie, which stays in it.
func (e *Exact) Values(r *http.Request) (values []string) {
	for _, line := range r.Header["Cookie"] {
		if !strings.Contains(line, e.cookie.name) {
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			if name, value, ok := strings.Cut(pair, "="); ok && trimSpace(name) == e.cookie.name {
				values = append(values, unquote(trimSpace(value)))
			}
		}
	}
	return values
}

// Take removes the cookie from a request and returns its values. The other
// cookies stay byte for byte.
func (e *Exact) Take(r *http.Request) (values []string) {
	if values = e.Values(r); values == nil {
		return nil
	}
	var kept []string
	for _, line := range r.Header["Cookie"] {
		rest, _ := cutPairs(line, func(name string) bool { return trimSpace(name) == e.cookie.name })
		if rest != "" {
			kept = append(kept, rest)
		}
	}
	putBack(r, kept)
	return values
}

// Set sets the cookie in a response, until the browser is closed where the age
// is 0.
func (e *Exact) Set(w http.ResponseWriter, r *http.Request, value string, age time.Duration, now time.Time) {
	made := e.cookie.make(r, value, int(age/time.Second)) //nolint:gosec // Secure is what the operator and the request say
	if age > 0 {
		made.Expires = now.Add(age)
	}
	http.SetCookie(w, made)
}

// Clear makes the browser forget the cookie.
func (e *Exact) Clear(w http.ResponseWriter, r *http.Request) { e.cookie.Clear(w, r) }

// ClearAll is Cookie.ClearAll.
func (e *Exact) ClearAll(w http.ResponseWriter, r *http.Request) { e.cookie.ClearAll(w, r) }

// Expire makes the browser forget a cookie of another name, which the same
// application has set for this host or for the domain of this one.
func (e *Exact) Expire(w http.ResponseWriter, r *http.Request, name string) {
	domains := []string{""}
	if e.cookie.domain != "" {
		domains = append(domains, e.cookie.domain)
	}
	set := expirer{header: w.Header(), isHTTPS: e.cookie.isSecure(r), left: maxExpired}
	set.expire(name, []string{e.cookie.path}, domains)
}

// trimSpace is Python's str.strip.
func trimSpace(s string) string {
	return strings.TrimFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f })
}

// unquote is Python's http.cookies._unquote: a value in quotes may have
// characters that a backslash is in front of, and such with three octal digits.
func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	value = value[1 : len(value)-1]
	if !strings.Contains(value, `\`) {
		return value
	}
	unquoted := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] != '\\' || i+1 == len(value):
			unquoted = append(unquoted, value[i])
		case i+3 < len(value) && isOctal(value[i+1:i+4]):
			unquoted = append(unquoted, (value[i+1]-'0')<<6|(value[i+2]-'0')<<3|(value[i+3]-'0'))
			i += 3
		default:
			i++
			unquoted = append(unquoted, value[i])
		}
	}
	return string(unquoted)
}

// isOctal reports whether three digits are a byte in octal.
func isOctal(digits string) bool {
	isDigit := func(c byte) bool { return c >= '0' && c <= '7' }
	return digits[0] <= '3' && isDigit(digits[0]) && isDigit(digits[1]) && isDigit(digits[2])
}
