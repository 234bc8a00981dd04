package placeholders

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Unreplaced is a placeholder in an option whose placeholders nothing replaces.
type Unreplaced struct {
	Option string // as in JSON: session.domain
	Name   string
}

// written matches a placeholder in one of Caddy's namespaces.
var written = regexp.MustCompile(`\{((?:env|file|http|system|time)\.[^{}\s]+)\}`)

// FindUnreplaced returns the placeholders in a configuration's texts but for those of
// the options that isReplaced names, in the order of their options. An option is named
// by its path in JSON, in which lists and maps have no index: identity.value.
func FindUnreplaced(config any, isReplaced func(option string) bool) ([]Unreplaced, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("looking for placeholders: %w", err)
	}
	var parsed any
	if err := json.Unmarshal(text, &parsed); err != nil {
		return nil, fmt.Errorf("looking for placeholders: %w", err)
	}
	var found []Unreplaced
	visit(parsed, "", func(option, text string) {
		if isReplaced(option) {
			return
		}
		for _, match := range written.FindAllStringSubmatch(text, -1) {
			found = append(found, Unreplaced{option, match[1]})
		}
	})
	return found, nil
}

// visit calls see for each text of a configuration.
func visit(value any, option string, see func(option, text string)) {
	switch value := value.(type) {
	case string:
		see(option, value)
	case []any:
		for _, element := range value {
			visit(element, option, see)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			visit(value[name], strings.TrimPrefix(option+"."+name, "."), see)
		}
	}
}
