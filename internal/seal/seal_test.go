package seal_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/seal"
)

func TestTextOpensInItsBrowserAndScopeOnly(t *testing.T) {
	t.Parallel()
	of := seal.New([]byte("key"), "purpose")
	sealed := of.Seal([]byte("ann@example.com"), "tie", "scope")
	damaged := []byte(sealed)
	damaged[len(damaged)/2] ^= 1
	for name, test := range map[string]struct {
		of    *seal.Sealer
		text  string
		ties  []string
		scope string
		want  bool
	}{
		"the browser":                 {of, sealed, []string{"tie"}, "scope", true},
		"with a second cookie":        {of, sealed, []string{"other", "", "tie"}, "scope", true},
		"after a restart":             {seal.New([]byte("key"), "purpose"), sealed, []string{"tie"}, "scope", true},
		"another browser":             {of, sealed, []string{"other", "ti", "ties"}, "scope", false},
		"a browser without cookies":   {of, sealed, nil, "scope", false},
		"another scope":               {of, sealed, []string{"tie"}, "", false},
		"tie and scope cut elsewhere": {of, sealed, []string{"ties", "ti"}, "cope", false},
		"another key":                 {seal.New([]byte("other"), "purpose"), sealed, []string{"tie"}, "scope", false},
		"another purpose":             {seal.New([]byte("key"), "other"), sealed, []string{"tie"}, "scope", false},
		"damaged":                     {of, string(damaged), []string{"tie"}, "scope", false},
		"cut":                         {of, sealed[:20], []string{"tie"}, "scope", false},
		"no base64":                   {of, "%" + sealed, []string{"tie"}, "scope", false},
		"none":                        {of, "", []string{"tie"}, "scope", false},
		"sealed for no browser":       {of, of.Seal([]byte("ann@example.com"), "", "scope"), []string{""}, "scope", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, ok := test.of.Open(test.text, test.ties, test.scope)
			if ok != test.want || ok && string(text) != "ann@example.com" {
				t.Errorf("%q, %t", text, ok)
			}
		})
	}
}

func TestSealedTextsTellNothing(t *testing.T) {
	t.Parallel()
	of := seal.New([]byte("key"), "purpose")
	one, other := of.Seal([]byte("secret"), "tie", "scope"), of.Seal([]byte("secret"), "tie", "scope")
	if one == other {
		t.Error("equal texts are sealed alike")
	}
	for _, text := range []string{"secret", "tie", "scope"} {
		if strings.Contains(one, text) {
			t.Errorf("%s shows %s", one, text)
		}
	}
}

// FuzzOpen changes what was sealed: only what Seal wrote opens, and it opens to what
// was sealed.
func FuzzOpen(f *testing.F) {
	of := seal.New([]byte("key"), "purpose")
	f.Add("text", "tie", "scope", 0, byte(1))
	f.Add("", "a", "", 30, byte(0))
	f.Add("\x00\xff", "\x00", "\x00", 70, byte(0x80))
	f.Fuzz(func(t *testing.T, text, tie, scope string, at int, flip byte) {
		sealed := of.Seal([]byte(text), tie, scope)
		opened, ok := of.Open(sealed, []string{tie}, scope)
		if ok != (tie != "") || ok && !bytes.Equal(opened, []byte(text)) {
			t.Fatalf("%q opens as %q, %t", text, opened, ok)
		}
		if _, ok := of.Open(text, []string{tie}, scope); ok {
			t.Errorf("%q opens", text)
		}
		damaged := []byte(sealed)
		damaged[uint(at)%uint(len(damaged))] ^= flip
		if _, ok := of.Open(string(damaged), []string{tie}, scope); ok && flip != 0 {
			t.Errorf("%q opens for %q", damaged, sealed)
		}
	})
}
