package session_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// documentedMAC is written from the package's documentation alone.
func documentedMAC(t *testing.T, purpose, packer, audience string, message []byte) []byte {
	t.Helper()
	info := ""
	for _, part := range []string{purpose, packer, audience} {
		info += strconv.Itoa(len(part)) + ":" + part + ","
	}
	key, err := hkdf.Key(sha256.New, []byte("secret"), []byte("caddy-sesame/session/1"), info, 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)[:16]
}

// TestSessionsHaveTheDocumentedFormat: gateways of different releases share
// sessions.
func TestSessionsHaveTheDocumentedFormat(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("k", 255)
	for name, test := range map[string]struct {
		packer   token.Packer
		key      token.PrimaryKey
		packed   string
		scope    string
		password *string
		hashed   string // what the password tag covers after the key
		seen     time.Duration
		length   session.Length
		id       session.ID
	}{
		"integer":       {token.LongPacker, token.IntKey(42), "\x00\x00\x00\x2a", "", user.Password, "\x01" + *user.Password, 0, session.Default, session.ID{}},
		"NULL password": {token.LongPacker, token.IntKey(-1), "\xff\xff\xff\xff", "s", nil, "\x00", 0, session.Default, session.ID{}},
		"string":        {token.StrPacker, token.StringKey("é"), "\x02é", "s", new(""), "\x01", 0, session.Default, session.ID{}},
		"longest key":   {token.StrPacker, token.StringKey(longest), "\xff" + longest, "", nil, "\x00", 0, session.Default, session.ID{}},
		"renewed":       {token.LongPacker, token.IntKey(42), "\x00\x00\x00\x2a", "s", new("p"), "\x01p", 40 * time.Minute, session.Default, session.ID{}},
		"remembered":    {token.StrPacker, token.StringKey("é"), "\x02é", "s", new("p"), "\x01p", 0, session.Remembered, session.ID{}},
		"in a table":    {token.StrPacker, token.StringKey("é"), "\x02é", "s", new("p"), "\x01p", 40 * time.Minute, session.Default, session.ID{1, 15: 2}},
		"both":          {token.StrPacker, token.StringKey("é"), "\x02é", "s", new("p"), "\x01p", 0, session.Remembered, session.ID{1, 15: 2}},
		"shared":        {token.LongPacker, token.IntKey(42), "\x00\x00\x00\x2a", "", nil, "\x00", 40 * time.Minute, session.Shared, session.ID{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const audience = "site, store"
			sessions := newSessions(t, func(s *session.Settings) {
				s.Audience, s.Encoding, s.Idle = audience, test.packer, time.Hour
			})
			holder := token.User{Password: test.password}
			value, err := sessions.Begin(session.Login{PrimaryKey: test.key, User: holder, Scope: test.scope, Length: test.length, ID: test.id, Time: login})
			if err != nil {
				t.Fatal(err)
			}
			if test.seen != 0 {
				parsed, err := sessions.Parse(value, test.scope, login)
				if err != nil {
					t.Fatal(err)
				}
				value, _ = sessions.Renew(&parsed, holder, login.Add(test.seen))
			}

			packer := test.packer.Name()
			covered := append(binary.BigEndian.AppendUint16(nil, uint16(len(test.packed))), test.packed+test.hashed...)
			version := []byte{1}
			if test.length != session.Default || !test.id.IsZero() {
				version = []byte{2}
			}
			want := binary.BigEndian.AppendUint32(version, uint32(login.Unix()))
			want = binary.BigEndian.AppendUint32(want, uint32(test.seen/time.Second))
			want = append(want, documentedMAC(t, "password", packer, audience, covered)...)
			want = append(want, documentedMAC(t, "scope", packer, audience, []byte(test.scope))...)
			switch {
			case !test.id.IsZero():
				want = append(append(want, byte(test.length)+0x80), test.id[:]...)
			case test.length != session.Default:
				want = append(want, byte(test.length))
			}
			want = append(want, test.packed...)
			want = append(want, documentedMAC(t, "signature", packer, audience, want)...)
			if documented := base64.RawURLEncoding.EncodeToString(want); value != documented {
				t.Errorf("made %s, documented is %s", value, documented)
			}
		})
	}
}
