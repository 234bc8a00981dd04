package devmysql_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/devmysql"
)

func start(t testing.TB) *devmysql.Server {
	t.Helper()
	s, err := devmysql.Start(devmysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t testing.TB, s *devmysql.Server, statements string, args ...any) {
	t.Helper()
	if err := s.Exec(statements, args...); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

const insertUser = `INSERT INTO auth_user
	(id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
	VALUES (?, ?, ?, 0, ?, '', '', ?, 0, ?, '2024-01-01 00:00:00')`

func TestOnlyTheAccountWithItsPasswordConnects(t *testing.T) {
	s := start(t)
	if err := open(t, s.DSN()).Ping(); err != nil {
		t.Error(err)
	}
	wrong := strings.Replace(s.DSN(), ":sesame@", ":wrong@", 1)
	if err := open(t, wrong).Ping(); err == nil {
		t.Error("a wrong password was accepted")
	}
	none := strings.Replace(s.DSN(), "django:sesame@", "root@", 1)
	if err := open(t, none).Ping(); err == nil {
		t.Error("an account without a password was accepted")
	}
}

func TestCloseEndsConnections(t *testing.T) {
	s, err := devmysql.Start(devmysql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, s.DSN())
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Ping(); err == nil {
		t.Error("it still answers")
	}
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	l.Close()
}

func TestInsertAndUpdateByDjango(t *testing.T) {
	s := start(t)
	db := open(t, s.DSN())
	result, err := db.Exec(`INSERT INTO auth_user (password, last_login, is_superuser, username, first_name, last_name,
		email, is_staff, is_active, date_joined) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		"!x", nil, false, "alice", "", "", "alice@example.com", false, true, "2024-02-03 04:05:06.000007")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := result.LastInsertId(); err != nil || id != 1 {
		t.Errorf("the id is %d (%v)", id, err)
	}
	exec(t, s, "INSERT INTO auth_group (name) VALUES (?)", "staff")
	exec(t, s, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)")
	if err := s.Exec("INSERT INTO auth_user_groups (user_id, group_id) VALUES (9, 1)"); err == nil {
		t.Error("a membership of a missing user was accepted")
	}
	if err := s.Exec(insertUser, 2, "!", nil, "alice", "", 1); err == nil {
		t.Error("a username was accepted twice")
	}
}

// A connection's settings, as gateways and Django make them.
func TestSessionSettings(t *testing.T) {
	s := start(t)
	for _, params := range []string{
		"?time_zone=%27%2B00%3A00%27",
		"?charset=utf8mb4&collation=utf8mb4_general_ci",
		"?autocommit=1&lock_wait_timeout=2&innodb_lock_wait_timeout=2",
		"?sql_mode=TRIM%28LEADING+%27%2C%27+FROM+CONCAT%28%40%40SESSION.sql_mode%2C+%27%2CSTRICT_ALL_TABLES%27%29%29",
		"?sql_mode=%27STRICT_TRANS_TABLES%27",
		"?transaction_isolation=%27READ-COMMITTED%27",
		"?connectionAttributes=program_name:test",
	} {
		db := open(t, s.DSN()+params)
		var mode string
		if err := db.QueryRow("SELECT @@sql_mode").Scan(&mode); err != nil {
			t.Errorf("%s: %v", params, err)
		}
	}
}

// Times keep each microsecond, in both protocols and whatever the time zone of the
// connection. As text they lack the zeros at the end of the fraction, which MySQL
// writes, so comparisons must read both texts in the same way.
func TestTimesKeepEachMicrosecond(t *testing.T) {
	s := start(t)
	for i, at := range []string{
		"2024-05-06 07:08:09.123456", "2024-05-06 07:08:09.000001", "2024-05-06 07:08:09.999999",
		"2024-05-06 07:08:09.100000", "2024-05-06 07:08:09.000000", "1969-12-31 23:59:59.999999", "2100-01-01 00:00:00.000001",
	} {
		id := i + 1
		for _, params := range []string{"", "?time_zone=%27-09%3A30%27", "?interpolateParams=true", "?parseTime=true&loc=UTC"} {
			db := open(t, s.DSN()+params)
			exec(t, s, "DELETE FROM auth_user")
			if _, err := db.Exec(insertUser, id, "x", at, "alice", "", 1); err != nil {
				t.Fatal(err)
			}
			var text string
			if strings.Contains(params, "parseTime") {
				var when time.Time
				if err := db.QueryRow("SELECT last_login FROM auth_user WHERE id = ?", id).Scan(&when); err != nil {
					t.Fatal(err)
				}
				text = when.Format("2006-01-02 15:04:05.000000")
			} else if err := db.QueryRow("SELECT last_login FROM auth_user WHERE id = ?", id).Scan(&text); err != nil {
				t.Fatal(err)
			}
			binary := params == "" || strings.Contains(params, "time_zone")
			if text != at && (binary || text != trimZeros(at)) {
				t.Errorf("%s: last_login is %s, not %s", params, text, at)
			}
			var cast string
			if err := db.QueryRow("SELECT CAST(last_login AS CHAR) FROM auth_user WHERE id = ?", id).Scan(&cast); err != nil {
				t.Fatal(err)
			}
			if cast != trimZeros(at) {
				t.Errorf("%s: last_login as text is %s, not %s", params, cast, at)
			}
			result, err := db.Exec("UPDATE auth_user SET last_login = ? WHERE id = ? AND CAST(last_login AS CHAR) <=> ?",
				"2030-01-01 00:00:00.000000", id, cast)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := result.RowsAffected(); n != 1 {
				t.Errorf("%s: %d rows have last_login %s as text", params, n, at)
			}
		}
	}
}

func trimZeros(at string) string { return strings.TrimRight(strings.TrimRight(at, "0"), ".") }

func TestNullSafeEqual(t *testing.T) {
	s := start(t)
	db := open(t, s.DSN())
	exec(t, s, insertUser, 1, "x", nil, "alice", "", 1)
	update, err := db.Prepare("UPDATE auth_user SET last_login = ? WHERE id = ? AND last_login <=> ? AND password <=> ?")
	if err != nil {
		t.Fatal(err)
	}
	defer update.Close()
	for _, step := range []struct {
		set, was any
		password any
		changed  int64
	}{
		{"2024-01-01 00:00:00.000001", "2023-01-01 00:00:00", "x", 0},
		{"2024-01-01 00:00:00.000001", nil, "y", 0},
		{"2024-01-01 00:00:00.000001", nil, []byte("x"), 1},
		{"2024-01-01 00:00:00.000002", nil, "x", 0},
		{"2024-01-01 00:00:00.000002", "2024-01-01 00:00:00.000001", nil, 0},
		{"2024-01-01 00:00:00.000002", "2024-01-01 00:00:00.000001", "x", 1},
		// An UPDATE that changes nothing counts no row.
		{"2024-01-01 00:00:00.000002", "2024-01-01 00:00:00.000002", "x", 0},
		{nil, "2024-01-01 00:00:00.000002", "x", 1},
	} {
		result, err := update.Exec(step.set, 1, step.was, step.password)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := result.RowsAffected(); n != step.changed {
			t.Errorf("%+v: %d rows changed", step, n)
		}
	}
}

// Of many conditional UPDATEs of one row, one wins.
func TestOneOfManyWins(t *testing.T) {
	s := start(t)
	pools := []*sql.DB{open(t, s.DSN()), open(t, s.DSN())}
	for _, db := range pools {
		db.SetMaxOpenConns(25)
	}
	for round := range 3 {
		exec(t, s, "DELETE FROM auth_user")
		exec(t, s, insertUser, 1, "x", nil, "alice", "", 1)
		var last any
		if round > 0 {
			last = "2024-01-01 00:00:00.000001"
			exec(t, s, "UPDATE auth_user SET last_login = ?", last)
		}
		var winners, rows atomic.Int64
		var all sync.WaitGroup
		for i := range 200 {
			db := pools[i%2]
			all.Go(func() {
				// Other connections read meanwhile, as gateways do before they
				// consume.
				var name string
				if err := db.QueryRow("SELECT username FROM auth_user WHERE id = ? LIMIT 2", 1).Scan(&name); err != nil {
					t.Error(err)
				} else if name == "alice" {
					rows.Add(1)
				}
				result, err := db.Exec(
					"UPDATE auth_user SET last_login = ? WHERE id = ? AND last_login <=> ? AND password <=> ?",
					fmt.Sprintf("2025-01-01 00:00:00.%06d", i), 1, last, "x")
				if err != nil {
					t.Error(err)
					return
				}
				n, err := result.RowsAffected()
				if err != nil {
					t.Error(err)
				}
				winners.Add(n)
			})
		}
		all.Wait()
		if winners.Load() != 1 || rows.Load() != 200 {
			t.Errorf("%d winners, %d rows read", winners.Load(), rows.Load())
		}
	}
}

// TestInformationSchema reads what userstore reads when it starts.
func TestInformationSchema(t *testing.T) {
	s := start(t)
	db := open(t, s.DSN())
	exec(t, s, `CREATE TABLE keys_of_all_kinds (
		big bigint unsigned NOT NULL PRIMARY KEY, uuid char(32) NOT NULL UNIQUE, bin binary(16) NULL,
		tiny tinyint NOT NULL, name varchar(36) NOT NULL, UNIQUE (tiny, name))`)
	exec(t, s, "CREATE VIEW accounts AS SELECT id, password AS pw, last_login FROM auth_user")

	type column struct {
		Table, Name, Data, Type, Nullable string
		Precision                         sql.NullInt64
		Key                               string
	}
	for _, want := range []column{
		{"auth_user", "id", "int", "int", "NO", sql.NullInt64{}, "PRI"},
		{"auth_user", "password", "varchar", "varchar(128)", "NO", sql.NullInt64{}, ""},
		{"auth_user", "last_login", "datetime", "datetime(6)", "YES", sql.NullInt64{Int64: 6, Valid: true}, ""},
		{"auth_user", "is_active", "tinyint", "tinyint(1)", "NO", sql.NullInt64{}, ""},
		{"auth_user", "username", "varchar", "varchar(150)", "NO", sql.NullInt64{}, "UNI"},
		{"keys_of_all_kinds", "big", "bigint", "bigint unsigned", "NO", sql.NullInt64{}, "PRI"},
		{"keys_of_all_kinds", "uuid", "char", "char(32)", "NO", sql.NullInt64{}, "UNI"},
		{"keys_of_all_kinds", "bin", "binary", "binary(16)", "YES", sql.NullInt64{}, ""},
		{"accounts", "id", "int", "int", "NO", sql.NullInt64{}, ""},
		{"accounts", "pw", "varchar", "varchar(128)", "NO", sql.NullInt64{}, ""},
		{"accounts", "last_login", "datetime", "datetime(6)", "YES", sql.NullInt64{Int64: 6, Valid: true}, ""},
	} {
		got := column{Table: want.Table, Name: want.Name}
		err := db.QueryRow(`SELECT DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, DATETIME_PRECISION, COLUMN_KEY
			FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND COLUMN_NAME = ?`,
			devmysql.Database, want.Table, want.Name).Scan(&got.Data, &got.Type, &got.Nullable, &got.Precision, &got.Key)
		if err != nil {
			t.Errorf("%s.%s: %v", want.Table, want.Name, err)
		} else if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}

	var unique int
	err := db.QueryRow(`SELECT COUNT(*) FROM (
		SELECT INDEX_NAME FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0
		GROUP BY INDEX_NAME HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = ?) unique_indexes`,
		devmysql.Database, "keys_of_all_kinds", "uuid").Scan(&unique)
	if err != nil || unique != 1 {
		t.Errorf("%d unique indexes of uuid: %v", unique, err)
	}
	err = db.QueryRow(`SELECT COUNT(*) FROM (
		SELECT INDEX_NAME FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0
		GROUP BY INDEX_NAME HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = ?) unique_indexes`,
		devmysql.Database, "keys_of_all_kinds", "name").Scan(&unique)
	if err != nil || unique != 0 {
		t.Errorf("%d unique indexes of name: %v", unique, err)
	}

	for name, want := range map[string]string{"auth_user": "BASE TABLE", "accounts": "VIEW"} {
		var kind string
		err := db.QueryRow("SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
			devmysql.Database, name).Scan(&kind)
		if err != nil || kind != want {
			t.Errorf("%s is a %q: %v", name, kind, err)
		}
	}
}

func TestUsersAreFoundByTheirKeys(t *testing.T) {
	s := start(t)
	db := open(t, s.DSN())
	uuidBytes := []byte("\x00\x01\xff\xfe'\"\\\x00\n\x1a567890a"[:16])
	for _, test := range []struct {
		column string
		key    any
		want   []byte
		absent any
	}{
		{"int", -2147483648, []byte("-2147483648"), 1},
		{"int unsigned", uint64(4294967295), []byte("4294967295"), 1},
		{"bigint", int64(-9223372036854775808), []byte("-9223372036854775808"), 1},
		{"bigint unsigned", uint64(18446744073709551615), []byte("18446744073709551615"), uint64(18446744073709551614)},
		{"char(32)", "0123456789abcdef0123456789abcdef", []byte("0123456789abcdef0123456789abcdef"), "0"},
		{"binary(16)", uuidBytes, uuidBytes, []byte("0123456789abcdef")},
		{"varbinary(20)", []byte("a\x00b"), []byte("a\x00b"), []byte("a")},
		{"varchar(100)", "Ünïcode 🔑", []byte("Ünïcode 🔑"), "U"},
	} {
		t.Run(test.column, func(t *testing.T) {
			exec(t, s, "DROP TABLE IF EXISTS k")
			exec(t, s, "CREATE TABLE k (id "+test.column+" NOT NULL PRIMARY KEY, v varchar(10) NULL)")
			if _, err := db.Exec("INSERT INTO k VALUES (?, NULL)", test.key); err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{"SELECT id, v FROM k WHERE id = ? LIMIT 2", "SELECT CAST(id AS CHAR), v FROM k WHERE id = ?"} {
				if strings.Contains(test.column, "binary") && strings.Contains(query, "CAST") {
					continue // not text
				}
				statement, err := db.Prepare(query)
				if err != nil {
					t.Fatal(err)
				}
				defer statement.Close()
				var got, null sql.RawBytes
				rows, err := statement.Query(test.key)
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close()
				if !rows.Next() {
					t.Fatalf("%s: no row (%v)", query, rows.Err())
				}
				if err := rows.Scan(&got, &null); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, test.want) || null != nil {
					t.Errorf("%s: %q, %q", query, got, null)
				}
				if rows.Next() {
					t.Errorf("%s: two rows", query)
				}
				var none string
				if err := statement.QueryRow(test.absent).Scan(&none, &none); err != sql.ErrNoRows {
					t.Errorf("%s for a key that isn't there: %v", query, err)
				}
			}
		})
	}
}

func TestViewIsReadLikeATable(t *testing.T) {
	s := start(t)
	db := open(t, s.DSN())
	exec(t, s, insertUser, 1, "x", "2024-01-01 00:00:00.000001", "alice", "", 1)
	exec(t, s, insertUser, 2, "y", nil, "bob", "", 0)
	exec(t, s, "CREATE VIEW accounts AS SELECT id, password AS pw, last_login, is_active FROM auth_user WHERE is_active")
	var pw, last string
	if err := db.QueryRow("SELECT pw, CAST(last_login AS CHAR) FROM accounts WHERE id = ? LIMIT 2", 1).Scan(&pw, &last); err != nil {
		t.Fatal(err)
	}
	if pw != "x" || last != "2024-01-01 00:00:00.000001" {
		t.Errorf("got %q, %q", pw, last)
	}
	if err := db.QueryRow("SELECT pw FROM accounts WHERE id = ?", 2).Scan(&pw); err != sql.ErrNoRows {
		t.Errorf("a row that the view excludes: %v", err)
	}
}

// An UPDATE is seen by the next SELECT of every connection.
func TestUpdateIsSeenByTheNextSelect(t *testing.T) {
	s := start(t)
	exec(t, s, insertUser, 1, "x", nil, "alice", "", 1)
	readers := []*sql.DB{open(t, s.DSN()), open(t, s.DSN())}
	for i := range 50 {
		want := fmt.Sprint("x", i)
		exec(t, s, "UPDATE auth_user SET password = ? WHERE id = 1", want)
		var got string
		if err := readers[i%2].QueryRow("SELECT password FROM auth_user WHERE id = ?", 1).Scan(&got); err != nil || got != want {
			t.Fatalf("got %q, want %q (%v)", got, want, err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	s := start(b)
	exec(b, s, insertUser, 1, "x", nil, "alice", "", 1)
	db := open(b, s.DSN())
	statement, err := db.Prepare("SELECT id, password, last_login, is_active, email, username FROM auth_user WHERE id = ? LIMIT 2")
	if err != nil {
		b.Fatal(err)
	}
	defer statement.Close()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var id, password, lastLogin, isActive, email, username sql.NullString
			if err := statement.QueryRow(1).Scan(&id, &password, &lastLogin, &isActive, &email, &username); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
