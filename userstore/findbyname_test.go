package userstore_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// whose lists, for each value, the keys of its users.
func whose(found map[string][]*userstore.User) string {
	var all []string
	for _, value := range slices.Sorted(maps.Keys(found)) {
		var ids []string
		for _, user := range found[value] {
			ids = append(ids, user.ID())
		}
		slices.Sort(ids)
		all = append(all, value+"="+strings.Join(ids, "+"))
	}
	return strings.Join(all, " ")
}

// foundCase is a search for users by values of a column.
type foundCase struct {
	name, collation string // of the column
	by              userstore.Field
	values          []string
	want            string // as whose has it
}

// wantFound searches a table of these columns, into which %s puts the collation, and
// rows.
func wantFound(t *testing.T, tests []foundCase, columns, rows string, needs userstore.Needs, find func(*userstore.MySQL, foundCase) (map[string][]*userstore.User, error)) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "CREATE TABLE auth_user ("+fmt.Sprintf(columns, test.collation)+")", rows)
			found, err := find(openStore(t, userstore.Config{DSN: db.dsn()}, needs), test)
			if err != nil {
				t.Fatal(err)
			}
			if got := whose(found); got != test.want {
				t.Errorf("found %s, want %s", got, test.want)
			}
		})
	}
}

func TestManyUsersAreFoundTogether(t *testing.T) {
	t.Parallel()
	const columns = "id int PRIMARY KEY, password text, is_active int, username varchar(50) %s, email varchar(50) %[1]s"
	const rows = `INSERT INTO auth_user VALUES (1, 'p', 1, 'alice', 'alice@x'), (2, 'p', 1, 'Bob', 'Shared@x'), (3, 'p', 0, 'mike', 'shared@x'),
		(4, 'p', 1, 'MIKE ', NULL), (5, 'p', 1, '', ''), (6, 'p', 1, 'tw', 'two@x'), (7, 'p', 1, 'o', 'two@x')`
	tests := []foundCase{
		{"names", "COLLATE utf8mb4_general_ci", userstore.Username, []string{"alice", "nobody", "alice"}, "alice=1"},
		{"another case", "COLLATE utf8mb4_general_ci", userstore.Username, []string{"ALICE", "bob"}, "ALICE=1 bob=2"},
		{"another case, where it counts", "COLLATE utf8mb4_bin", userstore.Username, []string{"ALICE", "Bob"}, "Bob=2"},
		{"letters that the collation takes for equal", "COLLATE utf8mb4_general_ci", userstore.Username, []string{"älice", "mıke", "mİke", "mike"}, "mike=3"},
		{"a space more", "COLLATE utf8mb4_general_ci", userstore.Username, []string{"alice ", "mike "}, "mike =4"},
		{"the same, before another case", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"shared@x", "Shared@x"}, "Shared@x=2 shared@x=3"},
		{"neither the same", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"SHARED@X"}, "SHARED@X=2+3"},
		{"twice", "COLLATE utf8mb4_general_ci", userstore.Email, []string{"two@x", "alice@x"}, "alice@x=1 two@x=6+7"},
		{"empty", "", userstore.Username, []string{""}, ""},
		{"not UTF-8", "", userstore.Username, []string{"\xff", "alice"}, "alice=1"},
		{"a zero byte", "", userstore.Username, []string{"alice\x00"}, ""},
		{"characters that the column can't have", "CHARACTER SET latin1", userstore.Username, []string{"alice", "\U0001F600", "ا"}, "alice=1"},
		{"nobody", "", userstore.Email, nil, ""},
		{"quotes", "", userstore.Username, []string{"' OR 1=1 --", "alice"}, "alice=1"},
	}
	wantFound(t, tests, columns, rows, userstore.Needs{}, func(store *userstore.MySQL, c foundCase) (map[string][]*userstore.User, error) {
		return store.FindMany(t.Context(), c.by, c.values)
	})
}

// TestFindManyOfMany: a query finds more users than it may return, and one value
// has more users than that.
func TestFindManyOfMany(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int, username varchar(50), email varchar(50))",
		"INSERT INTO auth_user SELECT seq, 'p', 1, CONCAT('u', seq), IF(seq <= 2000, 'all@x', CONCAT('u', seq, '@x')) FROM seq_1_to_10000")
	store := openStore(t, userstore.Config{DSN: db.dsn()}, userstore.Needs{})
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("u%d", i+1))
	}
	found, err := store.FindMany(t.Context(), userstore.Username, names)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if users := found[name]; len(users) != 1 || users[0].ID() != fmt.Sprint(i+1) || users[0].Password == nil {
			t.Fatalf("%s is %v", name, users)
		}
	}
	found, err = store.FindMany(t.Context(), userstore.Email, []string{"all@x", "u2001@x", "nobody@x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || len(found["all@x"]) < 2 || len(found["u2001@x"]) != 1 {
		t.Errorf("%d, %d of them, and %d", len(found), len(found["all@x"]), len(found["u2001@x"]))
	}
}

func TestFindManyWithoutTheColumn(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int, login varchar(50))",
		"INSERT INTO auth_user VALUES (1, 'p', 1, 'alice')")
	store := openStore(t, userstore.Config{DSN: db.dsn(), Columns: userstore.Columns{Username: "login"}}, userstore.Needs{})
	if _, err := store.FindMany(t.Context(), userstore.Email, []string{"a@x"}); !errors.Is(err, userstore.ErrNoField) {
		t.Errorf("%v", err)
	}
	found, err := store.FindMany(t.Context(), userstore.Username, []string{"alice"})
	if err != nil || whose(found) != "alice=1" {
		t.Errorf("%s, %v", whose(found), err)
	}
}

func TestOpenReadOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, create string
		needs        userstore.Needs
		lastLogin    bool
		want         string // of the error
	}{
		{"with last_login", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int, last_login datetime(6))", userstore.Needs{}, true, ""},
		{"without", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int)", userstore.Needs{}, false, ""},
		{"with one of another type", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int, last_login date)", userstore.Needs{}, false, ""},
		{"without, though needed", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active int)", userstore.Needs{LastLogin: true}, false, `no column "last_login"`},
		{"no table", "CREATE TABLE other (id int)", userstore.Needs{}, false, "doesn't exist"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, test.create)
			if strings.Contains(test.create, "auth_user") {
				db.exec("INSERT INTO auth_user (id, password, is_active) VALUES (1, 'p', 1)")
			}
			if test.lastLogin {
				db.exec("UPDATE auth_user SET last_login = '2026-01-02 03:04:05.6789'")
			}
			store, err := userstore.OpenReadOnly(t.Context(), userstore.Config{DSN: db.dsn(), StartWithout: true}, test.needs, nil)
			if test.want != "" {
				wantError(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			user, err := store.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}
			if (user.LastLogin != nil) != test.lastLogin {
				t.Errorf("last_login is %v", user.LastLogin)
			}
			if err := store.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
