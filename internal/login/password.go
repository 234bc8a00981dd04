package login

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
)

// passwordMethod is the login by a name and a password.
type passwordMethod struct {
	page   *Page
	scheme *authn.Password
	factor *factorStep
}

// The fields of the form.
const (
	fieldIdentifier = "identifier"
	fieldPassword   = "password"
)

func (*passwordMethod) name() string { return methodPassword }

func (m *passwordMethod) offer(forms *page.LoginForms) { forms.Identifiers = m.scheme.Identifiers() }

// serve logs a user in whose name and password are right, or asks for a second
// factor.
func (m *passwordMethod) serve(w http.ResponseWriter, r *http.Request, form Form, visit Visit) error {
	typed := form.Value(fieldIdentifier)
	identifier, password := identifierOf(typed), form.Value(fieldPassword)
	shown := Shown{Typed: map[string]string{fieldIdentifier: typed}, Field: fieldPassword, Error: "wrong_password"}
	switch {
	case identifier == "":
		shown.Field, shown.Error = fieldIdentifier, "incomplete"
		return m.page.show(w, r, visit, http.StatusUnprocessableEntity, shown)
	case password == "":
		shown.Error = "incomplete"
		return m.page.show(w, r, visit, http.StatusUnprocessableEntity, shown)
	case !isText(identifier), !isText(password):
		return m.page.show(w, r, visit, http.StatusUnauthorized, shown) // neither can be a user's
	}
	user, err := visit.Authenticate(m.scheme.FormCredential(r, identifier, password))
	if proven, ok := errors.AsType[*authn.ProvenPassword](err); ok {
		return m.factor.ask(w, r, form, visit, m.factor.asker.Begin(proven, form.Length))
	}
	if delay, ok := visit.Delay(w, err); ok {
		shown.Field = ""
		return m.page.showDelay(w, r, visit, delay, shown)
	}
	switch {
	case authn.Public(err) == authn.SecondFactor:
		return m.page.showNoFactor(w, r, visit)
	case authn.IsRejection(err):
		return m.page.show(w, r, visit, http.StatusUnauthorized, shown)
	case err != nil:
		return visit.Fail(w, err)
	}
	return m.page.begin(w, r, form, visit, user, Login{Method: m.name(), Length: form.Length})
}

// identifierOf reads a name as Django's login form does (UsernameField): without
// white space around it, and in Unicode's form NFKC, which keyboards differ in.
func identifierOf(typed string) string {
	isSpace := func(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f } // as Python has it
	return norm.NFKC.String(strings.TrimFunc(typed, isSpace))
}

// isText reports whether Django's forms accept a text: it is UTF-8, without NUL.
func isText(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }
