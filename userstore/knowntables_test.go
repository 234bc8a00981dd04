package userstore_test

import (
	"errors"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestOpenWithoutMySQLBesideAnOpenStore, as a reload does: an equal store opens and
// knows the table, another one doesn't, and neither does one after all are closed.
func TestOpenWithoutMySQLBesideAnOpenStore(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	proxy, dsn := newProxy(t, d)
	cfg := userstore.Config{DSN: dsn, QueryTimeout: caddy.Duration(briefly)}
	via := func() []*userstore.Via {
		return []*userstore.Via{{Name: "name", Fields: []userstore.Field{userstore.Username}}}
	}
	first, err := userstore.Open(t.Context(), cfg, userstore.Needs{Vias: via()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := first.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	proxy.Freeze()
	second, logs := openLogged(t, cfg, userstore.Needs{Vias: via()})
	if got, err := second.Schema(t.Context()); err != nil || got != schema {
		t.Errorf("it knows %+v, %v; want %+v", got, err, schema)
	}
	if n := logs.FilterMessage("MySQL doesn't answer, and the table is taken to be as it was before the reload").Len(); n != 1 {
		t.Errorf("%d lines say so: %v", n, logs.All())
	}
	if _, err := second.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a lookup: %v", err)
	}
	other := cfg
	other.Columns.Extra = []string{"first_name"}
	for name, open := range map[string]func() (*userstore.MySQL, error){
		"other columns": func() (*userstore.MySQL, error) {
			return userstore.Open(t.Context(), other, userstore.Needs{Vias: via()}, nil)
		},
		"other needs": func() (*userstore.MySQL, error) {
			return userstore.Open(t.Context(), cfg, userstore.Needs{Vias: via(), LastLogin: true}, nil)
		},
		"other ways": func() (*userstore.MySQL, error) { return userstore.Open(t.Context(), cfg, userstore.Needs{}, nil) },
	} {
		if s, err := open(); !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				_ = s.Close()
			}
		}
	}

	// The reload after the reload, still without MySQL.
	third := openStore(t, cfg, userstore.Needs{Vias: via()})
	for _, s := range []*userstore.MySQL{first, second} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	proxy.Pass()
	eventually(t, func() error { _, err := third.Lookup(t.Context(), token.IntKey(1)); return err })
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	proxy.Reset()
	if s, err := userstore.Open(t.Context(), cfg, userstore.Needs{Vias: via()}, nil); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("after the last one was closed: %v", err)
		if err == nil {
			_ = s.Close()
		}
	}
}

// TestOpenBesideAnOpenStoreChecksTheTable if MySQL answers: a table that has changed is
// an error.
func TestOpenBesideAnOpenStoreChecksTheTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	cfg := userstore.Config{DSN: d.dsn()}
	openStore(t, cfg, userstore.Needs{})
	d.exec("ALTER TABLE auth_user DROP COLUMN password")
	s, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{}, nil)
	if err == nil {
		_ = s.Close()
	}
	wantError(t, err, `has no column "password"`)
}
