package userstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// A reading reads rows by the values of a column: users by their keys, for example.
// Lookups that wait together share a query.
type reading[R any] struct {
	s        *MySQL
	column   keyColumn // the column with the values that are looked up
	executor executor[R]
	sql      func(size int) string // the statement for a number of values
	lookup   *sql.Stmt             // for one
	batches  batchStatements       // for more
	batcher  batcher[R]
}

// An executor executes the statements of a reading.
type executor[R any] interface {
	// readOne reads the row of a value. If there is none, the error is ErrNotFound.
	readOne(ctx context.Context, statement *sql.Stmt, of asked) (R, error)

	// readMany reads the rows of at most size values with the statement for so
	// many. The map may have additional rows, which a collation found.
	readMany(ctx context.Context, statement *sql.Stmt, size int, of []asked) (map[token.PrimaryKey]R, error)

	// unsure returns which values of a batch have to be asked for one by one, too.
	unsure(of []asked, found map[token.PrimaryKey]R) []asked
}

// batchSizes are the numbers of keys that one statement reads. A batch of
// another number repeats its last key, since the server would have to keep a
// statement of its own for each.
var batchSizes = [...]int{2, 4, 8, 16, 32, 64, 128, largestBatch}

const largestBatch = 256

// batchStatements are prepared when they are needed first: most stores never
// read many users at once.
type batchStatements struct {
	mu     sync.Mutex
	closed bool
	bySize [len(batchSizes)]*sql.Stmt
}

func (b *batchStatements) get(i int) (*sql.Stmt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	return b.bySize[i], nil
}

// keep returns the statement to use: the given one, or the one that another caller
// has prepared meanwhile.
func (b *batchStatements) keep(i int, made *sql.Stmt) (*sql.Stmt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		_ = made.Close() // it wasn't used
		return nil, errClosed
	case b.bySize[i] != nil:
		_ = made.Close()
	default:
		b.bySize[i] = made
	}
	return b.bySize[i], nil
}

func (b *batchStatements) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	var err error
	for i, statement := range b.bySize {
		if statement != nil {
			err = errors.Join(err, statement.Close())
			b.bySize[i] = nil
		}
	}
	return err
}

// asked is a value to be read, and its parameter.
type asked struct {
	key   token.PrimaryKey
	param any
}

// prepare prepares the statement for one value, with which the server checks the
// privileges on each column.
func (r *reading[R]) prepare(ctx context.Context) (err error) {
	r.lookup, err = r.s.prepare(ctx, r.sql(1))
	return err
}

// close closes the statements.
func (r *reading[R]) close() error {
	err := r.batches.close()
	if r.lookup != nil {
		err = errors.Join(err, r.lookup.Close())
	}
	return err
}

// find reads the row of a value, in a query that is sent after the call.
func (r *reading[R]) find(ctx context.Context, key token.PrimaryKey) (R, error) {
	return r.batcher.lookup(ctx, r, key)
}

// alone is find with a query of its own.
func (r *reading[R]) alone(ctx context.Context, key token.PrimaryKey) (found R, err error) {
	const doing = "looking up a user"
	if err := ctx.Err(); err != nil {
		return found, r.s.failed(ctx, doing, err)
	}
	if err := r.column.check(key.Kind()); err != nil {
		return found, unavailable(doing, err)
	}
	param, ok := r.column.param(key)
	if !ok || r.column.outOfRange(key) {
		return found, ErrNotFound
	}
	before := r.s.pool.breaker.answers.Load()
	found, err = r.askOne(ctx, asked{key, param})
	r.s.heard(ctx, before, err)
	r.s.signs.note(err)
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, ErrNotFound), cantBeInColumn(key, err):
		return found, ErrNotFound
	default:
		return found, r.s.failed(ctx, doing, err)
	}
}

func (r *reading[R]) askOne(ctx context.Context, of asked) (R, error) {
	return asking(ctx, r.s, func(ctx context.Context) (R, error) {
		return r.executor.readOne(ctx, r.lookup, of)
	})
}

// many reads the rows of any number of values, with few queries. It answers for
// each value as find does: the map lacks values for which find returns ErrNotFound.
// Any other error of one value is the error of all. Each query has the time limit
// of a lookup.
func (r *reading[R]) many(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]R, error) {
	const doing = "looking up users"
	if err := ctx.Err(); err != nil {
		return nil, r.s.failed(ctx, doing, err)
	}
	if err := r.s.mayRead(doing); err != nil {
		return nil, err
	}
	byKind, err := r.askFor(keys)
	if err != nil {
		return nil, unavailable(doing, err)
	}
	found := make(map[token.PrimaryKey]R, len(keys))
	// The values of one query are of one kind: MySQL compares a list of mixed types
	// differently from each of its values.
	for _, all := range byKind {
		for len(all) > 0 {
			n := min(len(all), largestBatch)
			if err := r.readBatch(ctx, all[:n], found); err != nil {
				return nil, err
			}
			all = all[n:]
		}
	}
	return found, nil
}

// askFor sorts distinct values by their kind, and leaves out those that no row can
// have.
func (r *reading[R]) askFor(keys []token.PrimaryKey) (map[token.Kind][]asked, error) {
	byKind := make(map[token.Kind][]asked, 1)
	seen := make(map[token.PrimaryKey]struct{}, len(keys))
	for _, key := range keys {
		if _, again := seen[key]; again {
			continue
		}
		seen[key] = struct{}{}
		if err := r.column.check(key.Kind()); err != nil {
			return nil, err
		}
		if param, ok := r.column.param(key); ok && !r.column.outOfRange(key) {
			byKind[key.Kind()] = append(byKind[key.Kind()], asked{key, param})
		}
	}
	return byKind, nil
}

// readBatch reads the rows of values of one kind, at most the largest batch.
func (r *reading[R]) readBatch(ctx context.Context, batch []asked, found map[token.PrimaryKey]R) error {
	if len(batch) == 1 {
		return r.readEach(ctx, batch, found)
	}
	before := r.s.pool.breaker.answers.Load()
	rows, err := r.askMany(ctx, batch)
	r.s.heard(ctx, before, err)
	r.s.signs.note(err)
	switch {
	case isCharset(err):
		return r.readEach(ctx, batch, found)
	case err != nil:
		return r.s.failed(ctx, "looking up users", err)
	}
	for _, a := range batch {
		if row, ok := rows[a.key]; ok {
			found[a.key] = row
		}
	}
	return r.readEach(ctx, r.executor.unsure(batch, rows), found)
}

// The errors that replace erIllegalMixOfCollations if a list has two values, or
// more.
const (
	erIllegalMixOfThree   = 1270
	erIllegalMixOfSeveral = 1271
)

// isCharset reports whether MySQL refused a batch because one of its values
// couldn't be compared with the column. The rows of other values may exist: each
// value has to be queried alone.
func isCharset(err error) bool {
	switch numberOf(err) {
	case erIllegalMixOfCollations, erIllegalMixOfThree, erIllegalMixOfSeveral, erImpossibleConversion:
		return true
	}
	return false
}

// readEach reads rows one by one.
func (r *reading[R]) readEach(ctx context.Context, batch []asked, found map[token.PrimaryKey]R) error {
	for _, a := range batch {
		row, err := r.alone(ctx, a.key)
		switch {
		case err == nil:
			found[a.key] = row
		case !errors.Is(err, ErrNotFound):
			return err
		}
	}
	return nil
}

// askMany reads the rows that a batch selects, by the values that they have.
func (r *reading[R]) askMany(ctx context.Context, batch []asked) (map[token.PrimaryKey]R, error) {
	i := 0
	for batchSizes[i] < len(batch) {
		i++
	}
	return asking(ctx, r.s, func(ctx context.Context) (map[token.PrimaryKey]R, error) {
		statement, err := r.batchStatement(ctx, i) //nolint:sqlclosecheck // the plan closes it
		if err != nil {
			return nil, err
		}
		return r.executor.readMany(ctx, statement, batchSizes[i], batch)
	})
}

// batchStatement returns the statement for a size, and prepares it if it is
// the first to need it.
func (r *reading[R]) batchStatement(ctx context.Context, i int) (*sql.Stmt, error) {
	statement, err := r.batches.get(i)
	if statement != nil || err != nil {
		return statement, err
	}
	if statement, err = r.s.prepare(ctx, r.sql(batchSizes[i])); err != nil {
		return nil, err
	}
	return r.batches.keep(i, statement)
}

// oneOf is the condition, behind a column, that it has one of a number of
// values.
func oneOf(size int) string {
	if size == 1 {
		return " = ?"
	}
	return " IN (?" + strings.Repeat(", ?", size-1) + ")"
}

// atMost is the limit of rows for a number of values. One additional row is enough
// to notice that a value has several rows. Only a view can have such rows, and they
// must be rejected.
func atMost(size int) string { return " LIMIT " + strconv.Itoa(size+1) }
