package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// manySessions makes n users, each with the session s<id> and the API token t<id>.
func manySessions(d *database, n int) {
	manyUsers(d, n)
	d.exec(sessionTable, "INSERT INTO django_session SELECT CONCAT('s', id), id, '9999-01-01' FROM auth_user",
		apiTokenTable, "INSERT INTO authtoken_token SELECT CONCAT('t', id), '2024-01-01', id FROM auth_user")
}

// TestLookupsViaThatWaitAreOneQuery has many lookups wait for the first one.
func TestLookupsViaThatWaitAreOneQuery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		prefix, table string
		via           *userstore.Via
		first         int // queries for so many lookups without a hint
	}{
		{"s", "django_session", sessions(), 2},
		{"t", "authtoken_token", apiTokens(), 1},
	}
	for _, test := range tests {
		t.Run(test.via.Name, func(t *testing.T) {
			t.Parallel()
			const waiting = 40
			server, d := newServerDatabase(t)
			manySessions(d, 100)
			s := openStore(t, userstore.Config{DSN: server.DSN("django"), MaxOpenConns: 1, QueryTimeout: caddy.Duration(time.Minute)},
				userstore.Needs{Vias: []*userstore.Via{test.via}})
			find := func(id int) {
				if user, err := s.LookupVia(t.Context(), test.via.Key(test.prefix+strconv.Itoa(id))); err != nil || user.PrimaryKey != token.IntKey(int64(id)) {
					t.Errorf("user %d: %v", id, err)
				}
			}
			find(100)
			for round := range 2 {
				lock, err := d.db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := lock.ExecContext(t.Context(), "LOCK TABLES "+test.table+" WRITE"); err != nil {
					t.Fatal(err)
				}
				before := d.status("Com_stmt_execute")
				var lookups sync.WaitGroup
				lookups.Go(func() { find(100) })
				eventually(t, func() error {
					if d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%'") == "0" {
						return errors.New("the first lookup is not on its way")
					}
					return nil
				})
				for id := range waiting {
					lookups.Go(func() { find(id + 1) })
				}
				eventually(t, func() error {
					if n := userstore.Waiting(s, test.via); n != waiting {
						return fmt.Errorf("%d lookups wait", n)
					}
					return nil
				})
				if _, err := lock.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
					t.Fatal(err)
				}
				lookups.Wait()
				_ = lock.Close()
				queries, want := d.status("Com_stmt_execute")-before, 1+1
				switch {
				case round > 0 && queries != want:
					t.Errorf("%d queries, want one for the first lookup and one for all others", queries)
				// Later lookups wait for each other in the order of their arrival.
				case round == 0 && test.first == 1 && queries != want:
					t.Errorf("%d queries, want one for the first lookup and one for all others", queries)
				case round == 0 && queries > want+waiting/4:
					t.Errorf("%d queries for sessions that are read for the first time", queries)
				}
			}
		})
	}
}

// TestSessionsThatChangeHands gives sessions other users all the time, while many
// lookups run: each lookup returns the user whom the row that was read names, and a
// lookup that begins after a change sees the change.
func TestSessionsThatChangeHands(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	manySessions(d, 20)
	via := sessions()
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(time.Minute)}, userstore.Needs{Vias: []*userstore.Via{via}})
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for worker := range 64 {
		others.Go(func() {
			for i := worker; ctx.Err() == nil; i++ {
				user, err := s.LookupVia(ctx, via.Key("s"+strconv.Itoa(i%20+1)))
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				if text, _ := user.Via().Value("session_data"); text != user.PrimaryKey.String() || user.Username != "user"+text {
					t.Errorf("user %s by a row that tells %s", user.Username, text)
				}
			}
		})
	}
	for i := range 200 {
		whose := strconv.Itoa(i%20 + 1)
		d.exec("UPDATE django_session SET session_data = '" + whose + "' WHERE session_key IN ('s1', 's2', 's3')")
		user, err := s.LookupVia(t.Context(), via.Key("s2"))
		if err != nil || user.PrimaryKey.String() != whose {
			t.Fatalf("%v, %v, want user %s", user, err, whose)
		}
		password := "changed" + strconv.Itoa(i)
		d.exec("UPDATE auth_user SET password = '" + password + "' WHERE id = " + whose)
		if user, err = s.LookupVia(t.Context(), via.Key("s2")); err != nil || *user.Password != password {
			t.Fatalf("%v, %v, want the password that was set", user, err)
		}
	}
	stop()
	others.Wait()
	d.exec("DELETE FROM django_session WHERE session_key = 's20'", "DELETE FROM auth_user WHERE id = 1", "UPDATE django_session SET session_data = '1' WHERE session_key = 's19'")
	wantVia(t, s, via, "s20", "")
	wantVia(t, s, via, "s19", "")
}

// TestSessionsOfOneUserKeepTheirRows reads sessions of one user in one query.
func TestSessionsOfOneUserKeepTheirRows(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, sessionTable, "INSERT INTO django_session VALUES ('a', '01', '9999-01-01'), ('b', '1', '9999-01-01'), ('c', '001', '9999-01-01')")
	via := sessions()
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{via}})
	keys := []userstore.Key{via.Key("a"), via.Key("b"), via.Key("c")}
	for range 2 {
		found, err := s.LookupKeys(t.Context(), keys)
		if err != nil || len(found) != len(keys) {
			t.Fatalf("%v, %v", found, err)
		}
		for i, want := range []string{"01", "1", "001"} {
			user := found[keys[i]]
			if text, _ := user.Via().Value("session_data"); text != want || user.Username != "alice" || *user.Password != "pbkdf2_sha256$1$a$b" {
				t.Errorf("row %q led to %s", text, describe(user))
			}
		}
	}
}

// TestLookupsViaWithoutAnswer: such lookups return ErrUnavailable, never
// ErrNotFound.
func TestLookupsViaWithoutAnswer(t *testing.T) {
	t.Parallel()
	for _, via := range []*userstore.Via{sessions(), apiTokens(), {Name: "own", Column: "username"}, {Name: "password", Fields: []userstore.Field{userstore.Username, userstore.Email}}} {
		t.Run(via.Name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			manySessions(d, 3)
			s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{Vias: []*userstore.Via{via}})
			wantNone := func(err error) {
				t.Helper()
				if !errors.Is(err, userstore.ErrUnavailable) || errors.Is(err, userstore.ErrNotFound) {
					t.Errorf("got %v, want ErrUnavailable", err)
				}
				if err != nil && strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%v gives the value away", err)
				}
			}
			_, err := s.LookupVia(t.Context(), sessions().Key("s3cret"))
			wantNone(err) // the store doesn't know this Via
			lock, err := d.db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			if _, err := lock.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE, django_session WRITE, authtoken_token WRITE"); err != nil {
				t.Fatal(err)
			}
			var lookups sync.WaitGroup
			for range 5 {
				lookups.Go(func() {
					_, err := s.LookupVia(t.Context(), via.Key("s3cret"))
					wantNone(err)
				})
			}
			lookups.Wait()
			if _, err := lock.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() error {
				_, err := s.LookupVia(t.Context(), via.Key("s3cret"))
				if !errors.Is(err, userstore.ErrNotFound) {
					return fmt.Errorf("got %w, want ErrNotFound", err)
				}
				return nil
			})
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := s.LookupVia(gone, via.Key("s3cret")); !errors.Is(err, context.Canceled) || errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("got %v of a client that has gone", err)
			}
			d.exec("DROP TABLE authtoken_token", "DROP TABLE django_session", "DROP TABLE auth_user")
			_, err = s.LookupVia(t.Context(), via.Key("s3cret"))
			wantNone(err)
			_, err = s.LookupKeys(t.Context(), []userstore.Key{via.Key("s3cret"), via.Key("other")})
			wantNone(err)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, err = s.LookupVia(t.Context(), via.Key("s3cret"))
			wantNone(err)
		})
	}
}

// TestRowsEndAtTheirTime by the gateway's clock, as in Django.
func TestRowsEndAtTheirTime(t *testing.T) {
	t.Parallel()
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2024, 7, 1, 12, 0, 0, 500_000_000, time.UTC)
	tests := []struct {
		text     string
		location *time.Location
		passed   bool
	}{
		{"2024-07-01 12:00:00.500000", time.UTC, true},
		{"2024-07-01 12:00:00.499999", time.UTC, true},
		{"2024-07-01 12:00:00.500001", time.UTC, false},
		{"2024-07-01 12:00:00", time.UTC, true},
		{"2024-07-01 12:00:01", time.UTC, false},
		{"2024-07-01 14:00:00.500000", paris, true},
		{"2024-07-01 14:00:00.500001", paris, false},
		{"2024-07-01 13:00:00", paris, true},
		{"9999-12-31 23:59:59.999999", paris, false},
		{"0000-00-00 00:00:00", time.UTC, true},
	}
	for _, test := range tests {
		passed, err := userstore.HasPassed([]byte(test.text), now, test.location)
		if err != nil || passed != test.passed {
			t.Errorf("%s in %s: %t, %v; want %t", test.text, test.location, passed, err, test.passed)
		}
	}
	if passed, err := userstore.HasPassed(nil, now, time.UTC); passed || err != nil {
		t.Errorf("NULL: %t, %v", passed, err)
	}
	if _, err := userstore.HasPassed([]byte("soon"), now, time.UTC); err == nil {
		t.Error("no error")
	}
}

// TestTimesOfRowsAreInTheStoresZone reads columns of another table.
func TestTimesOfRowsAreInTheStoresZone(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, "CREATE TABLE knox_authtoken (digest varchar(128) PRIMARY KEY, user_id int, created datetime(6), expiry datetime(6) NULL, zero datetime NULL)")
	d.exec("SET sql_mode = ''", "INSERT INTO knox_authtoken VALUES ('never', 1, '2024-07-01 12:00:00', NULL, NULL), ('later', 2, '2024-07-01 12:00:00', '9999-01-01', NULL), ('past', 2, '2024-07-01', '2024-07-02', NULL)")
	via := &userstore.Via{Name: "knox", Table: "knox_authtoken", Column: "digest", User: "user_id", Reads: []string{"created", "expiry"}, Until: "expiry"}
	off := false
	s := openStore(t, userstore.Config{DSN: d.dsn(), UseTZ: &off, TimeZone: "America/Chicago"}, userstore.Needs{Vias: []*userstore.Via{via}})
	row := wantVia(t, s, via, "never", "alice").Via()
	if at, ok := row.Time("created"); !ok || !at.Equal(time.Date(2024, 7, 1, 17, 0, 0, 0, time.UTC)) || at.Location() != time.UTC {
		t.Errorf("created %s", at)
	}
	if at, ok := row.Time("expiry"); ok {
		t.Errorf("NULL is %s", at)
	}
	if _, ok := row.Time("digest"); ok {
		t.Error("a column that isn't read has a time")
	}
	if at, ok := wantVia(t, s, via, "later", "bob").Via().Time("expiry"); !ok || at.Year() != 9999 {
		t.Errorf("expires %s", at)
	}
	wantVia(t, s, via, "past", "")
	var none *userstore.ViaRow
	if _, ok := none.Time("created"); ok {
		t.Error("no row has a time")
	}
}

// TestViaOfTheTokensKeyIsKept finds a user by a key in another form in the cache.
func TestViaOfTheTokensKeyIsKept(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	manySessions(d, 3)
	via := &userstore.Via{Name: "simplejwt"}
	s := openStore(t, userstore.Config{DSN: server.DSN("django")}, userstore.Needs{Vias: []*userstore.Via{via, sessions()}})
	cache, err := userstore.NewCache(s, userstore.CacheConfig{For: caddy.Duration(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	finder := userstore.Finder{Store: s, Cache: cache}
	before := d.status("Com_stmt_execute")
	for range 5 {
		user, err := finder.Find(t.Context(), via.Key("2"), false, func(*userstore.User) error { return nil })
		if err != nil || user.Username != "user2" {
			t.Errorf("%v, %v", user, err)
		}
	}
	if queries := d.status("Com_stmt_execute") - before; queries != 1 {
		t.Errorf("%d queries", queries)
	}
}

// TestValueWithSeveralRowsFindsNoUser: only a view can have several rows with one
// value.
func TestValueWithSeveralRowsFindsNoUser(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	manySessions(d, 5)
	d.exec("CREATE VIEW twice_session AS SELECT * FROM django_session UNION ALL SELECT * FROM django_session WHERE session_key = 's2'",
		"CREATE VIEW twice_token AS SELECT * FROM authtoken_token UNION ALL SELECT * FROM authtoken_token WHERE user_id = 2")
	session, apiToken := sessions(), apiTokens()
	session.Table, apiToken.Table = "twice_session", "twice_token"
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{session, apiToken}})
	for prefix, via := range map[string]*userstore.Via{"s": session, "t": apiToken} {
		wantVia(t, s, via, prefix+"1", "user1")
		for range 2 {
			if user, err := s.LookupVia(t.Context(), via.Key(prefix+"2")); !errors.Is(err, userstore.ErrAmbiguous) || !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("got %v, %v", user, err)
			}
			if users, err := s.LookupKeys(t.Context(), []userstore.Key{via.Key(prefix + "1"), via.Key(prefix + "2"), via.Key(prefix + "3")}); !errors.Is(err, userstore.ErrAmbiguous) {
				t.Errorf("got %v, %v", users, err)
			}
		}
	}
}

// TestLookupViaAllocatesLittle counts the additional allocations of a lookup by
// another row: the row's own columns, and the driver's values.
func TestLookupViaAllocatesLittle(t *testing.T) {
	d := newDatabase(t)
	manySessions(d, 3)
	session, apiToken := sessions(), apiTokens()
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{session, apiToken}})
	allocs := func(key userstore.Key) float64 {
		return testing.AllocsPerRun(100, func() {
			if _, err := s.LookupVia(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
	primary := allocs(userstore.ByPrimaryKey(token.IntKey(2)))
	if n := allocs(session.Key("s2")) - primary; n > 10 {
		t.Errorf("%.0f allocations more for a session", n)
	}
	if n := allocs(apiToken.Key("t2")) - primary; n > 9 {
		t.Errorf("%.0f allocations more for an API token", n)
	}
}
