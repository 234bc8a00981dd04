package userstore_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestStatementsAreSentAsTextWithoutRoomToPrepareThem uses a server with
// max_prepared_stmt_count 0. Keys and values with quotes, backslashes and other
// characters mean what they mean in a prepared statement, whatever the sql_mode is.
func TestStatementsAreSentAsTextWithoutRoomToPrepareThem(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	d.exec(
		"CREATE TABLE numbers (id bigint unsigned PRIMARY KEY, password varchar(128), is_active bool, email varchar(99), last_login datetime(6))",
		`INSERT INTO numbers VALUES (1, 'p', 1, 'a@x', NULL), (18446744073709551615, X'5C27223F', 1, '\\\'"?', '2024-02-29 23:59:59.000001')`,
		"CREATE TABLE texts (id varchar(40) COLLATE utf8mb4_bin PRIMARY KEY, password varchar(128), is_active bool, `odd``?'name` int)",
		`INSERT INTO texts VALUES ('o''hara', 'p', 1, 7), ('a\\b"?', 'p', 1, 7), ('Zoë 😀', 'p', 1, 7), ('\\', 'p', 1, 7), (''' OR 1=1 -- ', 'p', 1, 7)`,
		"CREATE TABLE bytes (id varbinary(16) PRIMARY KEY, password varchar(128), is_active bool)",
		"INSERT INTO bytes VALUES (X'275C00FF', 'p', 1), (X'3F', 'p', 1)",
		"CREATE TABLE uuids (id uuid PRIMARY KEY, password varchar(128), is_active bool)",
		"INSERT INTO uuids VALUES ('01020000-0000-0000-0000-000000000001', 'p', 1)",
		"CREATE TABLE narrow (id varchar(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY, password varchar(128), is_active bool)",
		"INSERT INTO narrow VALUES ('alice', 'p', 1)",
		"SET GLOBAL max_prepared_stmt_count = 0")
	for _, mode := range []string{"''", "'NO_BACKSLASH_ESCAPES'", "'ANSI_QUOTES,STRICT_ALL_TABLES'"} {
		t.Run("sql_mode "+mode, func(t *testing.T) {
			dsn := server.DSN("django") + "?sql_mode=" + mode
			tests := []struct {
				table   string
				columns userstore.Columns
				keys    []token.PrimaryKey
				absent  []token.PrimaryKey
			}{
				{"numbers", userstore.Columns{}, []token.PrimaryKey{token.UintKey(1), token.UintKey(18446744073709551615)}, []token.PrimaryKey{token.UintKey(2)}},
				{
					"texts",
					userstore.Columns{Extra: []string{"odd`?'name"}},
					[]token.PrimaryKey{
						token.StringKey("o'hara"), token.StringKey(`a\b"?`), token.StringKey("Zoë 😀"), token.StringKey(`\`), token.StringKey("' OR 1=1 -- "),
					},
					[]token.PrimaryKey{token.StringKey("' OR '1'='1"), token.StringKey("O'HARA"), token.StringKey(`\' OR 1=1 -- `), token.StringKey("a\x00")},
				},
				{"bytes", userstore.Columns{}, []token.PrimaryKey{token.BytesKey([]byte("'\\\x00\xff")), token.BytesKey([]byte("?"))}, []token.PrimaryKey{token.BytesKey([]byte("'"))}},
				{"uuids", userstore.Columns{}, []token.PrimaryKey{token.UUIDKey([16]byte{1, 2, 15: 1})}, []token.PrimaryKey{token.UUIDKey([16]byte{1})}},
				{"narrow", userstore.Columns{}, []token.PrimaryKey{token.StringKey("alice")}, []token.PrimaryKey{token.StringKey("😀"), token.StringKey("bob")}},
			}
			for _, test := range tests {
				s := openStore(t, userstore.Config{DSN: dsn, Table: test.table, Columns: test.columns}, userstore.Needs{Kind: test.keys[0].Kind()})
				all, err := s.LookupMany(t.Context(), append(test.keys[:len(test.keys):len(test.keys)], test.absent...))
				if err != nil || len(all) != len(test.keys) {
					t.Errorf("%s: %d users together (%v), want %d", test.table, len(all), err, len(test.keys))
				}
				for _, key := range test.keys {
					if u, err := s.Lookup(t.Context(), key); err != nil || u.PrimaryKey != key {
						t.Errorf("%s: %v is %v (%v)", test.table, key, u, err)
					}
				}
				for _, key := range test.absent {
					if _, err := s.Lookup(t.Context(), key); !errors.Is(err, userstore.ErrNotFound) {
						t.Errorf("%s: %v: %v, want ErrNotFound", test.table, key, err)
					}
				}
			}
			d.exec("UPDATE numbers SET last_login = NULL")
			s := openStore(t, userstore.Config{DSN: dsn, Table: "numbers"}, userstore.Needs{LastLogin: true, Email: true})
			wantOneWinner(t, s, token.UintKey(18446744073709551615))
			if got := d.text("SELECT COUNT(*) FROM numbers WHERE last_login IS NOT NULL"); got != "1" {
				t.Errorf("%s rows were written", got)
			}
		})
	}
	if n := d.status("Prepared_stmt_count"); n != 0 {
		t.Errorf("%d statements are prepared", n)
	}
}

// wantOneWinner consumes a user's token by several requests at once.
func wantOneWinner(t *testing.T, s *userstore.MySQL, key token.PrimaryKey) {
	t.Helper()
	u, err := s.Lookup(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 20)
	var all sync.WaitGroup
	for range cap(results) {
		all.Go(func() { results <- s.Consume(t.Context(), u, time.Now()) })
	}
	all.Wait()
	close(results)
	won := 0
	for err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, userstore.ErrConsumed):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d requests won", won)
	}
}
