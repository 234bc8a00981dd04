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

	joined  atomic.Pointer[joinedRows] // nil until the tables are known
	waits   followState                // until then
	counts  lookupCounts
	changed chan struct{} // has an element after changes that queries see

	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// leading is a row that leads to a user, or for a value of the users' table, only the
// value.
type leading struct {
	value token.PrimaryKey
	row   atomic.Pointer[ViaRow] // nil for a value of the users' table
	whose token.PrimaryKey       // what Via.Whose has told, if it is asked
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
// The caller closes it before the store. Stores with one configuration share a stream
// and the rows.
func (s *MySQL) Follow(follower Follower) *Following {
	f := &Following{store: s, cfg: *s.cfg.Follow, follower: follower, logger: s.logger, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	// At once, so that during a reload the log is shared before the former
	// configuration's handlers leave it.
	reader := f.reader()
	if p := reader.plan.Load(); p != nil {
		f.join(reader, p)
	}
	f.tasks.Go(func() { f.stay(ctx) })
	return f
}

// Retire is called when the configuration ends, some time before Close: a configuration
// that can't be loaded is the newest until then, and Caddy has closed its logs.
func (f *Following) Retire() {
	if j := f.joined.Load(); j != nil {
		j.rows.log.retire(f)
	}
}

// Close ends the following. Further lookups are fresh ones.
func (f *Following) Close() error {
	f.cancel()
	f.tasks.Wait()
	return f.leave()
}

// errOtherReplica is why a log isn't followed any more.
var errOtherReplica = errors.New("another replica answers lookups now")

// stay joins the log of the server that answers lookups once the tables are known, and
// another one when another replica does.
func (f *Following) stay(ctx context.Context) {
	for f.joinOnceReady(ctx) && len(f.store.replicas.stores) > 0 {
		if !f.awaitOtherReader(ctx) {
			return
		}
		_ = f.leave() // the end of a stream has no errors
		f.waits.tell(f.logger, errOtherReplica)
	}
}

// joinOnceReady returns false if ctx has ended.
func (f *Following) joinOnceReady(ctx context.Context) bool {
	for wait := soonestFollow; f.joined.Load() == nil; wait = min(2*wait, latestFollow) {
		f.waits.connecting()
		reader := f.reader()
		p, err := reader.ready(ctx)
		if err == nil {
			f.join(reader, p)
			break
		}
		if ctx.Err() != nil {
			return false
		}
		f.waits.tell(f.logger, err)
		select {
		case <-time.After(atRandom(wait)):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// awaitOtherReader waits until another replica answers lookups. It returns false if ctx
// has ended.
func (f *Following) awaitOtherReader(ctx context.Context) bool {
	interval := time.NewTicker(f.cfg.lease() / leaseQuestions)
	defer interval.Stop()
	for f.joined.Load().reader == f.reader() {
		select {
		case <-interval.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// keyOf returns the tag and the value of a key, if rows are kept for it.
func (f *Following) keyOf(j *joinedRows, key Key) (tag uint64, value token.PrimaryKey, ok bool) {
	if j.reader != f.reader() {
		return 0, value, false
	}
	if key.via == nil {
		if key.primary.Kind() != j.plan.schema.Kind {
			return 0, value, false
		}
		return tagOf(ofUser, key.primary), key.primary, true
	}
	// Sessions and API tokens are looked up in the primary server.
	if j.reader != f.store {
		return 0, value, false
	}
	switch via := j.plan.vias[key.via].(type) {
	case byColumn:
		value, ok = via.key(key.value)
	case *textReader:
		value, ok = via.column.keyOf(key.value, via.column.kind)
	}
	if !ok {
		return 0, value, false
	}
	return tagOf(j.plan.following.ways[key.via], value), value, true
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
			count(&f.counts.hits, &totals.followed.hits)
			return user, nil
		}
		count(&f.counts.misses, &totals.followed.misses)
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
	j := f.joined.Load()
	if j == nil {
		return nil
	}
	if stream := j.rows.log.stream.Load(); stream == nil || !stream.isCertain(ctx) {
		return nil
	}
	return f.Kept(key)
}

// IsCurrent reports whether all changes are known, but for the newest.
func (f *Following) IsCurrent() bool {
	j := f.joined.Load()
	return j != nil && j.rows.IsCurrent()
}

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
	j, ticket := f.start()
	users, err := f.store.LookupKeys(ctx, keys)
	if err == nil && j != nil && j.reader == f.store {
		for key, user := range users {
			f.keep(j, ticket, f.store.Resolve(key), user)
		}
	}
	return users, err
}

// Kept returns the user of a key from a kept row, or nil if there is none.
func (f *Following) Kept(key Key) *User {
	j := f.joined.Load()
	if j == nil || !j.rows.IsCurrent() {
		return nil
	}
	key = f.store.Resolve(key)
	tag, value, ok := f.keyOf(j, key)
	if !ok {
		return nil
	}
	place := &j.shown[tag%uint64(len(j.shown))]
	if s := place.Load(); s != nil && s.tag == tag && s.value == value && j.holds(s.entry) {
		return use(s.entry, s.user)
	}
	entry := j.rows.Find(tag)
	if entry == nil || !j.holds(entry) {
		return nil
	}
	user := f.userOf(j, entry, key.via, value)
	if user == nil {
		return nil
	}
	place.Store(&shownUser{entry, tag, value, user})
	return use(entry, user)
}

// holds reports whether a row is still kept, and the one of its user.
func (j *joinedRows) holds(entry *kept.Entry[leading]) bool {
	if lead := entry.With(); lead != nil && !j.rows.Holds(lead.user) {
		return false
	}
	return j.rows.Holds(entry)
}

// use returns the user of a row, unless the time of the row that leads to the user has
// passed.
func use(entry *kept.Entry[leading], user *User) *User {
	entry.Use()
	lead := entry.With()
	if lead == nil {
		return user
	}
	lead.user.Use()
	row := user.via
	if row == nil || !row.until.valid {
		return user
	}
	if passed, err := hasPassed([]byte(row.until.text), time.Now(), row.led.location); err != nil || passed {
		return nil
	}
	return user
}

// userOf makes the user of a row that was found by its tag, or returns nil if it is
// another's.
func (f *Following) userOf(j *joinedRows, entry *kept.Entry[leading], via *Via, value token.PrimaryKey) *User {
	lead := entry.With()
	of := entry
	if lead != nil {
		if lead.value != value {
			return nil
		}
		of = lead.user
	}
	user, err := j.plan.userOf(keptTexts{of.Own(), of.Shared()}, j.plan.schema.Kind)
	switch {
	case err != nil:
		return nil
	case lead != nil:
		var ok bool
		if user.via, ok = j.rowOf(lead, via); !ok {
			return nil
		}
	case !isSame(value, user.PrimaryKey, f.store.needs.HexKeys):
		return nil
	}
	return user
}

// rowOf returns the row that leads to a user. ok is false if it doesn't, for this
// configuration: the handler whose lookup has kept the row may have had another secret
// key to read it with.
func (j *joinedRows) rowOf(lead *leading, via *Via) (row *ViaRow, ok bool) {
	row = lead.row.Load()
	v, namedByText := j.plan.vias[via].(*textReader)
	if !namedByText || row.led == v.led {
		return row, true
	}
	own := &ViaRow{led: v.led, until: row.until}
	own.values = append(own.few[:0], row.values...)
	whose, err := v.ask(textRow{row: own})
	if err != nil || whose != lead.whose {
		return nil, false
	}
	lead.row.Store(own)
	return own, true
}

// start is called before a query: of what happens from now on, it may see nothing.
func (f *Following) start() (*joinedRows, kept.Ticket) {
	j := f.joined.Load()
	if j == nil {
		return nil, kept.Ticket{}
	}
	return j, j.rows.Start()
}

// Lookup reads the user of a key with a query that is sent after the call, and keeps
// the row. Its errors are those of MySQL.LookupVia. A replica's row is returned if
// mayBeOld is true; isFresh reports that the answer is the primary server's.
func (f *Following) Lookup(ctx context.Context, key Key, mayBeOld bool) (user *User, isFresh bool, err error) {
	j, ticket := f.start()
	if len(f.store.replicas.stores) == 0 {
		user, err = f.store.LookupVia(ctx, key)
		if err == nil {
			f.keep(j, ticket, key, user)
		}
		return user, true, err
	}
	pk, ok := key.PrimaryKey()
	if !ok || !mayBeOld {
		user, err = f.store.LookupVia(ctx, key)
		return user, true, err
	}
	user, isFresh, err = f.store.LookupAny(ctx, pk)
	if err == nil && !isFresh {
		f.keep(j, ticket, key, user)
	}
	return user, isFresh, err
}

// keep keeps a user's row, and the one that led to it.
func (f *Following) keep(j *joinedRows, ticket kept.Ticket, key Key, user *User) {
	// Another replica may have answered than the one whose log it is.
	if j == nil || user.plan != j.plan || user.texts.own == "" || user.PrimaryKey.Kind() != j.plan.schema.Kind {
		return
	}
	tag, value, ok := f.keyOf(j, key)
	if !ok {
		return
	}
	of := tagOf(ofUser, user.PrimaryKey)
	if key.via == nil && tag != of {
		return // changes would name the row's key, and the row is found by another
	}
	alias, ok := j.plan.aliasOf(user)
	if !ok {
		return
	}
	entry := j.rows.Keep(ticket, kept.Row[leading]{Tag: of, Alias: alias, Own: user.texts.own, Shared: user.texts.shared})
	if entry == nil || key.via == nil {
		return
	}
	lead := &leading{value: value, user: entry}
	if v, namedByText := j.plan.vias[key.via].(*textReader); namedByText {
		whose, err := v.ask(textRow{row: user.via})
		if err != nil {
			return
		}
		lead.whose = whose
	}
	lead.row.Store(user.via)
	j.rows.Keep(ticket, kept.Row[leading]{Tag: tag, With: lead, WithSize: user.via.size()})
}

// aliasOf is the tag of the key that other tables refer to the user by, or 0 if it is
// the one that tokens hold. ok is false if the key can't be read.
func (p *plan) aliasOf(user *User) (alias uint64, ok bool) {
	f := p.following
	if f.relationAt < 0 {
		return 0, true
	}
	text, ok := p.valueAt(user.texts, f.relationAt)
	if !ok {
		return 0, false
	}
	relation, err := f.relation.parse(text, f.relation.kind)
	return tagOf(ofRelation, relation), err == nil
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
