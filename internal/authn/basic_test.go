package authn

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseBasic(t *testing.T) {
	t.Parallel()
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, test := range []struct {
		name, encoded    string
		userID, password string
		err              error
	}{
		{"RFC 7617, section 2", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame", nil},
		{"RFC 7617, section 2.1", "dGVzdDoxMjPCow==", "test", "123£", nil},
		{"a password with colons", encode("alice:a:b:"), "alice", "a:b:", nil},
		{"no password", encode("alice:"), "alice", "", nil},
		{"an e-mail address", encode("alice@example.com:secret"), "alice@example.com", "secret", nil},
		{"spaces", encode(" alice : secret "), " alice ", " secret ", nil},
		{"as long as it may be", encode("a:" + strings.Repeat("b", maxBasic-2)), "a", strings.Repeat("b", maxBasic-2), nil},
		{"too long", encode("a:" + strings.Repeat("b", maxBasic+2)), "", "", errBasicLong},
		{"nothing", "", "", "", errBasicNoColon},
		{"no colon", encode("alice"), "", "", errBasicNoColon},
		{"no user-id", encode(":secret"), "", "", errBasicNoUser},
		{"no padding", strings.TrimRight(encode("alice:secre"), "="), "", "", errBasicEncoding},
		{"padding that hides bits", "QWxhZGRpbjpvcGVuIHNlc2FtZR==", "", "", errBasicEncoding},
		{"a line break", encode("alice:se")[:4] + "\n" + encode("alice:se")[4:], "", "", errBasicEncoding},
		{"the alphabet for URLs", base64.URLEncoding.EncodeToString([]byte("a:???>>>")), "", "", errBasicEncoding},
		{"more behind it", encode("alice:secret") + " x", "", "", errBasicEncoding},
		{"two of them", encode("alice:secret") + ", Basic " + encode("bob:secret"), "", "", errBasicEncoding},
		{"Latin-1", encode("alice:\xa3"), "", "", errBasicText},
		{"NUL", encode("alice\x00:secret"), "", "", errBasicText},
		{"a line break in the password", encode("alice:sec\nret"), "", "", errBasicText},
		{"DEL", encode("alice:\x7f"), "", "", errBasicText},
	} {
		userID, password, err := parseBasic(test.encoded)
		if userID != test.userID || password != test.password || err != test.err {
			t.Errorf("%s: %q, %q, %v", test.name, userID, password, err)
		}
	}
}

// FuzzParseBasic: accepted credentials encode to the text that was sent, and to no
// other.
func FuzzParseBasic(f *testing.F) {
	for _, text := range []string{"", "alice:secret", ":", "a:b:c", "\xff:", "a\x00:b"} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(text)))
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		userID, password, err := parseBasic(encoded)
		if err != nil {
			if userID != "" || password != "" {
				t.Errorf("%q is rejected and has %q, %q", encoded, userID, password)
			}
			return
		}
		text := userID + ":" + password
		if again := base64.StdEncoding.EncodeToString([]byte(text)); again != encoded {
			t.Errorf("%q is the same as %q", encoded, again)
		}
		if userID == "" || strings.Contains(userID, ":") || !utf8.ValidString(text) || len(text) > maxBasic || strings.ContainsAny(text, "\x00\r\n\x1b\x7f") {
			t.Errorf("%q is accepted as %q, %q", encoded, userID, password)
		}
	})
}
