package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// english is the language that every text is in, and that pages are in where the
// configuration and the client name none.
const english = "en"

// Language has the texts of the gateway in one language.
type Language struct {
	tag     string
	rules   language.Tag      // for plurals
	speaks  variant           // of texts that have variants
	own     map[string]string // the operator's texts, by key
	builtIn map[string]text   // nil for a language that isn't built in
}

// text is a text of a file, in each of its forms: one, one by variant, or one by
// plural category.
type text map[string]string

// variant says what users log in with, which some texts speak of.
type variant string

// The variants. Their names stand in the files.
const (
	links  variant = "links"  // links alone
	logins variant = "logins" // passwords, API tokens or sessions of Django beside links
)

// single is the name of the form of a text that has no others.
const single = ""

// categories are the plural categories of CLDR, by which files name the forms of a
// text about a number.
var categories = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

// UnmarshalJSON reads a text, or an object of its forms.
func (t *text) UnmarshalJSON(data []byte) error {
	var whole string
	if json.Unmarshal(data, &whole) == nil {
		*t = text{single: whole}
		return nil
	}
	return json.Unmarshal(data, (*map[string]string)(t))
}

//go:embed texts/*.json
var textFiles embed.FS

// builtInTexts are the texts of all files, by language and key.
var builtInTexts = sync.OnceValue(func() map[string]map[string]text {
	names, _ := textFiles.ReadDir("texts")
	all := make(map[string]map[string]text, len(names))
	for _, name := range names {
		file, err := textFiles.ReadFile(path.Join("texts", name.Name()))
		texts := make(map[string]text)
		if err == nil {
			err = json.Unmarshal(file, &texts)
		}
		if err != nil {
			panic(fmt.Sprintf("the texts of %s: %v", name.Name(), err)) // unreachable: a test reads all files
		}
		all[strings.TrimSuffix(name.Name(), ".json")] = texts
	}
	return all
})

// builtInTags are the tags of the built-in languages, English first.
func builtInTags() []string {
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(builtInTexts())), func(tag string) bool { return tag == english })
	return append([]string{english}, others...)
}

// newLanguage returns a language with its built-in texts, or those of the language
// that it is a variety of, and the operator's own texts.
func newLanguage(tag string, speaks variant, own map[string]string) *Language {
	l := &Language{tag: tag, rules: language.Make(tag), speaks: speaks, own: own}
	for wider := range widening(strings.ToLower(tag)) {
		if texts, ok := builtInTexts()[wider]; ok {
			l.builtIn = texts
			break
		}
	}
	return l
}

// isComplete reports whether the language has every text.
func (l *Language) isComplete() bool {
	if l.builtIn != nil {
		return true
	}
	for key := range builtInTexts()[english] {
		if _, ok := l.find(key, plural.Other); !ok {
			return false
		}
	}
	return true
}

// Tag is the language's tag (RFC 5646), for lang attributes and Content-Language.
func (l *Language) Tag() string { return l.tag }

// Dir is the direction of the language's script, for dir attributes: ltr or rtl.
func (l *Language) Dir() string {
	switch script, _ := l.rules.Script(); script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg", "Mand", "Samr":
		return "rtl"
	}
	return "ltr"
}

// Text returns the text of a key. pairs are the names of placeholders, without
// braces, each followed by its value.
func (l *Language) Text(key string, pairs ...string) string {
	found, ok := l.find(key, plural.Other)
	if !ok {
		return key // unreachable: a test looks for all keys that the code names
	}
	return fill(found, pairs)
}

// Plural returns the text of a key for a number, which stands for {n}.
func (l *Language) Plural(key string, n int, pairs ...string) string {
	found, ok := l.find(key, l.form(n))
	if !ok {
		return key // unreachable, as in Text
	}
	return fill(strings.ReplaceAll(found, "{n}", strconv.Itoa(n)), pairs)
}

// form is the plural form of things of which there are n.
func (l *Language) form(n int) plural.Form {
	return plural.Cardinal.MatchPlural(l.rules, max(n, -n), 0, 0, 0, 0)
}

// find returns the text of a key in the form for a number, with its placeholders.
// The operator's text for all numbers comes before built-in ones for some.
func (l *Language) find(key string, form plural.Form) (found string, ok bool) {
	for _, name := range []string{key + "." + categories[form], key} {
		if own, ok := l.own[name]; ok {
			return own, true
		}
	}
	texts := l.builtIn[key]
	for _, name := range []string{single, string(l.speaks), categories[form], categories[plural.Many]} {
		if found, ok := texts[name]; ok {
			return found, true
		}
	}
	return "", false
}

// fill replaces placeholders by their values. A value is isolated where its
// direction may differ, so that a name in another script leaves the order of the
// words around it alone; and it can't change the direction of what follows it.
func fill(text string, pairs []string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	replaced := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		value := strings.Map(withoutBidiControl, pairs[i+1])
		if isRightToLeft(value) != isRightToLeft(text) {
			value = firstStrongIsolate + value + popIsolate
		}
		replaced = append(replaced, "{"+pairs[i]+"}", value)
	}
	return strings.NewReplacer(replaced...).Replace(text)
}
