package identity

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// template is the value of a header field: text and placeholders. Unlike
// Caddy's replacer, it keeps braces that aren't a placeholder's, as those of
// JSON. In a value that is JSON, the value of a placeholder is escaped, so
// that a quote in a user's name adds nothing to the JSON.
type template struct {
	parts  []templatePart
	isJSON bool
}

// templatePart is text, or a placeholder.
type templatePart struct {
	text        string
	placeholder string
	isQuoted    bool // in a string of JSON
}

// parseTemplate splits a value into text and placeholders. \{ and \} are
// braces, as in Caddy.
func parseTemplate(value string) template {
	var t template
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			t.parts = append(t.parts, templatePart{text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) && (value[i+1] == '{' || value[i+1] == '}') {
			i++
			text.WriteByte(value[i])
			continue
		}
		if name, ok := placeholderAt(value[i:]); ok {
			flush()
			t.parts = append(t.parts, templatePart{placeholder: name})
			i += len(name) + 1
			continue
		}
		text.WriteByte(value[i])
	}
	flush()
	t.lookForJSON()
	return t
}

// PlaceholdersIn returns the names of the placeholders in a value.
func PlaceholdersIn(value string) (names []string) {
	for _, part := range parseTemplate(value).parts {
		if part.placeholder != "" {
			names = append(names, part.placeholder)
		}
	}
	return names
}

// placeholderAt returns the name of the placeholder that a text begins with.
// It begins with a letter, and contains no character that only JSON has within
// braces.
func placeholderAt(text string) (name string, ok bool) {
	if text[0] != '{' {
		return "", false
	}
	end := strings.IndexAny(text[1:], "{}\", \t\r\n") + 1
	if end < 2 || text[end] != '}' {
		return "", false
	}
	first := text[1] | 0x20
	return text[1:end], 'a' <= first && first <= 'z'
}

// lookForJSON finds out whether the value is an object or list of JSON for any
// values of the placeholders.
func (t *template) lookForJSON() {
	var sample strings.Builder
	inString, escaped := false, false
	for i := range t.parts {
		part := &t.parts[i]
		if part.placeholder != "" {
			part.isQuoted = inString
			sample.WriteByte('0')
			continue
		}
		sample.WriteString(part.text)
		for _, c := range []byte(part.text) {
			switch {
			case escaped:
				escaped = false
			case c == '\\' && inString:
				escaped = true
			case c == '"':
				inString = !inString
			}
		}
	}
	text := strings.TrimLeft(sample.String(), " ")
	t.isJSON = text != "" && (text[0] == '{' || text[0] == '[') && json.Valid([]byte(text))
}

// fill returns the value for a request. Unknown placeholders are empty.
func (t *template) fill(repl *caddy.Replacer) string {
	var filled strings.Builder
	for i := range t.parts {
		part := &t.parts[i]
		if part.placeholder == "" {
			filled.WriteString(part.text)
			continue
		}
		value, _ := repl.GetString(part.placeholder)
		if t.isJSON {
			value = inJSON(value, part.isQuoted)
		}
		filled.WriteString(value)
	}
	return filled.String()
}

// inJSON returns a value as JSON: without quotes if the template has them;
// otherwise as a number or boolean if it is one, or as a string.
func inJSON(value string, isQuoted bool) string {
	if !isQuoted && json.Valid([]byte(value)) && !strings.ContainsAny(value, "\"[{ \t\r\n") {
		return value
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a string, to memory
	quoted := strings.TrimSuffix(text.String(), "\n")
	if isQuoted {
		return quoted[1 : len(quoted)-1]
	}
	return quoted
}

// checkBraces finds placeholders of the user that lack a brace, and would be
// passed on as plain text.
func checkBraces(value string) error {
	rest := value
	for {
		before, after, found := strings.Cut(rest, Placeholder)
		if !found {
			return nil
		}
		column := after
		if i := strings.IndexFunc(after, isNotInName); i >= 0 {
			column = after[:i]
		}
		if !strings.HasSuffix(before, "{") || !strings.HasPrefix(after[len(column):], "}") {
			return fmt.Errorf("a placeholder lacks a brace: write {%s%s}", Placeholder, column)
		}
		rest = after
	}
}

// isNotInName reports whether the name of a placeholder ends before a character.
func isNotInName(r rune) bool { return strings.ContainsRune("{}\", \t\r\n", r) }
