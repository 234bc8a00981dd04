package kept

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Rows are kept rows, each with a tag: a hash of what it is found by. It may have a
// second tag, an alias, by which it can only be dropped. Two rows with one tag displace
// each other, so what is found must be compared with what was asked for. W is what
// a row has beside its texts. Rows are safe for concurrent use.
type Rows[W any] struct {
	stream     atomic.Pointer[Stream] // nil while none is followed
	generation atomic.Uint32          // of rows; older ones are dropped
	shards     []shard[W]
	aliases    []aliases
	dropped    atomic.Uint64
	evicted    atomic.Uint64
}

// Rows are in parts that are locked on their own. A part has as many rows at most as
// any other, so small ones would hold fewer than were asked for.
const (
	mostShards = 32
	leastShard = 1024
)

// shard is the part of the rows whose tags have the same remainder.
type shard[W any] struct {
	mu      sync.Mutex
	entries map[uint64]*Entry[W]
	ring    []*Entry[W]        // for eviction
	hand    int                // where the next search in the ring begins
	texts   map[string]*shared // which rows share
	size    int64

	maxRows int
	maxSize int64

	_ [64]byte // keeps the locks of two shards in different cache lines
}

// aliases are tags by aliases. Their lock is taken with a shard's lock held, not the
// other way round.
type aliases struct {
	mu   sync.Mutex
	tags map[uint64]uint64
}

// Entry is a kept row.
type Entry[W any] struct {
	tag, alias uint64 // alias is 0 for none
	own        string
	shared     *shared // nil for none
	with       *W
	withSize   int32
	generation uint32
	index      int32 // in the ring
	isUsed     atomic.Bool
	isDropped  atomic.Bool
}

// shared is a text that rows share.
type shared struct {
	text string
	rows int
}

// Own returns the row's own text.
func (e *Entry[W]) Own() string { return e.own }

// Shared returns the text that the row shares with others.
func (e *Entry[W]) Shared() string {
	if e.shared == nil {
		return ""
	}
	return e.shared.text
}

// With returns what the row has beside its texts.
func (e *Entry[W]) With() *W { return e.with }

// overhead is the memory that a row takes beside its texts: the entry, its places in
// the map and in the ring, and what the allocator adds.
const overhead = 160

func (e *Entry[W]) size() int64 { return overhead + int64(len(e.own)) + int64(e.withSize) }

// NewRows makes room for a number of rows, and for so many bytes.
func NewRows[W any](maxRows int, maxSize int64) *Rows[W] {
	n := min(max(1, maxRows/leastShard), mostShards)
	r := &Rows[W]{shards: make([]shard[W], n), aliases: make([]aliases, n)}
	for i := range r.shards {
		s := &r.shards[i]
		s.maxRows, s.maxSize = max(1, maxRows/n), max(1, maxSize/int64(n))
		s.clear()
	}
	return r
}

func (s *shard[W]) clear() {
	s.entries, s.texts = make(map[uint64]*Entry[W]), make(map[string]*shared)
	s.ring, s.hand, s.size = nil, 0, 0
}

func (r *Rows[W]) of(tag uint64) *shard[W] { return &r.shards[tag>>32%uint64(len(r.shards))] }

// Follow has rows be kept while a stream goes on. There must be no other that goes on.
func (r *Rows[W]) Follow(s *Stream) {
	s.add(r)
	if former := r.stream.Swap(s); former != nil {
		former.remove(r)
	}
}

// Unfollow drops all rows, and keeps none until Follow is called again.
func (r *Rows[W]) Unfollow() {
	if s := r.stream.Swap(nil); s != nil {
		s.remove(r)
	}
	r.clear()
}

// IsCurrent reports whether kept rows may be used now.
func (r *Rows[W]) IsCurrent() bool {
	s := r.stream.Load()
	return s != nil && s.IsCurrent()
}

// LeaseAge is how long ago the question was asked by which rows are used now; 0 if
// they aren't.
func (r *Rows[W]) LeaseAge() time.Duration {
	if s := r.stream.Load(); s != nil {
		return s.leaseAge()
	}
	return 0
}

// Holds reports whether a row is still kept. It may be used only if IsCurrent is
// true, too.
func (r *Rows[W]) Holds(e *Entry[W]) bool {
	return !e.isDropped.Load() && e.generation == r.generation.Load()
}

// Use notes that a row is in use, so that others make room.
func (e *Entry[W]) Use() {
	if !e.isUsed.Load() {
		e.isUsed.Store(true)
	}
}

// Find returns the row with a tag, or nil.
func (r *Rows[W]) Find(tag uint64) *Entry[W] {
	s := r.of(tag)
	s.mu.Lock()
	e := s.entries[tag]
	s.mu.Unlock()
	if e == nil || !r.Holds(e) {
		return nil
	}
	return e
}

// Ticket is what was known when a query began, for keeping what it reads.
type Ticket struct {
	stream     *Stream
	settled    uint64
	generation uint32
}

// Start is called before a query is sent.
func (r *Rows[W]) Start() Ticket {
	t := Ticket{generation: r.generation.Load(), stream: r.stream.Load()}
	if t.stream != nil {
		t.settled = t.stream.settled.Load()
	}
	return t
}

// Row is a row to keep.
type Row[W any] struct {
	Tag, Alias  uint64 // Alias is 0 for none
	Own, Shared string // texts; many rows have the same shared one
	With        *W
	WithSize    int // the memory that With takes
}

// is reports whether an entry is of a row without With.
func (e *Entry[W]) is(row *Row[W]) bool {
	return e.with == nil && row.With == nil && e.alias == row.Alias && e.own == row.Own && e.Shared() == row.Shared
}

// Keep keeps a row that a query has read, if it is certainly the present one.
// Otherwise it returns nil.
func (r *Rows[W]) Keep(t Ticket, row Row[W]) *Entry[W] {
	if t.stream == nil {
		return nil
	}
	if row.Alias != 0 {
		r.setAlias(row.Alias, row.Tag)
	}
	s := r.of(row.Tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Changes are noted before rows are dropped, which takes the lock: what isn't noted
	// here will drop the row.
	if !t.stream.holds(t.settled, row.Tag) {
		return nil
	}
	if row.Alias != 0 {
		if of, _ := r.tagOf(row.Alias); of != row.Tag || !t.stream.holds(t.settled, row.Alias) {
			return nil
		}
	}
	if former := s.entries[row.Tag]; former != nil {
		if former.is(&row) && r.Holds(former) {
			return former // others may point to it
		}
		if former.alias == row.Alias {
			former.alias = 0 // it is the new row's now
		}
		r.remove(s, former)
	}
	e := &Entry[W]{
		tag: row.Tag, alias: row.Alias, own: row.Own, with: row.With,
		withSize: int32(min(row.WithSize, math.MaxInt32)), generation: t.generation,
	}
	s.add(e, row.Shared)
	r.evict(s)
	return e
}

// setAlias has changes with an alias drop the row with a tag. Another row with the
// alias is dropped.
func (r *Rows[W]) setAlias(alias, tag uint64) {
	a := &r.aliases[alias>>32%uint64(len(r.aliases))]
	a.mu.Lock()
	former, had := a.tags[alias]
	if a.tags == nil {
		a.tags = make(map[uint64]uint64)
	}
	a.tags[alias] = tag
	a.mu.Unlock()
	if had && former != tag {
		r.drop(former)
	}
}

// tagOf returns the tag of the row with an alias.
func (r *Rows[W]) tagOf(alias uint64) (tag uint64, ok bool) {
	a := &r.aliases[alias>>32%uint64(len(r.aliases))]
	a.mu.Lock()
	defer a.mu.Unlock()
	tag, ok = a.tags[alias]
	return tag, ok
}

// forgetAlias removes the alias of a row.
func (r *Rows[W]) forgetAlias(alias, tag uint64) {
	a := &r.aliases[alias>>32%uint64(len(r.aliases))]
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tags[alias] == tag {
		delete(a.tags, alias)
	}
}

// drop drops the row with a tag.
func (r *Rows[W]) drop(tag uint64) {
	s := r.of(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[tag]; e != nil {
		r.remove(s, e)
		r.dropped.Add(1)
	}
}

// dropEach drops the rows with these tags or aliases.
func (r *Rows[W]) dropEach(tags []uint64) {
	for _, tag := range tags {
		r.drop(tag)
		if of, ok := r.tagOf(tag); ok {
			r.drop(of)
		}
	}
}

// clear drops all rows.
func (r *Rows[W]) clear() {
	// The rows of queries that began before are of a former generation from now on.
	// Aliases go before the rows, since a row is kept only with its alias.
	r.generation.Add(1)
	for i := range r.aliases {
		a := &r.aliases[i]
		a.mu.Lock()
		a.tags = nil
		a.mu.Unlock()
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		r.dropped.Add(uint64(len(s.ring)))
		s.clear()
		s.mu.Unlock()
	}
	// Rows that were kept meanwhile, and went with the others, may still be pointed to.
	r.generation.Add(1)
}

// add adds a row. The lock is held.
func (s *shard[W]) add(e *Entry[W], text string) {
	s.entries[e.tag] = e
	e.index = int32(len(s.ring)) //nolint:gosec // there are fewer
	s.ring = append(s.ring, e)
	s.size += e.size()
	if text == "" {
		return
	}
	if e.shared = s.texts[text]; e.shared == nil {
		e.shared = &shared{text: text}
		s.texts[text] = e.shared
		s.size += int64(len(text)) + overhead
	}
	e.shared.rows++
}

// remove removes a row. The lock is held.
func (r *Rows[W]) remove(s *shard[W], e *Entry[W]) {
	e.isDropped.Store(true)
	delete(s.entries, e.tag)
	if e.alias != 0 {
		r.forgetAlias(e.alias, e.tag)
	}
	last := s.ring[len(s.ring)-1]
	s.ring[e.index], last.index = last, e.index
	s.ring[len(s.ring)-1] = nil
	s.ring = s.ring[:len(s.ring)-1]
	s.size -= e.size()
	if e.shared == nil {
		return
	}
	if e.shared.rows--; e.shared.rows == 0 {
		delete(s.texts, e.shared.text)
		s.size -= int64(len(e.shared.text)) + overhead
	}
}

// evict makes room: of the rows in the order of the ring, those go that weren't used
// since the ring was last gone through. The lock is held.
func (r *Rows[W]) evict(s *shard[W]) {
	for len(s.ring) > 1 && (len(s.ring) > s.maxRows || s.size > s.maxSize) {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		if e.isUsed.Swap(false) {
			s.hand++
			continue
		}
		r.remove(s, e) // the last of the ring takes its place
		r.evicted.Add(1)
	}
}

// Stats are figures of Rows.
type Stats struct {
	Rows             int
	Size             int64  // estimated, in bytes
	Dropped, Evicted uint64 // rows: by changes and interruptions, and to make room
}

// Stats returns the figures up to now.
func (r *Rows[W]) Stats() Stats {
	stats := Stats{Dropped: r.dropped.Load(), Evicted: r.evicted.Load()}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		stats.Rows += len(s.ring)
		stats.Size += s.size
		s.mu.Unlock()
	}
	return stats
}
