package userstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/maypok86/otter/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Defaults of CacheConfig, and the longest time that it can be told.
const (
	DefaultCacheMaxUsers = 100_000
	DefaultCacheMaxSize  = 64 << 20
	LongestCache         = 5 * time.Minute
)

// CacheConfig says for how long a row that was read may be used again.
type CacheConfig struct {
	// How old a row may be, since it was read, to let a request in. For this long
	// after a new password, or the end of an account, a token may still be
	// accepted. 5m at most. Required.
	For caddy.Duration `json:"for,omitempty"`

	// The most users to keep. Default: 100000.
	MaxUsers int `json:"max_users,omitempty"`

	// The most memory to use for rows, in bytes. Default: 64 MiB.
	MaxSize int64 `json:"max_size,omitempty"`
}

// Validate checks the values.
func (c *CacheConfig) Validate() error {
	switch {
	case c.For <= 0:
		return errors.New("the time for which a row is used again is missing: write 5s, for example")
	case time.Duration(c.For) > LongestCache:
		return fmt.Errorf("%s is too long for users who may no longer log in; %s is the most", time.Duration(c.For), LongestCache)
	case c.MaxUsers < 0:
		return setting.Errorf("max_users", "max_users is negative; leave it out for the default")
	case c.MaxSize < 0:
		return setting.Errorf("max_size", "max_size is negative; leave it out for the default")
	}
	return nil
}

// Cache answers lookups with rows that were read a short time ago. It keeps rows,
// not verdicts: each token is checked against the row. It is safe for concurrent
// use.
type Cache struct {
	store *MySQL
	kept  *keptRows
	key   poolKey
}

// keptRows is shared by all caches of one configuration, from before and after a
// reload.
type keptRows struct {
	users  *otter.Cache[token.PrimaryKey, keptRow]
	absent *otter.Cache[token.PrimaryKey, time.Time] // when the key was looked up

	counts cacheCounts
}

// keptRow is a row, and when the lookup began. The row is at least as new as that,
// unless it is a replica's.
type keptRow struct {
	user   *User
	asked  time.Time
	isLate bool // a replica's, which may be older
}

// keptRowsOf has the rows of each configuration in this process.
var keptRowsOf = caddy.NewUsagePool()

// NewCache makes a cache in front of a store. The caller closes it before the
// store.
func NewCache(store *MySQL, cfg CacheConfig) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	key, err := keyOfCache(store, cfg)
	if err != nil {
		return nil, err
	}
	kept, _, err := keptRowsOf.LoadOrNew(key, func() (caddy.Destructor, error) { return newKeptRows(cfg) })
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	return &Cache{store: store, kept: kept.(*keptRows), key: key}, nil
}

// keyOfCache covers everything that a row depends on, so that sites which would
// read a row differently don't share it.
func keyOfCache(store *MySQL, cfg CacheConfig) (poolKey, error) {
	return hashOf(store.cfg, store.databases, store.needs, cfg) // not the vias: rows are kept by primary keys only
}

func newKeptRows(cfg CacheConfig) (*keptRows, error) {
	period := time.Duration(cfg.For)
	maxUsers := orDefault(cfg.MaxUsers, DefaultCacheMaxUsers)
	maxSize := uint64(orDefault(cfg.MaxSize, DefaultCacheMaxSize)) //nolint:gosec // it isn't negative
	// Each row counts for a minimum of memory, so that the memory's limit limits
	// the number of rows, too.
	least := maxSize / uint64(maxUsers) //nolint:gosec // neither
	users, err := otter.New(&otter.Options[token.PrimaryKey, keptRow]{
		MaximumWeight: maxSize,
		Weigher: func(_ token.PrimaryKey, row keptRow) uint32 {
			return uint32(min(max(row.user.size(), least), math.MaxUint32)) //nolint:gosec // no more than that
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(entry otter.Entry[token.PrimaryKey, keptRow]) time.Duration {
			return leftOf(period, entry.Value.asked)
		}),
		Logger: &otter.NoopLogger{},
	})
	if err != nil {
		return nil, err
	}
	absent, err := otter.New(&otter.Options[token.PrimaryKey, time.Time]{
		MaximumSize: mostAbsent,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(entry otter.Entry[token.PrimaryKey, time.Time]) time.Duration {
			return leftOf(period, entry.Value)
		}),
		Logger: &otter.NoopLogger{},
	})
	if err != nil {
		return nil, err
	}
	return &keptRows{users: users, absent: absent}, nil
}

// leftOf returns the rest of a period that began at a time. It is positive, because
// zero would mean for ever.
func leftOf(period time.Duration, began time.Time) time.Duration {
	return max(period-time.Since(began), 1)
}

// size estimates the memory that a kept row takes: its strings, and the rest.
func (u *User) size() uint64 {
	const rest = 768 // of User, and of the cache for each
	size := rest + len(u.PrimaryKey.Text()) + len(u.id) + len(u.Username) + len(u.lastLogin.text)
	for _, text := range []*string{u.Password, u.Email} {
		if text != nil {
			size += len(*text)
		}
	}
	for _, extra := range u.extra {
		size += len(extra.text)
	}
	size += u.groups.size() + len(u.permissions) + len(u.groupPermissions)
	return uint64(size) //nolint:gosec // it is a sum of lengths
}

// mostAbsent is how many keys without a user are remembered. They are kept apart
// from the users: a client that guesses keys can't push users out.
const mostAbsent = 10_000

// Destruct ends what the cache runs. UsagePool calls it.
func (k *keptRows) Destruct() error {
	k.users.StopAllGoroutines()
	k.absent.StopAllGoroutines()
	return nil
}

// Close gives the cache back. Further lookups are still answered.
func (c *Cache) Close() error {
	_, err := keptRowsOf.Delete(c.key)
	return err
}

// Lookup is MySQL.LookupAny, with a row that may be as old as the configuration
// says. isFresh reports that the answer, which may be ErrNotFound, isn't from
// before the call. Lookups of one user that is not in the cache wait for one query
// together.
func (c *Cache) Lookup(ctx context.Context, pk token.PrimaryKey) (user *User, isFresh bool, err error) {
	row, ok := c.kept.users.GetIfPresent(pk)
	if ok {
		c.kept.counts.hits.Add(1)
		totals.hits.Add(1)
		return row.user, false, nil
	}
	if _, ok := c.kept.absent.GetIfPresent(pk); ok {
		c.kept.counts.denied.Add(1)
		totals.denied.Add(1)
		return nil, false, ErrNotFound
	}
	c.kept.counts.misses.Add(1)
	totals.misses.Add(1)
	called := time.Now()
	row, err = c.kept.users.Get(ctx, pk, otter.LoaderFunc[token.PrimaryKey, keptRow](c.load))
	if errors.Is(err, ErrNotFound) {
		asked, ok := c.kept.absent.GetIfPresent(pk)
		return nil, ok && !asked.Before(called), err
	}
	if err != nil {
		return nil, false, err
	}
	return row.user, !row.isLate && !row.asked.Before(called), nil
}

// LookupFresh is MySQL.Lookup, and keeps the row for later calls.
func (c *Cache) LookupFresh(ctx context.Context, pk token.PrimaryKey) (*User, error) {
	asked := time.Now()
	user, err := c.store.Lookup(ctx, pk)
	switch {
	case err == nil:
		c.kept.users.Set(pk, keptRow{user: user, asked: asked})
		c.kept.absent.Invalidate(pk)
	case errors.Is(err, ErrNotFound):
		c.kept.users.Invalidate(pk)
	}
	return user, err
}

// Kept returns the row that Lookup would return without asking MySQL, and whether
// there is one. A nil user means that the key is known to have no user.
func (c *Cache) Kept(pk token.PrimaryKey) (user *User, known bool) {
	if row, ok := c.kept.users.GetIfPresent(pk); ok {
		return row.user, true
	}
	_, known = c.kept.absent.GetIfPresent(pk)
	return nil, known
}

// load reads a row for the cache.
func (c *Cache) load(ctx context.Context, pk token.PrimaryKey) (keptRow, error) {
	// Another lookup may have found that the user is missing since Lookup looked.
	if _, ok := c.kept.absent.GetIfPresent(pk); ok {
		return keptRow{}, ErrNotFound
	}
	asked := time.Now()
	user, isFresh, err := c.store.LookupAny(ctx, pk)
	if errors.Is(err, ErrNotFound) {
		c.kept.absent.Set(pk, asked)
	}
	return keptRow{user, asked, !isFresh}, err
}
