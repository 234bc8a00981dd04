package users_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
)

func TestDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, err := users.Start(ctx, t.TempDir(), 1000)
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	const rows = 1000
	if err := d.CreateTable(ctx, "auth_user", rows); err != nil {
		t.Fatal(err)
	}
	if settled, err := d.Settle(ctx); err != nil || !settled {
		t.Fatalf("settled: %v, %v", settled, err)
	}

	t.Run("tokens are those of the rows", func(t *testing.T) {
		key := users.NewSecretKey()
		all, err := d.Spread(ctx, "auth_user", key, 100, rows)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 100 || all[0].ID != 1 || all[99].ID != 991 {
			t.Errorf("there are %d users, from %d to %d", len(all), all[0].ID, all[len(all)-1].ID)
		}
		tokens, err := token.New(token.Settings{SecretKey: key, MaxAge: new(users.MaxAge), Encoding: token.LongPacker})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range all {
			var password string
			if err := d.QueryRowContext(ctx, "SELECT password FROM auth_user WHERE id = ? AND username = ?", u.ID, u.Name).Scan(&password); err != nil {
				t.Fatal(err)
			}
			parsed, err := tokens.Parse(u.Token, token.Expectation{Now: time.Now()})
			if err == nil {
				err = tokens.Verify(&parsed, token.User{Password: &password})
			}
			if err != nil || parsed.PrimaryKey().Int() != u.ID {
				t.Fatalf("the token of user %d: key %v, %v", u.ID, parsed.PrimaryKey(), err)
			}
		}
	})

	t.Run("counters", func(t *testing.T) {
		read, err := d.PrepareContext(ctx, "SELECT id FROM auth_user WHERE id = ?")
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		before, err := d.Counters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for id := range 5 {
			if err := read.QueryRowContext(ctx, id+1).Scan(&id); err != nil {
				t.Fatal(err)
			}
		}
		after, err := d.Counters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := after.Since(before), (users.Counters{Questions: 5, Executed: 5}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}
