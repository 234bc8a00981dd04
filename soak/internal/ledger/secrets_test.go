package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	secrets := ledger.NewSecrets([]string{"XlpO", "AW--"}, "the key")
	for text, want := range map[string]string{
		"a\nb\n": "",
		"a\n{\"uri\":\"/?sesame=XlpOAAb3-_xcvbnm123&a=b\"}\nlast": "{\"uri\":\"/?sesame=XlpOAAb3-_xcvbnm123&a=b\"}\n",
		"XlpO":                   "",
		"c=AW--xcvbnm_-123456\n": "c=AW--xcvbnm_-123456\n",
		"/?sesame=REDACTED":      "",
		"one\nthe key":           "the key",
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		size, found, err := secrets.LookIn(path)
		if err != nil || size != int64(len(text)) || found != want {
			t.Errorf("%q: %d bytes, %q, %v; want %q", text, size, found, err, want)
		}
	}
}
