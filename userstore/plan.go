package userstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// plan is everything that lookups need and that follows from the table.
type plan struct {
	schema Schema
	key    keyColumn

	// Positions in a row; -1 for columns that aren't read. The key is at 0, and the
	// extra columns come last.
	password, lastLogin, isActive, email, username, revocations, extra, width int
	isStaff, isSuperuser, groups, permissions, groupPermissions, secondFactor int

	// reads says which of these columns are read.
	reads Reads

	// Other tables that are read, with the columns.
	related     []relatedColumns
	relationKey string // empty for nothing

	// names says for User.Column where a column is: its position among the extra
	// ones, or one of the name constants.
	names map[string]int

	following *following // nil if the binlog isn't followed

	selectSQL            string // up to the table of the users
	revokeSQL, forgetSQL string // empty without a table of revoked tokens

	primary  *columnReader // by the primary key
	vias     map[*Via]viaReader
	readings []planned // the primary's, and those for vias

	// viaColumns are additional columns of the users' table to look for, with the
	// names of the vias.
	viaColumns []Column

	// Statements that write; nil for those that the store doesn't need. writes lists all of them.
	consume, upgrade *written
	sessions         *sessionStatements
	sessionList      *sessionList
	extensions       map[*Via]extension
	blacklists       map[*Blacklist]blacklistQuery
	factors          []*factorTable // whose codes can be checked
	writes           []*written
}

// planned has the statements of a reading, and the first way that needs them; nil
// means the primary key.
type planned struct {
	statements
	via *Via
}

const (
	nameUsername = -1
	nameEmail    = -2

	nameIsStaff     = -3
	nameIsSuperuser = -4
	nameGroups      = -5
	namePermissions = -6
)

// check looks at the table and prepares the statements. Its errors are misfits if
// the configuration must change.
func (s *MySQL) check(ctx context.Context) (*plan, error) {
	if s.isReplica {
		return s.checkReading(ctx)
	}
	if err := s.pool.servers.check(ctx); err != nil {
		return nil, s.setupFailed("looking at the servers", err)
	}
	_, p, err := s.lookAtTable(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.prepareReading(ctx, p); err != nil {
		return nil, err
	}
	if err := s.prepareWrites(ctx, p); err != nil {
		_ = p.close() // err has the cause
		return nil, err
	}
	return p, nil
}

// lookAtTable is the part of check that needs no right to the columns.
func (s *MySQL) lookAtTable(ctx context.Context) (table, *plan, error) {
	t, err := s.describe(ctx, tableName{s.schema, s.name.table})
	if err == nil && len(t.columns) == 0 {
		err = s.whyInvisible(ctx, t)
	}
	if err != nil {
		return t, nil, s.setupFailed("looking at the table", err)
	}
	p, err := s.newPlan(ctx, t)
	if err != nil {
		return t, nil, s.setupFailed("checking the columns", err)
	}
	if err := s.checkRevocations(ctx); err != nil {
		return t, nil, s.setupFailed("looking at the table of revoked tokens", err)
	}
	return t, p, nil
}

func (s *MySQL) prepare(ctx context.Context, statement string) (*sql.Stmt, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.pool.db.PrepareContext(ctx, statement) //nolint:sqlclosecheck // the plan closes it
}

// statements are the prepared statements of a reading.
type statements interface {
	prepare(ctx context.Context) error
	close() error
}

// prepareReading prepares the statements that read users.
func (s *MySQL) prepareReading(ctx context.Context, p *plan) error {
	for _, reads := range p.readings {
		err := reads.prepare(ctx)
		if err == nil {
			continue
		}
		_ = p.close() // err has the cause
		err = s.setupFailed("preparing to read users", err)
		if reads.via != nil {
			err = reads.via.about(err)
		}
		return err
	}
	if err := s.tryLookup(ctx, p); err != nil {
		_ = p.close()
		return s.setupFailed("reading users", err)
	}
	trial := "SELECT 1 FROM " + s.name.sql() + " LIMIT 0"
	s.pool.trial.Store(&trial)
	return nil
}

// tryLookup looks a user up whom no table has. Servers that can't serve prepare
// statements all the same.
func (s *MySQL) tryLookup(ctx context.Context, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := p.primary.lookup.QueryContext(ctx, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		// unreachable: no key equals NULL
	}
	return rows.Err()
}

func (p *plan) close() (err error) {
	for _, reads := range p.readings {
		err = errors.Join(err, reads.close())
	}
	for _, w := range p.writes {
		if w.statement != nil {
			err = errors.Join(err, w.statement.Close())
		}
	}
	return err
}

// newPlan maps the configuration to the table.
func (s *MySQL) newPlan(ctx context.Context, t table) (*plan, error) {
	p := &plan{names: make(map[string]int)}
	p.schema.View = t.view
	if err := s.chooseKey(ctx, t, p); err != nil {
		return nil, err
	}
	build := builder{plan: p, table: t, columns: []string{quote(p.key.name)}}
	s.follow(&build)
	if err := s.choosePassword(&build); err != nil {
		return nil, err
	}
	if err := s.chooseLastLogin(&build); err != nil {
		return nil, err
	}
	if err := s.chooseIsActive(ctx, &build); err != nil {
		return nil, err
	}
	if err := s.chooseNames(&build); err != nil {
		return nil, err
	}
	if err := s.chooseRevocations(&build); err != nil {
		return nil, err
	}
	if err := s.chooseRights(ctx, &build); err != nil {
		return nil, err
	}
	if err := s.chooseSecondFactors(ctx, &build); err != nil {
		return nil, err
	}
	if err := s.chooseExtra(&build); err != nil {
		return nil, err
	}
	p.revokeSQL, p.forgetSQL = s.revokeStatements(&build)
	p.width = len(build.columns)

	p.selectSQL = "SELECT " + strings.Join(build.columns, ", ")
	p.primary = s.newColumnReader(p, p.key, 0, p.width)
	p.primary.sql = func(size int) string {
		return p.selectSQL + " FROM " + s.name.sql() + " WHERE " + quote(p.key.name) + oneOf(size) + atMost(size)
	}
	p.readings = []planned{{p.primary, nil}}
	if err := s.chooseSessionList(ctx, &build); err != nil {
		return nil, err
	}
	if err := s.chooseVias(ctx, &build); err != nil {
		return nil, err
	}
	if err := s.chooseBlacklists(ctx, &build); err != nil {
		return nil, err
	}
	return p, s.chooseWrites(ctx, &build)
}

// chooseWrites makes the statements that write.
func (s *MySQL) chooseWrites(ctx context.Context, b *builder) error {
	if s.needs.LastLogin {
		of, column := tableName{b.table.schema, b.table.name}, orDefault(s.cfg.Columns.LastLogin, defaultLastLogin)
		b.plan.consume = b.writes("write last_login, which consumes one-time tokens and notes logins",
			"set update_last_login off in session, if tokens aren't one-time",
			"UPDATE "+s.name.sql()+" SET "+b.lastLogin+" = ? WHERE "+strings.Join(append(s.keyConditions(b.plan), b.conditions...), " AND "),
			relatedColumns{tableName: of, columns: []string{column}, updated: []string{column}})
	}
	if err := s.chooseUpgrade(b); err != nil {
		return err
	}
	if err := s.chooseSessions(ctx, b); err != nil {
		return err
	}
	return s.chooseExtensions(ctx, b)
}

// builder collects the parts of the statements.
type builder struct {
	plan       *plan
	table      table
	columns    []string // of the SELECT
	conditions []string // of the UPDATE, in the order of consumeArgs
	lastLogin  string   // quoted
	related    []related
}

// add has the SELECT read an expression, and returns its position.
func (b *builder) add(expression string) int {
	b.columns = append(b.columns, expression)
	return len(b.columns) - 1
}
