package userstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestLookupInDjangosTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{
		DSN:     d.dsn(),
		Columns: userstore.Columns{Extra: []string{"first_name", "date_joined", "IS_STAFF"}},
	}, userstore.Needs{LastLogin: true, Email: true})

	schema, err := s.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := userstore.Schema{
		PrimaryKey: "id", Kind: token.KindInt, Packer: "LongPacker",
		HasPassword: true, HasLastLogin: true, HasIsActive: true, HasEmail: true, HasUsername: true,
		LastLoginPrecision: 6,
	}
	if schema != want {
		t.Errorf("schema is %+v, want %+v", schema, want)
	}

	bobsLogin := time.Date(2024, 2, 29, 23, 59, 59, 1000, time.UTC)
	zoesLogin := time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)
	tests := []struct {
		id        int64
		password  string
		email     string
		lastLogin *time.Time
		active    bool
		columns   map[string]string
	}{
		{1, "pbkdf2_sha256$1$a$b", "alice@example.com", nil, true, map[string]string{
			"username": "alice", "email": "alice@example.com", "first_name": "Alice",
			"is_staff": "1", "IS_STAFF": "1", "date_joined": "2024-01-01 00:00:00.000000",
		}},
		{2, "!unusable", "", &bobsLogin, true, map[string]string{
			"username": "bob", "email": "", "first_name": "", "date_joined": "2024-01-01 00:00:00.500000",
		}},
		{3, "x", "zoë@example.com", &zoesLogin, false, map[string]string{"username": "Zoë", "first_name": "Zoë"}},
	}
	for _, test := range tests {
		u, err := s.Lookup(t.Context(), token.IntKey(test.id))
		if err != nil {
			t.Fatal(err)
		}
		if u.PrimaryKey != token.IntKey(test.id) {
			t.Errorf("user %d: key is %v", test.id, u.PrimaryKey)
		}
		if u.Password == nil || *u.Password != test.password || u.Email == nil || *u.Email != test.email {
			t.Errorf("user %d: password or e-mail isn't the row's", test.id)
		}
		if !sameTime(u.LastLogin, test.lastLogin) {
			t.Errorf("user %d: last login is %v, want %v", test.id, u.LastLogin, test.lastLogin)
		}
		if u.IsActive != test.active {
			t.Errorf("user %d: active is %t", test.id, u.IsActive)
		}
		for name, want := range test.columns {
			if got, ok := u.Column(name); !ok || got != want {
				t.Errorf("user %d: column %s is %q, %t, want %q", test.id, name, got, ok, want)
			}
		}
		for _, name := range []string{"password", "last_name", "last_login", ""} {
			if got, ok := u.Column(name); ok {
				t.Errorf("user %d: column %q is %q, though it isn't to be read", test.id, name, got)
			}
		}
	}
	if _, err := s.Lookup(t.Context(), token.IntKey(4)); !errors.Is(err, userstore.ErrNotFound) {
		t.Errorf("an absent user: %v", err)
	}
	if _, err := s.Lookup(t.Context(), token.StringKey("1")); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a key of another kind: %v", err)
	}
}

func TestLookupReadsTheRowAsItIsNow(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	// Half the limit, because other tests' reads may be stalled on the server, too.
	s := openStore(t, userstore.Config{DSN: d.dsn(), MaxOpenConns: 16, MaxIdleConns: 1}, userstore.Needs{})
	for _, active := range []bool{true, false, true} {
		d.exec("UPDATE auth_user SET is_active = " + map[bool]string{true: "1", false: "0"}[active])
		u, err := s.Lookup(t.Context(), token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if u.IsActive != active {
			t.Errorf("active is %t right after it became %t", u.IsActive, active)
		}
		if u.LastLogin != nil {
			t.Error("last_login was read, though tokens aren't one-time")
		}
	}
}

func TestLookupWithOddNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, create string
		cfg          userstore.Config
	}{
		{
			"spaces and backticks", "CREATE TABLE `my ``users` (`the key` int PRIMARY KEY, `pass``word` text, `select` datetime, `e-mail` text)",
			userstore.Config{Table: "my `users", Columns: userstore.Columns{
				PrimaryKey: "the key", Password: "pass`word", LastLogin: "select", Email: "e-mail",
			}},
		},
		{
			"dots and quotes", "CREATE TABLE `a.b\"c'` (`where = 1 or` int PRIMARY KEY, `;--` text, `?` datetime, `%s` text)",
			userstore.Config{Table: "`a.b\"c'`", Columns: userstore.Columns{
				PrimaryKey: "where = 1 or", Password: ";--", LastLogin: "?", Email: "%s",
			}},
		},
		{
			"reserved words", "CREATE TABLE `table` (`key` int PRIMARY KEY, `group` text, `order` datetime, `from` text)",
			userstore.Config{Table: "table", Columns: userstore.Columns{
				PrimaryKey: "key", Password: "group", LastLogin: "order", Email: "from",
			}},
		},
		{
			"not ASCII", "CREATE TABLE `ユーザー` (`schlüssel` int PRIMARY KEY, `пароль` text, `λ` datetime, `é` text)",
			userstore.Config{Table: "ユーザー", Columns: userstore.Columns{
				PrimaryKey: "schlüssel", Password: "пароль", LastLogin: "λ", Email: "é",
			}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, test.create)
			cfg := test.cfg
			cfg.DSN = d.dsn()
			s := openStore(t, cfg, userstore.Needs{LastLogin: true, Email: true})
			table := cfg.Table
			if table[0] != '`' {
				table = "`" + doubled(table) + "`"
			}
			d.exec("INSERT INTO " + table + " VALUES (7, 'hash', NULL, 'a@b')")
			u, err := s.Lookup(t.Context(), token.IntKey(7))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := u.Column(cfg.Columns.Email); *u.Password != "hash" || got != "a@b" || !u.IsActive {
				t.Errorf("read %q, %q, active %t", *u.Password, got, u.IsActive)
			}
			if err := s.Consume(t.Context(), u, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
}

func doubled(name string) string {
	var out []rune
	for _, r := range name {
		if r == '`' {
			out = append(out, r)
		}
		out = append(out, r)
	}
	return string(out)
}

func TestLookupInAnotherDatabase(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	for name, dsn := range map[string]string{"DSN without a database": dsnOf(t, ""), "DSN with another": newDatabase(t).dsn()} {
		s := openStore(t, userstore.Config{DSN: dsn, Table: d.name + ".auth_user"}, userstore.Needs{})
		if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLookupOfNulls(t *testing.T) {
	t.Parallel()
	d := newDatabase(t,
		`CREATE TABLE people (id int PRIMARY KEY, password text, last_login datetime(6), is_active bit(1), email text, username text, phone text)`,
		`INSERT INTO people (id) VALUES (1)`,
		`INSERT INTO people VALUES (2, '', NULL, 1, '', '', '')`,
		`INSERT INTO people VALUES (3, '', NULL, 0, '', '', '')`)
	s := openStore(t, userstore.Config{
		DSN: d.dsn(), Table: "people", Columns: userstore.Columns{Extra: []string{"phone"}},
	}, userstore.Needs{LastLogin: true})

	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if u.Password != nil || u.LastLogin != nil || u.Email != nil || u.Username != "" || u.IsActive {
		t.Errorf("a row of NULLs became %+v", u)
	}
	for _, name := range []string{"phone", "email", "username"} {
		if got, ok := u.Column(name); got != "" || !ok {
			t.Errorf("NULL %s is %q, %t", name, got, ok)
		}
	}
	for id, active := range map[int64]bool{2: true, 3: false} {
		u, err := s.Lookup(t.Context(), token.IntKey(id))
		if err != nil {
			t.Fatal(err)
		}
		if u.Password == nil || *u.Password != "" || u.Email == nil || u.IsActive != active {
			t.Errorf("a row of empty strings became %+v", u)
		}
	}
}

func TestLookupRefusesSeveralRows(t *testing.T) {
	t.Parallel()
	d := newDatabase(t,
		`CREATE TABLE one (id int, password text, last_login datetime)`,
		`INSERT INTO one VALUES (1, 'a', NULL), (1, 'b', NULL), (2, 'c', NULL)`,
		`CREATE VIEW people AS SELECT * FROM one`)
	s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "people"}, userstore.Needs{LastLogin: true})
	_, err := s.Lookup(t.Context(), token.IntKey(1))
	if !errors.Is(err, userstore.ErrAmbiguous) || !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("two rows of one key: %v", err)
	}
	u, err := s.Lookup(t.Context(), token.IntKey(2))
	if err != nil {
		t.Fatal(err)
	}
	d.exec(`INSERT INTO one VALUES (2, 'c', NULL)`)
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrAmbiguous) {
		t.Errorf("two rows changed: %v", err)
	}
}

func TestLookupAnswersInTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{LastLogin: true})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}

	locker, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer locker.Close()
	if _, err := locker.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Lookup(t.Context(), token.IntKey(1))
	if !errors.Is(err, userstore.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a locked table: %v", err)
	}
	wantError(t, err, "within 2.5s")
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("consuming in a locked table: %v", err)
	}

	// A client that hangs up isn't an outage.
	ctx, cancel := context.WithTimeout(t.Context(), briefly/20)
	defer cancel()
	_, err = s.Lookup(ctx, token.IntKey(1))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("the caller's context ended: %v", err)
	}
	cancelled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	_, err = s.Lookup(cancelled, token.IntKey(1))
	if !errors.Is(err, context.Canceled) || errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("the caller's context was cancelled: %v", err)
	}

	if _, err := locker.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

func TestLookupWaitsForAConnectionInTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn(), MaxOpenConns: 1, QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{})
	locker, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer locker.Close()
	if _, err := locker.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	const clients = 20
	failures := make(chan error, clients)
	for range clients {
		go func() {
			_, err := s.Lookup(t.Context(), token.IntKey(1))
			failures <- err
		}()
	}
	for range clients {
		if err := <-failures; !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("without a free connection: %v", err)
		}
	}
}

func TestLookupAfterTheTableChanged(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	d.exec("ALTER TABLE auth_user CHANGE password pw varchar(128)")
	_, err := s.Lookup(t.Context(), token.IntKey(1))
	if !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a column is gone: %v", err)
	}
	wantError(t, err, "a column is gone", "password")
	d.exec("RENAME TABLE auth_user TO elsewhere")
	_, err = s.Lookup(t.Context(), token.IntKey(1))
	wantError(t, err, "the table doesn't exist")
	d.exec("RENAME TABLE elsewhere TO auth_user", "ALTER TABLE auth_user CHANGE pw password varchar(128)")
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

func TestOpenIgnoresWhatTheDSNMustNotSet(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	dsn := serverConfig(t, func(cfg *mysql.Config) {
		cfg.DBName = d.name
		cfg.ParseTime, cfg.MultiStatements, cfg.ClientFoundRows, cfg.AllowAllFiles = true, true, true, true
		cfg.InterpolateParams = true
		cfg.Loc = time.FixedZone("", 3600)
		cfg.Params = map[string]string{"time_zone": "'+07:00'", "autocommit": "0"}
		if err := cfg.Apply(mysql.Charset("latin1", "latin1_swedish_ci")); err != nil {
			t.Fatal(err)
		}
	})
	s := openStore(t, userstore.Config{DSN: dsn}, userstore.Needs{LastLogin: true})
	u, err := s.Lookup(t.Context(), token.IntKey(3))
	if err != nil {
		t.Fatal(err)
	}
	if u.Username != "Zoë" || !u.LastLogin.Equal(time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)) {
		t.Errorf("read %q and %v", u.Username, u.LastLogin)
	}
	u, err = s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Fatal(err)
	}
	if d.text("SELECT last_login FROM auth_user WHERE id = 1") == "NULL" {
		t.Error("the consumption isn't committed")
	}
}

func TestStoreIsClosedTwice(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a closed store: %v", err)
	}
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
