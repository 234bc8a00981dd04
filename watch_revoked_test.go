package sesame_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// openStream sends a request whose response goes on, and returns a channel that is
// closed when the response ends.
func (g *gateway) openStream(t *testing.T, uri string, header ...string) (ended <-chan struct{}) {
	t.Helper()
	ended, status := g.tryStream(t, uri, header...)
	if status != http.StatusOK {
		t.Fatalf("the stream begins with %d", status)
	}
	return ended
}

// tryStream is openStream for a stream that may be rejected.
func (g *gateway) tryStream(t *testing.T, uri string, header ...string) (ended <-chan struct{}, status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.addr+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("hello"))
	if answer.StatusCode == http.StatusOK {
		if _, err := io.ReadFull(answer.Body, first); err != nil {
			t.Fatalf("the stream begins with %q, %v", first, err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
	}()
	return done, answer.StatusCode
}

// openExpiring opens a stream by a credential that ends soon, with the least time in which
// this machine opens one.
func (g *gateway) openExpiring(t *testing.T, credential func(lasts time.Duration) string) (ended <-chan struct{}) {
	t.Helper()
	for lasts := 2 * time.Second; lasts < patience; lasts *= 3 {
		stream, status := g.tryStream(t, "/", "Authorization", credential(lasts))
		if status == http.StatusOK {
			return stream
		}
	}
	t.Fatal("no stream begins, however long its token is valid")
	return nil
}

// hasEnded reports whether a stream has ended.
func hasEnded(stream <-chan struct{}) bool {
	select {
	case <-stream:
		return true
	default:
		return false
	}
}

// TestOpenStreamEndsWhenItsTokenOrSessionIsRevoked revokes one token, and then all
// that the user has. Streams of other tokens go on, also those that have passed a
// handler that only checks a requirement.
func TestOpenStreamEndsWhenItsTokenOrSessionIsRevoked(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		db.mustExec(t, "DROP TABLE IF EXISTS revoked")
		statement, err := userstore.RevocationsTable("revoked")
		if err != nil {
			t.Fatal(err)
		}
		db.mustExec(t, statement)
		store, err := userstore.Open(t.Context(), userstore.Config{DSN: db.dsn, QueryTimeout: caddy.Duration(patience), Revocations: "revoked"}, userstore.Needs{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		user, err := store.Lookup(t.Context(), token.IntKey(alice.id))
		if err != nil {
			t.Fatal(err)
		}

		now, hour := time.Now(), withMaxAge(time.Hour)
		// A revocation doesn't end tokens and sessions that were made after it.
		db.mustExec(t, "INSERT INTO revoked (user_key, fingerprint, revoked) VALUES ('1', '', ?)", now.UTC().Add(-time.Hour).Format(time.DateTime))
		stream := startEndless(t)
		proxy := "reverse_proxy " + stream + " {\nflush_interval -1\n}"
		g := startGateway(t, db, startUpstream(t), site{
			options: "max_age 1h\nsession {\nredirect off\n}\nwatch 50ms", store: "revocations revoked\ngroups",
			after: fmt.Sprintf("handle /login {\nrespond ok\n}\nhandle /admin {\nsesame {\nsecret_key x\noptional\nrequire group admins\nuserstore mysql {\ndsn %q\nquery_timeout 20s\ngroups\n}\n}\n%s\n}\n%s", db.dsn, proxy, proxy),
		})
		first, second := tokenAt(t, alice, "", now.Add(-time.Minute), hour), tokenAt(t, alice, "", now.Add(-2*time.Minute), hour)
		byFirst := g.openStream(t, "/", bearer(first)...)
		bySecond, inner := g.openStream(t, "/", bearer(second)...), g.openStream(t, "/admin", bearer(second)...)
		bySession := g.openStream(t, "/", "Cookie", sessionCookie(t, g.get(t, "/login?sesame="+second)))
		others := g.openStream(t, "/", bearer(tokenFor(t, carol, hour))...)

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
		poll(t, "the end of the stream of a revoked token", func() bool { return hasEnded(byFirst) })
		if hasEnded(bySecond) || hasEnded(inner) || hasEnded(bySession) {
			t.Error("a stream of another token has ended")
		}
		if _, err := store.RevokeAll(t.Context(), user, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		poll(t, "the end of the user's streams", func() bool { return hasEnded(bySecond) && hasEnded(inner) && hasEnded(bySession) })
		if hasEnded(others) {
			t.Error("another user's stream has ended")
		}
	})
}
