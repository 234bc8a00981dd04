package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/repost"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// An attacker could log a user in to the attacker's account, and so learn what the
// user does there (login CSRF). So a form counts only if a page of this origin has
// sent it, from the browser that the page was shown to: a cookie ties the form to
// the browser, and the form has a MAC of the cookie's value, which other hosts of
// the domain can't make, even if they can plant the cookie.

// The fields that all forms have.
const (
	fieldMethod = "method"
	fieldCSRF   = "csrf"
	fieldLength = "length"
	fieldTold   = "told"
)

// maxForm is how many bytes a form may have, with what it carries.
const maxForm = 16<<10 + repost.MaxSealed

// Form is what a user has sent by a form of the page.
type Form struct {
	Method string // the method or step that the form is of
	Length session.Length
	values url.Values
}

// Value returns the value of a field, empty if the form hasn't exactly one.
func (f Form) Value(name string) string {
	if len(f.values[name]) != 1 {
		return ""
	}
	return f.values[name][0]
}

// Why a form doesn't count.
var (
	errNotForm    = errors.New("the request has no form")
	errForm       = errors.New("the form is malformed")
	errTooLarge   = errors.New("the form is too large")
	errCrossSite  = errors.New("a page of another origin has sent the form")
	errNoCookies  = errors.New("the browser hasn't sent the cookie that came with the form")
	errOtherForms = errors.New("the form is of another browser")
)

// readForm reads the form that a request has sent. tied are the values of the cookie
// that ties forms to the browser.
func (p *Page) readForm(r *http.Request, tied []string) (Form, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return Form{}, errNotForm
	}
	if origin.Of(r).IsOther() {
		return Form{}, errCrossSite
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	switch {
	case err != nil:
		return Form{}, errForm
	case len(body) > maxForm:
		return Form{}, errTooLarge
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return Form{}, errForm
	}
	form := Form{values: values}
	if len(tied) == 0 {
		return Form{}, errNoCookies
	}
	if !p.isTied(form.Value(fieldCSRF), tied) {
		return Form{}, errOtherForms
	}
	form.Method = form.Value(fieldMethod)
	form.Length = p.lengthOf(values[fieldLength])
	return form, nil
}

// lengthOf is how long a login lasts by the boxes that the user has ticked. On a shared
// computer, no other one counts.
func (p *Page) lengthOf(ticked []string) session.Length {
	switch {
	case slices.Contains(ticked, "shared"):
		return session.Shared
	case slices.Contains(ticked, "remember") && p.config.Remember > 0:
		return session.Remembered
	}
	return session.Default
}

// isTied reports whether the CSRF field of a form belongs to a browser.
func (p *Page) isTied(csrf string, tied []string) bool {
	for _, value := range tied {
		if value != "" && hmac.Equal([]byte(p.csrf(value)), []byte(csrf)) {
			return true
		}
	}
	return false
}

// csrf is the CSRF field of forms that are tied by a cookie's value.
func (p *Page) csrf(tie string) string { return p.mac("csrf\x00" + tie) }

// told is the field of forms on a page that names the user who is logged in; user is
// the zero key if none is.
func (p *Page) told(tie string, user token.PrimaryKey) string {
	return p.mac("told\x00" + tie + "\x00" + user.String())
}

// isTold reports whether the page has told the browser's user whose session ends, if
// that is another user than the one whom a login is for: an attacker could otherwise
// have a user who fills in the form leave a session unnoticed.
func (p *Page) isTold(form Form, visit Visit, user token.PrimaryKey) (bool, error) {
	current, _, err := visit.Current()
	if err != nil || current == nil || current.PrimaryKey == user {
		return err == nil, err
	}
	for _, tie := range visit.Ties() {
		if tie != "" && hmac.Equal([]byte(p.told(tie, current.PrimaryKey)), []byte(form.Value(fieldTold))) {
			return true, nil
		}
	}
	return false, nil
}

// mac is a MAC for a field of forms.
func (p *Page) mac(text string) string {
	mac := hmac.New(sha256.New, p.key)
	_, _ = mac.Write([]byte(text)) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
