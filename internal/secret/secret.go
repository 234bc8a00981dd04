// Package secret resolves the placeholders in secrets of a configuration.
package secret

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Resolve returns the text of an option with its placeholders replaced,
// {env.NAME} and {file.PATH} among them, and without line breaks at its end,
// which files have. The error names the variable or file that is missing, and
// holds nothing else of the text.
func Resolve(option, text string) (string, error) {
	if name, ok := withoutBraces(text); ok {
		return "", setting.Errorf(option, "%s: %s is taken as it stands, as a value: to have the variable or file read, write it in braces, as {%[2]s}", option, name)
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return "", setting.Errorf(option, "%s: %w", option, missing(text))
	}
	resolved = strings.TrimRight(resolved, "\r\n")
	if resolved == "" && text != "" {
		return "", setting.Errorf(option, "%s is empty", option)
	}
	return resolved, nil
}

// withoutBraces reports whether a text is a placeholder that lacks its braces.
func withoutBraces(text string) (name string, ok bool) {
	name = strings.TrimPrefix(text, "$")
	if after, isVariable := strings.CutPrefix(name, "env."); isVariable && isVariableName(after) {
		return name, true
	}
	return name, strings.HasPrefix(name, "file./") && !strings.ContainsAny(name, " {}")
}

// isVariableName reports whether a text is a name as environment variables
// have it: A key of Django's has other characters as well.
func isVariableName(text string) bool {
	for _, c := range text {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return text != ""
}

// missing is the error for a text with a placeholder that has no value.
func missing(text string) error {
	for rest := text; ; {
		_, after, opens := strings.Cut(rest, "{")
		name, next, closes := strings.Cut(after, "}")
		if !opens || !closes {
			break
		}
		rest = next
		if value, found := caddy.NewReplacer().GetString(name); found && value != "" {
			continue
		}
		if variable, ok := strings.CutPrefix(name, "env."); ok && !strings.ContainsAny(variable, " \t") {
			return fmt.Errorf("the environment variable %s is empty or not set: set it where Caddy runs", variable)
		}
		if path, ok := strings.CutPrefix(name, "file."); ok {
			return fmt.Errorf("the file %s is empty, or can't be read by the user that Caddy runs as", path)
		}
		if kind, _, ok := strings.Cut(name, "."); ok {
			if near := nearest.Name(kind, []string{"env", "file"}); near != "" {
				return fmt.Errorf("a placeholder in it is unknown; did you mean {%s.…}?", near)
			}
		}
	}
	return errors.New("a placeholder in it is unknown: write {env.NAME} for an environment variable, {file.PATH} for a file, and a brace of the value itself as \\{")
}
