package login

import (
	"net/http"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
)

// passwordMethod is the login by a name and a password.
type passwordMethod struct {
	page   *Page
	scheme *authn.Password
}

// The fields of the form.
const (
	fieldIdentifier = "identifier"
	fieldPassword   = "password"
)

func (*passwordMethod) name() string { return methodPassword }

func (m *passwordMethod) offer(forms *page.LoginForms) { forms.Identifiers = m.scheme.Identifiers() }

// serve logs a user in whose name and password are right.
func (m *passwordMethod) serve(w http.ResponseWriter, r *http.Request, form Form, visit Visit) error {
	identifier, password := form.Value(fieldIdentifier), form.Value(fieldPassword)
	typed := map[string]string{fieldIdentifier: identifier}
	if identifier == "" || password == "" {
		return m.page.show(w, r, visit, http.StatusUnprocessableEntity, Shown{Error: "incomplete", Field: fieldIdentifier, Typed: typed})
	}
	user, err := visit.Authenticate(m.scheme.Credential(r, identifier, password))
	switch {
	case err == nil:
		return visit.Begin(w, user, Login{Method: m.name(), Length: form.Length})
	case authn.IsRejection(err):
		return m.page.show(w, r, visit, http.StatusUnauthorized, Shown{Error: "wrong_password", Field: fieldPassword, Typed: typed})
	}
	return visit.Fail(w, err)
}
