package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// write has a page written for a client that accepts a type.
func write(t *testing.T, cfg *Config, accept string, status int, data Data) *httptest.ResponseRecorder {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Cookie")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", accept)
	if err := p.Write(w, r, status, data); err != nil {
		t.Fatal(err)
	}
	if w.Code != status {
		t.Errorf("status %d, want %d", w.Code, status)
	}
	return w
}

// wantHeader compares all of the header.
func wantHeader(t *testing.T, got http.Header, want map[string]string) {
	t.Helper()
	flat := make(map[string]string)
	for name, values := range got {
		flat[name] = strings.Join(values, ", ")
	}
	if !maps.Equal(flat, want) {
		t.Errorf("header %q, want %q", flat, want)
	}
}

func TestPageIsHTMLThatNoCacheMayKeep(t *testing.T) {
	t.Parallel()
	w := write(t, nil, "text/html", http.StatusOK, Data{Kind: Confirm, Action: "/x?sesame=<&", User: "<Zoë>"})
	body := w.Body.String()
	for _, part := range []string{
		`<html lang="en" dir="ltr">`, `<title>Log in</title>`, `<h1>Log in</h1>`, `<p>You are about to log in as &lt;Zoë&gt;.</p>`,
		`<form method="post" action="/x?sesame=%3c&amp;">`, `<button>Continue as &lt;Zoë&gt;</button>`, `content="strict-origin"`,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("%s is missing in %s", part, body)
		}
	}
	if strings.Contains(body, "Get a new link") {
		t.Errorf("the login page links to help: %s", body)
	}
	_, style, _ := strings.Cut(body, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	hash := sha256.Sum256([]byte(style))
	wantHeader(t, w.Header(), map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Vary": "Cookie, Accept, Accept-Language", "X-Content-Type-Options": "nosniff",
		"Content-Language":        "en",
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
	})
}

func TestPageIsJSONOrTextForProgrammes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		data   Data
		json   map[string]string
		text   string
	}{
		{
			http.StatusUnauthorized,
			Data{Kind: Expired, User: "Ann"},
			map[string]string{"error": "expired", "error_description": "This link has expired. It was for Ann. Links are valid for a limited time. Ask for a new one."},
			"This link has expired. It was for Ann. Links are valid for a limited time. Ask for a new one.\n",
		},
		{
			http.StatusBadRequest,
			Data{Kind: Forbidden, User: "Ann"},
			map[string]string{"error": "forbidden", "error_description": "You may not see this page. You are Ann, and this page is for others. If you need access, ask the administrators of the site."},
			"You may not see this page. You are Ann, and this page is for others. If you need access, ask the administrators of the site.\n",
		},
		{
			http.StatusOK,
			Data{Kind: LoggedOut},
			map[string]string{"page": "logged_out", "message": "You are logged out. You can close this page."},
			"You are logged out. You can close this page.\n",
		},
	} {
		rest := map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Vary": "Cookie, Accept, Accept-Language", "X-Content-Type-Options": "nosniff", "Content-Language": "en"}
		w := write(t, nil, "application/json", test.status, test.data)
		var got map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !maps.Equal(got, test.json) {
			t.Errorf("%v, %v; want %v", got, err, test.json)
		}
		rest["Content-Type"] = "application/json"
		wantHeader(t, w.Header(), rest)
		w = write(t, nil, "*/*", test.status, test.data)
		if got := w.Body.String(); got != test.text {
			t.Errorf("%q, want %q", got, test.text)
		}
		rest["Content-Type"] = "text/plain; charset=utf-8"
		wantHeader(t, w.Header(), rest)
	}
}

// failingWriter is a client that has gone.
type failingWriter struct{ *httptest.ResponseRecorder }

var errGone = errors.New("gone")

func (failingWriter) Write([]byte) (int, error) { return 0, errGone }

func TestWriteReturnsTheErrorOfAClientThatHasGone(t *testing.T) {
	t.Parallel()
	p, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{"text/html", "application/json", "*/*"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		if err := p.Write(failingWriter{httptest.NewRecorder()}, r, http.StatusOK, Data{Kind: Logout}); !errors.Is(err, errGone) {
			t.Errorf("%s: %v", accept, err)
		}
	}
}

// TestRejectionsOfLinksLinkToHelp: those who are logged in, or can't be helped
// by a link, don't get one.
func TestRejectionsOfLinksLinkToHelp(t *testing.T) {
	t.Parallel()
	cfg := &Config{HelpURL: "https://help.example.com/", Texts: map[string]string{"help": "Ask us"}}
	for _, kind := range kinds {
		body := write(t, cfg, "text/html", http.StatusUnauthorized, Data{Kind: kind, Action: "/"}).Body.String()
		want := slices.Contains([]Kind{Missing, Malformed, Expired, Invalid}, kind)
		if has := strings.Contains(body, `<a href="https://help.example.com/">Ask us</a>`); has != want {
			t.Errorf("the page %s links to help: %t, want %t", kind, has, want)
		}
		if want {
			body := write(t, cfg, "text/html", http.StatusUnauthorized, Data{Kind: kind, HelpURL: "/help?next=x"}).Body.String()
			if !strings.Contains(body, `<a href="/help?next=x">Ask us</a>`) || strings.Contains(body, "help.example.com") {
				t.Errorf("the page %s doesn't link to the page's own help_url: %s", kind, body)
			}
		}
	}
	if body := write(t, nil, "text/html", http.StatusUnauthorized, Data{Kind: Missing}).Body.String(); strings.Contains(body, "<a ") {
		t.Errorf("without help_url there is a link: %s", body)
	}
}

func TestEachTextCanBeReplaced(t *testing.T) {
	t.Parallel()
	texts := make(map[string]string)
	for _, name := range textNames() {
		texts[name] = "My " + name + " for {user} instead of {current}"
	}
	cfg := &Config{Texts: texts, Language: "de-CH", HelpURL: "/help"}
	for _, kind := range kinds {
		body := write(t, cfg, "text/html", http.StatusOK, Data{Kind: kind, Action: "/", User: "Ann", Current: "Bob"}).Body.String()
		want := []string{`<html lang="de-CH" dir="ltr">`, "<title>My " + string(kind) + ".title for Ann instead of Bob</title>", "My " + string(kind) + ".message for Ann instead of Bob</p>"}
		if kind == Login {
			want[2] = "My login.current for Ann instead of Bob</p>"
		}
		if _, hasButton := texts[string(kind)+".button"]; hasButton {
			want = append(want, "<button", ">My "+string(kind)+".button for Ann instead of Bob</button>")
		}
		if kind == Expired {
			want = append(want, "<p>My owner for Ann instead of Bob My expired.message", ">My help for Ann instead of Bob</a>")
		}
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s is missing in %s", part, body)
			}
		}
	}
	if body := write(t, cfg, "text/html", http.StatusOK, Data{Kind: Expired}).Body.String(); strings.Contains(body, "My owner") {
		t.Errorf("the page of a link whose user isn't told names one: %s", body)
	}
	for name, hint := range map[string]string{
		"confirm.titel": "did you mean confirm.title", "confirm": "", "expired.button": "", "title": "", "nothing.title": "", "nothing.message": "", "nothing.button": "", "nothing": "", "": "", "Help": "help",
	} {
		_, err := New(&Config{Texts: map[string]string{name: "x"}})
		if err == nil || !strings.HasPrefix(err.Error(), "text "+name+": there is no such text") || !strings.Contains(err.Error(), hint) {
			t.Errorf("text %q: %v", name, err)
		}
	}
}

func TestLanguageIsATag(t *testing.T) {
	t.Parallel()
	for _, language := range []string{"de", "DE", "pt-BR", "gsw", "zh-Hant-TW", "de-1996", "de-09azAZ", "az", "AZ-az", "en-12345678"} {
		p, err := New(&Config{Language: language})
		if err != nil || p.Config().Language != language {
			t.Errorf("%s: %v", language, err)
		}
	}
	for language, hint := range map[string]string{
		"pt_BR": "; write pt-BR", "german": "name", "d": "name", "d3": "name", "de-": "name", "-de": "name", "de--CH": "name", "de-123456789": "name", "de-ü": "name", "de CH": "name",
		"_": "name", "{e": "name", "d@": "name", "d[": "name", "d`": "name", "de-:": "name", "de-/": "name",
	} {
		_, err := New(&Config{Language: language})
		if err == nil || !strings.HasSuffix(err.Error(), hint) || !strings.HasPrefix(err.Error(), "language ") {
			t.Errorf("%q: %v", language, err)
		}
	}
}

func TestColorsAreInTheStyleSheet(t *testing.T) {
	t.Parallel()
	body := write(t, &Config{Colors: map[string][]string{"accent": {"#0a7f5a", "teal"}, "text": {"#123"}, "background": nil}}, "text/html", http.StatusOK, Data{Kind: Logout, Action: "/"}).Body.String()
	if want := builtInStyle + ":root { --accent: #0a7f5a; --text: #123; }\n@media (prefers-color-scheme: dark) { :root { --accent: teal; --text: #123; } }\n</style>"; !strings.Contains(body, want) {
		t.Errorf("%s isn't in %s", want, body)
	}
	for color, want := range map[string]string{
		"0a7f5a": `lacks its #: write "#0a7f5a", in quotes`, "fff": `write "#fff"`, "teel": "is not a color name of CSS; did you mean teal?", "qqqqqqqqqq": "\"qqqqqqqqqq\" is not a color name of CSS$",
		"#12": "is not a color such as", "rgb(1,2,3)": "is not a color such as", "red;": "is not a color such as",
	} {
		_, err := New(&Config{Colors: map[string][]string{"accent": {"red", color}}})
		if err == nil || !strings.HasPrefix(err.Error(), "color accent: ") || !strings.Contains(err.Error()+"$", want) {
			t.Errorf("%s: %v, want %q", color, err, want)
		}
	}
	for _, colors := range []map[string][]string{{"accent": {"red", "blue", "green"}}, {"border": {"red"}}, {"Accent": {"red"}}} {
		_, err := New(&Config{Colors: colors})
		var located *setting.Error
		if !errors.As(err, &located) {
			t.Errorf("%v: %v", colors, err)
		}
	}
}

func TestTemplateOfOnesOwn(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file(`<p lang={{.Language}} id={{.Page}}>{{.Title}}|{{.Message}}|{{.HelpURL}}|{{.HelpText}}</p><style>{{.Style}}</style>{{if .Button}}<FORM method="post" action="{{.Action}}"><button>{{.Button}}</button></FORM>{{end}}`)
	cfg := &Config{Template: good, HelpURL: "/help"}
	w := write(t, cfg, "text/html", http.StatusOK, Data{Kind: Logout, Action: "/_sesame/logout"})
	if body := w.Body.String(); !strings.Contains(body, `<p lang=en id=logout>Log out|You will need a new link to get in again.||</p>`) ||
		!strings.Contains(body, `<FORM method="post" action="/_sesame/logout"><button>Log out</button></FORM>`) || !strings.Contains(body, builtInStyle) {
		t.Errorf("%s", body)
	}
	policy := "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'none'"
	if got := w.Header().Get("Content-Security-Policy"); got != policy {
		t.Errorf("policy %q", got)
	}
	if got := w.Header()["Referrer-Policy"]; !slices.Equal(got, []string{"strict-origin"}) {
		t.Errorf("with a button: Referrer-Policy %q", got)
	}
	w = write(t, cfg, "text/html", http.StatusUnauthorized, Data{Kind: Missing})
	if got := w.Header()["Referrer-Policy"]; !slices.Equal(got, []string{"no-referrer"}) || !strings.Contains(w.Body.String(), "|/help|Get a new link</p>") {
		t.Errorf("without a button: Referrer-Policy %q, %s", got, w.Body)
	}
	for text, want := range map[string]string{
		"{{.Titel}}": "Titel", "{{": "template: ", "<p>{{.Title}}</p>": "has no form, so that no user could log in or out",
	} {
		if _, err := New(&Config{Template: file(text)}); err == nil || !strings.HasPrefix(err.Error(), "template: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := New(&Config{Template: good + "x"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "name a file that Caddy's system user can read") {
		t.Errorf("a file that isn't there: %v", err)
	}
}

// TestTemplateThatFailsWritesNothing: half a page would be taken for all of it.
func TestTemplateThatFailsWritesNothing(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(name, []byte(`<form>{{if eq .Action "/fail"}}{{index .Title 100000}}{{end}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(&Config{Template: name})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	err = p.Write(w, r, http.StatusOK, Data{Kind: Logout, Action: "/fail"})
	if err == nil || !strings.HasPrefix(err.Error(), "writing the page logout: ") || !bytes.Equal(w.Body.Bytes(), nil) {
		t.Errorf("%v, %q", err, w.Body)
	}
}

func TestExpiredHintNeedsAHelpURLThatTakesParameters(t *testing.T) {
	t.Parallel()
	for helpURL, isOK := range map[string]bool{"/help": true, "https://x.example.com/?a": true, "": false, "mailto:a@example.com": false, "/help#x": false} {
		_, err := New(&Config{ExpiredHint: true, HelpURL: helpURL})
		if (err == nil) != isOK || err != nil && !strings.HasPrefix(err.Error(), "expired_hint ") {
			t.Errorf("%q: %v", helpURL, err)
		}
	}
}

// TestPagesHaveTheirPublicNamesAndTexts: programs compare the names, which are
// those of tokens' reasons and in the documentation, too.
func TestPagesHaveTheirPublicNamesAndTexts(t *testing.T) {
	t.Parallel()
	names := strings.Fields("confirm switch logout logged_out missing malformed expired invalid forbidden limited login link_sent verify repost second_factor sessions other_login cross_site unavailable")
	titles := make(map[string]bool)
	for _, name := range names {
		if !slices.Contains(kinds, Kind(name)) {
			t.Errorf("there is no page %s", name)
		}
		for speaks := range map[variant]bool{links: true, logins: true} {
			l := newLanguage(english, speaks, nil)
			title := l.Text(name + ".title")
			if title == "" || l.Plural(name+".message", 2) == "" || titles[string(speaks)+title] {
				t.Errorf("%s: the title %q", name, title)
			}
			titles[string(speaks)+title] = true
		}
		_, hasButton := builtInTexts()[english][name+".button"]
		if want := slices.Contains([]string{"confirm", "switch", "logout", "repost"}, name); hasButton != want {
			t.Errorf("%s has a button: %t, want %t", name, hasButton, want)
		}
	}
	if len(kinds) != len(names) {
		t.Errorf("there are %d pages, want %d", len(kinds), len(names))
	}
}
