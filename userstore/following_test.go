package userstore_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestFollowedRowIsUsedUntilItChanges(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 3), userstore.Config{}, userstore.Needs{})
	f.keep(userKey(1))
	f.keep(userKey(2))
	f.want(userKey(1), "p", 0)
	f.d.exec("UPDATE auth_user SET password = 'q'")
	f.want(userKey(1), "p", 0) // until it is reported
	f.log.changed("auth_user", keyed("1"))
	f.want(userKey(1), "q", 1)
	f.want(userKey(2), "p", 0)

	// Before the change is known to be visible, no row is kept: a query may see the
	// former one.
	f.want(userKey(1), "q", 1)
	f.log.commit()
	f.keep(userKey(1))
	f.want(userKey(1), "q", 0)

	// A user who was deleted, or is new, is another change.
	f.d.exec("DELETE FROM auth_user WHERE id = 1", "INSERT INTO auth_user VALUES (4, 'user4', 'r', NULL, 1)")
	f.log.changed("auth_user", keyed("1"), keyed("4"))
	f.want(userKey(1), "", 1)
	f.want(userKey(4), "r", 1)
}

// TestKeptRowRejectsNoUser: the present row decides.
func TestKeptRowRejectsNoUser(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 1), userstore.Config{}, userstore.Needs{})
	f.keep(userKey(1))
	f.d.exec("UPDATE auth_user SET password = 'q'")
	errFormer := errors.New("the former password")
	user, err := f.users.Find(t.Context(), userKey(1), false, func(user *userstore.User) error {
		if *user.Password != "q" {
			return errFormer
		}
		return nil
	})
	if err != nil || *user.Password != "q" {
		t.Errorf("%v, %v: want the row as it is", describe(user), err)
	}
	if password, n := f.find(userKey(1), true); password != "q" || n != 1 {
		t.Errorf("a lookup that must be fresh returns %q after %d lookups", password, n)
	}
}

func TestAllRowsEndWhereTheChangedOnesArentKnown(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 2), userstore.Config{}, userstore.Needs{})
	for name, report := range map[string]func(userstore.Feed, userstore.LogPosition){
		"a table": func(feed userstore.Feed, at userstore.LogPosition) { feed.ChangedTable(at, 0) },
		"anything": func(feed userstore.Feed, at userstore.LogPosition) {
			feed.ChangedAll(at, false, "a statement instead of rows")
		},
		"a row without a key": func(feed userstore.Feed, at userstore.LogPosition) { feed.Changed(at, 0, [][]*string{{}}) },
		"a key that is none":  func(feed userstore.Feed, at userstore.LogPosition) { feed.Changed(at, 0, [][]*string{keyed("x")}) },
	} {
		f.keep(userKey(1))
		f.keep(userKey(2))
		f.log.report(report)
		if f.following.Kept(userKey(1)) != nil || f.following.Kept(userKey(2)) != nil {
			t.Errorf("%s: rows are still kept", name)
		}
		f.log.commit()
	}
	streams := func() (n int) { f.log.set(func() { n = f.log.streams }); return n }
	before := streams()
	f.keep(userKey(1))
	f.log.report(func(feed userstore.Feed, at userstore.LogPosition) { feed.ChangedAll(at, true, "ALTER TABLE") })
	if f.following.Kept(userKey(1)) != nil {
		t.Error("rows are kept although the table has changed")
	}
	f.log.commit()
	f.keep(userKey(1))
	if streams() == before {
		t.Error("after a change of a table's definition, the stream goes on")
	}
}

func TestLookupsAreFreshOnceTheLeaseHasEnded(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 1), userstore.Config{Follow: &userstore.FollowConfig{Lease: caddy.Duration(300 * time.Millisecond)}}, userstore.Needs{})
	f.keep(userKey(1))
	// The server answers, but the stream is stuck before what was written last.
	f.log.set(func() { f.log.isSilent = true; f.log.end.Offset++ })
	f.wait("without a lease", func(s userstore.FollowStats) bool { return !s.IsCurrent })
	f.d.exec("UPDATE auth_user SET password = 'q'")
	f.want(userKey(1), "q", 1)
	f.want(userKey(1), "q", 1)
	f.log.changed("auth_user", keyed("1"))
	f.log.commit()
	f.log.set(func() { f.log.isSilent = false })
	f.keep(userKey(1))
	if user := f.following.Kept(userKey(1)); user != nil && *user.Password != "q" {
		t.Errorf("the former row is kept: %s", *user.Password)
	}
}

func TestInterruptedStreamLeavesNothing(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 1), userstore.Config{}, userstore.Needs{})
	for _, interrupt := range []func(){
		func() { f.log.fails <- errors.New("the connection broke") },
		func() { // RESET MASTER
			f.log.set(func() { f.log.end.Offset, f.log.committed.Offset = 4, 4 })
			f.log.events <- func(feed userstore.Feed) { feed.Reached(userstore.LogPosition{File: 1, Offset: 4}) }
			<-f.log.done
		},
	} {
		f.keep(userKey(1))
		before := f.following.Stats().Interruptions
		interrupt()
		f.wait("interrupted", func(s userstore.FollowStats) bool { return s.Interruptions > before })
		f.d.exec("UPDATE auth_user SET password = CONCAT(password, 'x')") // unreported
		f.waitUntilCurrent()
		if user := f.following.Kept(userKey(1)); user != nil {
			t.Errorf("a row is kept from before the interruption: %s", *user.Password)
		}
	}
}

// TestServersThatCantBeFollowedAreAsked has reasons for which rows must not be kept.
func TestServersThatCantBeFollowedAreAsked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*scriptedLog)
		says   string
		state  string
	}{
		{"a log of another server", func(l *scriptedLog) { l.identity.ServerID++ }, "lookups are answered by", userstore.FollowInterrupted},
		{"no answer up to where changes are visible", func(l *scriptedLog) { l.cantTell = true }, "gtid_mode", userstore.FollowImpossible},
		{"a log that was reset, and ends where it did", func(l *scriptedLog) { l.isReset = true }, "the log was reset", userstore.FollowInterrupted},
		{"no log", func(l *scriptedLog) { l.refusal = &userstore.Unfollowable{Err: errors.New("log_bin is off")} }, "log_bin is off", userstore.FollowImpossible},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newUsers(t, 1)
			store := openStore(t, userstore.Config{DSN: d.dsn(), Follow: new(userstore.FollowConfig)}, userstore.Needs{})
			log := newScriptedLog(t, d)
			test.change(log)
			f := &followed{t: t, d: d, store: store, log: log, following: store.Follow(log)}
			defer f.following.Close()
			f.users = userstore.Finder{Store: store, Following: f.following}
			f.wait(test.state, func(s userstore.FollowStats) bool { return s.State == test.state })
			wantError(t, errors.New(f.following.Stats().Error), test.says)
			f.want(userKey(1), "p", 1)
			f.want(userKey(1), "p", 1)
		})
	}
}

// TestRelatedRowsEndUsersRows has changes in each table that users' rows are read from.
func TestRelatedRowsEndUsersRows(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers,
		"CREATE TABLE auth_group (id int PRIMARY KEY, name varchar(150))",
		"CREATE TABLE auth_user_groups (id int PRIMARY KEY AUTO_INCREMENT, user_id int, group_id int)",
		"INSERT INTO auth_group VALUES (1, 'staff')", "INSERT INTO auth_user_groups VALUES (1, 1, 1)")
	revocations, err := userstore.RevocationsTable("sesame_revocations")
	if err != nil {
		t.Fatal(err)
	}
	d.exec(revocations)
	f := follow(t, d, userstore.Config{Groups: new(userstore.GroupsConfig), Revocations: "sesame_revocations"}, userstore.Needs{})
	for _, test := range []struct {
		table, key string
		endsBoth   bool
	}{
		{"auth_user", "1", false},
		{"auth_user_groups", "1", false},
		{"sesame_revocations", "1", false},
		{"auth_group", "", true},
	} {
		f.keep(userKey(1))
		f.keep(userKey(2))
		if test.key == "" {
			f.log.changed(test.table, nil)
		} else {
			f.log.changed(test.table, keyed(test.key))
		}
		if f.following.Kept(userKey(1)) != nil {
			t.Errorf("a change in %s doesn't end the user's row", test.table)
		}
		if ended := f.following.Kept(userKey(2)) == nil; ended != test.endsBoth {
			t.Errorf("a change in %s ends another user's row: %t", test.table, ended)
		}
		f.log.commit()
	}
}

// TestRowsEndByTheKeyThatOtherTablesReferTo has tokens hold another key than the one
// that the table of memberships refers to.
func TestRowsEndByTheKeyThatOtherTablesReferTo(t *testing.T) {
	t.Parallel()
	d := newDatabase(t,
		"CREATE TABLE person (id int PRIMARY KEY, uuid char(32) NOT NULL UNIQUE, password varchar(128), is_active bool)",
		"INSERT INTO person VALUES (1, '00000000000000000000000000000abc', 'p', 1), (2, '00000000000000000000000000000def', 'p', 1)",
		"CREATE TABLE person_groups (id int PRIMARY KEY, person_id int, group_id int)",
		"CREATE TABLE auth_group (id int PRIMARY KEY, name varchar(150))")
	f := follow(t, d, userstore.Config{Table: "person", Columns: userstore.Columns{PrimaryKey: "uuid"}, Groups: new(userstore.GroupsConfig)}, userstore.Needs{})
	one, two := userstore.ByPrimaryKey(token.UUIDKey([16]byte{14: 0xa, 15: 0xbc})), userstore.ByPrimaryKey(token.UUIDKey([16]byte{14: 0xd, 15: 0xef}))
	for _, test := range []struct {
		table string
		keys  []*string
	}{
		{"person", keyed("00000000000000000000000000000ABC", "1")},
		{"person", keyed("00000000-0000-0000-0000-000000000abc", "1")},
		{"person", keyed("0000000000000000000000000000ffff", "1")}, // which had the other key before
		{"person_groups", keyed("1")},
	} {
		f.keep(one)
		f.keep(two)
		f.log.changed(test.table, test.keys)
		if f.following.Kept(one) != nil || f.following.Kept(two) == nil {
			t.Errorf("after a change in %s of %s, the rows of both users are kept, or of none", test.table, *test.keys[0])
		}
		f.log.commit()
	}
}

// TestSessionsAndAPITokensAreKept has the rows of two ways to users change, and the
// users' own.
func TestSessionsAndAPITokensAreKept(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 3)
	d.exec(sessionTable, apiTokenTable,
		"INSERT INTO django_session VALUES ('s1', '1', '2999-01-01'), ('s2', '1', '2999-01-01'), ('s3', '3', '2999-01-01'), ('s4', '3', '2000-01-01')",
		"INSERT INTO authtoken_token VALUES ('t1', '2024-01-01', 1), ('t2', '2024-01-01', 2)")
	session, apiToken := sessions(), apiTokens()
	f := follow(t, d, userstore.Config{}, userstore.Needs{Vias: []*userstore.Via{session, apiToken}})
	all := []userstore.Key{session.Key("s1"), session.Key("s2"), session.Key("s3"), apiToken.Key("t1"), apiToken.Key("t2")}
	keepAll := func() {
		t.Helper()
		for range 3 { // until each row is kept with the others
			for _, key := range all {
				f.keep(key)
			}
		}
		for _, key := range all {
			f.want(key, "p", 0)
		}
	}
	keepAll()
	if user := f.following.Kept(session.Key("s1")); user == nil || user.Via() == nil {
		t.Error("the session's row isn't kept with its user")
	} else if text, _ := user.Via().Value("session_data"); text != "1" {
		t.Errorf("the session's row has the text %q", text)
	}
	if user := f.following.Kept(userKey(1)); user == nil || user.Via() != nil {
		t.Errorf("the user who was found by a session isn't kept for tokens, or with the session: %v", describe(user))
	}
	for _, test := range []struct {
		table, key string
		ends       []int
	}{
		{"django_session", "s1", []int{0}},
		{"authtoken_token", "t1", []int{3}},
		{"auth_user", "1", []int{0, 1, 3}},
	} {
		keepAll()
		f.log.changed(test.table, keyed(test.key))
		for i, key := range all {
			ended := f.following.Kept(key) == nil
			if want := slices.Contains(test.ends, i); ended != want {
				t.Errorf("after a change of %s in %s, row %d has ended: %t", test.key, test.table, i, ended)
			}
		}
		f.log.commit()
	}
	f.want(session.Key("s4"), "", 1) // it has expired
	f.want(session.Key("s4"), "", 1)
}

// TestSessionEndsAtItsTime has the time pass while the row is kept.
func TestSessionEndsAtItsTime(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	d.exec(sessionTable, "SET time_zone = '+00:00'", "INSERT INTO django_session VALUES ('s', '1', DATE_ADD(UTC_TIMESTAMP(6), INTERVAL 3 SECOND))")
	session := sessions()
	f := follow(t, d, userstore.Config{}, userstore.Needs{Vias: []*userstore.Via{session}})
	f.keep(session.Key("s"))
	for f.following.Kept(session.Key("s")) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if password, _ := f.find(session.Key("s"), false); password != "" {
		t.Error("a session that has expired leads to its user")
	}
}

// TestForeignKeysThatChangeRowsAreFollowed has tables whose changes change rows of users
// without being in the log.
func TestForeignKeysThatChangeRowsAreFollowed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t,
		"CREATE TABLE country (id int PRIMARY KEY)",
		"CREATE TABLE company (id int PRIMARY KEY, country_id int, FOREIGN KEY (country_id) REFERENCES country (id) ON UPDATE CASCADE)",
		"CREATE TABLE city (id int PRIMARY KEY)",
		"CREATE TABLE auth_user (id int PRIMARY KEY, password varchar(128), is_active bool, company_id int, city_id int, "+
			"FOREIGN KEY (company_id) REFERENCES company (id) ON DELETE CASCADE, FOREIGN KEY (city_id) REFERENCES city (id))",
		"CREATE TABLE auth_group (id int PRIMARY KEY, name varchar(150))",
		"CREATE TABLE auth_user_groups (id int PRIMARY KEY, user_id int, group_id int, "+
			"FOREIGN KEY (user_id) REFERENCES auth_user (id) ON DELETE CASCADE)",
		"INSERT INTO auth_user VALUES (1, 'p', 1, NULL, NULL), (2, 'p', 1, NULL, NULL)")
	f := follow(t, d, userstore.Config{Groups: new(userstore.GroupsConfig)}, userstore.Needs{})
	keys := make(map[string][]string)
	for _, table := range f.log.source.Tables {
		keys[table.Name] = table.Keys
	}
	want := map[string][]string{"auth_user": {"id"}, "auth_user_groups": {"user_id"}, "auth_group": nil, "company": nil, "country": nil}
	if !reflect.DeepEqual(keys, want) {
		t.Errorf("followed are %v, want %v", keys, want)
	}
	f.keep(userKey(1))
	f.keep(userKey(2))
	f.log.changed("company", nil)
	if f.following.Kept(userKey(1)) != nil || f.following.Kept(userKey(2)) != nil {
		t.Error("rows are kept that the change of a company may have deleted")
	}

	// The rows of a child that belong to others: any user's change may end any row.
	if err := f.following.Close(); err != nil {
		t.Fatal(err)
	}
	d.exec("ALTER TABLE auth_group ADD owner_id int, ADD FOREIGN KEY (owner_id) REFERENCES auth_user (id) ON DELETE CASCADE")
	f = follow(t, d, userstore.Config{Groups: new(userstore.GroupsConfig)}, userstore.Needs{})
	f.keep(userKey(1))
	f.keep(userKey(2))
	f.log.changed("auth_user", nil)
	if f.following.Kept(userKey(1)) != nil || f.following.Kept(userKey(2)) != nil {
		t.Error("rows are kept whose group the change of another user may have deleted")
	}
}

// TestTablesThatCantBeFollowed has the reasons why changes of a table could be missed.
func TestTablesThatCantBeFollowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		statements []string
		config     userstore.Config
		says       []string
	}{
		{
			"a view",
			[]string{"RENAME TABLE auth_user TO people", "CREATE VIEW auth_user AS SELECT * FROM people"},
			userstore.Config{},
			[]string{"auth_user", "view"},
		},
		{"an engine", []string{"ALTER TABLE auth_user ENGINE=MEMORY"}, userstore.Config{}, []string{"auth_user", "MEMORY", "InnoDB"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newUsers(t, 1)
			d.exec(test.statements...)
			f := begin(t, d, test.config, userstore.Needs{})
			f.wait("impossible", func(s userstore.FollowStats) bool { return s.State == userstore.FollowImpossible })
			wantError(t, errors.New(f.following.Stats().Error), test.says...)
			f.want(userKey(1), "p", 1)
		})
	}
}

// TestAccountThatSeesNoForeignKeys says what to grant.
func TestAccountThatSeesNoForeignKeys(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	account := "'" + d.name + "'@'127.0.0.1'"
	d.exec("CREATE USER "+account+" IDENTIFIED BY 's3cret'", "GRANT SELECT (id, password, is_active, username, last_login) ON auth_user TO "+account)
	t.Cleanup(func() { d.exec("DROP USER " + account) })
	cfg := userstore.Config{DSN: withAccount(t, d.name, d.name, "s3cret"), Follow: &userstore.FollowConfig{Lease: caddy.Duration(time.Minute)}}
	f := begin(t, d, cfg, userstore.Needs{})
	f.wait("impossible", func(s userstore.FollowStats) bool { return s.State == userstore.FollowImpossible })
	grant := "GRANT REFERENCES ON `" + d.name + "`.* TO " + account
	wantError(t, errors.New(f.following.Stats().Error), grant)
	d.exec(grant)
	again := begin(t, d, cfg, userstore.Needs{})
	again.waitUntilCurrent()
}

// TestLookupsOfAnotherServerAreNoticed has the name of the DSN lead to another server
// while the log of the first is followed.
func TestLookupsOfAnotherServerAreNoticed(t *testing.T) {
	t.Parallel()
	one, two := newServer(t), newServer(t)
	for i, server := range []*testmariadb.Server{one, two} {
		if err := server.CreateDatabase("django"); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			"CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150), password varchar(128), last_login datetime(6), is_active bool)",
			fmt.Sprintf("INSERT INTO auth_user VALUES (1, 'user', 'p%d', NULL, 1)", i),
		} {
			if err := server.Exec("django", statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	proxy, err := faultproxy.Start(one.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	cfg, err := mysql.ParseDSN(one.DSN("django"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Addr = proxy.Addr()
	d := &database{t: t, name: "django", db: openDSN(t, one.DSN("django"))}
	f := follow(t, d, userstore.Config{DSN: cfg.FormatDSN(), ConnMaxLifetime: caddy.Duration(10 * time.Millisecond)}, userstore.Needs{})
	f.keep(userKey(1))
	proxy.Lead(two.Addr())
	for {
		password, _ := f.find(userKey(1), true)
		if password == "p1" {
			break // by a connection to the other server
		}
	}
	if user := f.following.Kept(userKey(1)); user != nil {
		t.Errorf("a row is kept by the log of another server: %s", *user.Password)
	}
	f.wait("interrupted", func(s userstore.FollowStats) bool { return s.State == userstore.FollowInterrupted })
	for range 10 {
		f.find(userKey(1), true)
	}
	if f.following.Kept(userKey(1)) != nil {
		t.Error("a row is kept although the log is of another server")
	}
	// The log follows.
	is := identityOf(t, openDSN(t, two.DSN("django")))
	f.log.set(func() { f.log.identity = is })
	f.keep(userKey(1))
	f.want(userKey(1), "p1", 0)
}

// TestStrictWaitsForEarlierChanges has a change be written that isn't reported yet.
func TestStrictWaitsForEarlierChanges(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 1), userstore.Config{Follow: &userstore.FollowConfig{Lease: caddy.Duration(time.Minute), Strict: true}}, userstore.Needs{})
	f.keep(userKey(1))
	f.want(userKey(1), "p", 0)

	f.d.exec("UPDATE auth_user SET password = 'q'")
	asked := func() (n int) { f.log.set(func() { n = f.log.asked }); return n }
	var at userstore.LogPosition
	f.log.set(func() { f.log.isSilent = true; f.log.end.Offset++; at = f.log.end })
	before := asked()
	const requests = 20
	var waiting sync.WaitGroup
	for range requests {
		waiting.Go(func() {
			_, err := f.users.Find(t.Context(), userKey(1), false, func(user *userstore.User) error {
				if *user.Password != "q" {
					t.Errorf("a request rests on the row of before the change: %q", *user.Password)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for asked() == before {
		time.Sleep(time.Millisecond)
	}
	f.log.events <- func(feed userstore.Feed) {
		feed.Changed(at, f.log.table("auth_user"), [][]*string{keyed("1")})
		feed.Reached(at)
	}
	<-f.log.done
	waiting.Wait()
}

func TestWrongFollowConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config userstore.FollowConfig
		says   []string
	}{
		{userstore.FollowConfig{Lease: caddy.Duration(time.Millisecond)}, []string{"lease", "too short"}},
		{userstore.FollowConfig{Lease: caddy.Duration(time.Hour)}, []string{"lease", "too long"}},
		{userstore.FollowConfig{DSN: "u:s3cret@tcp(db)/x", DSNFile: "file"}, []string{"dsn_file"}},
		{userstore.FollowConfig{DSN: "u:s3cret@tcp(db"}, []string{"dsn"}},
		{userstore.FollowConfig{MaxUsers: -1}, []string{"max_users"}},
		{userstore.FollowConfig{MaxSize: -1}, []string{"max_size"}},
	} {
		wantError(t, test.config.Validate(), test.says...)
	}
}

// TestChangesAreToldOnceQueriesSeeThem reports a change that queries see only later.
func TestChangesAreToldOnceQueriesSeeThem(t *testing.T) {
	t.Parallel()
	f := follow(t, newUsers(t, 2), userstore.Config{}, userstore.Needs{})
	users, err := f.following.LookupKeys(t.Context(), []userstore.Key{userKey(1), userKey(2), userKey(3)})
	if err != nil || len(users) != 2 {
		t.Fatalf("%d users, %v; want two", len(users), err)
	}
	f.want(userKey(1), "p", 0)
	f.want(userKey(2), "p", 0)
	<-f.following.Changes() // that rows may be kept
	f.log.changed("auth_user", keyed("1"))
	if len(f.following.Changes()) > 0 {
		t.Error("a change is told before queries see it")
	}
	f.log.commit()
	<-f.following.Changes()
	if f.following.Kept(userKey(1)) != nil {
		t.Error("the former row is kept")
	}
}
