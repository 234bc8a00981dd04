package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// wantSameAsLookup checks that many keys get the answers that each of them gets
// alone.
func wantSameAsLookup(t *testing.T, s *userstore.MySQL, keys []token.PrimaryKey) {
	t.Helper()
	users, err := s.LookupMany(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[token.PrimaryKey]string)
	for _, key := range keys {
		u, err := s.Lookup(t.Context(), key)
		switch {
		case err == nil:
			want[key] = describe(u)
		case !errors.Is(err, userstore.ErrNotFound):
			t.Fatal(err)
		}
	}
	got := make(map[token.PrimaryKey]string)
	for key, u := range users {
		got[key] = describe(u)
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// describe is all that a row says.
func describe(u *userstore.User) string {
	text := func(s *string) string {
		if s == nil {
			return "NULL"
		}
		return strconv.Quote(*s)
	}
	return fmt.Sprintf("%s %q %q %s %s %v %t", u.PrimaryKey.Kind(), u.PrimaryKey, u.Username, text(u.Password), text(u.Email), u.LastLogin, u.IsActive)
}

func TestLookupManyOfEveryType(t *testing.T) {
	t.Parallel()
	id := uuidKey(t)
	type keys []token.PrimaryKey
	tests := []struct {
		columnType string
		insert     string // VALUES
		keys       keys
		found      int
	}{
		{
			"int", "(-2147483648), (0), (7)",
			keys{
				token.IntKey(7), token.IntKey(0), token.IntKey(math.MinInt32), token.IntKey(8),
				token.IntKey(math.MaxInt64), token.UintKey(7), token.UintKey(math.MaxUint64),
			},
			4,
		},
		{
			"bigint unsigned", "(0), (9223372036854775808), (18446744073709551615)",
			keys{
				token.UintKey(0), token.UintKey(math.MaxInt64 + 1), token.UintKey(math.MaxUint64),
				token.UintKey(1), token.IntKey(-1), token.IntKey(0),
			},
			4,
		},
		{"uuid", "('" + dashedID + "')", keys{id, token.UUIDKey([16]byte{}), token.UUIDKey([16]byte{1})}, 1},
		{"char(32)", "('" + hexID + "')", keys{id, token.UUIDKey([16]byte{}), token.StringKey(hexID), token.StringKey("x")}, 2},
		{"char(36)", "('" + strings.ToUpper(dashedID) + "')", keys{id, token.UUIDKey([16]byte{})}, 1},
		{"binary(16)", "(X'" + hexID + "')", keys{id, token.UUIDKey([16]byte{}), token.UUIDKey([16]byte{1})}, 1},
		{
			"varbinary(50)", "('alice'), ('ALICE'), ('')",
			keys{token.BytesKey([]byte("alice")), token.BytesKey([]byte("Alice")), token.BytesKey([]byte("ALICE")), token.StringKey(""), token.StringKey("x")},
			3,
		},
		{
			// A number is compared as text: as a number, '1abc' would be 1.
			"varchar(50)", "('1abc'), ('2'), ('042')",
			keys{token.IntKey(1), token.IntKey(2), token.IntKey(42), token.UintKey(2), token.UintKey(3)},
			2,
		},
		{
			"varchar(50) collate utf8mb4_general_ci", "('Alice'), ('bob'), ('Zoë'), ('☃')",
			keys{
				token.StringKey("alice"), token.StringKey("Alice"), token.StringKey("ALICE "), token.StringKey("bob"),
				token.StringKey("zoe"), token.StringKey("☃"), token.StringKey("carol"), token.StringKey("\xff"),
			},
			3,
		},
		{
			"varchar(50) collate utf8mb4_bin", "('Alice'), ('ALICE'), ('bob')",
			keys{token.StringKey("alice"), token.StringKey("Alice"), token.StringKey("ALICE"), token.StringKey("bob")},
			3,
		},
		{
			// MySQL says that the snowman can't be compared with the column.
			"varchar(50) charset latin1", "('Zoë'), ('Bob')",
			keys{token.StringKey("Zoë"), token.StringKey("☃"), token.StringKey("Bob"), token.StringKey("bob"), token.StringKey("x")},
			2,
		},
	}
	for _, test := range tests {
		t.Run(test.columnType, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE u (k "+test.columnType+" PRIMARY KEY, password text, last_login datetime(6))",
				"INSERT INTO u (k) VALUES "+test.insert)
			s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "u"}, userstore.Needs{LastLogin: true})
			users, err := s.LookupMany(t.Context(), test.keys)
			if err != nil {
				t.Fatal(err)
			}
			if len(users) != test.found {
				t.Errorf("found %d users, want %d: %v", len(users), test.found, users)
			}
			wantSameAsLookup(t, s, test.keys)
			for _, key := range test.keys {
				wantSameAsLookup(t, s, keys{key})
				wantSameAsLookup(t, s, keys{key, key})
				wantSameAsLookup(t, s, keys{key, test.keys[0]})
			}
		})
	}
}

// manyUsers makes a table with users 1 to n.
func manyUsers(d *database, n int) {
	d.exec(authUser)
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("(%d, 'password %[1]d', '2024-01-02 03:04:05.6', 0, 'user%[1]d', '', '', 'user%[1]d@example.com', 0, %d, '2024-01-01')", i+1, i%2)
	}
	d.exec("INSERT INTO auth_user VALUES " + strings.Join(rows, ", "))
}

func TestLookupManyInFewQueries(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	manyUsers(d, 1000)
	count := d.status
	cfg := userstore.Config{DSN: server.DSN("django"), MaxOpenConns: 1}
	openStore(t, cfg, userstore.Needs{}) // keeps the connection open after the other is closed
	statements := count("Prepared_stmt_count")
	s := openStore(t, cfg, userstore.Needs{LastLogin: true})

	tests := []struct {
		keys     int // 1, 2, …
		copies   int
		executed int
		prepared int // by the first call
	}{
		{0, 1, 0, 0},
		{1, 1, 1, 0}, // with Lookup's statement
		{1, 20, 1, 0},
		{2, 1, 1, 1},
		{7, 1, 1, 1},
		{8, 1, 1, 0},
		{8, 3, 1, 0},
		{9, 1, 1, 1},
		{64, 1, 1, 1},
		{65, 1, 1, 1},
		{256, 2, 1, 1},
		{257, 1, 2, 0},
		{300, 1, 2, 0},
		{1100, 1, 5, 0}, // the last hundred aren't there
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d keys %d times", test.keys, test.copies), func(t *testing.T) {
			var keys []token.PrimaryKey
			for range test.copies {
				for i := range test.keys {
					keys = append(keys, token.IntKey(int64(i+1)))
				}
			}
			executed, prepared := count("Com_stmt_execute"), count("Com_stmt_prepare")
			users, err := s.LookupMany(t.Context(), keys)
			if err != nil {
				t.Fatal(err)
			}
			if got := count("Com_stmt_execute") - executed; got != test.executed {
				t.Errorf("%d queries, want %d", got, test.executed)
			}
			if got := count("Com_stmt_prepare") - prepared; got != test.prepared {
				t.Errorf("%d statements prepared, want %d", got, test.prepared)
			}
			if want := min(test.keys, 1000); len(users) != want {
				t.Fatalf("found %d users, want %d", len(users), want)
			}
			for key, u := range users {
				name := "user" + key.String()
				if u.PrimaryKey != key || u.Username != name || *u.Email != name+"@example.com" ||
					*u.Password != "password "+key.String() || u.IsActive != (key.Int()%2 == 0) || u.LastLogin == nil {
					t.Errorf("user %s is %s", key, describe(u))
				}
			}
		})
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if n := count("Prepared_stmt_count"); n != statements {
			return fmt.Errorf("%d statements are left after Close, want the other store's %d", n, statements)
		}
		return nil
	})
}

func TestLookupManyRefusesSeveralRows(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		keyType   string
		rows      string // keys
		keys      []token.PrimaryKey
		ambiguous bool
	}{
		{"one key twice", "int", "(1), (1), (2)", []token.PrimaryKey{token.IntKey(1), token.IntKey(2)}, true},
		{"the last key twice", "int", "(1), (2), (2)", []token.PrimaryKey{token.IntKey(1), token.IntKey(2)}, true},
		{"a key that isn't asked for", "int", "(1), (2), (3), (3)", []token.PrimaryKey{token.IntKey(1), token.IntKey(2)}, false},
		{"very often", "int", "(1)" + strings.Repeat(", (1)", 999), []token.PrimaryKey{token.IntKey(1), token.IntKey(2)}, true},
		{"spelled in two ways", "varchar(9)", "('a'), ('A'), ('b')", []token.PrimaryKey{token.StringKey("a"), token.StringKey("c")}, true},
		{"spelled in one other way", "varchar(9)", "('A'), ('b')", []token.PrimaryKey{token.StringKey("a"), token.StringKey("b")}, false},
		{"spelled in three ways", "varchar(9)", "('aa'), ('AA'), ('aA')", []token.PrimaryKey{token.StringKey("aa"), token.StringKey("c")}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE t (id "+test.keyType+", password text)",
				"INSERT INTO t (id) VALUES "+test.rows, "CREATE VIEW people AS SELECT * FROM t")
			s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "people"}, userstore.Needs{})
			if !test.ambiguous {
				wantSameAsLookup(t, s, test.keys)
				return
			}
			users, err := s.LookupMany(t.Context(), test.keys)
			if !errors.Is(err, userstore.ErrAmbiguous) || !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("got %v, %v", users, err)
			}
		})
	}
}

func TestLookupManyFails(t *testing.T) {
	t.Parallel()
	two := []token.PrimaryKey{token.IntKey(1), token.IntKey(2)}
	tests := []struct {
		name   string
		keys   []token.PrimaryKey
		damage string
		close  bool
		cancel bool
		want   error
		says   string
	}{
		{name: "a key of another kind", keys: []token.PrimaryKey{token.IntKey(1), token.StringKey("1")}, want: userstore.ErrUnavailable, says: "string keys"},
		{name: "no key", keys: []token.PrimaryKey{token.IntKey(1), {}}, want: userstore.ErrUnavailable},
		{name: "closed", keys: two, close: true, want: userstore.ErrUnavailable},
		{name: "the client is gone", keys: two, cancel: true, want: context.Canceled},
		{name: "no table", keys: two, damage: "RENAME TABLE auth_user TO gone", want: userstore.ErrUnavailable, says: "the table doesn't exist"},
		{name: "no column", keys: two, damage: "ALTER TABLE auth_user DROP COLUMN password", want: userstore.ErrUnavailable, says: "a column is gone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.damage != "" {
				d.exec(test.damage)
			}
			if test.close {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if test.cancel {
				cancel()
			}
			users, err := s.LookupMany(ctx, test.keys)
			if !errors.Is(err, test.want) || users != nil {
				t.Fatalf("got %v, %v, want %v", users, err, test.want)
			}
			if test.cancel && errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("%v, though MySQL can't help it", err)
			}
			wantError(t, err, test.says)
		})
	}

	t.Run("locked", func(t *testing.T) {
		t.Parallel()
		d := newDatabase(t, authUser, threeUsers)
		s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{})
		wantSameAsLookup(t, s, two)
		locker, err := d.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer locker.Close()
		if _, err := locker.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
			t.Fatal(err)
		}
		_, err = s.LookupMany(t.Context(), two)
		wantError(t, err, "within 2.5s")
		if _, err := locker.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
		wantSameAsLookup(t, s, two)
	})
}

func TestLookupManyAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	manyUsers(d, 300)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(20 * time.Second)}, userstore.Needs{})
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			for n := range 10 {
				// All batch sizes occur, and each caller starts with statements
				// that aren't prepared yet.
				keys := make([]token.PrimaryKey, 1+(i*37+n*61)%300)
				for j := range keys {
					keys[j] = token.IntKey(int64(j + 1))
				}
				users, err := s.LookupMany(t.Context(), keys)
				if err != nil {
					t.Error(err)
					return
				}
				if len(users) != len(keys) {
					t.Errorf("found %d users of %d", len(users), len(keys))
				}
				for key, u := range users {
					if u.Username != "user"+key.String() {
						t.Errorf("user %s is %s", key, u.Username)
					}
				}
			}
		})
	}
	callers.Wait()
}

// BenchmarkLookupMany measures the cost per user in batches of several sizes.
func BenchmarkLookupMany(b *testing.B) {
	d := newDatabase(b)
	manyUsers(d, 1000)
	s, err := userstore.Open(b.Context(), userstore.Config{DSN: d.dsn()}, userstore.Needs{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, n := range []int{1, 2, 8, 9, 64, 256, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			keys := make([]token.PrimaryKey, n)
			for i := range keys {
				keys[i] = token.IntKey(int64(i + 1))
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.LookupMany(b.Context(), keys); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/user")
		})
	}
}
