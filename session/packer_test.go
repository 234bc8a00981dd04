package session_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// oddPacker is a packer with the name of LongPacker, so that it has the same keys,
// and with answers of its own.
type oddPacker struct {
	token.Packer
	pk        token.PrimaryKey
	rest      []byte
	unpackErr error
	packErr   error
}

func (o oddPacker) Unpack([]byte) (token.PrimaryKey, []byte, error) { return o.pk, o.rest, o.unpackErr }

func (o oddPacker) Pack(dst []byte, _ token.PrimaryKey) ([]byte, error) {
	packed, err := o.Packer.Pack(dst, token.IntKey(42))
	return packed, errors.Join(err, o.packErr)
}

// TestKeyThatThePackerDoesNotVouchForIsMalformed has packers read a signed key in
// part, or not at all: no session is of a user whose key is in doubt.
func TestKeyThatThePackerDoesNotVouchForIsMalformed(t *testing.T) {
	t.Parallel()
	value := create(t, newSessions(t, nil), "")
	for name, test := range map[string]struct {
		packer oddPacker
		want   error
	}{
		"read as it was written": {oddPacker{pk: token.IntKey(42)}, nil},
		"not read":               {oddPacker{pk: token.IntKey(42), unpackErr: errors.New("unreadable")}, session.Malformed},
		"read in part":           {oddPacker{pk: token.IntKey(42), rest: []byte{0}}, session.Malformed},
		"read as no key":         {oddPacker{}, session.Malformed},
		"not written again":      {oddPacker{pk: token.IntKey(42), packErr: errors.New("it doesn't fit")}, session.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.packer.Packer = token.LongPacker
			sessions := newSessions(t, func(s *session.Settings) { s.Encoding = test.packer })
			parsed, err := sessions.Parse(value, "", login)
			expect(t, "Parse", err, test.want)
			expect(t, "Verify", sessions.Verify(&parsed, user), test.want)
			if isKnown := !parsed.PrimaryKey().IsZero(); isKnown != (test.want == nil) {
				t.Errorf("the session tells the key %q", parsed.PrimaryKey())
			}
		})
	}
}

// TestLongestSessionIsReadAndHasItsForm, and a text that is a byte longer doesn't.
func TestLongestSessionIsReadAndHasItsForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	sessions := newSessions(t, func(s *session.Settings) { s.Encoding = token.StrPacker })
	longest := token.StringKey(strings.Repeat("k", 255))
	value, err := sessions.Begin(session.Login{PrimaryKey: longest, User: user, Length: session.Shared, ID: session.NewID(), Time: now})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "check", check(sessions, value, "", now), nil)
	data, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(data) != 330 {
		t.Fatalf("the session has %d bytes, want 330; %v", len(data), err)
	}
	if !session.HasForm(value, now) {
		t.Error("it hasn't the form of a session")
	}
	if longer := base64.RawURLEncoding.EncodeToString(append(data, 0)); session.HasForm(longer, now) {
		t.Error("a text that is a byte longer has the form of a session")
	}
}

// TestRenewalAfterTheLastTimeOfACookieIsNotMade has a session last longer than a
// cookie can say.
func TestRenewalAfterTheLastTimeOfACookieIsNotMade(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	sessions := newSessions(t, func(s *session.Settings) { s.MaxAge, s.Idle = 290*year, 200*year })
	first, lastTime := time.Unix(0, 0), time.Unix(1<<32-1, 0)
	for name, issued := range map[string]time.Time{"issued in 1970": first, "issued in 2024": login} {
		value, err := sessions.Create(token.IntKey(42), user, "", issued)
		if err != nil {
			t.Fatal(err)
		}
		last := lastTime.Add(issued.Sub(first)) // 32 bits after it was issued
		parsed := parse(t, sessions, value, last)
		renewed, ok := sessions.Renew(&parsed, user, last)
		if !ok || !parsed.Expires().Equal(last.Add(200*year)) && !parsed.Expires().Equal(issued.Add(290*year)) {
			t.Errorf("%s: at the last time it isn't renewed: %t, expires %s", name, ok, parsed.Expires())
		}
		expect(t, name+", renewed", check(sessions, renewed, "", last), nil)
		parsed = parse(t, sessions, value, last)
		before := parsed
		if renewed, ok := sessions.Renew(&parsed, user, last.Add(time.Second)); ok || renewed != "" || parsed != before {
			t.Errorf("%s: a second later a renewal is made: %q", name, renewed)
		}
	}
}

// TestSessionOfALaterReleaseIsMalformed has one of a length that isn't known here,
// and one that says the default in the format for others. Only a gateway with the
// keys can make them.
func TestSessionOfALaterReleaseIsMalformed(t *testing.T) {
	t.Parallel()
	const audience = "site, store"
	sessions := newSessions(t, func(s *session.Settings) { s.Audience = audience })
	packer := token.LongPacker.Name()
	for length, want := range map[byte]error{
		byte(session.Default): session.Malformed, byte(session.Remembered): nil, byte(session.Shared): nil, 3: session.Malformed, 255: session.Malformed,
	} {
		packed := "\x00\x00\x00\x2a"
		covered := append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed+"\x01"+*user.Password...)
		data := binary.BigEndian.AppendUint32([]byte{2}, uint32(login.Unix()))
		data = binary.BigEndian.AppendUint32(data, 0)
		data = append(data, documentedMAC(t, "password", packer, audience, covered)...)
		data = append(data, documentedMAC(t, "scope", packer, audience, nil)...)
		data = append(data, length)
		data = append(data, packed...)
		data = append(data, documentedMAC(t, "signature", packer, audience, data)...)
		expect(t, "length "+strconv.Itoa(int(length)), check(sessions, base64.RawURLEncoding.EncodeToString(data), "", login), want)
	}
}
