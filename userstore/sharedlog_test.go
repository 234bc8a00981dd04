package userstore_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// began tells how many streams have begun, and how many of them haven't ended.
func (l *scriptedLog) began() (all, running int) {
	l.set(func() { all, running = l.streams, l.running })
	return all, running
}

// wantStreams waits until so many streams are followed, of so many that were begun.
func (l *scriptedLog) wantStreams(all, running int) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		began, now := l.began()
		if began == all && now == running {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("of %d streams, %d are followed; want %d of %d", began, now, running, all)
		}
	}
}

// close closes a store as the end of its configuration does.
func (f *followed) close() {
	f.t.Helper()
	if err := errors.Join(f.following.Close(), f.store.Close()); err != nil {
		f.t.Fatal(err)
	}
}

func TestEqualStoresShareAStreamAndRows(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 3)
	one := follow(t, d, userstore.Config{}, userstore.Needs{})
	two, three := beginBy(t, one.log, d, userstore.Config{}, userstore.Needs{}), beginBy(t, one.log, d, userstore.Config{}, userstore.Needs{})
	all := []*followed{one, two, three}
	one.keep(userKey(1))
	two.keep(userKey(2))
	for _, f := range all {
		f.want(userKey(1), "p", 0)
		f.want(userKey(2), "p", 0)
		<-f.following.Changes() // that rows may be kept
	}
	d.exec("UPDATE auth_user SET password = 'q' WHERE id = 1")
	one.log.changed("auth_user", keyed("1"))
	one.log.commit()
	for _, f := range all {
		<-f.following.Changes()
		if user := f.following.Kept(userKey(1)); user != nil && *user.Password == "p" {
			t.Error("a row is kept that has changed")
		}
	}
	three.keep(userKey(1))
	one.want(userKey(1), "q", 0)
	one.log.wantStreams(1, 1)

	ofOne, ofTwo := one.following.Stats(), two.following.Stats()
	if ofOne.RowsID != ofTwo.RowsID || ofOne.Rows != 2 || ofTwo.Rows != 2 || ofOne.Events != 1 || ofTwo.Events != 1 {
		t.Errorf("what is shared differs: %+v, %+v", ofOne, ofTwo)
	}
	if ofOne.Hits != 3 || ofTwo.Hits != 2 {
		t.Errorf("hits are %d and %d; want those of each store", ofOne.Hits, ofTwo.Hits)
	}
	for i, f := range all {
		f.close()
		if i < 2 {
			three.want(userKey(1), "q", 0)
			one.log.wantStreams(1, 1)
		}
	}
	one.log.wantStreams(1, 0)
	if three.following.IsCurrent() || three.following.Kept(userKey(1)) != nil {
		t.Error("rows are kept although the log isn't followed")
	}
}

// TestRowsOutliveAReload opens a store before the former one is closed.
func TestRowsOutliveAReload(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 2)
	former := follow(t, d, userstore.Config{}, userstore.Needs{})
	log := former.log
	for range 5 {
		former.keep(userKey(1))
		former.keep(userKey(2))
		next := beginBy(t, log, d, userstore.Config{}, userstore.Needs{})
		if !next.following.IsCurrent() {
			t.Fatal("a reload has ended the lease")
		}
		d.exec("UPDATE auth_user SET password = CONCAT(password, 'x') WHERE id = 1")
		log.changed("auth_user", keyed("1")) // while both configurations are loaded
		log.commit()
		former.close()
		next.want(userKey(2), "p", 0)
		if next.following.Kept(userKey(1)) != nil {
			t.Error("a row is kept that has changed during the reload")
		}
		former = next
	}
	former.want(userKey(1), "pxxxxx", 1)
	log.wantStreams(1, 1)
}

// TestOtherSettingsHaveRowsOfTheirOwn has the settings change in a reload. What is read
// from the same tables is kept by one stream.
func TestOtherSettingsHaveRowsOfTheirOwn(t *testing.T) {
	t.Parallel()
	const lease = caddy.Duration(time.Minute)
	for name, next := range map[string]struct {
		config  userstore.Config
		needs   userstore.Needs
		streams int
	}{
		"lease":     {userstore.Config{Follow: &userstore.FollowConfig{Lease: lease / 2}}, userstore.Needs{}, 2},
		"strict":    {userstore.Config{Follow: &userstore.FollowConfig{Lease: lease, Strict: true}}, userstore.Needs{}, 2},
		"max_users": {userstore.Config{Follow: &userstore.FollowConfig{Lease: lease, MaxUsers: 5}}, userstore.Needs{}, 2},
		"time":      {userstore.Config{QueryTimeout: caddy.Duration(9 * time.Second)}, userstore.Needs{}, 2},
		"tables":    {userstore.Config{}, userstore.Needs{Vias: []*userstore.Via{sessions()}}, 2},
		"keys":      {userstore.Config{}, userstore.Needs{Kind: token.KindUint}, 2},
		"columns":   {userstore.Config{Columns: userstore.Columns{Extra: []string{"username"}}}, userstore.Needs{}, 1},
		"needs":     {userstore.Config{}, userstore.Needs{LastLogin: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := userKey(1)
			if next.needs.Kind != 0 {
				key = userstore.ByPrimaryKey(token.UintKey(1))
			}
			d := newUsers(t, 1)
			d.exec(sessionTable)
			former := follow(t, d, userstore.Config{}, userstore.Needs{})
			former.keep(userKey(1))
			f := beginBy(t, former.log, d, next.config, next.needs)
			f.waitUntilCurrent()
			former.log.wantStreams(next.streams, next.streams)
			if f.following.Stats().RowsID == former.following.Stats().RowsID {
				t.Error("the rows are shared")
			}
			f.want(key, "p", 1)
			f.want(key, "p", 0)
			former.want(userKey(1), "p", 0)
			if next.streams == 1 {
				former.log.changed("auth_user", keyed("1"))
				if former.following.Kept(userKey(1)) != nil || f.following.Kept(key) != nil {
					t.Error("a row is kept that has changed")
				}
				former.log.commit()
				former.keep(userKey(1))
				f.keep(key)
			}
			former.close()
			former.log.wantStreams(next.streams, 1)
			f.want(key, "p", 0)
			f.close()
			former.log.wantStreams(next.streams, 0)
		})
	}
}

// TestStoreOfOtherColumnsJoinsBeforeChangesAreVisible: what was changed before it came,
// it must not keep as it was.
func TestStoreOfOtherColumnsJoinsBeforeChangesAreVisible(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 2)
	former := follow(t, d, userstore.Config{}, userstore.Needs{})
	former.keep(userKey(1))
	former.log.changed("auth_user", keyed("1")) // queries don't see it yet
	f := beginBy(t, former.log, d, userstore.Config{}, userstore.Needs{LastLogin: true})
	f.want(userKey(1), "p", 1)
	f.want(userKey(1), "p", 1)
	f.want(userKey(2), "p", 1)
	f.want(userKey(2), "p", 0)
	d.exec("UPDATE auth_user SET password = 'q' WHERE id = 1")
	former.log.commit()
	f.keep(userKey(1))
	f.want(userKey(1), "q", 0)
	former.log.wantStreams(1, 1)
}

// TestChangedTableHasRowsOfItsOwn: a store that is opened after the change reads more
// columns than one from before it.
func TestChangedTableHasRowsOfItsOwn(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	former := follow(t, d, userstore.Config{}, userstore.Needs{})
	former.keep(userKey(1))
	d.exec("ALTER TABLE auth_user ADD email varchar(254) DEFAULT 'user@example.com' AFTER id")
	f := beginBy(t, former.log, d, userstore.Config{}, userstore.Needs{})
	f.keep(userKey(1))
	if email := f.following.Kept(userKey(1)).Email; email == nil || *email != "user@example.com" {
		t.Error("the row lacks the new column")
	}
	if f.following.Stats().RowsID == former.following.Stats().RowsID {
		t.Error("rows are shared by stores that read other columns")
	}
}

// TestSharedSessionsAreReadByEachStore: one store may have another secret key, by which
// a session isn't valid or is another user's.
func TestSharedSessionsAreReadByEachStore(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 2)
	d.exec(sessionTable, apiTokenTable, "INSERT INTO django_session VALUES ('s', '1', '2999-01-01')", "INSERT INTO authtoken_token VALUES ('t', '2024-01-01', 2)")
	errSignature := errors.New("the signature is another's")
	open := func(log *scriptedLog, whose func(*userstore.ViaRow) (string, error)) (f *followed, session, apiToken userstore.Key) {
		bySession, byToken := sessions(), apiTokens()
		if whose != nil {
			bySession.Whose = whose
		}
		f = beginBy(t, log, d, userstore.Config{}, userstore.Needs{Vias: []*userstore.Via{bySession, byToken}})
		f.waitUntilCurrent()
		return f, bySession.Key("s"), byToken.Key("t")
	}
	log := newScriptedLog(t, d)
	one, session, apiToken := open(log, nil)
	one.keep(session)
	one.keep(apiToken)

	equal, itsSession, itsToken := open(log, func(row *userstore.ViaRow) (string, error) {
		row.Keep("read by this store")
		return sessions().Whose(row)
	})
	equal.want(itsSession, "p", 0)
	equal.want(itsToken, "p", 0)
	user := equal.following.Kept(itsSession)
	if kept := user.Via().Kept(); kept != "read by this store" {
		t.Errorf("the session was read as %v", kept)
	}
	if text, ok := equal.following.Kept(itsToken).Via().Value("created"); !ok || !strings.HasPrefix(text, "2024-01-01") {
		t.Errorf("the row of the API token has %q", text)
	}
	if kept := one.following.Kept(session).Via().Kept(); kept != nil {
		t.Errorf("another store has read the session as %v", kept)
	}

	refuses, refused, _ := open(log, func(*userstore.ViaRow) (string, error) { return "", errSignature })
	if refuses.following.Kept(refused) != nil {
		t.Error("a session leads to a user although this store's key refuses it")
	}
	if _, err := refuses.users.Find(t.Context(), refused, false, func(*userstore.User) error { return nil }); !errors.Is(err, errSignature) {
		t.Errorf("the error is %v", err)
	}
	other, others, _ := open(log, func(*userstore.ViaRow) (string, error) { return "2", nil })
	if user := other.following.Kept(others); user != nil {
		t.Errorf("the session leads to %v by another store's reading", describe(user))
	}
	other.keep(others)
	if got := other.following.Kept(others).ID(); got != "2" {
		t.Errorf("the session leads to user %s, and not 2", got)
	}
	if user := one.following.Kept(session); user != nil && user.ID() != "1" {
		t.Errorf("the session leads to user %s, and not 1", user.ID())
	}
	log.wantStreams(1, 1)
}

// TestFormerStoreIsFreed although rows outlive it that its lookups have kept.
func TestFormerStoreIsFreed(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 2)
	d.exec(sessionTable, apiTokenTable, "INSERT INTO django_session VALUES ('s', '1', '2999-01-01')", "INSERT INTO authtoken_token VALUES ('t', '2024-01-01', 2)")
	log := newScriptedLog(t, d)
	cfg := userstore.Config{DSN: d.dsn(), Follow: &userstore.FollowConfig{Lease: caddy.Duration(time.Minute)}}
	open := func() (f *followed, session, apiToken userstore.Key) {
		bySession, byToken := sessions(), apiTokens()
		store, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{Vias: []*userstore.Via{bySession, byToken}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		f = &followed{t: t, d: d, store: store, log: log, following: store.Follow(log)}
		f.users = userstore.Finder{Store: store, Following: f.following}
		f.waitUntilCurrent()
		return f, bySession.Key("s"), byToken.Key("t")
	}
	var next *followed
	var session, apiToken userstore.Key
	former := func() weak.Pointer[userstore.MySQL] {
		former, formerSession, formerToken := open()
		former.keep(formerSession)
		former.keep(formerToken)
		next, session, apiToken = open()
		former.close()
		return weak.Make(former.store)
	}()
	defer next.close()
	for deadline := time.Now().Add(time.Minute); former.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("a store is kept after it was closed")
		}
	}
	next.want(session, "p", 0)
	next.want(apiToken, "p", 0)
	log.wantStreams(1, 1)
}

// TestLogOfAStreamIsTheNewestHandlers: Caddy closes the loggers of former
// configurations, and a configuration that can't be loaded leaves again.
func TestLogOfAStreamIsTheNewestHandlers(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	log := newScriptedLog(t, d)
	open := func(name string) (*userstore.Following, *observer.ObservedLogs, func()) {
		core, logs := observer.New(zapcore.InfoLevel)
		cfg := userstore.Config{DSN: d.dsn(), Follow: &userstore.FollowConfig{Lease: caddy.Duration(time.Minute)}}
		store, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{}, zap.New(core).Named(name))
		if err != nil {
			t.Fatal(err)
		}
		f := store.Follow(log)
		return f, logs, func() {
			if err := errors.Join(f.Close(), store.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	one, ofOne, closeOne := open("one")
	two, ofTwo, closeTwo := open("two")
	three, ofThree, closeThree := open("three")
	three.Retire() // it can't be loaded, and is closed later
	closeOne()
	all := []*observer.ObservedLogs{ofOne, ofTwo, ofThree}
	begun := 0 // lines that say that it is followed
	for deadline := time.Now().Add(time.Minute); begun == 0; time.Sleep(time.Millisecond) {
		for _, logs := range all {
			begun += len(logs.TakeAll())
		}
		if time.Now().After(deadline) {
			t.Fatal("no line says that it is followed")
		}
	}
	if begun > 1 {
		t.Errorf("%d lines say that it is followed", begun)
	}
	log.fails <- errors.New("the connection broke")
	log.wantStreams(2, 1)
	closeThree()
	for deadline := time.Now().Add(time.Minute); !two.IsCurrent() || ofTwo.Len() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it isn't followed again")
		}
	}
	closeTwo()
	if n := ofOne.Len() + ofThree.Len(); n > 0 {
		t.Errorf("%d lines are those of handlers that have ended", n)
	}
	lines := ofTwo.FilterMessageSnippet("following the server's binlog").All()
	if len(lines) != 2 || lines[0].LoggerName != "two" || lines[0].Level != zapcore.WarnLevel {
		t.Errorf("the lines are %v", lines)
	}
	if one.IsCurrent() {
		t.Error("a Following that was closed is current")
	}
}

// TestReloadTriesAtOnceToFollow: what made it impossible may be right now.
func TestReloadTriesAtOnceToFollow(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	log := newScriptedLog(t, d)
	log.refusal = &userstore.Unfollowable{Err: errors.New("log_bin is off")}
	former := beginBy(t, log, d, userstore.Config{}, userstore.Needs{})
	former.wait("impossible", func(s userstore.FollowStats) bool { return s.State == userstore.FollowImpossible })
	log.set(func() { log.refusal = nil })
	began := time.Now()
	next := beginBy(t, log, d, userstore.Config{}, userstore.Needs{})
	next.waitUntilCurrent()
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("it took %s", took)
	}
	former.keep(userKey(1))
	next.want(userKey(1), "p", 0)
}

// TestLogOfAReplicaIsShared has the stores' lookups go to the other replica, after the
// first was lost.
func TestLogOfAReplicaIsShared(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, authUser, threeUsers)
	again, err := faultproxy.Start(r.servers[1].Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	cfg := r.config()
	cfg.QueryTimeout = caddy.Duration(2 * time.Second)
	alone := cfg
	cfg.Replicas = append(cfg.Replicas, strings.Replace(cfg.Replicas[0], r.proxies[1].Addr(), again.Addr(), 1))
	cfg.Follow = &userstore.FollowConfig{Lease: caddy.Duration(200 * time.Millisecond)}
	alone.Follow = cfg.Follow
	log := newScriptedLog(t, r.replica)
	one, two := beginBy(t, log, r.primary, cfg, userstore.Needs{}), beginBy(t, log, r.primary, cfg, userstore.Needs{})
	r.proxies[1].Freeze()
	for _, f := range []*followed{one, two} {
		f.keepOld(userKey(1))
	}
	if one.following.Stats().RowsID != two.following.Stats().RowsID {
		t.Error("stores whose lookups the same replica answers don't share rows")
	}
	r.proxies[1].Pass()
	other := beginBy(t, log, r.primary, alone, userstore.Needs{})
	other.keepOld(userKey(1))
	if one.following.Stats().RowsID == other.following.Stats().RowsID {
		t.Error("stores whose lookups different replicas answer share rows")
	}
	again.Freeze()
	for _, f := range []*followed{one, two} {
		f.keepOld(userKey(1))
	}
	one.close()
	two.want(userKey(1), "pbkdf2_sha256$1$a$b", 0)
	two.close()
	other.close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, running := log.began(); running == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a stream hasn't ended")
		}
	}
}

// keepOld has a key's row be kept that a replica answers with.
func (f *followed) keepOld(key userstore.Key) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); f.following.Kept(key) == nil; time.Sleep(time.Millisecond) {
		f.find(key, false)
		if time.Now().After(deadline) {
			f.t.Fatalf("the row is never kept: %+v", f.following.Stats())
		}
	}
}

// TestStoresThatComeAndGoShareALog has many configurations be loaded and ended at once.
func TestStoresThatComeAndGoShareALog(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	f := follow(t, d, userstore.Config{}, userstore.Needs{})
	f.keep(userKey(1))
	cfg := userstore.Config{DSN: d.dsn(), Follow: &userstore.FollowConfig{Lease: caddy.Duration(time.Minute)}}
	errs := make(chan error)
	const stores, times = 4, 10
	for range stores {
		go func() {
			var err error
			for range times {
				err = errors.Join(err, comeAndGo(t, cfg, f.log))
			}
			errs <- err
		}()
	}
	for range stores {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	f.want(userKey(1), "p", 0)
	f.log.wantStreams(1, 1)
	f.close()
	f.log.wantStreams(1, 0)
}

// comeAndGo opens a store, and closes it after a lookup.
func comeAndGo(t *testing.T, cfg userstore.Config, log *scriptedLog) error {
	store, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{}, nil)
	if err != nil {
		return err
	}
	following := store.Follow(log)
	users := userstore.Finder{Store: store, Following: following}
	_, err = users.Find(t.Context(), userKey(1), false, func(*userstore.User) error { return nil })
	if n := store.Stats().Lookups; n > 0 {
		err = errors.Join(err, fmt.Errorf("a row that is kept took %d lookups", n))
	}
	return errors.Join(err, following.Close(), store.Close())
}
