package scope

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/placeholders"
)

// checkKnown rejects placeholders that would be empty for every request, so
// that no token could be valid. Placeholders of other modules are accepted.
func checkKnown(key string) error {
	if strings.HasPrefix(key, "http.auth.") {
		return fmt.Errorf("{%s} is known only after the token is checked, which requires the scope: "+
			"take the scope from the path, as in {http.request.uri.path.1}", key)
	}
	if err := placeholders.Check(key); err != nil {
		return err
	}
	if meant := placeholders.OfRequest(key); meant != "" && !strings.HasPrefix(key, "http.request.") {
		return fmt.Errorf("{%s}: Caddy knows no such placeholder; did you mean {%s}?", key, meant)
	}
	return nil
}

// checkBraces finds a placeholder that lacks a brace, which would be used as
// plain text.
func checkBraces(text string) error {
	opened := false
	for i := range len(text) {
		switch {
		case i > 0 && text[i-1] == '\\':
		case text[i] == '{':
			opened = strings.Contains(text[i:], ".") // else it is text
		case text[i] == '}' && !opened && strings.HasPrefix(text, "http."):
			return errors.New("a closing brace lacks its opening brace: write a placeholder as {http.request.uri.path.1}, and a brace of the scope itself as \\}")
		case text[i] == '}':
			opened = false
		}
	}
	if opened {
		return errors.New("an opening brace lacks its closing brace: write a placeholder as {http.request.uri.path.1}, and a brace of the scope itself as \\{")
	}
	return nil
}
