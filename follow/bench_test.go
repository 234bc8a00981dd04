package follow_test

import (
	"context"
	"fmt"
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
	load.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			_, _ = db.ExecContext(ctx, "UPDATE auth_user SET password = password + 1 WHERE id = 2")
		}
	})
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
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}
