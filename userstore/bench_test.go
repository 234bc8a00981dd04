package userstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// BenchmarkLookup compares a lookup with the same columns read by database/sql
// alone: prepared, and scanned into variables.
func BenchmarkLookup(b *testing.B) {
	d := newDatabase(b, authUser, threeUsers)

	b.Run("Lookup", func(b *testing.B) {
		s, err := userstore.Open(b.Context(), userstore.Config{DSN: d.dsn()}, userstore.Needs{LastLogin: true}, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Lookup(b.Context(), token.IntKey(2)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})

	b.Run("PreparedSELECT", func(b *testing.B) { benchmarkSelect(b, d, 0) })
	// The cost of a time limit in database/sql and in the driver, each of which
	// watches the context with a goroutine.
	b.Run("PreparedSELECTWithTimeLimit", func(b *testing.B) { benchmarkSelect(b, d, time.Second) })
}

func benchmarkSelect(b *testing.B, d *database, limit time.Duration) {
	db := open(b, d.name)
	db.SetMaxOpenConns(userstore.DefaultMaxOpenConns)
	db.SetMaxIdleConns(userstore.DefaultMaxOpenConns)
	statement, err := db.Prepare("SELECT id, password, last_login, is_active, email, username FROM auth_user WHERE id = ?")
	if err != nil {
		b.Fatal(err)
	}
	defer statement.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var id int64
			var password, lastLogin, email, username string
			var active bool
			ctx, cancel := context.Background(), func() {}
			if limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
			}
			row := statement.QueryRowContext(ctx, int64(2))
			err := row.Scan(&id, &password, &lastLogin, &active, &email, &username)
			cancel()
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
