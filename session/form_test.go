package session_test

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

func TestFormOfASessionIsToldWithoutItsKey(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	sessions := newSessions(t, nil)
	made := func(pk token.PrimaryKey, at time.Time) string {
		t.Helper()
		value, err := sessions.Create(pk, user, "", at)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	changed := func(at int, to byte) string {
		data, err := base64.RawURLEncoding.DecodeString(made(token.IntKey(42), now))
		if err != nil {
			t.Fatal(err)
		}
		data[at] = to
		return base64.RawURLEncoding.EncodeToString(data)
	}
	invented := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	value := made(token.IntKey(42), now)
	for _, test := range []struct {
		name, value string
		want        bool
	}{
		{"a session of now", value, true},
		{"one whose signature is wrong", changed(len(value)*3/4-1, 0x55), true},
		{"one of the first moment of this module", made(token.IntKey(42), invented), true},
		{"one of before this module", made(token.IntKey(42), invented.Add(-time.Second)), false},
		{"one of tomorrow, by another clock", made(token.IntKey(42), now.Add(24*time.Hour)), true},
		{"one of later", made(token.IntKey(42), now.Add(24*time.Hour+time.Second)), false},
		{"another version", changed(0, 0xff), false},
		{"nothing", "", false},
		{"a word", "sesame", false},
		{"another alphabet", "+" + value[1:], false},
		{"a session that is cut short", value[:20], false},
		{"a long text", strings.Repeat("A", 2000), false},
		{"a time alone", base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32([]byte{1}, uint32(now.Unix()))), false},
	} {
		if got := session.HasForm(test.value, now); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}
