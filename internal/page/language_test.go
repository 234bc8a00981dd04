package page

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/feature/plural"
)

// testedLanguages are the built-in languages that the documentation promises.
var testedLanguages = strings.Fields("en ar de es fr it ja nl pl pt tr")

// formsOf are the plural forms of a language that whole numbers have.
func formsOf(l *Language) map[string]int {
	forms := make(map[string]int)
	for n := 200; n >= 0; n-- {
		forms[categories[l.form(n)]] = n
	}
	return forms
}

// placeholdersOf are those of a text, sorted.
func placeholdersOf(text string) []string {
	return slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`\{\w*\}`).FindAllString(text, -1))))
}

// TestLanguagesHaveEveryText compares each language with English: the keys, their
// forms, and the placeholders of each form. A form for a single number may say the
// number in words.
func TestLanguagesHaveEveryText(t *testing.T) {
	t.Parallel()
	if tags := builtInTags(); !slices.Equal(tags, testedLanguages) {
		t.Fatalf("the languages are %q, want %q", tags, testedLanguages)
	}
	for _, tag := range testedLanguages {
		l := newLanguage(tag, links, nil)
		forms := formsOf(l)
		for key, inEnglish := range builtInTexts()[english] {
			texts, ok := l.builtIn[key]
			if !ok {
				t.Errorf("%s lacks %s", tag, key)
				continue
			}
			want := slices.Sorted(maps.Keys(inEnglish))
			if _, isAboutNumber := inEnglish["other"]; isAboutNumber {
				want = slices.Sorted(maps.Keys(forms))
			}
			if got := slices.Sorted(maps.Keys(texts)); !slices.Equal(got, want) {
				t.Errorf("%s: %s has the forms %q, want %q", tag, key, got, want)
			}
			for form, text := range texts {
				pattern, ok := inEnglish[form]
				if !ok {
					pattern = inEnglish["other"]
				}
				got, want := placeholdersOf(text), placeholdersOf(pattern)
				isOneNumber := slices.Contains([]string{"zero", "one", "two"}, form) && !isSeveral(l, form)
				if isOneNumber && !slices.Contains(got, "{n}") {
					want = slices.DeleteFunc(want, func(name string) bool { return name == "{n}" })
				}
				if strings.TrimSpace(text) != text || text == "" || !slices.Equal(got, want) {
					t.Errorf("%s: %s, %s: %q has the placeholders %q, want %q", tag, key, form, text, got, want)
				}
			}
		}
		for key := range l.builtIn {
			if _, ok := builtInTexts()[english][key]; !ok {
				t.Errorf("%s has %s, which English hasn't", tag, key)
			}
		}
	}
}

// isSeveral reports whether a form is that of several numbers up to 200.
func isSeveral(l *Language, form string) bool {
	numbers := 0
	for n := range 200 {
		if categories[l.form(n)] == form {
			numbers++
		}
	}
	return numbers > 1
}

// TestTextsAreOfTheirLanguage: no text was left in English, and none is in the
// file of another language. Short ones are the same in several.
func TestTextsAreOfTheirLanguage(t *testing.T) {
	t.Parallel()
	all := make(map[string]string) // where a sentence stands
	for _, tag := range testedLanguages {
		for key, forms := range builtInTexts()[tag] {
			for form, text := range forms {
				if len(text) < 32 {
					continue
				}
				if other, ok := all[text]; ok && !strings.HasPrefix(other, tag+" ") {
					t.Errorf("%s %s %s is the text of %s: %q", tag, key, form, other, text)
				}
				all[text] = tag + " " + key
			}
		}
	}
	for tag, script := range map[string]string{"ar": `\p{Arabic}`, "ja": `[\p{Hiragana}\p{Katakana}\p{Han}]`} {
		for key, forms := range builtInTexts()[tag] {
			for _, text := range forms {
				if !regexp.MustCompile(script).MatchString(text) && key != "sessions.client" {
					t.Errorf("%s: %s is %q", tag, key, text)
				}
			}
		}
	}
}

// TestPluralForms compares the forms with those of CLDR's charts.
func TestPluralForms(t *testing.T) {
	t.Parallel()
	for tag, numbers := range map[string]map[int]plural.Form{
		"en": {0: plural.Other, 1: plural.One, 2: plural.Other},
		"fr": {0: plural.One, 1: plural.One, 2: plural.Other},
		"ja": {0: plural.Other, 1: plural.Other},
		"pl": {0: plural.Many, 1: plural.One, 2: plural.Few, 4: plural.Few, 5: plural.Many, 12: plural.Many, 14: plural.Many, 21: plural.Many, 22: plural.Few, 112: plural.Many, 122: plural.Few},
		"ar": {0: plural.Zero, 1: plural.One, 2: plural.Two, 3: plural.Few, 10: plural.Few, 11: plural.Many, 99: plural.Many, 100: plural.Other, 102: plural.Other, 103: plural.Few, 111: plural.Many},
	} {
		for n, want := range numbers {
			if got := newLanguage(tag, links, nil).form(n); got != want {
				t.Errorf("%s: %d has the form %s, want %s", tag, n, categories[got], categories[want])
			}
		}
	}
	for want, got := range map[string]string{
		"The code is wrong. You have 1 attempt left.":  newLanguage("en", links, nil).Plural("error.wrong_code", 1),
		"The code is wrong. You have 2 attempts left.": newLanguage("en", links, nil).Plural("error.wrong_code", 2),
		"Kod jest nieprawidłowy. Pozostały 3 próby.":   newLanguage("pl", links, nil).Plural("error.wrong_code", 3),
		"Kod jest nieprawidłowy. Pozostało 5 prób.":    newLanguage("pl", links, nil).Plural("error.wrong_code", 5),
		"الرمز غير صحيح. بقيت لك محاولتان.":            newLanguage("ar", links, nil).Plural("error.wrong_code", 2),
		"الرمز غير صحيح. بقيت لك 4 محاولات.":           newLanguage("ar", links, nil).Plural("error.wrong_code", 4),
		"mine: 2":  newLanguage("en", links, map[string]string{"error.wrong_code": "mine: {n}"}).Plural("error.wrong_code", 2),
		"only one": newLanguage("en", links, map[string]string{"error.wrong_code": "mine: {n}", "error.wrong_code.one": "only one"}).Plural("error.wrong_code", 1),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDirectionIsThatOfTheScript(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{
		"ar": "rtl", "ar-EG": "rtl", "he": "rtl", "fa": "rtl", "ur": "rtl", "az-Arab": "rtl", "pa-Arab": "rtl",
		"en": "ltr", "ja": "ltr", "az": "ltr", "ar-Latn": "ltr", "tlh": "ltr",
	} {
		if got := newLanguage(tag, links, nil).Dir(); got != want {
			t.Errorf("%s: %s, want %s", tag, got, want)
		}
	}
}

// TestNamesDontChangeTheDirectionOfTexts: a name in another script is isolated, and
// can't turn what follows it.
func TestNamesDontChangeTheDirectionOfTexts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ tag, name, want string }{
		{"en", "Ann", "It was for Ann."},
		{"en", "عمر", "It was for \u2068عمر\u2069."},
		{"en", "Ann\u202e\u2066\u200f", "It was for Ann."},
		{"ar", "Ann", "كان مخصصًا للمستخدم \u2068Ann\u2069."},
		{"ar", "عمر", "كان مخصصًا للمستخدم عمر."},
		{"en", "{current}", "It was for {current}."},
	} {
		if got := newLanguage(test.tag, links, nil).Text("owner", "user", test.name, "current", "Bob"); got != test.want {
			t.Errorf("%s, %q: %q, want %q", test.tag, test.name, got, test.want)
		}
	}
}

// TestTextsThatTheCodeNamesExist looks for the keys in calls of Text and Plural.
func TestTextsThatTheCodeNamesExist(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"../../*.go", "../*/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	found := 0
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\.([tT]ext|[pP]lural)\("([a-z_]+\.[a-z_]+)"`).FindAllStringSubmatch(string(code), -1) {
			found++
			text, ok := builtInTexts()[english][match[2]]
			if _, isAboutNumber := text["other"]; !ok || isAboutNumber != strings.EqualFold(match[1], "plural") {
				t.Errorf("%s: %s(%q): there is no such text", file, match[1], match[2])
			}
		}
	}
	if found == 0 {
		t.Error("no call was found")
	}
	for _, kind := range kinds {
		for _, way := range kind.Ways(Places{Same: "/", Login: "/", Other: "/", Logout: "/", Site: "/"}) {
			if _, ok := builtInTexts()[english][way.Key]; !ok {
				t.Errorf("the page %s: there is no text %s", kind, way.Key)
			}
		}
	}
}

// TestPagesSpeakOfLogins: where there is more than links, no page speaks of links
// alone, and the operator's texts stay.
func TestPagesSpeakOfLogins(t *testing.T) {
	t.Parallel()
	const own = "Your VPN is off"
	p, err := New(&Config{Texts: map[string]string{"missing.title": own}, Languages: []string{"auto"}})
	if err != nil {
		t.Fatal(err)
	}
	p.SpeakOfLogins()
	for _, l := range p.languages {
		for key, text := range l.builtIn {
			want, hasVariants := text["logins"]
			if key == "missing.title" && l.Tag() == english {
				want = own
			}
			if got := l.Text(key); hasVariants && got != want {
				t.Errorf("%s: %s is %q, want %q", l.Tag(), key, got, want)
			}
		}
	}
}

// TestLoginTitlesAreInTroubleshooting looks for the titles in the guide.
func TestLoginTitlesAreInTroubleshooting(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		if title := newLanguage(english, logins, nil).Text(string(kind) + ".title"); !strings.Contains(string(guide), fmt.Sprintf("| %s |", title)) {
			t.Errorf("docs/troubleshooting.md doesn't name %q, the title of %s", title, kind)
		}
	}
}

// TestErrorsOfTheLoginPageHaveTexts looks for the names of errors in the code that
// answers its forms.
func TestErrorsOfTheLoginPageHaveTexts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../login/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?:Error:|shown\.Error =) "(\w+)"`).FindAllStringSubmatch(string(code), -1) {
			found++
			forms := &LoginForms{Methods: []string{"password"}, Error: match[1]}
			words := &words{language: newLanguage(english, logins, nil)}
			if text := words.formError(forms); text == "" || words.lacksText {
				t.Errorf("%s: there is no text for the error %s", file, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("no error was found")
	}
}
