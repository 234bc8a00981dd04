package userstore_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Tables as Django and Django REST framework make them.
const (
	sessionTable = "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, " +
		"session_data longtext NOT NULL, expire_date datetime(6) NOT NULL, KEY (expire_date))"
	apiTokenTable = "CREATE TABLE authtoken_token (`key` varchar(40) NOT NULL PRIMARY KEY, " +
		"created datetime(6) NOT NULL, user_id int NOT NULL UNIQUE)"
)

// sessions returns a Via by rows of Django's sessions. Here a session's text is the
// user's key itself.
func sessions() *userstore.Via {
	return &userstore.Via{
		Name: "django_session", Table: "django_session", Column: "session_key", Reads: []string{"session_data"}, Until: "expire_date",
		Whose: func(row *userstore.ViaRow) (string, error) {
			text, ok := row.Value("session_data")
			if !ok || text == "" {
				return "", errAnonymous
			}
			return text, nil
		},
	}
}

var errAnonymous = errors.New("no user is logged in")

// apiTokens is the way to users by rows of Django REST framework's tokens.
func apiTokens() *userstore.Via {
	return &userstore.Via{Name: "drf", Table: "authtoken_token", Column: "key", User: "user_id", Reads: []string{"created", "key"}}
}

// wantVia checks which user a value leads to; empty means none.
func wantVia(t *testing.T, s *userstore.MySQL, via *userstore.Via, value, username string) *userstore.User {
	t.Helper()
	user, err := s.LookupVia(t.Context(), via.Key(value))
	switch {
	case username == "" && errors.Is(err, userstore.ErrNotFound):
	case username == "":
		t.Errorf("%q leads to %v, %v; want no user", value, user, err)
	case err != nil:
		t.Errorf("%q: %v", value, err)
	case user.Username != username:
		t.Errorf("%q leads to %s, want %s", value, user.Username, username)
	}
	keys, err := s.LookupKeys(t.Context(), []userstore.Key{via.Key(value), via.Key(value), via.Key("neither")})
	if err != nil {
		t.Fatal(err)
	}
	if got := keys[via.Key(value)]; (got == nil) != (username == "") || got != nil && got.Username != username {
		t.Errorf("among others, %q leads to %v, want %q", value, got, username)
	}
	return user
}

// onEachServer runs a test on MariaDB, and on this repository's server for tests.
// dsn leads to an empty database.
func onEachServer(t *testing.T, test func(t *testing.T, d *database, dsn string)) {
	t.Helper()
	t.Parallel()
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		d := newDatabase(t)
		test(t, d, d.dsn())
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		d, dsn := newEmbedded(t)
		d.exec("DROP TABLE auth_user_user_permissions", "DROP TABLE auth_user_groups", "DROP TABLE auth_user")
		test(t, d, dsn)
	})
}

func TestRowThatRefersToAUserLeadsToIt(t *testing.T) {
	onEachServer(t, testRowThatRefersToAUser)
}

func testRowThatRefersToAUser(t *testing.T, d *database, dsn string) {
	d.exec(authUser, threeUsers, apiTokenTable,
		"INSERT INTO authtoken_token VALUES ('abc', '2024-02-29 23:59:59.5', 1), ('ABCD', '2024-01-01', 3), ('gone', '2024-01-01', 99), ('o', '2024-01-01', 2)")
	via := apiTokens()
	s := openStore(t, userstore.Config{DSN: dsn}, userstore.Needs{Vias: []*userstore.Via{via}})
	user := wantVia(t, s, via, "abc", "alice")
	if key, _ := user.Via().Value("key"); key != "abc" || user.PrimaryKey != token.IntKey(1) || *user.Password != "pbkdf2_sha256$1$a$b" {
		t.Errorf("the row says %q, and the user is %s", key, describe(user))
	}
	if created, ok := user.Via().Time("created"); !ok || created.String() != "2024-02-29 23:59:59.5 +0000 UTC" {
		t.Errorf("created %s", created)
	}
	wantVia(t, s, via, "ABCD", "Zoë")
	for _, value := range []string{"ABC", "abcd", "abc ", "äbc", "gone", "", "\xff", "☃", strings.Repeat("a", 1000)} {
		wantVia(t, s, via, value, "")
	}
	d.exec("DELETE FROM authtoken_token WHERE user_id = 1", "UPDATE authtoken_token SET `key` = 'ABC' WHERE user_id = 2")
	wantVia(t, s, via, "abc", "")
	wantVia(t, s, via, "ABC", "bob")
}

func TestRowWhoseTextTellsAUserLeadsToIt(t *testing.T) {
	onEachServer(t, testRowWhoseTextTellsAUser)
}

func testRowWhoseTextTellsAUser(t *testing.T, d *database, dsn string) {
	d.exec(authUser, threeUsers, sessionTable,
		"INSERT INTO django_session VALUES ('aaa', '1', '9999-01-01'), ('BBB', '3', '9999-01-01'), ('old', '1', '2020-01-01'), "+
			"('anonymous', '', '9999-01-01'), ('text', 'x', '9999-01-01'), ('gone', '99', '9999-01-01')")
	via := sessions()
	s := openStore(t, userstore.Config{DSN: dsn}, userstore.Needs{Vias: []*userstore.Via{via}})
	for range 2 {
		user := wantVia(t, s, via, "aaa", "alice")
		if text, _ := user.Via().Value("session_data"); text != "1" || user.PrimaryKey != token.IntKey(1) || *user.Password != "pbkdf2_sha256$1$a$b" {
			t.Errorf("the row says %q, and the user is %s", text, describe(user))
		}
		wantVia(t, s, via, "BBB", "Zoë")
		for _, value := range []string{"AAA", "bbb", "aaa ", "old", "text", "gone", "", "\xff", "☃"} {
			wantVia(t, s, via, value, "")
		}
		_, refused, err := s.LookupEach(t.Context(), []userstore.Key{via.Key("anonymous"), via.Key("neither")})
		if err != nil || len(refused) != 1 || !errors.Is(refused[via.Key("anonymous")], errAnonymous) {
			t.Errorf("among others, the reason of a row is %v, %v", refused, err)
		}
		if _, err := s.LookupVia(t.Context(), via.Key("anonymous")); !errors.Is(err, errAnonymous) {
			t.Errorf("got %v, want the error of Whose", err)
		}
	}
	d.exec("UPDATE django_session SET session_data = '2' WHERE session_key = 'aaa'")
	wantVia(t, s, via, "aaa", "bob")
	d.exec("DELETE FROM auth_user WHERE id = 2")
	wantVia(t, s, via, "aaa", "")
	d.exec("DELETE FROM django_session WHERE session_key = 'BBB'")
	wantVia(t, s, via, "BBB", "")
}

func TestLookupsViaShareQueries(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	manyUsers(d, 1000)
	d.exec(sessionTable, "INSERT INTO django_session SELECT CONCAT('s', id), id, '9999-01-01' FROM auth_user",
		apiTokenTable, "INSERT INTO authtoken_token SELECT CONCAT('t', id), '2024-01-01', id FROM auth_user")
	vias := map[string]*userstore.Via{"s": sessions(), "t": apiTokens()}
	s := openStore(t, userstore.Config{DSN: server.DSN("django")}, userstore.Needs{Vias: []*userstore.Via{vias["s"], vias["t"]}})
	for prefix, via := range vias {
		const workers, each = 64, 100
		// How many lookups wait together depends on what else the machine does: the
		// best of several rounds counts. Without sharing, none has so few queries.
		fewest := math.MaxInt
		for round := range 4 {
			before, counted := d.status("Com_stmt_execute"), s.Stats()
			var lookups sync.WaitGroup
			for worker := range workers {
				lookups.Go(func() {
					for i := range each {
						id := (worker*each+i)%1000 + 1
						user, err := s.LookupVia(t.Context(), via.Key(fmt.Sprint(prefix, id)))
						if err != nil || user.Username != fmt.Sprint("user", id) {
							t.Errorf("user %d: %v", id, err)
						}
					}
				})
			}
			lookups.Wait()
			fewest = min(fewest, d.status("Com_stmt_execute")-before)
			stats := s.Stats()
			if n := stats.Lookups - counted.Lookups; round > 0 && n != workers*each {
				t.Errorf("the store counts %d lookups of %d", n, workers*each)
			}
		}
		if fewest > workers*each/4 {
			t.Errorf("%d queries for %d lookups, want a quarter at most", fewest, workers*each)
		}
	}
}

// BenchmarkLookupVia measures simultaneous lookups by Django's sessions and by API
// tokens, beside lookups by primary keys of the same users.
func BenchmarkLookupVia(b *testing.B) {
	d := newDatabase(b)
	manyUsers(d, 1000)
	d.exec(sessionTable, "INSERT INTO django_session SELECT CONCAT(REPEAT('s', 25), id), id, '9999-01-01' FROM auth_user",
		apiTokenTable, "INSERT INTO authtoken_token SELECT CONCAT(REPEAT('t', 35), id), '2024-01-01', id FROM auth_user")
	session, apiToken := sessions(), apiTokens()
	s := openStore(b, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{session, apiToken}})
	ways := map[string]func(id int) userstore.Key{
		"primary":   func(id int) userstore.Key { return userstore.ByPrimaryKey(token.IntKey(int64(id))) },
		"session":   func(id int) userstore.Key { return session.Key(strings.Repeat("s", 25) + strconv.Itoa(id)) },
		"api token": func(id int) userstore.Key { return apiToken.Key(strings.Repeat("t", 35) + strconv.Itoa(id)) },
	}
	for _, way := range slices.Sorted(maps.Keys(ways)) {
		for _, waiters := range []int{1, 8, 64} {
			keys := make([]userstore.Key, 1000)
			for i := range keys {
				keys[i] = ways[way](i + 1)
				if _, err := s.LookupVia(b.Context(), keys[i]); err != nil {
					b.Fatal(err)
				}
			}
			b.Run(way+"/"+strconv.Itoa(waiters), func(b *testing.B) {
				b.ReportAllocs()
				var lookups sync.WaitGroup
				for worker := range waiters {
					lookups.Go(func() {
						for i := worker; i < b.N; i += waiters {
							if _, err := s.LookupVia(b.Context(), keys[i%1000]); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				lookups.Wait()
			})
		}
	}
}

// TestRowIsReadByManyAtOnce has requests share a row: with -race it fails if that
// is unsafe.
func TestRowIsReadByManyAtOnce(t *testing.T) {
	t.Parallel()
	row := new(userstore.ViaRow)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			row.Keep(new(int))
			if _, ok := row.Kept().(*int); !ok {
				t.Error("what was kept is lost")
			}
		})
	}
	all.Wait()
}
