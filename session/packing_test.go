package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestSignedDataThatIsNoSessionIsRejected checks data with a valid signature
// that Create can't have made.
func TestSignedDataThatIsNoSessionIsRejected(t *testing.T) {
	t.Parallel()
	hexPacker, err := token.HexPacker(4)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		packer token.Packer
		packed string
		ok     bool
	}{
		"integer":                 {token.LongPacker, "\x00\x00\x00\x2a", true},
		"no integer":              {token.LongPacker, "", false},
		"integer cut short":       {token.LongPacker, "\x00\x00\x00", false},
		"integer and more":        {token.LongPacker, "\x00\x00\x00\x2a\x00", false},
		"string":                  {token.StrPacker, "\x02hi", true},
		"string cut short":        {token.StrPacker, "\x03hi", false},
		"string and more":         {token.StrPacker, "\x01hi", false},
		"string that isn't UTF-8": {token.StrPacker, "\x01\xff", false},
		"longest bytes":           {token.BytesPacker, "\xff" + strings.Repeat("x", 255), true},
		"bytes cut short":         {token.BytesPacker, "\xff" + strings.Repeat("x", 254), false},
		"hexadecimal":             {hexPacker, "\x01\x02", true},
		"hexadecimal cut short":   {hexPacker, "\x01", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions, err := New(Settings{SecretKey: "secret", Encoding: test.packer, Audience: "a"})
			if err != nil {
				t.Fatal(err)
			}
			sc := newScratch(sessions.keys)
			data := append([]byte{versionDefault}, make([]byte, 2*4+tagSize)...)
			data = append(data, sc.scopeTag(sc.macs[0], "")...)
			data = append(data, test.packed...)
			data = append(data, sc.signature(sc.macs[0], data)...)

			want := Malformed
			if test.ok {
				want = Expired // it is of 1970
			}
			if _, err := sessions.Parse(encoding.EncodeToString(data), "", fuzzNow); !errors.Is(err, want) {
				t.Errorf("Parse: %v, want %v", err, want)
			}
		})
	}
}
