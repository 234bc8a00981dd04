package page

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// autoLanguages is the value of languages for all of them.
const autoLanguages = "auto"

// setLanguages prepares the languages that pages can be in, the default first.
func (p *Pages) setLanguages(speaks variant) error {
	if err := p.config.checkTexts(); err != nil {
		return err
	}
	tags, err := p.config.languageTags()
	if err != nil {
		return err
	}
	p.languages = nil
	for _, tag := range tags {
		p.languages = append(p.languages, newLanguage(tag, speaks, p.config.textsFor(tag, tags[0])))
	}
	p.english = newLanguage(english, speaks, p.config.textsFor(english, tags[0]))
	return nil
}

// languageTags are the tags of the languages that pages can be in, the default
// first.
func (c *Config) languageTags() ([]string, error) {
	if len(c.Languages) == 0 && (c.Language != "" || len(c.Texts) > 0 || c.Template != "") {
		// What the operator wrote is in one language, and a page is not to mix two.
		only := cmp.Or(c.Language, english)
		for _, tag := range slices.Sorted(maps.Keys(c.TextsIn)) {
			if !isWithin(only, tag) {
				return nil, setting.Errorf("text", "text %s: the pages are in the language %s alone, since language, template, or a text without a language is set: "+
					"write languages %[2]s %[1]s, or languages auto", tag, only)
			}
		}
		return []string{only}, nil
	}
	var tags []string
	if c.Language != "" {
		tags = append(tags, c.Language)
	}
	listed := c.Languages
	if len(listed) == 0 || listed[0] == autoLanguages {
		if len(listed) > 1 {
			return nil, setting.Errorf("languages", "languages: auto is all languages; write auto alone, or the languages")
		}
		if c.Language == "" {
			tags = append(tags, english)
		}
		// Longer tags come first, so that none is left out for a wider one.
		listed = slices.SortedFunc(maps.Keys(c.TextsIn), func(a, b string) int {
			return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
		})
		listed = append(listed, builtInTags()...)
		for _, tag := range listed {
			if !slices.ContainsFunc(tags, func(other string) bool { return isWithin(other, tag) }) {
				tags = append(tags, tag)
			}
		}
		return tags, nil
	}
	for i, tag := range listed {
		if err := c.checkListed(tag); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(listed[:i], func(other string) bool { return strings.EqualFold(other, tag) }) {
			return nil, setting.Errorf("languages", "languages: %s is there twice", tag)
		}
		if !strings.EqualFold(tag, c.Language) {
			tags = append(tags, tag)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(c.TextsIn)) {
		if !slices.ContainsFunc(append(tags, english), func(listed string) bool { return isWithin(listed, tag) }) {
			return nil, setting.Errorf("text", "text %s: that language isn't one of languages; add it there", tag)
		}
	}
	if !slices.ContainsFunc(tags, func(tag string) bool { return isWithin(tag, english) }) {
		tags = append(tags, english)
	}
	return tags, nil
}

// checkListed checks a language of the list: it must be built in, or the operator
// must have texts in it.
func (c *Config) checkListed(tag string) error {
	if tag == autoLanguages {
		return setting.Errorf("languages", "languages: auto is all languages; write auto alone, or the languages")
	}
	if err := checkLanguage("languages", tag); err != nil {
		return err
	}
	known := builtInTags()
	for other := range c.TextsIn {
		known = append(known, other)
	}
	if c.Language != "" {
		known = append(known, c.Language)
	}
	if !slices.ContainsFunc(known, func(other string) bool { return isWithin(tag, other) }) {
		return setting.Errorf("languages", "languages: %s is not built in, and has no text of yours; the built-in languages are %s",
			tag, strings.Join(builtInTags(), ", "))
	}
	return nil
}

// checkTexts checks the tags and names of the operator's texts.
func (c *Config) checkTexts() error {
	for _, name := range slices.Sorted(maps.Keys(c.Texts)) {
		if err := checkTextName(name, name); err != nil {
			return err
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(c.TextsIn)) {
		if err := checkLanguage("text", tag); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(c.TextsIn[tag])) {
			if err := checkTextName(tag+" "+name, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTextName checks the name of a text: a key, for a text about a number also
// with a plural category behind it. line has the language in front of it.
func checkTextName(line, name string) error {
	if slices.Contains(textNames(), name) {
		return nil
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 && slices.Contains(slices.Collect(maps.Values(categories)), name[i+1:]) {
		if _, isAboutNumber := builtInTexts()[english][name[:i]]["other"]; isAboutNumber {
			return nil
		}
	}
	return setting.Errorf("text "+line, "text %s: there is no such text; it must be like confirm.title, expired.message, logout.button, help, owner or login%s",
		line, nearest.Hint(name, textNames()))
}

// textNames are the names of all texts.
func textNames() []string { return slices.Collect(maps.Keys(builtInTexts()[english])) }

// particular are the texts that stand on some pages in the place of a more general one:
// on sites with a name, and on pages that ask for a login.
var particular = map[string]string{
	"login.title_named": "login.title",
	"login.needed":      "login.message",
}

// textsFor are the operator's texts for a language: the texts without a language if
// this is the default language, and the texts in this language, or in the language of
// which it is a variety (de for de-CH). A general text also replaces the particular one, unless the operator wrote that, too:
// otherwise the built-in text would still be shown.
func (c *Config) textsFor(tag, defaultTag string) map[string]string {
	own := make(map[string]string)
	if strings.EqualFold(tag, defaultTag) {
		maps.Copy(own, c.Texts)
	}
	varieties := slices.SortedFunc(maps.Keys(c.TextsIn), func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, wider := range varieties {
		if isWithin(tag, wider) {
			maps.Copy(own, c.TextsIn[wider])
		}
	}
	for name, general := range particular {
		text, isWritten := own[general]
		if _, isOwn := own[name]; isWritten && !isOwn {
			own[name] = text
		}
	}
	return own
}

// checkLanguage checks that a language of an option is a language tag (RFC 5646,
// section 2.1). Browsers choose the voice and the hyphenation by it.
func checkLanguage(option, language string) error {
	primary, rest, hasRest := strings.Cut(language, "-")
	isTag := isAlphanumeric(primary) && !strings.ContainsAny(primary, "0123456789") && (len(primary) == 2 || len(primary) == 3)
	if hasRest {
		for subtag := range strings.SplitSeq(rest, "-") {
			isTag = isTag && isAlphanumeric(subtag) && len(subtag) <= 8
		}
	}
	if !isTag {
		hint := ""
		if dashed := strings.ReplaceAll(language, "_", "-"); dashed != language && checkLanguage(option, dashed) == nil {
			hint = "; write " + dashed
		}
		return setting.Errorf(option, "%s %q: it must be the code of a language, such as de, en or pt-BR, and not its name%s", option, language, hint)
	}
	return nil
}

// isAlphanumeric reports whether s consists of ASCII letters and digits, and
// isn't empty.
func isAlphanumeric(s string) bool {
	isOther := func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') }
	return s != "" && !strings.ContainsFunc(s, isOther)
}
