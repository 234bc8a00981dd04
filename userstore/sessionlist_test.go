package userstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// listedIDs are IDs of sessions.
var listedIDs = []string{"aaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbba", "cccccccccccccccccccccccccc", "dddddddddddddddddddddddddd"}

const listTable = "sesame_session"

// makeSessionList makes the table with the statement for operators, and returns the
// needs of a store that uses it, and the way to users by it.
func (d *database) makeSessionList(cfg userstore.Config) (userstore.Needs, *userstore.Via) {
	d.t.Helper()
	inspector, err := userstore.NewInspector(cfg, userstore.Needs{})
	if err != nil {
		d.t.Fatal(err)
	}
	defer inspector.Close()
	if _, err := inspector.Table(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	statement, err := inspector.SessionList(listTable)
	if err != nil {
		d.t.Fatal(err)
	}
	d.exec(statement)
	via := userstore.SessionListVia(listTable)
	return userstore.Needs{SessionList: listTable, Vias: []*userstore.Via{via}}, via
}

// newSessionList is a database with three users and the table, and a store that uses
// it.
func newSessionList(t *testing.T) (*database, *userstore.MySQL) {
	t.Helper()
	d := newDatabase(t, authUser, threeUsers)
	cfg := userstore.Config{DSN: d.dsn()}
	needs, _ := d.makeSessionList(cfg)
	return d, openStore(t, cfg, needs)
}

// listed is a session that begins at a time.
func listed(n int, at time.Time) userstore.ListedSession {
	return userstore.ListedSession{
		ID: listedIDs[n], Created: at, Seen: at, Expires: at.Add(12 * time.Hour),
		Browser: "Firefox", Platform: "Windows", Address: "192.0.2.0/24", Site: "app.example.com",
	}
}

// idsOf are the IDs of a user's sessions, as numbers of listedIDs.
func idsOf(t *testing.T, s *userstore.MySQL, u *userstore.User, now time.Time) (numbers string) {
	t.Helper()
	all, err := s.SessionsOf(t.Context(), u, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range all {
		numbers += fmt.Sprint(slices.Index(listedIDs, row.ID))
	}
	return numbers
}

// TestSessionListIsForEachTypeOfKey makes the table for users' tables of several
// types, and begins, finds, lists and ends sessions.
func TestSessionListIsForEachTypeOfKey(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		column, key, other string
		cfg                userstore.Config
		pk                 token.PrimaryKey
	}{
		"int":           {"id int NOT NULL PRIMARY KEY", "7", "8", userstore.Config{}, token.IntKey(7)},
		"bigint":        {"id bigint unsigned NOT NULL PRIMARY KEY", "18446744073709551615", "8", userstore.Config{}, token.UintKey(1<<64 - 1)},
		"UUID as text":  {"id char(32) NOT NULL PRIMARY KEY", "'000102030405060708090a0b0c0d0e0f'", "'ff0102030405060708090a0b0c0d0e0f'", userstore.Config{}, token.UUIDKey([16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})},
		"UUID":          {"id uuid NOT NULL PRIMARY KEY", "'00010203-0405-0607-0809-0a0b0c0d0e0f'", "'ff010203-0405-0607-0809-0a0b0c0d0e0f'", userstore.Config{}, token.UUIDKey([16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})},
		"text":          {"id varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY", "'Zoë'", "'bob'", userstore.Config{}, token.StringKey("Zoë")},
		"binary":        {"id varbinary(20) NOT NULL PRIMARY KEY", "x'00ff'", "x'00'", userstore.Config{}, token.BytesKey([]byte{0, 255})},
		"another field": {"id int NOT NULL PRIMARY KEY AUTO_INCREMENT, name varchar(40) NOT NULL UNIQUE", "0, 'zoe'", "0, 'bob'", userstore.Config{PrimaryKeyField: "name"}, token.StringKey("zoe")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE auth_user ("+test.column+", password varchar(128))",
				"INSERT INTO auth_user VALUES ("+test.other+", 'p')", "INSERT INTO auth_user VALUES ("+test.key+", 'p')")
			cfg := test.cfg
			cfg.DSN = d.dsn()
			needs, via := d.makeSessionList(cfg)
			needs.Kind = test.pk.Kind()
			s := openStore(t, cfg, needs)
			u, err := s.Lookup(t.Context(), test.pk)
			if err != nil {
				t.Fatal(err)
			}
			now := startOfTests.Truncate(time.Second)
			for n := range 3 {
				if err := s.BeginSession(t.Context(), u, listed(n, now.Add(time.Duration(n)*time.Minute)), nil); err != nil {
					t.Fatal(err)
				}
			}
			if got := idsOf(t, s, u, now); got != "210" {
				t.Errorf("sessions %s, want 210", got)
			}
			found, err := s.LookupVia(t.Context(), via.Key(listedIDs[1]))
			if err != nil || found.PrimaryKey != test.pk {
				t.Fatalf("by the session, found %v, %v", found, err)
			}
			if seen, ok := found.SessionSeen(); !ok || !seen.Equal(now.Add(time.Minute)) {
				t.Errorf("seen %s, %t", seen, ok)
			}
			if isEnded, err := s.EndSessionOf(t.Context(), u, listedIDs[1]); err != nil || !isEnded {
				t.Fatal(isEnded, err)
			}
			if _, err := s.LookupVia(t.Context(), via.Key(listedIDs[1])); !errors.Is(err, userstore.ErrNotFound) {
				t.Errorf("after its end, the session is found: %v", err)
			}
			if n, err := s.EndOtherSessions(t.Context(), u, listedIDs[0]); err != nil || n != 1 {
				t.Errorf("ended %d other sessions, %v", n, err)
			}
			if got := idsOf(t, s, u, now); got != "0" {
				t.Errorf("sessions %s, want 0", got)
			}
		})
	}
}

// TestSessionsOfOtherUsersAreNotTouched lets bob end what is alice's.
func TestSessionsOfOtherUsersAreNotTouched(t *testing.T) {
	t.Parallel()
	d, s := newSessionList(t)
	alice, bob := d.lookup(s, 1), d.lookup(s, 2)
	now := startOfTests.Truncate(time.Second)
	for n, u := range []*userstore.User{alice, bob} {
		if err := s.BeginSession(t.Context(), u, listed(n, now), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{listedIDs[0], "' OR 1 = 1 -- ", "ä", "\x00", ""} {
		if isEnded, err := s.EndSessionOf(t.Context(), bob, id); err != nil || isEnded {
			t.Errorf("%q: %t, %v", id, isEnded, err)
		}
	}
	if n, err := s.EndOtherSessions(t.Context(), bob, listedIDs[1]); err != nil || n != 0 {
		t.Errorf("ended %d, %v", n, err)
	}
	if err := s.TidySessions(t.Context(), bob, now.Add(48*time.Hour)); err != nil {
		t.Error(err)
	}
	if got := idsOf(t, s, alice, now); got != "0" {
		t.Errorf("alice has the sessions %q", got)
	}
	if got := idsOf(t, s, bob, now); got != "" {
		t.Errorf("bob has the sessions %q", got)
	}
}

// TestLoginReplacesAndTidiesSessions: what a browser had before ends, and rows that
// have expired are deleted, with a margin for other clocks.
func TestLoginReplacesAndTidiesSessions(t *testing.T) {
	t.Parallel()
	d, s := newSessionList(t)
	alice := d.lookup(s, 1)
	now := startOfTests.Truncate(time.Second)
	begin := func(n int, at time.Time, replaced ...string) {
		t.Helper()
		if err := s.BeginSession(t.Context(), alice, listed(n, at), replaced); err != nil {
			t.Fatal(err)
		}
	}
	begin(0, now.Add(-12*time.Hour))
	begin(1, now.Add(-13*time.Hour))
	begin(2, now)
	begin(3, now, listedIDs[2], "no ID", "\x00")
	if got := idsOf(t, s, alice, now.Add(-time.Second)); got != "30" {
		t.Errorf("sessions %s, want 30", got)
	}
	if err := s.TidySessions(t.Context(), alice, now); err != nil {
		t.Fatal(err)
	}
	if got := d.text("SELECT COUNT(*) FROM " + listTable); got != "2" {
		t.Errorf("%s rows are left, want 2", got)
	}
	// The use of a session is noted unless another gateway has noted it.
	later := now.Add(time.Hour)
	row := userstore.ListedSession{ID: listedIDs[3], Seen: later, Expires: later.Add(time.Hour)}
	if err := s.SeeSession(t.Context(), row, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	row.Seen = later.Add(time.Minute)
	if err := s.SeeSession(t.Context(), row, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	all, err := s.SessionsOf(t.Context(), alice, now)
	if err != nil || !all[0].Seen.Equal(later) || !all[0].Expires.Equal(later.Add(time.Hour)) || !all[0].Created.Equal(now) {
		t.Errorf("%+v, %v", all, err)
	}
	if n, err := s.EndSessions(t.Context(), listedIDs); err != nil || n != 2 {
		t.Errorf("ended %d, %v", n, err)
	}
}

// TestSessionAndUserAreReadInOneQuery, alone and in a batch.
func TestSessionAndUserAreReadInOneQuery(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	d.exec(authUser, threeUsers)
	cfg := userstore.Config{DSN: server.DSN("django")}
	needs, via := d.makeSessionList(cfg)
	s := openStore(t, cfg, needs)
	alice, bob := d.lookup(s, 1), d.lookup(s, 2)
	now := startOfTests.Truncate(time.Second)
	for n, u := range []*userstore.User{alice, bob, alice} {
		if err := s.BeginSession(t.Context(), u, listed(n, now), nil); err != nil {
			t.Fatal(err)
		}
	}
	before := d.status("Com_stmt_execute")
	if u, err := s.LookupVia(t.Context(), via.Key(listedIDs[0])); err != nil || u.Username != "alice" {
		t.Fatal(u, err)
	}
	if n := d.status("Com_stmt_execute") - before; n != 1 {
		t.Errorf("%d queries for one session", n)
	}
	var keys []userstore.Key
	for _, id := range listedIDs {
		keys = append(keys, via.Key(id))
	}
	before = d.status("Com_stmt_execute")
	found, err := s.LookupKeys(t.Context(), keys)
	if err != nil || len(found) != 3 || found[keys[1]].Username != "bob" || found[keys[2]].Username != "alice" {
		t.Errorf("found %v, %v", found, err)
	}
	if n := d.status("Com_stmt_execute") - before; n != 1 {
		t.Errorf("%d queries for four sessions", n)
	}
}

// TestSessionListNeedsNoMorePrivilegesThanCheckSays opens a store with an account
// that has exactly those.
func TestSessionListNeedsNoMorePrivilegesThanCheckSays(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	all := userstore.Config{DSN: d.dsn()}
	needs, via := d.makeSessionList(all)
	cfg := d.account()
	for _, grant := range d.least(all, needs) {
		d.exec(strings.ReplaceAll(grant, "'somebody'@'%'", "'"+d.name+"_gw'@'%'"))
	}
	s := openStore(t, cfg, needs)
	alice := d.lookup(s, 1)
	now := startOfTests.Truncate(time.Second)
	if err := s.BeginSession(t.Context(), alice, listed(0, now), []string{listedIDs[1]}); err != nil {
		t.Error(err)
	}
	if err := s.SeeSession(t.Context(), listed(0, now.Add(time.Hour)), now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if _, err := s.LookupVia(t.Context(), via.Key(listedIDs[0])); err != nil {
		t.Error(err)
	}
	if err := s.TidySessions(t.Context(), alice, now); err != nil {
		t.Error(err)
	}
	if _, err := s.EndOtherSessions(t.Context(), alice, ""); err != nil {
		t.Error(err)
	}
	d.exec("REVOKE DELETE ON " + listTable + " FROM '" + d.name + "_gw'@'%'")
	_, err := userstore.Open(t.Context(), patient(cfg), needs, nil)
	wantError(t, err, "write the table of sessions", "GRANT SELECT (`id`, `user_id`", "DELETE ON", "remove table from session")
	d.exec("REVOKE ALL PRIVILEGES ON " + listTable + " FROM '" + d.name + "_gw'@'%'")
	_, err = userstore.Open(t.Context(), patient(cfg), needs, nil)
	wantError(t, err, "sesame_session", "the dsn's user", "GRANT SELECT")
}

// TestTableThatIsNotOneOfSessionsIsRejected with the remedy.
func TestTableThatIsNotOneOfSessionsIsRejected(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change string
		want   []string
	}{
		"none":               {"DROP TABLE " + listTable, []string{"sesame_session", "doesn't exist", "check --create"}},
		"short IDs":          {"ALTER TABLE " + listTable + " MODIFY id char(20) NOT NULL", []string{"isn't one for sessions", "check --create"}},
		"no unique ID":       {"ALTER TABLE " + listTable + " DROP PRIMARY KEY", []string{`"id"`, "isn't unique"}},
		"no user":            {"ALTER TABLE " + listTable + " DROP COLUMN user_id", []string{"no column user_id"}},
		"a key of text":      {"ALTER TABLE " + listTable + " MODIFY user_id varchar(20) NOT NULL", []string{"user_id", "name columns of the same type"}},
		"a number as a time": {"ALTER TABLE " + listTable + " MODIFY seen int NOT NULL", []string{"seen of the type DATETIME"}},
		"a short text":       {"ALTER TABLE " + listTable + " MODIFY site varchar(20) NOT NULL", []string{"site of the type VARCHAR(255)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser)
			cfg := userstore.Config{DSN: d.dsn()}
			needs, _ := d.makeSessionList(cfg)
			d.exec(test.change)
			_, err := userstore.Open(t.Context(), patient(cfg), needs, nil)
			wantError(t, err, append(test.want, "session")...)
			if err != nil && strings.Contains(err.Error(), "manage.py") {
				t.Errorf("%v: that is no table of Django's", err)
			}
		})
	}
}

// TestUserCannotHaveAnyNumberOfSessions: those that weren't used for longest end.
func TestUserCannotHaveAnyNumberOfSessions(t *testing.T) {
	t.Parallel()
	d, s := newSessionList(t)
	alice := d.lookup(s, 1)
	now := startOfTests.Truncate(time.Second)
	for n := range userstore.MostSessions + 20 {
		row := listed(0, now.Add(time.Duration(n)*time.Second))
		row.ID = fmt.Sprintf("%026d", n)
		if err := s.BeginSession(t.Context(), alice, row, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.TidySessions(t.Context(), alice, now); err != nil {
		t.Fatal(err)
	}
	if got := d.text("SELECT CONCAT(COUNT(*), ' from ', MIN(id)) FROM " + listTable); got != fmt.Sprintf("%d from %026d", userstore.MostSessions, 20) {
		t.Errorf("left are %s", got)
	}
}
