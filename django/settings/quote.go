package settings

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plainWord matches words that need no quotes in a Caddyfile.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:,@%=+(){}\[\]?&*-]+$`)

var (
	errBraces  = errors.New("it has a brace, in which Caddy would see a placeholder")
	errControl = errors.New("it has a control character, or isn't UTF-8")
	errQuotes  = errors.New("it has a backtick and a backslash in places where a Caddyfile can't have both")
)

// quote writes a value as one word of a Caddyfile. It fails for texts that are
// replaced even in quotes, such as {$NAME} and {host}.
func quote(value string) (string, error) {
	if strings.ContainsAny(value, "{}") {
		return "", errBraces
	}
	return quoteWord(value)
}

// quoteWord is quote for a value that has placeholders of ours.
func quoteWord(value string) (string, error) {
	switch {
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "", errControl
	case plainWord.MatchString(value):
		return value, nil
	case !strings.Contains(value, "`"):
		return "`" + value + "`", nil // all is literal up to the next backtick
	case strings.HasSuffix(value, `\`) || strings.Contains(value, `\"`) || strings.Contains(value, `\\`):
		// In double quotes, a backslash can only escape a quote: a backslash can't
		// be written in front of a quote.
		return "", errQuotes
	default:
		return `"` + strings.ReplaceAll(value, `"`, `\"`) + `"`, nil
	}
}

// harmless is text in which Caddy sees nothing to replace, and which backticks
// can stand around.
func harmless(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '{':
			return '('
		case c == '}':
			return ')'
		case c == '`':
			return '\''
		case unicode.IsControl(c) || c == utf8.RuneError:
			return ' '
		}
		return c
	}, text)
}

func isPrintable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
