package secondfactor

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// newAsker makes an Asker with a clock that stands still.
func newAsker(key string, now *time.Time) *Asker {
	return New(Environment{Key: []byte(key), Now: func() time.Time { return *now }})
}

// TestPendingIsOfOneBrowserForFiveMinutes, and of one key of the gateway.
func TestPendingIsOfOneBrowserForFiveMinutes(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_800_000_000, 0)
	now := began
	a := newAsker("key", &now)
	for i, user := range []token.PrimaryKey{
		token.IntKey(-7), token.UintKey(1 << 63), token.UUIDKey([16]byte{1, 15: 2}), token.StringKey("Zoë"), token.StringKey(""), token.BytesKey([]byte{0, 255}),
	} {
		now = began
		made := &Pending{user: user, proof: proof{kind: byLink, id: a.passwordID("hash"), fingerprint: [fingerprintSize]byte{1, 2}, issued: -1}, length: session.Shared, until: now.Add(pendingAge)}
		made.better = strings.Repeat("h", []int{0, 1, longestHash}[i%3])
		sealed := a.Seal(made, "tie", "scope")
		now = began.Add(pendingAge - time.Second)
		read, err := a.Open(sealed, []string{"", "other", "tie"}, "scope")
		if err != nil || read.user != user || read.proof != made.proof || read.length != made.length || read.better != made.better {
			t.Errorf("%v: %+v, %v", user, read, err)
		}
		for name, open := range map[string]func() (*Pending, error){
			"another browser":  func() (*Pending, error) { return a.Open(sealed, []string{"other"}, "scope") },
			"another scope":    func() (*Pending, error) { return a.Open(sealed, []string{"tie"}, "other") },
			"no cookie":        func() (*Pending, error) { return a.Open(a.Seal(made, "", "scope"), []string{""}, "scope") },
			"another key":      func() (*Pending, error) { return newAsker("other", &now).Open(sealed, []string{"tie"}, "scope") },
			"a changed letter": func() (*Pending, error) { return a.Open(changed(sealed), []string{"tie"}, "scope") },
			"a part":           func() (*Pending, error) { return a.Open(sealed[:60], []string{"tie"}, "scope") },
			"nothing":          func() (*Pending, error) { return a.Open("", []string{"tie"}, "scope") },
		} {
			if read, err := open(); err == nil {
				t.Errorf("%v: %s: %+v", user, name, read)
			}
		}
		now = began.Add(pendingAge)
		if read, err := a.Open(sealed, []string{"tie"}, "scope"); err == nil {
			t.Errorf("%v: after five minutes: %+v", user, read)
		}
	}
}

// changed changes a letter in the middle of a text.
func changed(text string) string {
	i, letter := len(text)/2, "A"
	if text[i] == 'A' {
		letter = "B"
	}
	return text[:i] + letter + text[i+1:]
}

// TestSixthWrongCodeWaits, until a minute has passed, and a right code forgives all.
func TestSixthWrongCodeWaits(t *testing.T) {
	t.Parallel()
	a := attempts{of: make(map[attempted]time.Time)}
	now, alice, bob := time.Unix(1_800_000_000, 0), attempted{"users", "1"}, attempted{"users", "2"}
	for i := range attemptsAtOnce {
		if wait := a.begin(alice, now); wait > 0 {
			t.Fatalf("code %d waits %s", i+1, wait)
		}
	}
	if wait := a.begin(alice, now); wait != time.Minute {
		t.Errorf("the next one waits %s", wait)
	}
	if wait := a.begin(bob, now); wait > 0 {
		t.Errorf("another user's waits %s", wait)
	}
	if wait := a.begin(alice, now.Add(time.Minute)); wait > 0 {
		t.Errorf("after a minute, it waits %s", wait)
	}
	a.succeed(alice)
	for range attemptsAtOnce {
		if wait := a.begin(alice, now); wait > 0 {
			t.Errorf("after a right code, one waits %s", wait)
		}
	}
	a.unchecked(alice)
	if wait := a.begin(alice, now); wait > 0 {
		t.Errorf("one that wasn't checked counts: %s", wait)
	}
}

// FuzzOpen: nothing but what Seal has made is a Pending.
func FuzzOpen(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	a := newAsker("key", &now)
	want := Pending{user: token.IntKey(1), until: now.Add(time.Minute)}
	sealed := a.Seal(&want, "tie", "scope")
	f.Add(sealed)
	f.Add(sealed + "\n")
	f.Add(sealed[:len(sealed)-1] + string(sealed[len(sealed)-1]+1)) // other bits behind the data
	f.Add("")
	f.Add(strings.Repeat("A", 100))
	f.Fuzz(func(t *testing.T, text string) {
		read, err := a.Open(text, []string{"tie"}, "scope")
		if err != nil {
			return
		}
		// Seal doesn't write the same text twice, but base64 has one form alone.
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if *read != want || err != nil || base64.RawURLEncoding.EncodeToString(raw) != text {
			t.Errorf("%q: %+v, %v", text, read, err)
		}
	})
}
