package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// fuzzNow is the current time in all fuzz tests.
var fuzzNow = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// fuzzSessions makes Sessions for packers of every kind of key.
func fuzzSessions(f *testing.F) []*Sessions {
	f.Helper()
	hexPacker, err := token.HexPacker(24)
	if err != nil {
		f.Fatal(err)
	}
	var all []*Sessions
	for _, packer := range []token.Packer{
		token.ShortPacker, token.LongPacker, token.UnsignedLongLongPacker, token.UUIDPacker,
		token.BytesPacker, token.StrPacker, hexPacker,
	} {
		sessions, err := New(Settings{
			SecretKey: "secret", SecretKeyFallbacks: []string{"older"},
			Encoding: packer, Audience: "a", Idle: time.Hour, Remember: 24 * time.Hour,
		})
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, sessions)
	}
	return all
}

// fuzzKeys are keys, of which each packer takes at least one.
var fuzzKeys = []token.PrimaryKey{
	token.IntKey(42), token.UUIDKey([16]byte{1, 15: 2}), token.BytesKey([]byte{0, 255}),
	token.StringKey("someone@example.com"), token.StringKey("0123456789abcdef01234567"),
}

// FuzzParse parses any text, also with a valid signature added, which gets
// further. Parse must not panic, reject only with a documented reason, and
// accept only cookies that are equal when made again from their parts.
func FuzzParse(f *testing.F) {
	all := fuzzSessions(f)
	for i, sessions := range all {
		for _, key := range fuzzKeys {
			for n := range 2 * lengths {
				length, id, scope := n/2, ID{byte(n % 2)}, []string{"", "s"}[n%2]
				value, err := sessions.Begin(Login{PrimaryKey: key, Scope: scope, Length: length, ID: id, Time: fuzzNow})
				if err != nil {
					continue // not a key of this packer
				}
				f.Add(uint8(i), value, scope)
				data, err := base64.RawURLEncoding.DecodeString(value)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(uint8(i), string(data[:len(data)-tagSize]), scope)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text, scope string) {
		sessions := all[int(which)%len(all)]
		fuzzParse(t, sessions, text, scope)

		sc := newScratch(sessions.keys)
		signed := []byte(text)
		fuzzParse(t, sessions, base64.RawURLEncoding.EncodeToString(append(signed, sc.signature(sc.macs[0], signed)...)), scope)

		// With the right scope, too, it gets as far as the times.
		if len(signed) >= offsetKey {
			copy(signed[offsetScope:], sc.scopeTag(sc.macs[1], scope))
			fuzzParse(t, sessions, base64.RawURLEncoding.EncodeToString(append(signed, sc.signature(sc.macs[1], signed)...)), scope)
		}
	})
}

func fuzzParse(t *testing.T, sessions *Sessions, value, scope string) {
	t.Helper()
	parsed, err := sessions.Parse(value, scope, fuzzNow)
	if err != nil {
		var reason Reason
		errors.As(err, &reason)
		switch reason {
		case Malformed, BadSignature, WrongScope, NotYetValid, Expired, IdleExpired:
		default:
			t.Fatalf("refused with %v", err)
		}
		if again := sessions.Verify(&parsed, token.User{}); !errors.Is(again, reason) {
			t.Error("Verify doesn't return Parse's reason")
		}
		return
	}
	if maxAge, _ := sessions.settings.Limits(parsed.length); parsed.Expires().After(parsed.Issued().Add(maxAge)) || !parsed.Expires().After(fuzzNow) {
		t.Errorf("issued %s, expires %s", parsed.Issued(), parsed.Expires())
	}

	sc := newScratch(sessions.keys)
	packed, err := sessions.settings.Encoding.Pack(nil, parsed.PrimaryKey())
	if err != nil {
		t.Fatalf("the packer doesn't take its own key: %v", err)
	}
	var again bytes.Buffer
	version := byte(versionDefault)
	if parsed.length != Default || !parsed.id.IsZero() {
		version = versionLength
	}
	again.WriteByte(version)
	for _, n := range []int64{parsed.issued.Unix(), parsed.seen.Unix() - parsed.issued.Unix()} {
		again.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	again.Write(parsed.passwordTag[:])
	again.Write(sc.scopeTag(sc.macs[parsed.key], parsed.Scope()))
	switch {
	case !parsed.id.IsZero():
		again.WriteByte(byte(parsed.length) | hasID)
		again.Write(parsed.id[:])
	case version == versionLength:
		again.WriteByte(byte(parsed.length))
	}
	again.Write(packed)
	again.Write(sc.signature(sc.macs[parsed.key], again.Bytes()))
	if made := base64.RawURLEncoding.EncodeToString(again.Bytes()); made != value {
		t.Errorf("accepted %q, which is made as %q", value, made)
	}

	if sessions.Verify(&parsed, token.User{}) != nil {
		return
	}
	before := parsed
	if _, renewed := sessions.Renew(&parsed, token.User{}, fuzzNow); renewed {
		if parsed.issued != before.issued || parsed.pk != before.pk || parsed.length != before.length || parsed.id != before.id || parsed.Scope() != scope ||
			!parsed.Expires().After(before.Expires()) {
			t.Errorf("renewed %+v as %+v", before, parsed)
		}
	} else if parsed != before {
		t.Error("not renewed, and yet changed")
	}
}
