package page

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// tagsOf are the tags of languages.
func tagsOf(languages []*Language) []string {
	var tags []string
	for _, l := range languages {
		tags = append(tags, l.Tag())
	}
	return tags
}

func TestLanguagesOfAConfiguration(t *testing.T) {
	t.Parallel()
	own := map[string]string{"confirm.title": "x"}
	for name, test := range map[string]struct {
		cfg  *Config
		want string // the default first
	}{
		"none":                                   {nil, "en ar de es fr it ja nl pl pt tr"},
		"colors alone":                           {&Config{Colors: map[string][]string{"accent": {"teal"}}}, "en ar de es fr it ja nl pl pt tr"},
		"auto":                                   {&Config{Languages: []string{"auto"}}, "en ar de es fr it ja nl pl pt tr"},
		"a language alone":                       {&Config{Language: "de"}, "de"},
		"one that isn't built in":                {&Config{Language: "fi", Texts: own}, "fi"},
		"texts of unknown language":              {&Config{Texts: own}, "en"},
		"a template":                             {&Config{Template: "page.html"}, "en"},
		"a variety and its texts":                {&Config{Language: "de-CH", TextsIn: map[string]map[string]string{"de": own}}, "de-CH"},
		"a list":                                 {&Config{Languages: []string{"de", "fr"}}, "de fr en"},
		"a list with English":                    {&Config{Languages: []string{"de", "en-GB"}}, "de en-GB"},
		"a list and its default":                 {&Config{Languages: []string{"de", "fr"}, Language: "fr"}, "fr de en"},
		"auto and a default":                     {&Config{Languages: []string{"auto"}, Language: "de-CH"}, "de-CH en ar es fr it ja nl pl pt tr"},
		"auto and texts of unknown language":     {&Config{Languages: []string{"auto"}, Texts: own}, "en ar de es fr it ja nl pl pt tr"},
		"texts of languages":                     {&Config{TextsIn: map[string]map[string]string{"fi": own, "pt-BR": own, "de": own}}, "en pt-BR de fi ar es fr it ja nl pl tr"},
		"auto, a variety and texts of the whole": {&Config{Languages: []string{"auto"}, Language: "de-CH", TextsIn: map[string]map[string]string{"de": own}}, "de-CH en ar es fr it ja nl pl pt tr"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := new(Pages)
			if test.cfg != nil {
				p.config = *test.cfg
			}
			if err := p.setLanguages(links); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(tagsOf(p.languages), " "); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestLanguagesThatCannotBeRightAreRejected(t *testing.T) {
	t.Parallel()
	own := map[string]string{"confirm.title": "x"}
	for want, cfg := range map[string]*Config{
		"languages: fi is not built in":                         {Languages: []string{"de", "fi"}},
		`languages "german": it must be the code of a language`: {Languages: []string{"german"}},
		`languages "pt_BR": it must be the code of a language, such as de, en or pt-BR, and not its name; write pt-BR`: {Languages: []string{"pt_BR"}},
		"languages: DE is there twice":                         {Languages: []string{"de", "DE"}},
		"languages: auto is all languages":                     {Languages: []string{"auto", "de"}},
		"languages: auto is all languages; ":                   {Languages: []string{"de", "auto"}},
		"text fr: that language isn't one of languages":        {Languages: []string{"de"}, TextsIn: map[string]map[string]string{"fr": own}},
		"text fr: the pages are in the language de alone":      {Language: "de", TextsIn: map[string]map[string]string{"fr": own}},
		"write languages en fr, or languages auto":             {Texts: own, TextsIn: map[string]map[string]string{"fr": own}},
		`text "deutsch": it must be the code of a language`:    {TextsIn: map[string]map[string]string{"deutsch": own}},
		"text de confirm.titel: there is no such text":         {TextsIn: map[string]map[string]string{"de": {"confirm.titel": "x"}}},
		"text error.wrong_password.one: there is no such text": {Texts: map[string]string{"error.wrong_password.one": "x"}},
		"text error.wrong_code.most: there is no such text":    {Texts: map[string]string{"error.wrong_code.most": "x"}},
	} {
		_, err := New(cfg)
		var located *setting.Error
		if !errors.As(err, &located) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, cfg := range []*Config{
		{Texts: map[string]string{"error.wrong_code.one": "x", "error.wrong_code.few": "x", "error.wrong_code": "x"}},
		{Languages: []string{"fi"}, Language: "fi"},
		{Languages: []string{"fi"}, TextsIn: map[string]map[string]string{"fi": own}},
		{Languages: []string{"de-CH", "pt-BR"}, TextsIn: map[string]map[string]string{"de": own, "en": own}},
	} {
		if _, err := New(cfg); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestClientsGetTheLanguageThatTheyPrefer(t *testing.T) {
	t.Parallel()
	all := []string{"auto"}
	for _, test := range []struct {
		name      string
		languages []string
		accepted  []string
		want      string
	}{
		{"nothing is said", all, nil, "en"},
		{"anything", all, []string{"*"}, "en"},
		{"a browser in Germany", all, []string{"de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"}, "de"},
		{"a variety", all, []string{"pt-BR"}, "pt"},
		{"a variety of a variety", all, []string{"zh-Hant-TW, ar-Latn-x-u-EG"}, "ar"},
		{"in capitals and with spaces", all, []string{" PT-br ; q=1 "}, "pt"},
		{"by weight", all, []string{"de;q=0.1, fr;q=0.3, it;q=0.2"}, "fr"},
		{"by order", all, []string{"fr, de"}, "fr"},
		{"in two fields", all, []string{"fi, de;q=0.5", "fr;q=0.6"}, "fr"},
		{"a language that isn't there first", all, []string{"fi, sv;q=0.9, nl;q=0.1"}, "nl"},
		{"none that is there", all, []string{"fi, sv"}, "en"},
		{"one is excluded", all, []string{"de;q=0, fr;q=0.1"}, "fr"},
		{"a weight that is none", all, []string{"de;q=x, fr;q=NaN, it;q=0.1"}, "it"},
		{"a word that is only like a tag", all, []string{"deutsch, d, -, ,;, de-, e"}, "de"},
		{"too long", all, []string{"de-" + strings.Repeat("x", 40) + ", fr;q=0.1"}, "fr"},
		{"too many", all, []string{strings.Repeat("xx,", mostRanges) + "de"}, "en"},
		{"English where others are listed", []string{"de", "fr"}, []string{"en-GB"}, "en"},
		{"none that is listed", []string{"de", "fr"}, []string{"it"}, "de"},
		{"a whole language where a variety is listed", []string{"fr", "de-CH"}, []string{"de"}, "de-CH"},
		{"another variety than the one that is listed", []string{"fr", "de-CH"}, []string{"de-AT"}, "de-CH"},
		{"a variety and its language", []string{"fr", "de-CH", "de"}, []string{"de-AT"}, "de"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := New(&Config{Languages: test.languages})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Accept-Language"] = test.accepted
			if got := p.Language(r).Tag(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// FuzzPreferredLanguage reads any Accept-Language.
func FuzzPreferredLanguage(f *testing.F) {
	for _, accepted := range []string{
		"", "*", "de-DE,de;q=0.9,en;q=0.8", "pt-BR", "zh-Hant-TW;q=0.1,ja", "de-1996-x-y", "-,--,de-,-de", ";q=1e400,fr;Q=0.5", "i-klingon, x-a, a-", "de;q=0,de",
	} {
		f.Add(accepted, "fr;q=0.5")
	}
	p, err := New(&Config{Languages: []string{"de-CH", "de", "fr", "ja"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, accepted, more string) {
		got := preferredLanguage(p.languages, []string{accepted, more})
		if together := preferredLanguage(p.languages, []string{accepted + "," + more}); together != got {
			t.Errorf("%q and %q: %s, as one field %s", accepted, more, got.Tag(), together.Tag())
		}
		primary, _, _ := strings.Cut(got.Tag(), "-")
		if got != p.languages[0] && !strings.Contains(strings.ToLower(accepted+","+more), primary) {
			t.Errorf("%q, %q: %s, which isn't named", accepted, more, got.Tag())
		}
		if !slices.Contains(p.languages, got) {
			t.Errorf("%q: a language that isn't configured", accepted)
		}
	})
}

// TestPageIsInOneLanguage: Content-Language, lang and dir are those of all texts,
// also in JSON and in plain text. A language with some texts has only the pages of
// which it has all.
func TestPageIsInOneLanguage(t *testing.T) {
	t.Parallel()
	cfg := &Config{
		HelpURL: "/help", Language: "fi", Languages: []string{"fi", "ar", "de"},
		Texts:   map[string]string{"missing.title": "Tarvitset linkin", "missing.message": "Avaa linkki.", "logged_out.title": "Ulos", "logged_out.message": "Sulje sivu."},
		TextsIn: map[string]map[string]string{"de": {"logged_out.message": "Tschüss."}},
	}
	for _, test := range []struct {
		accepted     string
		kind         Kind
		tag          string
		said, unsaid []string
	}{
		{"fi", LoggedOut, "fi", []string{`lang="fi" dir="ltr"`, "Ulos", "Sulje sivu."}, []string{"You are"}},
		{"fi", Missing, "en", []string{`lang="en" dir="ltr"`, "You need a link", "Get a new link"}, []string{"Tarvitset", "Avaa"}}, // the link's text is missing
		{"fi", Expired, "en", []string{"This link has expired"}, nil},
		{"de-AT", LoggedOut, "de", []string{`lang="de"`, "Sie sind abgemeldet", "Tschüss."}, []string{"Ulos", "Sulje", "schließen"}},
		{"ar", Missing, "ar", []string{`lang="ar" dir="rtl"`, "طلب رابط جديد"}, []string{"Tarvitset", "Get a new link"}},
		{"en", LoggedOut, "en", []string{"You are logged out"}, []string{"Ulos"}},
		{"sv", LoggedOut, "fi", []string{"Ulos"}, nil},
	} {
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, accept := range []string{"text/html", "application/json", "*/*"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept", accept)
			r.Header.Set("Accept-Language", test.accepted)
			w := httptest.NewRecorder()
			if err := p.Write(w, r, http.StatusUnauthorized, Data{Kind: test.kind}); err != nil {
				t.Fatal(err)
			}
			if got := w.Header().Get("Content-Language"); got != test.tag || !slices.Contains(w.Header()["Vary"], "Accept-Language") {
				t.Errorf("%s, %s, %s: Content-Language %q, Vary %q", test.accepted, test.kind, accept, got, w.Header()["Vary"])
			}
			for _, said := range test.said {
				if !strings.Contains(w.Body.String(), said) && (accept == "text/html" || test.kind == LoggedOut && !strings.Contains(said, "lang=")) {
					t.Errorf("%s, %s: %q is missing in %s", test.accepted, accept, said, w.Body)
				}
			}
			for _, unsaid := range test.unsaid {
				if strings.Contains(w.Body.String(), unsaid) {
					t.Errorf("%s, %s: %q is in %s", test.accepted, accept, unsaid, w.Body)
				}
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", "fi")
		if got := p.Language(r).Tag(); got != english {
			t.Errorf("a language that lacks texts is offered to others: %s", got)
		}
	}
	w := write(t, &Config{Language: "de"}, "text/html", http.StatusOK, Data{Kind: LoggedOut})
	if slices.Contains(w.Header()["Vary"], "Accept-Language") || !strings.Contains(w.Body.String(), "Sie sind abgemeldet") {
		t.Errorf("pages in one language: Vary %q, %s", w.Header()["Vary"], w.Body)
	}
}
