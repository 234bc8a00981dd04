package userstore_test

import (
	"errors"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestUsersAreFoundByAddress: as Django's form for a forgotten password finds them,
// except that a user without a password is found, too.
func TestUsersAreFoundByAddress(t *testing.T) {
	t.Parallel()
	const columns = "id int PRIMARY KEY, password text, is_active int, email varchar(80) %s"
	const rows = `INSERT INTO auth_user VALUES (1, 'p', 1, 'alice@example.com'), (2, '!', 1, 'Alice@Example.com'), (3, 'p', 0, 'mike@example.com'),
		(4, 'p', 1, NULL), (5, 'p', 1, ''), (6, 'p', 1, 'o''neil@example.com'), (7, 'p', 1, 'trailing@example.com ')`
	tests := []foundCase{
		{"in any case", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"ALICE@example.COM"}, "ALICE@example.COM=1+2"},
		{"where the collation distinguishes case", "COLLATE utf8mb4_bin", userstore.Email, []string{"ALICE@example.COM"}, "ALICE@example.COM=1"},
		{"several at once", "COLLATE utf8mb4_unicode_ci", userstore.Email, []string{"alice@example.com", "nobody@example.com", "mike@example.com"}, "alice@example.com=1+2 mike@example.com=3"},
		{"a dotless i", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"mıke@example.com"}, ""},
		{"an accent", "COLLATE utf8mb4_unicode_ci", userstore.Email, []string{"àlice@example.com"}, ""},
		{"a Cyrillic letter", "COLLATE utf8mb4_unicode_ci", userstore.Email, []string{"аlice@example.com"}, ""},
		{"wide letters, which are compatible", "COLLATE utf8mb4_unicode_ci", userstore.Email, []string{"ａｌｉｃｅ@example.com"}, "ａｌｉｃｅ@example.com=1+2"},
		{"a space, which the collation ignores", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"alice@example.com ", "trailing@example.com"}, ""},
		{"a pattern", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"%@example.com", "_lice@example.com"}, ""},
		{"a quote", "", userstore.Email, []string{"o'neil@example.com", "' OR 1=1 -- "}, "o'neil@example.com=6"},
		{"characters that the column can't have", "CHARACTER SET latin1", userstore.Email, []string{"alice@example.com", "\U0001F600@example.com"}, "alice@example.com=1+2"},
		{"nothing, and what is no text", "", userstore.Email, []string{"", "\xff@example.com"}, ""},
	}
	wantFound(t, tests, columns, rows, userstore.Needs{Email: true}, func(store *userstore.MySQL, c foundCase) (map[string][]*userstore.User, error) {
		return store.FindByAddress(t.Context(), c.values)
	})
}

// TestAddressOfManyUsers: some are returned, and those of other addresses are found
// beside them.
func TestAddressOfManyUsers(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int, email varchar(50))",
		"INSERT INTO auth_user SELECT seq, 'p', 1, IF(seq <= 500, 'all@x', CONCAT('u', seq, '@x')) FROM seq_1_to_1000")
	store := openStore(t, userstore.Config{DSN: db.dsn()}, userstore.Needs{Email: true})
	found, err := store.FindByAddress(t.Context(), []string{"all@x", "u600@x"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(found["all@x"]); n != userstore.MostUsersOfAddress {
		t.Errorf("found %d users, want %d", n, userstore.MostUsersOfAddress)
	}
	if got := whose(map[string][]*userstore.User{"u600@x": found["u600@x"]}); got != "u600@x=600" {
		t.Errorf("found %s", got)
	}
}

// TestAddressesNeedTheColumn: the store doesn't open without it.
func TestAddressesNeedTheColumn(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int)")
	if _, err := userstore.Open(t.Context(), patient(userstore.Config{DSN: db.dsn()}), userstore.Needs{Email: true}, nil); err == nil {
		t.Fatal("the store opened")
	}
}

// TestFindByAddressEndsInTime: a server that hangs is an error of the store.
func TestFindByAddressEndsInTime(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int, email varchar(50))")
	proxy, dsn := newProxy(t, db)
	store := openStore(t, userstore.Config{DSN: dsn, QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{Email: true})
	proxy.Freeze()
	if _, err := store.FindByAddress(t.Context(), []string{"a@x"}); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	proxy.Pass()
	eventually(t, func() error {
		_, err := store.FindByAddress(t.Context(), []string{"a@x"})
		return err
	})
}
