package userstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Following answers lookups with rows that were read before and haven't changed since,
// by the server's log of changes. While that isn't certain, lookups are fresh ones. It
// keeps rows, not verdicts, and is safe for concurrent use.
type Following struct {
	store    *MySQL
	cfg      FollowConfig
	follower Follower
	logger   *zap.Logger
	now      func() time.Time

	rows  *kept.Rows[leading]
	shown []atomic.Pointer[shownUser] // users of rows in use, by their tags

	changed chan struct{}                  // has an element after changes that queries see
	stream  atomic.Pointer[followedStream] // the last one that has begun; nil for none
	state   followState
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
}

// leading is a row that leads to a user, or for a value of the users' table, only the
// value.
type leading struct {
	value token.PrimaryKey
	row   *ViaRow // nil for a value of the users' table
	user  *kept.Entry[leading]
}

// shownUser is the user of a kept row, as callers get it.
type shownUser struct {
	entry *kept.Entry[leading]
	tag   uint64
	value token.PrimaryKey // what was looked up
	user  *User
}

// mostShown is for how many rows in use there is a ready user at most.
const mostShown = 1 << 13

// Follow begins to follow the server of a store, whose configuration has FollowConfig.
// The caller closes it before the store.
func (s *MySQL) Follow(follower Follower) *Following {
	cfg := *s.cfg.Follow
	f := &Following{
		store: s, cfg: cfg, follower: follower, logger: s.logger, now: time.Now, changed: make(chan struct{}, 1),
		rows: kept.NewRows[leading](orDefault(cfg.MaxUsers, DefaultFollowMaxUsers), orDefault(cfg.MaxSize, DefaultFollowMaxSize)),
	}
	f.shown = make([]atomic.Pointer[shownUser], min(mostShown, orDefault(cfg.MaxUsers, DefaultFollowMaxUsers)))
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.tasks.Go(func() { f.run(ctx) })
	return f
}

// Close ends the following. Further lookups are fresh ones.
func (f *Following) Close() error {
	f.cancel()
	f.tasks.Wait()
	return nil
}

// keyOf returns the plan, the tag and the value of a key, if rows are kept for it.
func (f *Following) keyOf(key Key) (p *plan, tag uint64, value token.PrimaryKey, ok bool) {
	reader := f.reader()
	if p = reader.plan.Load(); !f.isFollowed(p) {
		return p, 0, value, false
	}
	if key.via == nil {
		if key.primary.Kind() != p.schema.Kind {
			return p, 0, value, false
		}
		return p, p.following.tag(ofUser, key.primary), key.primary, true
	}
	if reader != f.store {
		return p, 0, value, false // sessions and API tokens are looked up in the primary server
	}
	switch via := p.vias[key.via].(type) {
	case byColumn:
		value, ok = via.key(key.value)
	case *told:
		value, ok = via.column.keyOf(key.value, via.column.kind)
	}
	if !ok {
		return p, 0, value, false
	}
	return p, p.following.tag(p.following.ways[key.via], value), value, true
}

// isFollowed reports whether the stream drops the rows of a plan. After lookups have gone
// to another replica, it doesn't, until that one is followed.
func (f *Following) isFollowed(p *plan) bool {
	s := f.stream.Load()
	return p != nil && s != nil && s.following == p.following
}

// reader is the store whose server is followed: a replica's if there are any.
func (f *Following) reader() *MySQL {
	if replicas := f.store.replicas.stores; len(replicas) > 0 {
		return replicas[f.store.replicas.used.Load()]
	}
	return f.store
}

// find is Finder.Find for a resolved key.
func (f *Following) find(ctx context.Context, key Key, fresh bool, check func(*User) error) (*User, error) {
	if !fresh {
		if user := f.certain(ctx, key); user != nil && check(user) == nil {
			count(&f.state.hits, &totals.followed.hits)
			return user, nil
		}
		count(&f.state.misses, &totals.followed.misses)
	}
	user, isFresh, err := f.Lookup(ctx, key, !fresh)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	user, err = checked(user, err, check)
	if err == nil || isFresh {
		return user, err
	}
	user, err = f.store.LookupVia(ctx, key)
	return checked(user, err, check)
}

// certain is Kept, after waiting until all earlier changes are known where the
// configuration asks for that.
func (f *Following) certain(ctx context.Context, key Key) *User {
	user := f.Kept(key)
	if user == nil || !f.cfg.Strict {
		return user
	}
	if stream := f.stream.Load(); stream == nil || !stream.isCertain(ctx) {
		return nil
	}
	return f.Kept(key)
}

// IsCurrent reports whether all changes are known, but for the newest.
func (f *Following) IsCurrent() bool { return f.rows.IsCurrent() }

// Changes has an element after rows have changed, and queries see that. One caller may
// wait for it.
func (f *Following) Changes() <-chan struct{} { return f.changed }

// tellChanged has Changes have an element.
func (f *Following) tellChanged() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// LookupKeys is MySQL.LookupKeys, and keeps the rows.
func (f *Following) LookupKeys(ctx context.Context, keys []Key) (map[Key]*User, error) {
	ticket, reader := f.rows.Start(), f.reader()
	users, err := f.store.LookupKeys(ctx, keys)
	if err == nil && reader == f.store {
		for key, user := range users {
			f.keep(ticket, f.store.Resolve(key), user)
		}
	}
	return users, err
}

// Kept returns the user of a key from a kept row, or nil if there is none.
func (f *Following) Kept(key Key) *User {
	if !f.rows.IsCurrent() {
		return nil
	}
	key = f.store.Resolve(key)
	p, tag, value, ok := f.keyOf(key)
	if !ok {
		return nil
	}
	place := &f.shown[tag%uint64(len(f.shown))]
	if s := place.Load(); s != nil && s.tag == tag && s.value == value && f.holds(s.entry) {
		return f.use(s.entry, s.user)
	}
	entry := f.rows.Find(tag)
	if entry == nil || !f.holds(entry) {
		return nil
	}
	user := f.userOf(p, entry, value)
	if user == nil {
		return nil
	}
	place.Store(&shownUser{entry, tag, value, user})
	return f.use(entry, user)
}

// holds reports whether a row is still kept, and the one of its user.
func (f *Following) holds(entry *kept.Entry[leading]) bool {
	if lead := entry.With(); lead != nil && !f.rows.Holds(lead.user) {
		return false
	}
	return f.rows.Holds(entry)
}

// use returns the user of a row, unless the time of the row that leads to the user has
// passed.
func (f *Following) use(entry *kept.Entry[leading], user *User) *User {
	entry.Use()
	lead := entry.With()
	if lead == nil {
		return user
	}
	lead.user.Use()
	if lead.row == nil || !lead.row.until.valid {
		return user
	}
	if passed, err := hasPassed([]byte(lead.row.until.text), f.now(), lead.row.led.location); err != nil || passed {
		return nil
	}
	return user
}

// userOf makes the user of a row that was found by its tag, or returns nil if it is
// another's.
func (f *Following) userOf(p *plan, entry *kept.Entry[leading], value token.PrimaryKey) *User {
	lead := entry.With()
	of := entry
	if lead != nil {
		if lead.value != value {
			return nil
		}
		of = lead.user
	}
	user, err := p.userOf(keptTexts{of.Own(), of.Shared()}, p.schema.Kind)
	switch {
	case err != nil:
		return nil
	case lead == nil && !isSame(value, user.PrimaryKey, f.store.needs.HexKeys):
		return nil
	case lead != nil && lead.row != nil:
		user.via = lead.row
	}
	return user
}

// Lookup reads the user of a key with a query that is sent after the call, and keeps
// the row. Its errors are those of MySQL.LookupVia. A replica's row is returned if
// mayBeOld is true; isFresh reports that the answer is the primary server's.
func (f *Following) Lookup(ctx context.Context, key Key, mayBeOld bool) (user *User, isFresh bool, err error) {
	// Before the query: of what happens from now on, it may see nothing.
	ticket, reader := f.rows.Start(), f.reader()
	if reader == f.store {
		user, err = f.store.LookupVia(ctx, key)
		if err == nil {
			f.keep(ticket, key, user)
		}
		return user, true, err
	}
	pk, ok := key.PrimaryKey()
	if !ok || !mayBeOld {
		user, err = f.store.LookupVia(ctx, key)
		return user, true, err
	}
	user, isFresh, err = f.store.LookupAny(ctx, pk)
	// Another replica may have answered, and one more may be followed by now.
	if err == nil && !isFresh && user.plan == reader.plan.Load() {
		f.keep(ticket, key, user)
	}
	return user, isFresh, err
}

// keep keeps a user's row, and the one that led to it.
func (f *Following) keep(ticket kept.Ticket, key Key, user *User) {
	p, tag, value, ok := f.keyOf(key)
	if !ok || user.plan != p || user.texts.own == "" || user.PrimaryKey.Kind() != p.schema.Kind {
		return
	}
	ofUser := p.following.tag(ofUser, user.PrimaryKey)
	if key.via == nil && tag != ofUser {
		return // changes would name the row's key, and the row is found by another
	}
	alias := uint64(0)
	if p.following.relationAt >= 0 {
		text, ok := p.valueAt(user.texts, p.following.relationAt)
		if !ok {
			return
		}
		relation, err := p.following.relation.parse(text, p.following.relation.kind)
		if err != nil {
			return
		}
		alias = p.following.tag(ofRelation, relation)
	}
	entry := f.rows.Keep(ticket, kept.Row[leading]{Tag: ofUser, Alias: alias, Own: user.texts.own, Shared: user.texts.shared})
	if entry == nil || key.via == nil {
		return
	}
	f.rows.Keep(ticket, kept.Row[leading]{Tag: tag, With: &leading{value, user.via, entry}, WithSize: user.via.size()})
}

// size estimates the memory that the row takes.
func (r *ViaRow) size() int {
	const rest = 256
	if r == nil {
		return rest
	}
	size := rest + len(r.until.text)
	for _, value := range r.values {
		size += 2 * len(value.text) // what Whose has read of it may be as large
	}
	return size
}

// errUnsettled is the reason why a server can't be followed that doesn't tell up to
// where changes are visible.
var errUnsettled = errors.New("the server doesn't tell up to where its changes are visible: set gtid_mode to ON (MySQL), or use MariaDB")
