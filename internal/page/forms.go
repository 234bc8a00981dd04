package page

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// LoginForms are the forms of the login page, and of the pages after it. All are
// posted to Action with the fields method and csrf.
type LoginForms struct {
	// Methods are the ways to log in, in the order in which the page shows them:
	// "password" with the fields identifier and password, "email_link" with email.
	// After a link was sent, "email_code" has the fields pending and code.
	Methods []string

	// Step is the form to go on with in place of these: "second_factor" with the
	// field pending, and the code in code or recovery. App says that the user has an
	// app that shows codes, Recovery that there are recovery codes.
	Step          string
	App, Recovery bool

	Action string
	CSRF   string

	// Pending is the field of that name, for the steps after the first.
	Pending string

	// Told is the field told of all forms: the page has named the user who is logged
	// in.
	Told string

	// Identifiers are the names that a password belongs to: "username", "email".
	Identifiers []string

	// Remember: the field length may be "remember". It may be "shared" always.
	Remember bool

	// Address is where a link was sent to, Minutes is how long it is valid, and Left
	// how often a code may still be tried after a wrong one.
	Address       string
	Minutes, Left int

	// Typed are the values that the user has typed already, by the fields' names.
	Typed map[string]string

	// Error is the name of an error among the texts, about Field, or about the whole
	// form. Wait is how long to wait, for the error "limited".
	Error, Field string
	Wait         time.Duration

	// Carried is the value of the field carried, which every form has: what the
	// browser has posted already. It is empty for nothing.
	Carried string
}

// The methods of forms, as the field method has them.
const (
	methodPassword  = "password"
	methodEmailLink = "email_link"
	methodEmailCode = "email_code"
	methodFactor    = "second_factor"
)

// form is a form as a template uses it.
type form struct {
	Method  string
	Heading string // of a form beside others
	Action  string
	Hidden  []hiddenField
	Fields  []field
	Choices []choice
	Button  string
}

// hiddenField is a field that the user doesn't see.
type hiddenField struct{ Name, Value string }

// field is a field that the user fills in.
type field struct {
	ID, Name, Type, Label, Value string

	// Autocomplete tells password managers what the field is, InputMode tells phones
	// which keyboard to show.
	Autocomplete, InputMode string

	Required, Autofocus bool

	// Error says what is wrong with the value. Hint says more of the field.
	Error, Hint string

	// Summary hides the field until the user opens it.
	Summary string
	IsOpen  bool
}

// DescribedBy are the identifiers of the texts about the field.
func (f field) DescribedBy() string {
	switch {
	case f.Error != "" && f.Hint != "":
		return f.ID + "-error " + f.ID + "-hint"
	case f.Error != "":
		return f.ID + "-error"
	case f.Hint != "":
		return f.ID + "-hint"
	}
	return ""
}

// choice is a box to tick.
type choice struct{ ID, Name, Value, Label, Hint string }

// addForms adds the forms of the login page and of the pages after it.
func (w *words) addForms(v *view, data Data) {
	forms := data.Login
	if forms == nil {
		forms = new(LoginForms)
	}
	v.Message = w.text(string(data.Kind) + ".message")
	switch data.Kind {
	case Login:
		w.introduce(v, data)
	case LinkSent:
		w.pairs = append(w.pairs, "address", forms.Address)
		v.Message = w.plural("link_sent.message", forms.Minutes)
	case Verify:
		if !forms.App && forms.Recovery {
			v.Message = w.text("verify.recovery_message")
		}
	}
	if data.Current != "" && data.Kind != Login {
		v.Notice = w.text("login.current")
	}
	for _, method := range forms.all() {
		if made, ok := w.form(method, forms); ok {
			v.Forms = append(v.Forms, made)
		}
	}
	if len(v.Forms) > 1 {
		v.Or = w.text("login.or")
	} else if len(v.Forms) == 1 {
		v.Forms[0].Heading = ""
	}
	switch data.Kind {
	case LinkSent:
		v.Ways = append(v.Ways, way{Text: w.text("link_sent.again"), URL: forms.startAgain(data.Current != "")})
	case Verify:
		v.Ways = append(v.Ways, way{Text: w.text("verify.cancel"), URL: forms.startAgain(data.Current != "")})
	}
	if forms.Error == "" {
		return
	}
	v.ErrorText = w.text("error.title")
	if !v.hasField(forms.errorField()) {
		v.Alert = w.formError(forms)
	}
}

// startAgain is the URL of the login page, from which users who are logged in would be
// sent on without the parameter switch.
func (f *LoginForms) startAgain(isLoggedIn bool) string {
	switch {
	case !isLoggedIn:
		return f.Action
	case strings.Contains(f.Action, "?"):
		return f.Action + "&switch="
	}
	return f.Action + "?switch="
}

// introduce says why the user sees the login page, and which user is logged in.
func (w *words) introduce(v *view, data Data) {
	if v.Name != "" {
		v.Title = w.text("login.title_named")
	}
	switch data.Reason {
	case "":
	case Missing:
		v.Message = w.text("login.needed")
	default:
		v.Notice = w.text(string(data.Reason) + ".title")
		v.Message = w.text(string(data.Reason) + ".message")
	}
	if data.Current != "" {
		v.Message = w.text("login.current")
	}
}

// all are the methods of the forms, the step's among them.
func (f *LoginForms) all() []string {
	if f.Step != "" {
		return []string{f.Step}
	}
	return f.Methods
}

// form returns the form of a method.
func (w *words) form(method string, forms *LoginForms) (made form, ok bool) {
	made = form{Method: method, Action: forms.Action, Hidden: []hiddenField{{"method", method}, {"csrf", forms.CSRF}}}
	if forms.Told != "" {
		made.Hidden = append(made.Hidden, hiddenField{"told", forms.Told})
	}
	if forms.Carried != "" {
		made.Hidden = append(made.Hidden, hiddenField{"carried", forms.Carried})
	}
	switch method {
	case methodPassword:
		made.Heading, made.Button = w.text("login.password_heading"), w.text("login.password_button")
		made.Fields = []field{w.identifier(forms), {Name: "password", Type: "password", Label: w.text("login.password"), Autocomplete: "current-password"}}
	case methodEmailLink:
		made.Heading, made.Button = w.text("login.link_heading"), w.text("login.link_button")
		made.Fields = []field{{Name: "email", Type: "email", Label: w.text("login.email"), Autocomplete: "email"}}
	case methodEmailCode:
		made.Button = w.text("link_sent.code_button")
		made.Fields = []field{{Name: "code", Label: w.text("link_sent.code"), Hint: w.text("link_sent.code_hint"), Autocomplete: "one-time-code", Autofocus: true}}
	case methodFactor:
		made.Button = w.text("verify.code_button")
		made.Fields = w.factorFields(forms)
	default:
		return form{}, false
	}
	if method == methodPassword || method == methodEmailLink {
		made.Choices = w.lengths(method, forms.Remember)
	} else {
		made.Hidden = append(made.Hidden, hiddenField{"pending", forms.Pending})
	}
	for i := range made.Fields {
		w.fillIn(&made.Fields[i], method, forms)
	}
	return made, true
}

// identifier is the field for the name of a user.
func (w *words) identifier(forms *LoginForms) field {
	f := field{Name: "identifier", Type: "text", Label: w.text("login.username"), Autocomplete: "username"}
	switch hasEmail := slices.Contains(forms.Identifiers, "email"); {
	case hasEmail && len(forms.Identifiers) == 1:
		f.Type, f.Label = "email", w.text("login.email")
	case hasEmail:
		f.Label, f.InputMode = w.text("login.username_or_email"), "email"
	}
	return f
}

// factorFields are the fields for the code of an app, and for a recovery code, which
// stays closed where there is an app.
func (w *words) factorFields(forms *LoginForms) []field {
	app := field{Name: "code", Label: w.text("verify.code"), Autocomplete: "one-time-code", InputMode: "numeric", Autofocus: true}
	recovery := field{Name: "recovery", Label: w.text("verify.recovery_code"), Autocomplete: "off"}
	switch {
	case !forms.Recovery:
		return []field{app}
	case !forms.App:
		recovery.Autofocus = true
		return []field{recovery}
	}
	recovery.Summary, recovery.IsOpen = w.text("verify.recovery"), forms.Field == "recovery"
	return []field{app, recovery}
}

// lengths are the choices of how long a login lasts.
func (w *words) lengths(method string, mayRemember bool) (choices []choice) {
	if mayRemember {
		choices = append(choices, choice{ID: method + "-remember", Value: "remember", Label: w.text("login.remember")})
	}
	choices = append(choices, choice{ID: method + "-shared", Value: "shared", Label: w.text("login.shared"), Hint: w.text("login.shared_hint")})
	for i := range choices {
		choices[i].Name = "length"
	}
	return choices
}

// fillIn fills in what the user has typed, and what is wrong with it.
func (w *words) fillIn(f *field, method string, forms *LoginForms) {
	f.ID = method + "-" + f.Name
	f.Type = cmp.Or(f.Type, "text")
	f.Required = method != methodFactor || !(forms.App && forms.Recovery)
	if f.Type != "password" && f.Autocomplete != "one-time-code" && f.Name != "recovery" {
		f.Value = forms.Typed[f.Name]
	}
	if forms.Error != "" && forms.errorField() == f.Name {
		f.Error, f.Autofocus = w.fieldError(f, forms), true
	}
}

// errorField is the field that the error is about: where something is missing, the
// first field that is empty.
func (f *LoginForms) errorField() string {
	if f.Error == "incomplete" && f.Field == "identifier" && f.Typed["identifier"] != "" {
		return "password"
	}
	return f.Field
}

// hasField reports whether a form has a field.
func (v *view) hasField(name string) bool {
	return name != "" && slices.ContainsFunc(v.Forms, func(f form) bool {
		return slices.ContainsFunc(f.Fields, func(f field) bool { return f.Name == name })
	})
}

// fieldError says what is wrong with a field's value.
func (w *words) fieldError(f *field, forms *LoginForms) string {
	if forms.Error != "incomplete" {
		return w.formError(forms)
	}
	switch {
	case f.Name == "password":
		return w.text("error.no_password")
	case f.Type == "email":
		return w.text("error.no_email")
	case f.Name == "identifier" && len(forms.Identifiers) > 1:
		return w.text("error.no_username_or_email")
	case f.Name == "identifier":
		return w.text("error.no_username")
	}
	return w.text("error.no_code")
}

// formError says what is wrong with a form.
func (w *words) formError(forms *LoginForms) string {
	switch forms.Error {
	case "limited":
		if n := int(math.Ceil(forms.Wait.Seconds())); n <= 60 {
			return w.plural("error.limited_seconds", n)
		}
		return w.plural("error.limited_minutes", int(math.Ceil(forms.Wait.Minutes())))
	case "wrong_code":
		return w.plural("error.wrong_code", forms.Left)
	}
	return w.text("error." + forms.Error)
}
