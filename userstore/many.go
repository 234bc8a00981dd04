package userstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/token"
)

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

// keep returns the statement to use: the given one, or the one that somebody
// else has prepared meanwhile.
func (b *batchStatements) keep(i int, made *sql.Stmt) (*sql.Stmt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		_ = made.Close() // nobody has used it
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

// asked is a key to be read, and the parameter that stands for it.
type asked struct {
	key   token.PrimaryKey
	param any
}

// LookupMany reads the users with any number of primary keys, with few queries.
// Of each key it says what Lookup would: the map has the user under the key
// that was asked for, and lacks keys that Lookup answers with ErrNotFound. Any other error of one key is the error of all.
// Each query has the time that a lookup has.
func (s *MySQL) LookupMany(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]*User, error) {
	users := make(map[token.PrimaryKey]*User, len(keys))
	if len(keys) == 0 {
		return users, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, s.failed(ctx, "looking up users", err)
	}
	if err := s.mayRead("looking up users"); err != nil {
		return nil, err
	}
	p, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	byKind, err := p.askFor(keys)
	if err != nil {
		return nil, unavailable("looking up users", err)
	}
	// The keys of one query are of one kind: MySQL compares a list of mixed
	// types in another way than each of its values.
	for _, all := range byKind {
		for len(all) > 0 {
			n := min(len(all), largestBatch)
			if err := s.readBatch(ctx, p, all[:n], users); err != nil {
				return nil, err
			}
			all = all[n:]
		}
	}
	return users, nil
}

// askFor sorts keys by their kind, each once, and leaves out those that no row
// can have.
func (p *plan) askFor(keys []token.PrimaryKey) (map[token.Kind][]asked, error) {
	byKind := make(map[token.Kind][]asked, 1)
	seen := make(map[token.PrimaryKey]struct{}, len(keys))
	for _, key := range keys {
		if _, again := seen[key]; again {
			continue
		}
		seen[key] = struct{}{}
		if err := p.key.check(key.Kind()); err != nil {
			return nil, err
		}
		if param, ok := p.key.param(key); ok && !p.key.outOfRange(key) {
			byKind[key.Kind()] = append(byKind[key.Kind()], asked{key, param})
		}
	}
	return byKind, nil
}

// readBatch reads the users of keys of one kind, at most the largest batch.
func (s *MySQL) readBatch(ctx context.Context, p *plan, batch []asked, users map[token.PrimaryKey]*User) error {
	if len(batch) == 1 {
		return s.readEach(ctx, batch, users)
	}
	kind := batch[0].key.Kind()
	before := s.pool.breaker.answers.Load()
	rows, err := s.queryBatch(ctx, p, batch, kind)
	s.heard(ctx, before, err)
	switch {
	case isCharset(err):
		return s.readEach(ctx, batch, users)
	case err != nil:
		return s.failed(ctx, "looking up users", err)
	}

	var missing []asked
	for _, a := range batch {
		if u, ok := rows[a.key]; ok {
			users[a.key] = u
		} else {
			missing = append(missing, a)
		}
	}
	// Only of text can a column have an equal that isn't the same: 'Alice' for
	// 'alice', where the collation says so. Whether that is the key in another
	// form, Lookup tells.
	if kind != token.KindString || p.key.class != keyText || len(rows) == 0 {
		return nil
	}
	if p.schema.View && len(batch)-len(missing) < len(rows) {
		// A row that nobody asked for by its own name may be the second one of
		// any key, since nothing makes keys unique in a view.
		missing = batch
	}
	return s.readEach(ctx, missing, users)
}

// erIllegalMixOfSeveral is what a list of values has in the place of
// erIllegalMixOfCollations.
const erIllegalMixOfSeveral = 1271

// isCharset reports whether MySQL refused a batch because it couldn't compare
// one of its keys with the column. The others may be there, and only Lookup can
// tell which it is.
func isCharset(err error) bool {
	var answer *mysql.MySQLError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Number {
	case erIllegalMixOfCollations, erIllegalMixOfSeveral, erImpossibleConversion:
		return true
	}
	return false
}

// readEach reads users one by one.
func (s *MySQL) readEach(ctx context.Context, batch []asked, users map[token.PrimaryKey]*User) error {
	for _, a := range batch {
		u, err := s.lookupAlone(ctx, a.key)
		switch {
		case err == nil:
			users[a.key] = u
		case !errors.Is(err, ErrNotFound):
			return err
		}
	}
	return nil
}

// queryBatch reads the rows that a batch selects, by the keys that they have.
func (s *MySQL) queryBatch(ctx context.Context, p *plan, batch []asked, kind token.Kind) (map[token.PrimaryKey]*User, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	i := 0
	for batchSizes[i] < len(batch) {
		i++
	}
	statement, err := s.batchStatement(ctx, p, i) //nolint:sqlclosecheck // the plan closes it
	if err != nil {
		return nil, err
	}
	params := make([]any, batchSizes[i])
	for j := range params {
		params[j] = batch[min(j, len(batch)-1)].param
	}
	rows, err := statement.QueryContext(ctx, params...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[token.PrimaryKey]*User, len(batch))
	for number := 0; rows.Next(); number++ {
		u, err := s.scan(p, rows, kind)
		if p.key.isOther(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// More rows than keys are at least two of one of them, even where all
		// are written differently.
		if _, twice := found[u.PrimaryKey]; twice || number == len(batch) {
			return nil, misfitf("%w: make %s unique in %s", ErrAmbiguous, p.key.name, s.name.sql())
		}
		found[u.PrimaryKey] = u
	}
	return found, rows.Err()
}

// batchStatement returns the statement for a size, and prepares it if it is
// the first to need it.
func (s *MySQL) batchStatement(ctx context.Context, p *plan, i int) (*sql.Stmt, error) {
	statement, err := p.batches.get(i)
	if statement != nil || err != nil {
		return statement, err
	}
	if statement, err = s.prepare(ctx, p.batchSQL(batchSizes[i])); err != nil {
		return nil, err
	}
	return p.batches.keep(i, statement)
}

// batchSQL is the statement that reads what Lookup's does, for many keys. One row
// more than keys is enough to see that one of them has several.
func (p *plan) batchSQL(size int) string {
	return strings.TrimSuffix(p.selectSQL, lookupCondition) +
		" IN (?" + strings.Repeat(", ?", size-1) + ") LIMIT " + strconv.Itoa(size+1)
}
