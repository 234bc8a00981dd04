package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fuzzNow is the current time in all fuzz tests.
var fuzzNow = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// fuzzPackers are all packers.
var fuzzPackers = []Packer{
	ShortPacker, UnsignedShortPacker, LongPacker, UnsignedLongPacker, LongLongPacker,
	UnsignedLongLongPacker, UUIDPacker, BytesPacker, StrPacker,
	hexPacker{12},
}

// fuzzTokens makes Tokens for every packer, with and without an age, of either
// version.
func fuzzTokens(f *testing.F) []*Tokens {
	f.Helper()
	var all []*Tokens
	for _, packer := range fuzzPackers {
		for _, maxAge := range []*time.Duration{nil, new(10 * time.Minute)} {
			for _, versions := range [][]Version{{V2, V1}, {V1, V2}} {
				tokens, err := New(Settings{
					SecretKey: "secret", Encoding: packer, MaxAge: maxAge, Versions: versions, Iterations: 1,
					OneTime: true, InvalidateOnEmailChange: true,
				})
				if err != nil {
					f.Fatal(err)
				}
				all = append(all, tokens)
			}
		}
	}
	return all
}

// fuzzSeeds returns some tokens of the vectors: each one is run before fuzzing
// starts.
func fuzzSeeds(f *testing.F) []string {
	f.Helper()
	var seeds []string
	for _, name := range []string{"testdata/tokens.json", "testdata/settings.json"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var file struct {
			Cases []struct {
				Checks []struct {
					Token string `json:"token"`
				} `json:"checks"`
			} `json:"cases"`
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			f.Fatal(err)
		}
		for _, c := range file.Cases {
			for i := 0; i < len(c.Checks); i += 5 {
				seeds = append(seeds, c.Checks[i].Token)
			}
		}
	}
	slices.Sort(seeds)
	return slices.Compact(seeds)
}

// The regular expressions of django-sesame.
var (
	djangoV2        = regexp.MustCompile(`\A[A-Za-z0-9-_]{4,}\z`)
	djangoV1        = regexp.MustCompile(`\A[A-Za-z0-9-_]{4,}:[A-Za-z0-9-_]{27}\z`)
	djangoV1WithAge = regexp.MustCompile(`\A[A-Za-z0-9-_]{4,}:[0-9A-Za-z]{6}:[A-Za-z0-9-_]{27}\z`)
)

// FuzzParse parses any text, also with a valid v1 signature added, which gets
// further. Parse must not panic, reject only with a documented reason, and
// accept only tokens that are equal when made again from their parts.
func FuzzParse(f *testing.F) {
	all := fuzzTokens(f)
	for i, seed := range fuzzSeeds(f) {
		f.Add(uint8(i), seed)
		unsigned, _ := cutLast(seed)
		f.Add(uint8(i), unsigned)
	}
	// Longer and shorter than the regular expressions accept.
	for which := range all {
		for _, data := range []string{"AAA", "AAAA", "azAZ09-_", "AAA[", "AAA{", "AAA@", "AAA`", "AAA/", "AAA:", "", ":"} {
			signature := strings.Repeat("A", 27)
			f.Add(uint8(which), data)
			f.Add(uint8(which), data+":"+signature)
			f.Add(uint8(which), data+":zZ90aA:"+signature)
			f.Add(uint8(which), data+":zZ90a_:"+signature)
			f.Add(uint8(which), "AAAA:"+signature[:23]+data)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		tokens := all[int(which)%len(all)]
		fuzzParse(t, tokens, text)
		fuzzParse(t, tokens, text+":"+signV1(tokens.signerKeys[0], text))
	})
}

func fuzzParse(t *testing.T, tokens *Tokens, text string) {
	t.Helper()
	v1 := djangoV1
	if tokens.settings.MaxAge != nil {
		v1 = djangoV1WithAge
	}
	if got, want := isV2(text), djangoV2.MatchString(text); got != want {
		t.Errorf("isV2: %v, django-sesame: %v", got, want)
	}
	if got, want := tokens.isV1(text), v1.MatchString(text); got != want {
		t.Errorf("isV1: %v, django-sesame: %v", got, want)
	}

	parsed, err := tokens.Parse(text, Expectation{Now: fuzzNow})
	if err != nil {
		var reason Reason
		errors.As(err, &reason)
		switch reason {
		case Malformed, NoPrimaryKey, NoTimestamp, NoSignature, Expired, BadSignature:
		default:
			t.Errorf("refused with %#v", err)
		}
		if err := tokens.Verify(&parsed, User{Password: new(""), Email: new("")}); !errors.Is(err, reason) {
			t.Errorf("Parse: %v; Verify: %v", reason, err)
		}
		return
	}

	data := parsed.data[:parsed.size]
	if parsed.version == V1 {
		value, _ := cutLast(text)
		if tokens.settings.MaxAge != nil {
			value, _ = cutLast(value)
		}
		if decoded, err := base64.RawURLEncoding.DecodeString(value); err != nil || !bytes.Equal(decoded, data) {
			t.Errorf("kept %x of %x", data, decoded)
		}
		return
	}
	packed, err := tokens.settings.Encoding.Pack(nil, parsed.pk)
	if err != nil {
		t.Fatalf("the primary key %q can't be packed: %v", parsed.pk, err)
	}
	if !bytes.HasPrefix(data, packed) {
		t.Errorf("the primary key %q is %x; the token has %x", parsed.pk, packed, data)
	}
	// Unused bits of the last character are ignored, in Python too, so that up
	// to 16 texts are the same token. One of them is canonical.
	canonical := base64.RawURLEncoding.EncodeToString(data)
	if canonical[:len(canonical)-1] != text[:len(text)-1] {
		t.Errorf("parsed %q, put together again %q", text, canonical)
	}
	again, err := tokens.Parse(canonical, Expectation{Now: fuzzNow})
	if err != nil || again != parsed {
		t.Errorf("%q and its canonical form %q differ: %v", text, canonical, err)
	}
}

// FuzzCreateVerify makes tokens and checks them. Each must be accepted, and
// rejected after the change of a single bit of the token, or of the data that
// it is bound to.
func FuzzCreateVerify(f *testing.F) {
	all := fuzzTokens(f)
	for i := range all {
		f.Add(uint8(i), []byte("\x05key, or a part of one"), "pbkdf2_sha256$1$salt$"+strings.Repeat("x", 44), "a@b.example", int64(i), "scope", uint16(i*7))
		f.Add(uint8(i), bytes.Repeat([]byte{0}, 24), "!", "", int64(0), "", uint16(i))
	}
	f.Fuzz(func(t *testing.T, which uint8, keyData []byte, password, email string, lastLogin int64, scope string, bit uint16) {
		tokens := all[int(which)%len(all)]
		key, _, err := tokens.settings.Encoding.Unpack(keyData)
		if err != nil {
			return
		}
		version := tokens.settings.Versions[0]
		if version == V1 {
			scope = "" // it has none
		}
		// The years 1970 to 2105: MySQL's columns hold these, and more.
		lastLogin = int64(uint64(lastLogin) % (1 << 52))
		user := User{Password: &password, Email: &email, LastLogin: new(time.UnixMicro(lastLogin))}
		made, err := tokens.Create(key, user, scope, fuzzNow)
		if err != nil {
			return // a key that was cut short, for example
		}
		want := Expectation{Scope: scope, Now: fuzzNow}
		verify := func(made string, user User, want Expectation) error {
			parsed, err := tokens.Parse(made, want)
			if err != nil {
				return err
			}
			return tokens.Verify(&parsed, user)
		}
		if err := verify(made, user, want); err != nil {
			t.Fatalf("%q is refused: %v", made, err)
		}

		var changed string
		if version == V1 {
			changed = flipBit(made, bit) // the text itself is signed
		} else {
			data, err := base64.RawURLEncoding.DecodeString(made)
			if err != nil {
				t.Fatal(err)
			}
			changed = base64.RawURLEncoding.EncodeToString([]byte(flipBit(string(data), bit)))
		}
		if verify(changed, user, want) == nil {
			t.Errorf("%q was made, %q is accepted", made, changed)
		}

		other := user
		other.Password = new(flipBit(password, bit))
		// v2 signs a password's hash without its salt.
		isBound := *other.Password != password &&
			(version == V1 || passwordHash(*other.Password) != passwordHash(password))
		if err := verify(made, other, want); (err == nil) == isBound {
			t.Errorf("made with password %q, checked with %q: %v", password, *other.Password, err)
		}

		other = user
		other.Email = new(flipBit(email, bit))
		if err := verify(made, other, want); (err == nil) != (*other.Email == email) {
			t.Errorf("made with e-mail %q, checked with %q: %v", email, *other.Email, err)
		}

		other = user
		other.LastLogin = new(time.UnixMicro(lastLogin ^ 1<<(bit%52)))
		if verify(made, other, want) == nil {
			t.Errorf("made with last login %v, accepted with %v", user.LastLogin, other.LastLogin)
		}

		want.Scope = flipBit(scope, bit)
		if scope == "" {
			want.Scope = "any"
		}
		if verify(made, user, want) == nil {
			t.Errorf("made for scope %q, accepted for %q", scope, want.Scope)
		}
	})
}

// flipBit changes a bit of s, if it has any.
func flipBit(s string, bit uint16) string {
	if s == "" {
		return s
	}
	changed := []byte(s)
	changed[int(bit/8)%len(s)] ^= 1 << (bit % 8)
	return string(changed)
}

// FuzzPacker: each packer writes a key back as the bytes that it was read from.
func FuzzPacker(f *testing.F) {
	for i, seed := range fuzzSeeds(f) {
		if data, err := base64.RawURLEncoding.DecodeString(seed); err == nil {
			f.Add(uint8(i), data)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		packer := fuzzPackers[int(which)%len(fuzzPackers)]
		key, rest, err := packer.Unpack(data)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(data, rest) {
			t.Fatalf("left %x of %x", rest, data)
		}
		read := data[:len(data)-len(rest)]
		packed, err := packer.Pack(nil, key)
		// Only a key that is cut short differs: it is shorter than its length
		// byte says, so that nothing is left for a signature.
		if err == nil && bytes.Equal(packed, read) {
			return
		}
		if len(rest) != 0 {
			t.Errorf("%s: read %q from %x, written as %x, %v", packer.Name(), key, read, packed, err)
		}
	})
}
