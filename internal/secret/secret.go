// Package secret resolves the placeholders in secrets of a configuration.
package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Resolve returns the text of an option with its placeholders replaced, such
// as {env.NAME} and {file.PATH}, and without the line breaks at the end of
// files. The error names the variable or file that is missing, and contains
// nothing else of the text.
func Resolve(option, text string) (string, error) {
	if err := checkWritten(text, !namesFile(option)); err != nil {
		return "", setting.Errorf(option, "%s: %w", option, err)
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return "", setting.Errorf(option, "%s: %w", option, missing(text))
	}
	resolved = strings.TrimRight(resolved, "\r\n")
	switch {
	case strings.TrimSpace(resolved) == "" && text != "":
		return "", setting.Errorf(option, "%s is empty, or only white space: set it", option)
	case strings.HasPrefix(resolved, "\ufeff"), strings.HasPrefix(resolved, "\xff\xfe"), strings.HasPrefix(resolved, "\xfe\xff"):
		return "", setting.Errorf(option, "%s begins with a byte order mark (BOM): save the file as UTF-8 without a BOM", option)
	case resolved != text && isPlaceholder.MatchString(resolved):
		return "", setting.Errorf(option, "%s: the variable or file that it names has a placeholder in it, which isn't replaced again: put the value itself there", option)
	}
	return resolved, nil
}

// isPlaceholder matches a text that is exactly one placeholder.
var isPlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// namesFile reports whether an option's value is the name of a file.
func namesFile(option string) bool {
	return strings.HasSuffix(option, "_file") || strings.Contains(option, "tls_")
}

// isCode matches a setting in the source code of another program.
var isCode = regexp.MustCompile(`^(os\.(environ|getenv)|getenv\(|config\(|env\(|process\.env\.|[A-Z_]*SECRET_KEY\s*=)`)

// checkWritten rejects texts that would be used as the value itself, and are
// obviously not meant as such.
func checkWritten(text string, isValue bool) error {
	if name, ok := withoutBraces(text); ok {
		return fmt.Errorf("%s would be used as the value itself: to read the variable or file, write it in braces, as {%[1]s}", name)
	}
	if variable, ok := strings.CutPrefix(text, "$"); ok && isVariableName(strings.Trim(variable, "{}")) {
		return fmt.Errorf("a shell variable isn't replaced, and would be used as the value itself: write {env.%s}", strings.Trim(variable, "{}"))
	}
	if unclosed := strings.LastIndex(text, "{"); unclosed >= 0 && !strings.Contains(text[unclosed:], "}") {
		for _, kind := range []string{"{env.", "{file."} {
			if strings.HasPrefix(text[unclosed:], kind) {
				return fmt.Errorf("a placeholder lacks its closing brace: write %s…}", kind)
			}
		}
	}
	if isCode.MatchString(text) {
		return errors.New("it is code of another program, which would be used as the value itself: write {env.NAME} for an environment variable, or the value itself in quotes")
	}
	if isValue && strings.HasPrefix(text, "/") && !strings.ContainsAny(text, "{}\n") {
		if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
			return fmt.Errorf("it is the path of a file, which would be used as the value itself: to read the file, write {file.%s}", text)
		}
	}
	return nil
}

// withoutBraces reports whether a text is a placeholder that lacks its braces.
func withoutBraces(text string) (name string, ok bool) {
	name = strings.TrimPrefix(text, "$")
	if after, isVariable := strings.CutPrefix(name, "env."); isVariable && isVariableName(after) {
		return name, true
	}
	return name, strings.HasPrefix(name, "file./") && !strings.ContainsAny(name, " {}")
}

// isVariableName reports whether a text looks like the name of an environment
// variable. Django's keys have other characters as well.
func isVariableName(text string) bool {
	for _, c := range text {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return text != ""
}

// missing returns the error for a text with a placeholder that has no value.
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
		if variable, _, ok := strings.Cut(strings.TrimPrefix(name, "env."), ":"); ok && strings.HasPrefix(name, "env.") && isVariableName(variable) {
			return fmt.Errorf("the placeholder of the environment variable %s has a default behind a colon, which only {$%[1]s:…} supports: write {env.%[1]s}, and set the variable", variable)
		}
		if variable, ok := strings.CutPrefix(name, "env."); ok && !strings.ContainsAny(variable, " \t") {
			return fmt.Errorf("the environment variable %s is empty or not set: set it where Caddy runs", variable)
		}
		if path, ok := strings.CutPrefix(name, "file."); ok {
			return unreadable(path)
		}
		if kind, _, ok := strings.Cut(name, "."); ok {
			if near := nearest.Name(kind, []string{"env", "file"}); near != "" {
				return fmt.Errorf("a placeholder in it is unknown; did you mean {%s.…}?", near)
			}
		}
	}
	return errors.New("a placeholder in it is unknown: write {env.NAME} for an environment variable, {file.PATH} for a file, and a brace of the value itself as \\{")
}

// unreadable returns why no value can be read from a file.
func unreadable(path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory: name a file", path)
	case err == nil && info.Size() == 0:
		return fmt.Errorf("the file %s is empty: write the value into it", path)
	case errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(path):
		return fmt.Errorf("the file %s doesn't exist in the directory that Caddy was started in: write its absolute path", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the file %s doesn't exist: create it, or correct the path", path)
	default:
		return fmt.Errorf("the file %s can't be read by Caddy's system user: give that user the right to read it", path)
	}
}
