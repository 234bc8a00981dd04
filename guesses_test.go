package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// cookieSignedWith is a session cookie of alice's as a gateway with another key
// would make it.
func cookieSignedWith(t *testing.T, key string, issued time.Time) string {
	t.Helper()
	sessions, err := session.New(session.Settings{
		SecretKey: key, Encoding: token.LongPacker, Audience: "auth_user\x00\x00pk\x00",
	})
	if err != nil {
		t.Fatal(err)
	}
	value, err := sessions.Create(token.IntKey(alice.id), token.User{Password: &alice.password}, "127.0.0.1\x00", issued)
	if err != nil {
		t.Fatal(err)
	}
	return "sesame=" + value
}

// TestGuessesCountAndStaleCredentialsDoNot has clients send rejected credentials
// many times, and then one guess: a client that is limited by then gets 429.
func TestGuessesCountAndStaleCredentialsDoNot(t *testing.T) {
	up := startUpstream(t)
	db := anyDatabase(t)
	g := startGateway(t, db, up, limited(ownLimit("3 per 41m"), "session", "max_age 1h"))
	hour := withMaxAge(time.Hour)
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	query := func(value string) (string, []string) { return "/?sesame=" + value, nil }
	bearer := func(value string) (string, []string) { return "/", []string{"Authorization", "Bearer " + value} }
	cookie := func(value string) (string, []string) { return "/", []string{"Cookie", value} }
	old := alice
	old.password = "the former one"
	stale := tokenFor(t, old, hour)
	rotated := tokenFor(t, alice, hour, withKey("former"))
	rotatedCookie := cookieSignedWith(t, "a former key", time.Now())
	expiredCookie := cookieSignedWith(t, secretKey, ago(13*time.Hour))

	for i, test := range []struct {
		name    string
		request func(n int) (target string, header []string)
		limited bool
	}{
		{"one link of a former password", func(int) (string, []string) { return query(stale) }, false},
		{"one link of a former key", func(int) (string, []string) { return query(rotated) }, false},
		{"one token of a former key in Authorization", func(int) (string, []string) { return bearer(rotated) }, false},
		{"one token on many pages, in many places", func(n int) (string, []string) {
			if n%2 == 0 {
				return fmt.Sprintf("/page/%d?sesame=%s&a=b", n, stale), nil
			}
			return bearer(stale)
		}, false},
		{"one link of a user who was deleted", func(int) (string, []string) {
			return query(tokenAt(t, testUser{id: 4711, password: "x"}, "", time.Unix(time.Now().Unix()/3600*3600, 0), hour))
		}, false},
		{"many links of a user who was deactivated", func(n int) (string, []string) {
			return query(tokenAt(t, bob, "", ago(time.Duration(n)*time.Second), hour))
		}, false},
		{"many links that have expired", func(n int) (string, []string) {
			return query(tokenAt(t, alice, "", ago(2*time.Hour+time.Duration(n)*time.Second), hour))
		}, false},
		{"many links that were cut off", func(n int) (string, []string) { return query(stale[:2+n]) }, false},
		{"many links with what no token has", func(n int) (string, []string) { return query(fmt.Sprintf("%s!%d", stale, n)) }, false},
		{"many tokens of another application", func(n int) (string, []string) {
			return bearer(fmt.Sprintf("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI%d.%043d", n, n))
		}, false},
		{"one cookie of a former key", func(int) (string, []string) { return cookie(rotatedCookie) }, false},
		{"one cookie of a former key, beside others", func(n int) (string, []string) {
			return cookie(fmt.Sprintf("n=%d; %s; other=%d", n, rotatedCookie, n))
		}, false},
		{"one cookie that has expired", func(int) (string, []string) { return cookie(expiredCookie) }, false},
		{"many cookies of another application", func(n int) (string, []string) {
			return cookie(fmt.Sprintf("sesame=s%%3A%d.opensesame", n))
		}, false},
		{"many cookies of another application in base64", func(n int) (string, []string) {
			return cookie(fmt.Sprintf("sesame=%s%04d", strings.Repeat("QUJD", 20), n))
		}, false},

		{"many signatures for one user", func(n int) (string, []string) {
			return query(fmt.Sprintf("%s%04d", stale[:len(stale)-4], n))
		}, true},
		{"many signatures for one user in Authorization", func(n int) (string, []string) {
			return bearer(fmt.Sprintf("%s%04d", stale[:len(stale)-4], n))
		}, true},
		{"many users", func(n int) (string, []string) {
			return query(tokenFor(t, testUser{id: int64(5000 + n), password: "x"}, hour))
		}, true},
		{"many signatures for a user who was deactivated", func(n int) (string, []string) {
			return query(tokenFor(t, testUser{id: bob.id, password: fmt.Sprint(n)}, hour))
		}, true},
		{"a guess after each stale link", func(n int) (string, []string) {
			if n%2 == 0 {
				return query(stale)
			}
			return query(fmt.Sprintf("%s%04d", rotated[:len(rotated)-4], n))
		}, true},
		{"many signatures for one cookie", func(n int) (string, []string) { return cookie(forged(rotatedCookie, n)) }, true},
		{"many cookies of another key", func(n int) (string, []string) {
			return cookie(cookieSignedWith(t, "a guesser's key", ago(time.Duration(n)*time.Second)))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := fmt.Sprintf("203.0.113.%d", 1+i)
			for n := range 20 {
				target, header := test.request(n)
				answer := g.get(t, target, from(client, header...)...)
				if answer.status != http.StatusUnauthorized && !(test.limited && answer.status == http.StatusTooManyRequests) {
					t.Fatalf("request %d is answered %d: %s", n, answer.status, answer.body)
				}
			}
			answer := g.get(t, "/?sesame="+tokenFor(t, testUser{id: 9000 + int64(i), password: "x"}, hour), from(client)...)
			if isLimited := answer.status == http.StatusTooManyRequests; isLimited != test.limited {
				t.Errorf("then a guess is answered %d; limited: %t, want %t", answer.status, isLimited, test.limited)
			}
			up.takeNone(t)
		})
	}
}

// TestTokensOfAnApplicationBesideASessionCountForNothing has a user's browser send
// the JSON Web Tokens of an application 160 times, each another one.
func TestTokensOfAnApplicationBesideASessionCountForNothing(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, limited(ownLimit("3 per 43m"), "session"))
	const client = "203.0.113.251"
	cookie := cookieSignedWith(t, secretKey, time.Now())
	for n := range 160 {
		authorization := fmt.Sprintf("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI%d.%043d", n, n)
		g.get(t, "/", from(client, "Cookie", cookie, "Authorization", authorization)...).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "Remote-User", "alice")
		wantHeader(t, got.header, "Authorization", authorization)
	}
	g.get(t, "/?sesame="+bad(t), from(client)...).wantStatus(t, http.StatusUnauthorized)
}

// TestGuessesByExpiredLinksCount has expired_hint look users up.
func TestGuessesByExpiredLinksCount(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, limited(ownLimit("3 per 42m"), "max_age 1h", "pages {", "help_url https://app.example.com/help", "expired_hint", "}"))
	hour := withMaxAge(time.Hour)
	expired := func(u testUser, n int) string {
		return tokenAt(t, u, "", time.Now().Add(-2*time.Hour-time.Duration(n)*time.Second), hour)
	}
	page := func(client, value string) *response {
		return g.get(t, "/?sesame="+value, from(client, "Accept", "text/html")...)
	}
	for n := range 20 {
		answer := page("203.0.113.1", expired(alice, n))
		answer.wantStatus(t, http.StatusUnauthorized)
		if !strings.Contains(answer.body, "signature=") {
			t.Fatal("a link that has expired has no hint")
		}
	}
	page("203.0.113.1", tokenFor(t, testUser{id: 77, password: "x"}, hour)).wantStatus(t, http.StatusUnauthorized)

	guess := func(n int) string { return expired(testUser{id: int64(n), password: "guessed"}, n) }
	for n := range 3 {
		page("203.0.113.2", guess(n)).wantStatus(t, http.StatusUnauthorized)
	}
	page("203.0.113.2", guess(3)).wantLimited(t)
}

// TestStaleTokensAskMySQLInTurn floods the gateway with one stale token, which
// counts once, from a client within the limit.
func TestStaleTokensAskMySQLInTurn(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, limited(ownLimit("20 per 43m")))
		old := alice
		old.password = "the former one"
		stale := tokenFor(t, old)
		g.get(t, "/?sesame="+stale, from("203.0.113.1")...).wantStatus(t, http.StatusUnauthorized)

		began, before := time.Now(), questions(t, db)
		var flooding sync.WaitGroup
		for range 32 {
			flooding.Go(func() {
				for range 10 {
					g.get(t, "/?sesame="+stale, from("203.0.113.1")...).wantStatus(t, http.StatusUnauthorized)
				}
			})
		}
		flooding.Wait()
		most := 2 + int(time.Since(began)/(50*time.Millisecond))
		if asked := questions(t, db) - before; asked > most {
			t.Errorf("320 requests with a stale token asked MySQL %d times in %s, want %d at most", asked, time.Since(began), most)
		}
		// The token's lookups wait, not the client's.
		before = questions(t, db)
		g.get(t, "/?sesame="+tokenFor(t, alice), from("203.0.113.1")...).wantStatus(t, http.StatusOK)
		up.takeOne(t)
		if asked := questions(t, db) - before; asked != 1 {
			t.Errorf("a valid token asked MySQL %d times", asked)
		}
	})
}

// TestRejectionsTakeOneQueryForEveryUser compares what the gateway does for users
// who exist and others: an answer without a query would come sooner.
func TestRejectionsTakeOneQueryForEveryUser(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for _, config := range []struct{ name, limit, more string }{
			{"without a cache", "1 per 44m", ""},
			{"with a cache", "1 per 45m", "cache 5m"},
			{"with a cache and one-time tokens", "1 per 46m", "cache 5m\none_time"},
			{"with a cache and sessions", "1 per 47m", "cache 5m\nsession"},
		} {
			g := startGateway(t, db, up, limited(config.limit, config.more))
			over := from("203.0.113.1")
			g.get(t, "/?sesame="+bad(t), over...).wantStatus(t, http.StatusUnauthorized)
			g.get(t, "/?sesame="+bad(t), over...).wantLimited(t)
			for _, client := range []struct {
				name    string
				address func(n int) string
				status  int
			}{
				{"within the limit", func(n int) string { return fmt.Sprintf("198.51.100.%d", 1+n) }, http.StatusUnauthorized},
				{"over the limit", func(int) string { return "203.0.113.1" }, http.StatusTooManyRequests},
			} {
				for _, user := range []struct {
					name string
					id   int64
				}{
					{"an active user", alice.id},
					{"a user who was deactivated", bob.id},
					{"no user", 4711},
					{"another that is no user", 4712},
				} {
					for n := range 4 { // the others could be answered by what the first has left in the cache
						guess := tokenFor(t, testUser{id: user.id, password: fmt.Sprint(config.name, client.name, n)}, oneTimeWhere(config.more))
						before := questions(t, db)
						g.get(t, "/", from(client.address(int(user.id)*10%200+n), "Authorization", "Bearer "+guess)...).wantStatus(t, client.status)
						if asked := questions(t, db) - before; asked != 1 {
							t.Errorf("%s, a client %s: guess %d for %s asked MySQL %d times, want once", config.name, client.name, 1+n, user.name, asked)
						}
					}
				}
			}
		}
	})
}

// oneTimeWhere makes one-time tokens where the options say so.
func oneTimeWhere(options string) func(*token.Settings) {
	return func(s *token.Settings) { s.OneTime = strings.Contains(options, "one_time") }
}

// TestANewUserIsFoundAtOnce looks a key up before and after the user is made.
func TestANewUserIsFoundAtOnce(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "cache 5m"})
		dora := testUser{id: 12, username: "dora", password: "x", isActive: true}
		for range 2 {
			g.get(t, "/?sesame="+tokenFor(t, dora)).wantStatus(t, http.StatusUnauthorized)
		}
		db.insert(t, dora)
		g.get(t, "/?sesame="+tokenFor(t, dora)).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "dora")
	})
}
