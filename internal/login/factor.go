package login

import (
	"cmp"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
)

// factorStep asks for the code of a second factor, after the password or a link.
type factorStep struct {
	page  *Page
	asker *secondfactor.Asker
}

// stepFactor is the method's field of the form that asks for the code.
const stepFactor = "second_factor"

// fieldRecovery is the field for a recovery code. The form has fieldPending and
// fieldCode, too.
const fieldRecovery = "recovery"

// errorWrongFactor is the error for a wrong code of an app, which has another one soon.
const errorWrongFactor = "wrong_factor"

// ask shows the form for the code to a user who has sent a form with a first proof, or
// says that the user's second factors can't be asked for here.
func (s *factorStep) ask(w http.ResponseWriter, r *http.Request, form Form, visit Visit, pending *secondfactor.Pending) error {
	isTold, err := s.page.isTold(form, visit, pending.PrimaryKey())
	if err != nil {
		return visit.Fail(w, err)
	}
	if !isTold {
		return s.page.showSwitch(w, r, visit)
	}
	return s.begin(w, r, visit, pending)
}

// begin does what ask does for a user whom the page has told already whose session ends.
func (s *factorStep) begin(w http.ResponseWriter, r *http.Request, visit Visit, pending *secondfactor.Pending) error {
	kinds, err := s.asker.Kinds(r.Context(), pending)
	if delay, ok := visit.Delay(w, err); ok {
		return s.page.showDelay(w, r, visit, delay, Shown{})
	}
	switch {
	case err != nil:
		return visit.Fail(w, err)
	case kinds == secondfactor.Kinds{}:
		s.page.logger.Debug("the user has no second factor whose code can be asked for", zap.Stringer("user", pending.PrimaryKey()))
		return s.page.showNoFactor(w, r, visit)
	}
	return s.show(w, r, visit, http.StatusOK, pending, Shown{})
}

// show writes the form for the code.
func (s *factorStep) show(w http.ResponseWriter, r *http.Request, visit Visit, status int, pending *secondfactor.Pending, shown Shown) error {
	kinds, err := s.asker.Kinds(r.Context(), pending)
	if err != nil {
		return visit.Fail(w, err)
	}
	if shown.Field == fieldCode && !kinds.App {
		shown.Field = fieldRecovery
	}
	if shown.Field == fieldRecovery && shown.Error == errorWrongFactor {
		shown.Error = "wrong_recovery" // which no wait makes right
	}
	data, err := s.page.Data(w, visit, shown)
	if err != nil {
		return visit.Fail(w, err)
	}
	data.Kind = page.Verify
	data.Login.Methods, data.Login.Step = nil, stepFactor
	data.Login.Pending = s.asker.Seal(pending, visit.Tie(w), visit.Scope())
	data.Login.App, data.Login.Recovery = kinds.App, kinds.Recovery
	return s.page.pages.Write(w, r, status, data)
}

// serve logs a user in whose code is right.
func (s *factorStep) serve(w http.ResponseWriter, r *http.Request, form Form, visit Visit) error {
	pending, err := s.asker.Open(form.Value(fieldPending), visit.Ties(), visit.Scope())
	if err != nil {
		return s.page.show(w, r, visit, http.StatusUnauthorized, Shown{Error: "code_over"})
	}
	isTold, err := s.page.isTold(form, visit, pending.PrimaryKey())
	if err != nil {
		return visit.Fail(w, err)
	}
	shown := Shown{Field: fieldCode}
	code := cmp.Or(form.Value(fieldCode), form.Value(fieldRecovery))
	if form.Value(fieldCode) == "" && code != "" {
		shown.Field = fieldRecovery
	}
	switch {
	case !isTold:
		return s.show(w, r, visit, http.StatusConflict, pending, Shown{Error: "stale"})
	case code == "":
		shown.Error = "incomplete"
		return s.show(w, r, visit, http.StatusUnprocessableEntity, pending, shown)
	}
	credential := s.asker.Credential(pending, code)
	user, err := visit.Authenticate(credential)
	if delay, ok := visit.Delay(w, err); ok {
		return s.show(w, r, visit, delay.Status, pending, Shown{Error: delay.name(), Wait: delay.Wait})
	}
	switch {
	case secondfactor.HasEnded(err):
		return s.page.show(w, r, visit, http.StatusUnauthorized, Shown{Error: "code_over"})
	case authn.IsRejection(err):
		shown.Error = errorWrongFactor
		return s.show(w, r, visit, http.StatusUnauthorized, pending, shown)
	case err != nil:
		return visit.Fail(w, err)
	}
	by := Login{Method: methodPassword, Length: pending.Length(), Fingerprint: pending.Fingerprint()}
	if pending.IsByLink() {
		by.Method, by.Consumed = methodEmailLink, true
		err = visit.Consume(user, by.Fingerprint)
	} else {
		user, err = s.asker.Upgrade(r.Context(), pending, user)
	}
	switch {
	case authn.IsRejection(err): // another login has used the link up meanwhile, or the password has changed
		return s.page.show(w, r, visit, http.StatusUnauthorized, Shown{Error: "code_over"})
	case err != nil:
		return visit.Fail(w, err)
	}
	by.Method += methodSeparator + string(credential.Kind())
	return visit.Begin(w, user, by)
}
