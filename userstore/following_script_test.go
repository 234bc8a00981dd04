package userstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// scriptedLog is a log of changes that a test writes.
type scriptedLog struct {
	t        testing.TB
	identity userstore.ServerIdentity

	mu        sync.Mutex
	source    userstore.FollowSource
	end       userstore.LogPosition
	committed userstore.LogPosition
	isSilent  bool // the stream doesn't reach what was written
	cantTell  bool // up to where changes are visible
	isReset   bool
	refusal   error
	streams   int
	running   int // streams that haven't ended
	asked     int // how often for the end of the log

	events chan func(userstore.Feed)
	done   chan struct{}
	fails  chan error
}

func newScriptedLog(t testing.TB, d *database) *scriptedLog {
	position := userstore.LogPosition{File: 1, Offset: 100}
	return &scriptedLog{
		t: t, identity: identityOfDatabase(t, d), end: position, committed: position,
		events: make(chan func(userstore.Feed)), done: make(chan struct{}), fails: make(chan error),
	}
}

// Follow implements userstore.Follower.
func (l *scriptedLog) Follow(ctx context.Context, source userstore.FollowSource, feed userstore.Feed) error {
	l.mu.Lock()
	identity, end, refusal := l.identity, l.end, l.refusal
	l.source = source
	l.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	if err := source.Identify(identity); err != nil {
		return err
	}
	reached := make(chan userstore.LogPosition, 100)
	feed.Began(end, &scriptedPositions{l, reached})
	l.set(func() { l.streams++; l.running++ })
	defer l.set(func() { l.running-- })
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-l.fails:
			return err
		case event := <-l.events:
			event(feed)
			l.done <- struct{}{}
		case at := <-reached:
			feed.Reached(at)
		}
	}
}

// Inspect implements userstore.Follower.
func (l *scriptedLog) Inspect(context.Context, userstore.FollowSource) (userstore.FollowReport, error) {
	return userstore.FollowReport{Identity: l.identity}, nil
}

type scriptedPositions struct {
	log     *scriptedLog
	reached chan<- userstore.LogPosition
}

// Written implements userstore.Positions.
func (p *scriptedPositions) Written(context.Context) (userstore.LogPosition, error) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.asked++
	if !p.log.isSilent {
		select {
		case p.reached <- p.log.end:
		default:
		}
	}
	return p.log.end, nil
}

// SameLog implements userstore.Positions.
func (p *scriptedPositions) SameLog(context.Context) error {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if p.log.isReset {
		return errors.New("the log was reset")
	}
	return nil
}

// Committed implements userstore.Positions.
func (p *scriptedPositions) Committed(context.Context) (userstore.LogPosition, bool, error) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.log.committed, !p.log.cantTell, nil
}

// set changes the script.
func (l *scriptedLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// report reports a change, which becomes visible when commit is called, and returns
// when the store has noted it.
func (l *scriptedLog) report(event func(feed userstore.Feed, at userstore.LogPosition)) {
	l.mu.Lock()
	l.end.Offset++
	at := l.end
	l.mu.Unlock()
	l.events <- func(feed userstore.Feed) {
		event(feed, at)
		feed.Reached(at)
	}
	<-l.done
}

// commit makes all changes visible.
func (l *scriptedLog) commit() { l.set(func() { l.committed = l.end }) }

// changed reports a change of rows of a table with these keys.
func (l *scriptedLog) changed(table string, keys ...[]*string) {
	l.report(func(feed userstore.Feed, at userstore.LogPosition) { feed.Changed(at, l.table(table), keys) })
}

// table is the index of a table among those that are followed.
func (l *scriptedLog) table(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range l.source.Tables {
		if t.Name == name {
			return i
		}
	}
	l.t.Errorf("the table %s isn't followed: %v", name, l.source.Tables)
	return 0
}

// keyed are the keys of a row.
func keyed(values ...string) []*string {
	keys := make([]*string, len(values))
	for i := range values {
		keys[i] = &values[i]
	}
	return keys
}

// identityOfDatabase is the identity of a database's server.
func identityOfDatabase(t testing.TB, d *database) userstore.ServerIdentity {
	t.Helper()
	return identityOf(t, d.db)
}

// followed is a store whose log a test writes.
type followed struct {
	t         *testing.T
	d         *database
	store     *userstore.MySQL
	following *userstore.Following
	users     userstore.Finder
	log       *scriptedLog
}

// follow follows a store, and waits until rows are kept.
func follow(t *testing.T, d *database, cfg userstore.Config, needs userstore.Needs) *followed {
	t.Helper()
	f := begin(t, d, cfg, needs)
	f.waitUntilCurrent()
	return f
}

// begin is follow without waiting.
func begin(t *testing.T, d *database, cfg userstore.Config, needs userstore.Needs) *followed {
	t.Helper()
	return beginBy(t, newScriptedLog(t, d), d, cfg, needs)
}

// beginBy is begin with a log that other stores may follow, too.
func beginBy(t *testing.T, log *scriptedLog, d *database, cfg userstore.Config, needs userstore.Needs) *followed {
	t.Helper()
	if cfg.DSN == "" {
		cfg.DSN = d.dsn()
	}
	if cfg.Follow == nil {
		cfg.Follow = &userstore.FollowConfig{Lease: caddy.Duration(time.Minute)}
	}
	f := &followed{t: t, d: d, store: openStore(t, cfg, needs), log: log}
	f.following = f.store.Follow(f.log)
	t.Cleanup(func() {
		if err := f.following.Close(); err != nil {
			t.Error(err)
		}
	})
	f.users = userstore.Finder{Store: f.store, Following: f.following}
	return f
}

// wait waits for a state of the following.
func (f *followed) wait(state string, is func(userstore.FollowStats) bool) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(f.following.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("never %s: %+v", state, f.following.Stats())
		}
	}
}

func (f *followed) waitUntilCurrent() {
	f.t.Helper()
	f.wait("current", func(s userstore.FollowStats) bool { return s.IsCurrent })
}

// find looks a key up, and returns the user's password, and how many lookups the
// database has answered for it.
func (f *followed) find(key userstore.Key, fresh bool) (password string, lookups uint64) {
	f.t.Helper()
	before := f.store.Stats().Lookups
	_, err := f.users.Find(f.t.Context(), key, fresh, func(user *userstore.User) error {
		if user == nil {
			return errNoUser
		}
		password = *user.Password
		return nil
	})
	if err != nil && !errors.Is(err, errNoUser) {
		f.t.Fatal(err)
	}
	return password, f.store.Stats().Lookups - before
}

var errNoUser = errors.New("no user")

// want looks a key up, which must take so many lookups.
func (f *followed) want(key userstore.Key, password string, lookups uint64) {
	f.t.Helper()
	if is, n := f.find(key, false); is != password || n != lookups {
		f.t.Errorf("password %q after %d lookups, want %q after %d", is, n, password, lookups)
	}
}

// keep has a key's row be kept, once that is possible.
func (f *followed) keep(key userstore.Key) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); f.following.Kept(f.store.Resolve(key)) == nil; time.Sleep(time.Millisecond) {
		f.find(key, true)
		if time.Now().After(deadline) {
			f.t.Fatalf("the row is never kept: %+v", f.following.Stats())
		}
	}
}

func userKey(id int64) userstore.Key { return userstore.ByPrimaryKey(token.IntKey(id)) }
