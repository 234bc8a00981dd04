package login

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/emaillink"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// emailMethod sends a link to an address.
type emailMethod struct {
	page  *Page
	links *emaillink.Links
}

// The fields of the forms for an address and for a code.
const (
	fieldEmail   = "email"
	fieldPending = "pending"
	fieldCode    = "code"
)

func (*emailMethod) name() string { return methodEmailLink }

func (*emailMethod) offer(*page.LoginForms) {}

// serve has a link sent. The answer is the same for every address.
func (m *emailMethod) serve(w http.ResponseWriter, r *http.Request, form Form, visit Visit) error {
	address := strings.TrimSpace(form.Value(fieldEmail))
	if !emaillink.IsAddress(address) {
		typed := map[string]string{fieldEmail: address}
		return m.page.show(w, r, visit, http.StatusUnprocessableEntity, Shown{Error: "no_email", Field: fieldEmail, Typed: typed})
	}
	return m.send(w, r, visit, emaillink.Request{Address: address, Length: form.Length}, address)
}

// SendsLinks reports whether the page sends links by e-mail.
func (p *Page) SendsLinks() bool { return p.links != nil }

// Links has the links that the page sends; nil for none.
func (p *Page) Links() *emaillink.Links { return p.links }

// masked is an address that isn't shown as a whole, since a link doesn't tell it.
func masked(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return ""
	}
	_, size := utf8.DecodeRuneInString(address)
	return address[:min(size, at)] + "…" + address[at:]
}

func (m *emailMethod) send(w http.ResponseWriter, r *http.Request, visit Visit, request emaillink.Request, shownAddress string) error {
	request.Client, request.Mailed = visit.Client(), visit.Mailed()
	request.Tie, request.Scope, request.Next = visit.Tie(w), visit.Scope(), visit.Next()
	request.Language = m.page.pages.Language(r)
	pending, err := m.links.Ask(request)
	if err != nil {
		return visit.Fail(w, err)
	}
	pending.Shown = shownAddress
	return m.showSent(w, r, visit, http.StatusOK, pending, Shown{})
}

// showSent shows the page with the form for the code.
func (m *emailMethod) showSent(w http.ResponseWriter, r *http.Request, visit Visit, status int, pending *emaillink.Pending, shown Shown) error {
	data, err := m.page.Data(w, visit, shown)
	if err != nil {
		return visit.Fail(w, err)
	}
	sealed, err := m.links.Sealed(pending, visit.Tie(w), visit.Scope())
	if err != nil {
		return visit.Fail(w, err)
	}
	data.Kind = page.LinkSent
	data.Login.Methods = []string{stepEmailCode}
	data.Login.Pending, data.Login.Address = sealed, pending.Shown
	data.Login.Minutes, data.Login.Left = int(m.links.MaxAge()/time.Minute), shown.Left
	return m.page.pages.Write(w, r, status, data)
}

// emailCode logs a user in by the code of a mail.
type emailCode struct{ *emailMethod }

func (s emailCode) serve(w http.ResponseWriter, r *http.Request, form Form, visit Visit) error {
	pending, err := s.links.Open(form.Value(fieldPending), visit.Ties(), visit.Scope())
	switch {
	case errors.Is(err, emaillink.ErrExpired):
		return s.startAgain(w, r, visit, pending)
	case err != nil:
		return s.page.show(w, r, visit, http.StatusForbidden, Shown{Error: "stale"})
	}
	isTold, err := s.page.isTold(form, visit, token.PrimaryKey{}) // whom the code is for isn't known yet
	switch {
	case err != nil:
		return visit.Fail(w, err)
	case !isTold:
		return s.showSent(w, r, visit, http.StatusConflict, pending, Shown{Error: "stale"})
	}
	try, err := s.links.Try(pending, form.Value(fieldCode))
	switch {
	case errors.Is(err, emaillink.ErrNoneLeft):
		return s.startAgain(w, r, visit, pending)
	case err != nil:
		return s.showSent(w, r, visit, http.StatusUnprocessableEntity, pending, Shown{Error: "no_code", Field: fieldCode})
	}
	user, err := visit.Authenticate(&codeCredential{try: try, asked: pending.Time()})
	needsFactor := err == nil && s.page.NeedsFactor(user)
	if err == nil && !needsFactor {
		err = visit.Consume(user, "")
	}
	switch {
	case needsFactor:
		return s.page.ServeLink(w, r, visit, secondfactor.Link{User: user, Issued: pending.Time()}, pending.Length)
	case err == nil:
		return visit.Begin(w, user, Login{Method: methodEmailLink, Length: pending.Length, Consumed: true})
	case isLimited(err) || !authn.IsRejection(err):
		return visit.Fail(w, err)
	case try.Left == 0:
		return s.startAgain(w, r, visit, pending)
	}
	return s.showSent(w, r, visit, http.StatusUnauthorized, pending, Shown{Error: "wrong_code", Field: fieldCode, Left: try.Left})
}

// startAgain shows the forms of the login page to a user whose code is over.
func (s emailCode) startAgain(w http.ResponseWriter, r *http.Request, visit Visit, pending *emaillink.Pending) error {
	typed := make(map[string]string)
	if pending.User == "" {
		typed[fieldEmail] = pending.Shown
	}
	return s.page.show(w, r, visit, http.StatusUnauthorized, Shown{Error: "code_over", Typed: typed})
}

// isLimited reports whether an error rejects the requests of a client over a limit.
func isLimited(err error) bool {
	_, ok := errors.AsType[*limit.Exceeded](err)
	return ok
}

// codeCredential is a code of a mail.
type codeCredential struct {
	try   *emaillink.Try
	asked time.Time
}

// codeReason is a reason to reject a code.
type codeReason string

func (r codeReason) Error() string  { return emaillink.ErrWrongCode.Error() }
func (r codeReason) String() string { return string(r) }

var errWrongCode = authn.Reject(codeReason("wrong_code"))

// Scheme implements authn.Credential.
func (*codeCredential) Scheme() string { return methodEmailLink }

// Subject implements authn.Credential.
func (c *codeCredential) Subject(ctx context.Context, _ authn.At) (userstore.Key, error) {
	pk, err := c.try.Whose(ctx)
	switch {
	case errors.Is(err, emaillink.ErrWrongCode):
		return userstore.Key{}, errWrongCode
	case err != nil:
		return userstore.Key{}, err
	}
	return userstore.ByPrimaryKey(pk), nil
}

// Prove implements authn.Credential.
func (c *codeCredential) Prove(user *userstore.User) error {
	if !c.try.IsFor(user) {
		return errWrongCode
	}
	return nil
}

// Origin implements authn.Credential.
func (c *codeCredential) Origin() (fingerprint string, issued time.Time) { return "", c.asked }

// Traits implements authn.Credential.
func (c *codeCredential) Traits() authn.Traits {
	return authn.Traits{NeedsFresh: true, IsConsumed: true, Guess: c.try.Guess()}
}
