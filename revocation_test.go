package sesame_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestRevocationEndsOneTokenOrAllOfAUser ends one token, and then all that a user has.
func TestRevocationEndsOneTokenOrAllOfAUser(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.mustExec(t, "DROP TABLE IF EXISTS revoked")
		statement, err := userstore.RevocationsTable("revoked")
		if err != nil {
			t.Fatal(err)
		}
		db.mustExec(t, statement)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "max_age 1h\nsession\ncache 5m", store: "revocations revoked"})
		hour := withMaxAge(time.Hour)
		now := time.Now()
		first, second := tokenAt(t, alice, "", now.Add(-time.Minute), hour), tokenAt(t, alice, "", now.Add(-2*time.Minute), hour)
		others := tokenFor(t, carol, hour)
		bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
		for _, valid := range []string{first, second, others} {
			g.get(t, "/", bearer(valid)...).wantStatus(t, http.StatusOK)
		}
		login := g.get(t, "/?sesame="+first)
		login.wantStatus(t, http.StatusSeeOther)
		session := []string{"Cookie", sessionCookie(t, login)}

		store, err := userstore.Open(t.Context(), userstore.Config{DSN: db.dsn, QueryTimeout: caddy.Duration(patience), Revocations: "revoked"}, userstore.Needs{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		user, err := store.Lookup(t.Context(), token.IntKey(alice.id))
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := token.New(token.Settings{SecretKey: secretKey, Encoding: token.LongPacker, MaxAge: new(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := tokens.Parse(first, token.Expectation{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Revoke(t.Context(), user, parsed.Fingerprint(), now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		// The cached row still accepts the token; a login reads the row as it is.
		g.get(t, "/?sesame="+first).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", bearer(first)...).wantStatus(t, http.StatusUnauthorized)
		g.wantReason(t, "revoked")
		g.get(t, "/", bearer(second)...).wantStatus(t, http.StatusOK)
		g.get(t, "/", session...).wantStatus(t, http.StatusOK)

		if _, err := store.RevokeAll(t.Context(), user, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		g.get(t, "/?sesame="+second).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", session...).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", bearer(others)...).wantStatus(t, http.StatusOK)
		g.get(t, "/", bearer(tokenAt(t, alice, "", now.Add(time.Minute), hour))...).wantStatus(t, http.StatusOK)
		up.take()
	})
}

// wantReason fails the test unless the last token that was refused was for a
// reason.
func (g *gateway) wantReason(t *testing.T, reason string) {
	t.Helper()
	var last any
	for _, line := range g.lines(t, "http.handlers.sesame") {
		if line["msg"] == "token refused" {
			last = line["reason"]
		}
	}
	if last != reason {
		t.Errorf("the token was refused for %v, want %s", last, reason)
	}
}
