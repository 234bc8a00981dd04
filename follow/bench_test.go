package follow_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// changeOften has the database execute a statement a thousand times a second, until ctx
// ends.
func changeOften(ctx context.Context, db *sql.DB, statement string) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		_, _ = db.ExecContext(ctx, statement)
	}
}

// BenchmarkFromCommitToNextLookup changes a user's row, and measures how long after the
// answer to COMMIT lookups still use the former row, while other rows are changed 1000
// times a second.
func BenchmarkFromCommitToNextLookup(b *testing.B) {
	if shared == nil {
		b.Skip("there is no server")
	}
	if err := shared.CreateDatabase("latency"); err != nil {
		b.Log(err) // of a former run
	}
	if err := shared.Exec("latency", "DROP TABLE IF EXISTS auth_user",
		"CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, password varchar(128) NOT NULL, last_login datetime(6) NULL, is_active bool NOT NULL DEFAULT 1)",
		"INSERT INTO auth_user (id, username, password) VALUES (1, 'a', '0'), (2, 'b', '0')"); err != nil {
		b.Fatal(err)
	}
	cfg := userstore.Config{DSN: shared.DSN("latency"), Follow: &userstore.FollowConfig{Lease: caddy.Duration(2 * time.Second)}}
	store, err := userstore.Open(b.Context(), cfg, userstore.Needs{}, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	following := store.Follow(follow.Follower{})
	defer following.Close()
	users := userstore.Finder{Store: store, Following: following}
	db := openDSN(b, shared.DSN("latency"))

	ctx, stop := context.WithCancel(b.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	load.Go(func() { changeOften(ctx, db, "UPDATE auth_user SET password = password + 1 WHERE id = 2") })
	read := func() string {
		var password string
		_, err := users.Find(b.Context(), userstore.ByPrimaryKey(token.IntKey(1)), false, func(user *userstore.User) error {
			password = *user.Password
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		return password
	}
	var took []time.Duration
	for value := 1; b.Loop(); value++ {
		for hits := following.Stats().Hits; following.Stats().Hits == hits; read() { // the row is kept
			time.Sleep(100 * time.Microsecond)
		}
		if _, err := db.Exec("UPDATE auth_user SET password = ? WHERE id = 1", strconv.Itoa(value)); err != nil {
			b.Fatal(err)
		}
		committed := time.Now()
		for read() != fmt.Sprint(value) {
		}
		took = append(took, time.Since(committed))
	}
	report(b, took)
}

// BenchmarkFromCommitToAnswer changes a user's row, and measures how long after the answer
// to COMMIT a gateway rejects the user's token, and ends the user's open responses. Rows
// of another user are changed 1000 times a second, and eight connections send requests.
func BenchmarkFromCommitToAnswer(b *testing.B) {
	if shared == nil {
		b.Skip("there is no server")
	}
	if err := shared.Exec("", "DROP DATABASE IF EXISTS answers", "CREATE DATABASE answers"); err != nil {
		b.Fatal(err)
	}
	if err := shared.Exec("answers", identifyingTables...); err != nil {
		b.Fatal(err)
	}
	address := runIdentifying(b, shared, "answers", "lease 2s")
	login, another := tokenFor(b, "p"), tokenOf(b, 2, "p")
	db := openDSN(b, shared.DSN("answers"))
	ctx, stop := context.WithCancel(b.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	load.Go(func() { changeOften(ctx, db, "UPDATE auth_user SET last_login = NOW(6) WHERE id = 2") })
	for range 8 {
		load.Go(func() {
			for client := new(http.Client); ctx.Err() == nil; {
				_, _ = statusOf(ctx, client, address, another)
			}
		})
	}
	measures := map[string]func(b *testing.B) func() error{
		// Until the first rejection has arrived. Requests are sent one after the other.
		"rejection": func(*testing.B) func() error {
			client := new(http.Client)
			return func() error {
				for {
					if status, err := statusOf(ctx, client, address, login); err != nil || status == http.StatusUnauthorized {
						return err
					}
				}
			}
		},
	}
	for kind, open := range longResponses {
		measures[kind] = func(b *testing.B) func() error { return open(b, address, login).awaitEnd }
	}
	for name, measure := range measures {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			client := new(http.Client)
			for b.Loop() {
				for kept := 0; kept < 10; { // requests are accepted, so that the row is kept
					if status, err := statusOf(ctx, client, address, login); err != nil {
						b.Fatal(err)
					} else if status == http.StatusOK {
						kept++
					}
					time.Sleep(time.Millisecond)
				}
				await := measure(b)
				time.Sleep(100 * time.Millisecond) // responses that have just begun are checked later
				if _, err := db.Exec("UPDATE auth_user SET is_active = 0 WHERE id = 1"); err != nil {
					b.Fatal(err)
				}
				committed := time.Now()
				if err := await(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(committed))
				if _, err := db.Exec("UPDATE auth_user SET is_active = 1 WHERE id = 1"); err != nil {
					b.Fatal(err)
				}
			}
			report(b, took)
		})
	}
}

// statusOf is the status of the answer to a request with a token.
func statusOf(ctx context.Context, client *http.Client, address, token string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// report reports how long something took.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}
