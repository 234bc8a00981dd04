package page

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// loginPage is the HTML of the login page, or of one after it.
func loginPage(t *testing.T, cfg *Config, language string, data Data) string {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	if err := p.Write(w, r, http.StatusOK, data); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}

// wantParts looks for parts of a page, in their order.
func wantParts(t *testing.T, page string, parts ...string) {
	t.Helper()
	rest := page
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("%s is missing, or is in front of the part before it, in %s", part, page)
			return
		}
		rest = after
	}
}

// wantNone looks for parts that a page is not to have.
func wantNone(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(page, part) {
			t.Errorf("%s is in %s", part, page)
		}
	}
}

func TestLoginPageHasAFormForEachMethod(t *testing.T) {
	t.Parallel()
	forms := &LoginForms{
		Methods: []string{"email_link", "password"}, Action: "/_sesame/login?next=%2Fx", CSRF: "<c>", Told: "<t>",
		Identifiers: []string{"username", "email"}, Remember: true, Typed: map[string]string{"identifier": `"ann"`, "email": "ann@example.com", "password": "secret"},
	}
	page := loginPage(t, &Config{Name: "Example archive"}, "en", Data{Kind: Login, Login: forms, Reason: Missing})
	wantParts(t, page,
		`content="strict-origin"`, "<title>Log in to Example archive</title>", "<h1>Log in to Example archive</h1>", "<p>You need to log in to see this page.</p>",
		`<form method="post" action="/_sesame/login?next=%2Fx" aria-labelledby="email_link-heading">`, `<h2 id="email_link-heading">Get a link by e-mail</h2>`,
		`<input type="hidden" name="method" value="email_link">`, `<input type="hidden" name="csrf" value="&lt;c&gt;">`, `<input type="hidden" name="told" value="&lt;t&gt;">`,
		`<label for="email_link-email">E-mail address</label>`,
		`<input id="email_link-email" name="email" type="email" autocomplete="email" autocapitalize="none" spellcheck="false" value="ann@example.com" required>`,
		`<input type="checkbox" id="email_link-remember" name="length" value="remember">`, `<button>Send me a link</button>`,
		`<p class="or">or</p>`, `<h2 id="password-heading">Log in with your password</h2>`,
		`<label for="password-identifier">Username or e-mail address</label>`,
		`<input id="password-identifier" name="identifier" type="text" autocomplete="username" inputmode="email" autocapitalize="none" spellcheck="false" value="&#34;ann&#34;" required>`,
		`<input id="password-password" name="password" type="password" autocomplete="current-password" required>`,
		`<label for="password-shared">This is a shared computer</label>`, `<button>Log in</button>`)
	wantNone(t, page, "secret", "autofocus", `role="alert"`, "<script")
	if ids := regexp.MustCompile(` id="([^"]+)"`).FindAllString(page, -1); len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		t.Errorf("an id is there twice: %q", ids)
	}

	page = loginPage(t, nil, "de", Data{Kind: Login, Login: &LoginForms{Methods: []string{"password"}, Identifiers: []string{"email"}}})
	wantParts(t, page, `<html lang="de"`, "Melden Sie sich an, um fortzufahren.", `type="email" autocomplete="username"`, "Anmelden</button>")
	wantNone(t, page, "<h2", `class="or"`, `value="remember"`, "aria-labelledby", `name="told"`)
}

// TestLoginPageSaysWhyItIsShown: for which reason the browser didn't get what it
// asked for, and which user is logged in.
func TestLoginPageSaysWhyItIsShown(t *testing.T) {
	t.Parallel()
	forms := &LoginForms{Methods: []string{"password"}, Identifiers: []string{"username"}}
	wantParts(t, loginPage(t, nil, "en", Data{Kind: Login, Login: forms, Reason: Expired}), "<h1>Log in to this site</h1>", `<p class="notice">This link has expired</p>`, "<p>Links are valid")
	wantParts(t, loginPage(t, nil, "en", Data{Kind: Login, Login: forms, Current: "Bob", Ways: Staying("/x")}),
		"<p>You are logged in as Bob. Logging in as another user ends that.</p>", `<a href="/x">Stay logged in as Bob</a>`)
}

func TestTextOfTheLoginPageAlsoReplacesMoreParticularOnes(t *testing.T) {
	t.Parallel()
	data := Data{Kind: Login, Login: &LoginForms{Methods: []string{"password"}}, Reason: Missing}
	for name, test := range map[string]struct{ texts, want map[string]string }{
		"general": {
			map[string]string{"login.title": "Come in to {site}", "login.message": "Use your staff account."},
			map[string]string{"en": "<h1>Come in to Archive</h1>\n<p>Use your staff account.</p>"},
		},
		"of one language": {
			map[string]string{"de login.title": "Willkommen"},
			map[string]string{"en": "<h1>Log in to Archive</h1>", "de": "<h1>Willkommen</h1>\n<p>Um diese Seite zu sehen, müssen Sie sich anmelden.</p>"},
		},
		"general and particular": {
			map[string]string{"login.title": "Come in", "login.title_named": "This is {site}", "login.message": "Hello.", "login.needed": "You are nearly there."},
			map[string]string{"en": "<h1>This is Archive</h1>\n<p>You are nearly there.</p>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := &Config{Name: "Archive", Texts: map[string]string{}, TextsIn: map[string]map[string]string{}, Languages: []string{"auto"}}
			for key, text := range test.texts {
				if language, part, ok := strings.Cut(key, " "); ok {
					cfg.TextsIn[language] = map[string]string{part: text}
				} else {
					cfg.Texts[key] = text
				}
			}
			for language, want := range test.want {
				wantParts(t, loginPage(t, cfg, language, data), want)
			}
		})
	}
}

func TestErrorsStandBesideTheirFields(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forms LoginForms
		want  []string
	}{
		"a wrong password": {
			LoginForms{Error: "wrong_password", Field: "password"},
			[]string{"<title>Error: Log in to this site</title>", `<p class="error" id="password-password-error" role="alert">The name or the password is wrong.</p>`, `type="password" autocomplete="current-password" aria-describedby="password-password-error" aria-invalid="true" required autofocus>`},
		},
		"no name":                            {LoginForms{Error: "incomplete", Field: "identifier"}, []string{`id="password-identifier-error" role="alert">Enter your username.</p>`}},
		"no password":                        {LoginForms{Error: "incomplete", Field: "identifier", Typed: map[string]string{"identifier": "ann"}}, []string{`value="ann"`, `id="password-password-error" role="alert">Enter your password.</p>`}},
		"no address":                         {LoginForms{Error: "no_email", Field: "email"}, []string{`id="email_link-email-error" role="alert">Enter your e-mail address`}},
		"an old form":                        {LoginForms{Error: "stale"}, []string{`<p class="alert" role="alert">The form was open for too long. Please try again.</p>`, "<form"}},
		"a field that the page doesn't have": {LoginForms{Error: "stale", Field: "code"}, []string{`<p class="alert" role="alert">The form was open`}},
		"too often, for seconds":             {LoginForms{Error: "limited", Wait: 900 * time.Millisecond}, []string{"Please wait 1 second, then"}},
		"too often, for minutes":             {LoginForms{Error: "limited", Wait: 61 * time.Second}, []string{"Please wait 2 minutes, then"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.forms.Methods, test.forms.Identifiers = []string{"password", "email_link"}, []string{"username"}
			page := loginPage(t, nil, "en", Data{Kind: Login, Login: &test.forms})
			wantParts(t, page, test.want...)
			if strings.Count(page, `role="alert"`) != 1 || strings.Count(page, "autofocus") > 1 {
				t.Errorf("there is more than one error: %s", page)
			}
		})
	}
}

func TestPageAfterALinkWasSentTakesTheCode(t *testing.T) {
	t.Parallel()
	forms := &LoginForms{Methods: []string{"email_code"}, Action: "/_sesame/login", CSRF: "c", Pending: "<p>", Address: "<ann@example.com>", Minutes: 10, Error: "wrong_code", Field: "code", Left: 4, Typed: map[string]string{"code": "123"}}
	page := loginPage(t, nil, "en", Data{Kind: LinkSent, Login: forms})
	wantParts(t, page, "<h1>Check your mail</h1>", "<p>If &lt;ann@example.com&gt; belongs to an account, a link is on its way. It is valid for 10 minutes.</p>",
		`name="method" value="email_code"`, `name="pending" value="&lt;p&gt;"`, `<p class="hint" id="email_code-code-hint">Is the mail on another device?`, "The code is wrong. You have 4 attempts left.",
		`autocomplete="one-time-code" autocapitalize="none" spellcheck="false" value="" aria-describedby="email_code-code-error email_code-code-hint" aria-invalid="true" required autofocus>`, `<a href="/_sesame/login">Use another address</a>`)
	wantNone(t, page, `name="length"`, "123")
	forms.Action = "/_sesame/login?next=%2Fx"
	page = loginPage(t, nil, "en", Data{Kind: LinkSent, Login: forms, Current: "Bob"})
	wantParts(t, page, `<p class="notice">You are logged in as Bob. Logging in as another user ends that.</p>`, `<a href="/_sesame/login?next=%2Fx&amp;switch=">Use another address</a>`)
}

func TestSecondFactorIsAskedForAsTheUserHasIt(t *testing.T) {
	t.Parallel()
	show := func(forms LoginForms) string {
		forms.Step, forms.Pending = "second_factor", "p"
		return loginPage(t, nil, "en", Data{Kind: Verify, Login: &forms})
	}
	page := show(LoginForms{App: true})
	wantParts(t, page, "Enter the current code of your authenticator app.", `name="method" value="second_factor"`, `name="pending" value="p"`,
		`name="code" type="text" autocomplete="one-time-code" inputmode="numeric"`, `required autofocus>`, "<button>Continue</button>", "Log in as another user</a>")
	wantNone(t, page, "recovery")
	page = show(LoginForms{Recovery: true})
	wantParts(t, page, "Enter one of your recovery codes.", `name="recovery"`, `required autofocus>`)
	wantNone(t, page, `name="code"`, "<details")
	page = show(LoginForms{App: true, Recovery: true, Error: "wrong_factor", Field: "code"})
	wantParts(t, page, "The code is wrong, or was used already.", `name="code"`, "<details>", "<summary>If you can&#39;t use the app", `name="recovery"`)
	wantNone(t, page, "required")
	page = show(LoginForms{App: true, Recovery: true, Error: "wrong_recovery", Field: "recovery"})
	wantParts(t, page, `name="code"`, "<details open>", "This recovery code is wrong", `name="recovery"`)
}

// TestTextsOfFormsAreOfOneLanguage: no English text is on the pages in other languages,
// with every error.
func TestTextsOfFormsAreOfOneLanguage(t *testing.T) {
	t.Parallel()
	english := newLanguage(english, links, nil)
	for _, tag := range testedLanguages[1:] {
		l := newLanguage(tag, links, nil)
		for _, name := range []string{"", "stale", "too_large", "wrong_password", "incomplete", "no_email", "no_code", "limited", "wrong_code", "wrong_factor", "wrong_recovery", "code_over", "unavailable"} {
			forms := &LoginForms{Methods: []string{"password", "email_link"}, Step: "", App: true, Recovery: true, Remember: true, Identifiers: []string{"username", "email"}, Error: name, Minutes: 7, Left: 3, Wait: 7 * time.Second}
			for _, kind := range []Kind{Login, LinkSent, Verify} {
				forms.Step = map[Kind]string{LinkSent: "email_code", Verify: "second_factor"}[kind]
				page := loginPage(t, nil, tag, Data{Kind: kind, Login: forms, Reason: Missing})
				if !strings.Contains(page, `<html lang="`+tag+`"`) {
					t.Fatalf("%s: the page %s is in another language: %s", tag, kind, page)
				}
				for key := range builtInTexts()["en"] {
					for _, text := range []string{english.Plural(key, 7), english.Plural(key, 3)} {
						if len(text) > 12 && strings.Contains(page, ">"+text+"<") && text != l.Plural(key, 7) {
							t.Errorf("%s, page %s, error %q: %q is English", tag, kind, name, text)
						}
					}
				}
			}
		}
	}
}

// TestTemplateShowsWhatUsersNeed: an operator's template that lacks it is accepted where
// there is no page with it.
func TestTemplateShowsWhatUsersNeed(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "page.html")
	const heading = `<h1>{{.Title}}</h1>{{if .Repost}}{{template "repost" .}}{{else if .Button}}<form><button>{{.Button}}</button></form>{{end}}`
	const ownForms = `{{range .Forms}}<form>{{range .Hidden}}{{.Value}}{{end}}</form>{{end}}`
	const ownRepost = `{{with .Repost}}<form>{{range .Fields}}<input name="{{.Name}}" value="{{.Value}}">{{end}}</form>{{end}}`
	for _, test := range []struct {
		text             string
		login, sessions  string // the error of a site with them; empty for none
		doesNotKeepForms bool
	}{
		{heading, `write {{template "forms" .}}`, `write {{template "sessions" .}}`, false},
		{heading + `{{template "forms" .}}`, "", `write {{template "sessions" .}}`, false},
		{heading + ownForms, "", `write {{template "sessions" .}}`, false},
		{heading + `{{template "forms" .}}{{template "sessions" .}}`, "", "", false},
		{heading + `{{with .Sessions}}{{range .Rows}}<form><button value="{{.ID}}"></button></form>{{end}}{{end}}`, `write {{template "forms" .}}`, "", false},
		{`{{if .Button}}<form><button>{{.Button}}</button></form>{{end}}{{/* .Repost */}}{{template "forms" .}}`, "", `write {{template "sessions" .}}`, true},
		{`{{if .Button}}<form><button>{{.Button}}</button></form>{{end}}{{template "forms" .}}` + ownRepost, "", `write {{template "sessions" .}}`, false},
	} {
		if err := os.WriteFile(name, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := New(&Config{Template: name})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CheckTemplate(false, false); err != nil {
			t.Errorf("%s: without such pages: %v", test.text, err)
		}
		wantTemplateError(t, test.text, p.CheckTemplate(true, false), test.login)
		wantTemplateError(t, test.text, p.CheckTemplate(false, true), test.sessions)
		if p.CanRepost() == test.doesNotKeepForms {
			t.Errorf("%s: keeps forms: %t", test.text, p.CanRepost())
		}
	}
}

// wantTemplateError checks for a part of an error, empty for none.
func wantTemplateError(t *testing.T, text string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", text, err, want)
	}
}
