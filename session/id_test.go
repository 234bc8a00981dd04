package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

func TestIDIsReadBackFromItsText(t *testing.T) {
	t.Parallel()
	id := session.NewID()
	if got, ok := session.ParseID(id.String()); !ok || got != id || len(id.String()) != 26 {
		t.Errorf("%s is read as %s, %t", id, got, ok)
	}
	if id == session.NewID() {
		t.Error("two IDs are the same")
	}
	text := session.ID{1, 15: 2}.String()
	for name, wrong := range map[string]string{
		"nothing":          "",
		"cut":              text[:25],
		"too long":         text + "a",
		"capitals":         strings.ToUpper(text),
		"other characters": "0" + text[1:],
		"a line break":     text[:25] + "\n",
		"unused bits":      text[:25] + "b",
		"no ID":            session.ID{}.String(),
	} {
		if got, ok := session.ParseID(wrong); ok {
			t.Errorf("%s: %q is read as %s", name, wrong, got)
		}
	}
}

// TestSessionKeepsItsID: in the cookie, and in renewals.
func TestSessionKeepsItsID(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, idle(time.Hour))
	id := session.NewID()
	value, err := sessions.Begin(session.Login{PrimaryKey: token.IntKey(42), User: user, ID: id, Time: login})
	if err != nil {
		t.Fatal(err)
	}
	now := login.Add(30 * time.Minute)
	parsed := parse(t, sessions, value, now)
	value, renewed := sessions.Renew(&parsed, user, now)
	again := parse(t, sessions, value, now)
	if !renewed || parsed.ID() != id || again.ID() != id {
		t.Errorf("renewed: %t, as %s and %s instead of %s", renewed, parsed.ID(), again.ID(), id)
	}
	if parsed := parse(t, sessions, create(t, sessions, ""), login); !parsed.ID().IsZero() {
		t.Errorf("a session without an ID has %s", parsed.ID())
	}
}
