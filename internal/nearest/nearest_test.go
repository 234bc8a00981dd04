package nearest

import (
	"strings"
	"testing"
)

func TestNameFindsWhatWasMeant(t *testing.T) {
	t.Parallel()
	names := []string{"max_age", "one_time", "secret_key", "secret_key_fallbacks", "scope", "session", "token_name", "token_from", "key", "salt", "query_timeout"}
	for word, want := range map[string]string{
		"maxage":                "max_age",
		"max-age":               "max_age",
		"MAX_AGE":               "max_age",
		"SESAME_MAX_AGE":        "max_age",
		"max_aeg":               "max_age",
		"onetime":               "one_time",
		"secretkey":             "secret_key",
		"SECRET_KEY_FALLBACK":   "secret_key_fallbacks",
		"sessions":              "session",
		"tokenname":             "token_name",
		"slat":                  "salt",
		"reverse_proxy":         "",
		"x":                     "",
		"":                      "",
		strings.Repeat("a", 99): "",
	} {
		if got := Name(word, names); got != want {
			t.Errorf("Name(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestHintIsEmptyWhereNothingIsNear(t *testing.T) {
	t.Parallel()
	if got := Hint("zzzzzz", []string{"max_age"}); got != "" {
		t.Errorf("Hint = %q for a word that is near nothing", got)
	}
	if got, want := Hint("maxage", []string{"max_age"}), "; did you mean max_age?"; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
}
