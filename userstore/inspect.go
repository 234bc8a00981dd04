package userstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// Inspector looks at a server and a table on behalf of an operator, step by step:
// if one step fails, later ones may still succeed. It writes nothing.
type Inspector struct {
	s     *MySQL
	dsn   *mysql.Config
	table table
	plan  *plan // once Table has been called
}

// NewInspector makes an Inspector for the arguments of Open. It connects when it is
// first used. The caller closes it.
func NewInspector(cfg Config, needs Needs) (*Inspector, error) {
	cfg.HasRelations = cfg.HasRelations || needs.refer()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s, err := newMySQL(cfg, needs, zap.NewNop())
	if err != nil {
		return nil, err
	}
	return &Inspector{s: s, dsn: s.pool.servers.current().config()}, nil
}

// Close gives the connections back.
func (i *Inspector) Close() error { return i.s.Close() }

// Server has the properties of a server and of the connection to it.
type Server struct {
	Version string
	Account string // the account whose privileges apply, as user@host

	Address string // host:port, or the path of a socket
	Local   bool   // the connection doesn't leave this machine

	TLS      string // version and cipher; empty without
	Verified bool   // the server's certificate is checked
}

// Server connects.
func (i *Inspector) Server(ctx context.Context) (Server, error) {
	server := Server{
		Address:  i.dsn.Addr,
		Local:    isLocal(i.dsn),
		Verified: checksCertificate(i.dsn),
	}
	ctx, cancel := context.WithTimeout(ctx, i.s.timeout)
	defer cancel()
	err := i.s.pool.db.QueryRowContext(ctx, "SELECT VERSION(), CURRENT_USER()").Scan(&server.Version, &server.Account)
	if err != nil {
		return server, i.s.setupFailed("connecting", err)
	}
	status, err := i.sslStatus(ctx)
	if err != nil {
		return server, i.s.setupFailed("asking whether the connection is encrypted", err)
	}
	if cipher := status["ssl_cipher"]; cipher != "" {
		server.TLS = strings.TrimPrefix(status["ssl_version"]+", "+cipher, ", ")
	}
	return server, nil
}

// Node is what a server says of its cluster.
type Node struct {
	Address     string
	IsNode      bool  // of a Galera cluster or a group of Group Replication
	Lags        bool  // other nodes accept writes that this one may have later
	Err         error // why it can't be used with the other servers, or not now
	IsMisfit    bool  // Err says that the configuration must change
	IsSecondary bool  // it is a secondary member of a group, which can be used once it is the primary; Err is nil then
}

// Nodes asks each server of the DSNs.
func (i *Inspector) Nodes(ctx context.Context) []Node {
	servers := i.s.pool.servers
	var nodes []Node
	for _, c := range servers.all {
		limited, cancel := context.WithTimeout(ctx, i.s.timeout)
		n := Node{Address: c.config().Addr}
		state, err := servers.inspect(limited, c)
		if n.Err = err; state != nil {
			n.IsNode, n.Lags = state.isGalera() || state.group() != "", state.lags()
		}
		n.IsMisfit = errors.As(n.Err, &misfit{})
		if n.IsSecondary = n.Err != nil && !n.IsMisfit && state != nil && state.isSecondary(); n.IsSecondary {
			n.Err = nil
		}
		cancel()
		nodes = append(nodes, n)
	}
	return nodes
}

func (i *Inspector) sslStatus(ctx context.Context) (map[string]string, error) {
	rows, err := i.s.pool.db.QueryContext(ctx, "SHOW SESSION STATUS LIKE 'Ssl\\_%'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	status := make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		status[strings.ToLower(name)] = value
	}
	return status, rows.Err()
}

// isLocal reports whether a connection stays on this machine.
func isLocal(dsn *mysql.Config) bool {
	if dsn.Net == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(dsn.Addr)
	if err != nil {
		host = dsn.Addr
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Table is a table of users, with the columns that are read of it.
type Table struct {
	Schema
	Name    string // database.table
	Columns []Column

	// Reads says which of a user's rights are read.
	Reads Reads

	// Related are the other tables that are read, each with its columns, and what
	// the store writes there, in words.
	Related []string
}

// Column is a column that is read.
type Column struct {
	Option    string // that names it: primary_key, password, …; columns for an extra one
	Name      string
	Type      string // as in "int(10) unsigned"
	Charset   string // of text
	Collation string
}

// Find returns the column for an option.
func (t *Table) Find(option string) (c Column, ok bool) {
	for _, c := range t.Columns {
		if c.Option == option {
			return c, true
		}
	}
	return Column{}, false
}

// Table checks the table as Open does, but for the privileges.
func (i *Inspector) Table(ctx context.Context) (*Table, error) {
	t, p, err := i.s.lookAtTable(ctx)
	if err != nil {
		return nil, err
	}
	i.table, i.plan = t, p
	found := &Table{Schema: p.schema, Name: t.schema + "." + t.name, Reads: p.reads}
	for _, r := range p.related {
		found.Related = append(found.Related, r.String())
	}
	for _, c := range i.read() {
		if found.Columns, err = i.addColumn(ctx, found.Columns, c.Option, c.Name); err != nil {
			return nil, i.s.setupFailed("looking at the columns", err)
		}
	}
	return found, nil
}

// read lists the columns that the plan reads.
func (i *Inspector) read() []Column {
	names := i.s.cfg.Columns
	columns := []Column{{Option: "primary_key", Name: i.plan.key.name}}
	for _, c := range []struct {
		position               int
		option, name, fallback string
	}{
		{i.plan.password, "password", names.Password, defaultPassword},
		{i.plan.lastLogin, "last_login", names.LastLogin, defaultLastLogin},
		{i.plan.isActive, "is_active", names.IsActive, defaultIsActive},
		{i.plan.email, "email", names.Email, defaultEmail},
		{i.plan.username, "username", names.Username, defaultUsername},
		{i.plan.isStaff, "is_staff", names.IsStaff, defaultIsStaff},
		{i.plan.isSuperuser, "is_superuser", names.IsSuperuser, defaultSuperuser},
	} {
		if c.position >= 0 {
			columns = append(columns, Column{Option: c.option, Name: orDefault(c.name, c.fallback)})
		}
	}
	if key := i.plan.relationKey; key != "" && !slices.ContainsFunc(columns, func(c Column) bool { return strings.EqualFold(c.Name, key) }) {
		columns = append(columns, Column{Option: "relation_key", Name: key})
	}
	for _, name := range names.Extra {
		columns = append(columns, Column{Option: "columns", Name: name})
	}
	return append(columns, i.plan.viaColumns...)
}

// addColumn adds a column with the server's description of it.
func (i *Inspector) addColumn(ctx context.Context, columns []Column, option, name string) ([]Column, error) {
	c, ok := i.table.find(name)
	if !ok {
		return columns, nil // gone since
	}
	found := Column{Option: option, Name: c.name, Type: c.columnType}
	ctx, cancel := context.WithTimeout(ctx, i.s.timeout)
	defer cancel()
	err := i.s.pool.db.QueryRowContext(ctx, `SELECT COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, '')
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND COLUMN_NAME = ?`,
		i.table.schema, i.table.name, c.name).Scan(&found.Charset, &found.Collation)
	return append(columns, found), err
}

// errNoTable is a mistake in the calling code.
var errNoTable = errors.New("the table must be looked at first")

// Privileges are what an account may do.
type Privileges struct {
	// Surplus are privileges that aren't needed, in words.
	Surplus []string

	// Others is the number of grants, as of roles, that weren't looked into.
	Others int

	// Least are statements that grant exactly the privileges that are needed.
	Least []string
}

// Needed checks that the account has the privileges that are needed. Call it after
// Table. It has the server check the statements, and executes none.
func (i *Inspector) Needed(ctx context.Context) error {
	if i.plan == nil {
		return errNoTable
	}
	if err := i.s.prepareReading(ctx, i.plan); err != nil {
		return err
	}
	defer i.plan.close() //nolint:errcheck // the server has answered
	return i.s.prepareWrites(ctx, i.plan)
}

// Privileges compares the account's privileges with those that are needed. Call it
// after Table.
func (i *Inspector) Privileges(ctx context.Context, account string) (Privileges, error) {
	if i.plan == nil {
		return Privileges{}, errNoTable
	}
	list, err := i.revocations()
	if err != nil {
		return Privileges{}, err
	}
	needed := i.needed()
	found := Privileges{Least: least(grantee(account), needed, list)}
	ctx, cancel := context.WithTimeout(ctx, i.s.timeout)
	defer cancel()
	rows, err := i.s.pool.db.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return found, i.s.setupFailed("asking for the privileges", err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return found, fmt.Errorf("reading the privileges: %w", err)
		}
		g, ok := parseGrant(line)
		switch {
		case !ok:
			found.Others++
		case g.isOn(list.schema, list.table):
			found.add(g.beyondList())
		default:
			found.add(g.beyond(needed))
		}
	}
	if err := rows.Err(); err != nil {
		return found, i.s.setupFailed("reading the privileges", err)
	}
	return found, nil
}

// add notes privileges that aren't needed. MySQL grants what is on everything in two
// lines, of which each has GRANT OPTION.
func (p *Privileges) add(surplus []string) {
	for _, words := range surplus {
		if !slices.Contains(p.Surplus, words) {
			p.Surplus = append(p.Surplus, words)
		}
	}
}

// revocations is the table of revoked tokens; the zero value for none.
func (i *Inspector) revocations() (tableName, error) {
	if i.s.cfg.Revocations == "" {
		return tableName{}, nil
	}
	list, err := parseTable(i.s.cfg.Revocations)
	list.schema = orDefault(list.schema, i.dsn.DBName)
	return list, err
}

// needed lists the privileges that the account needs on tables. The users' table is
// the first.
func (i *Inspector) needed() []relatedColumns {
	users := relatedColumns{tableName: tableName{i.table.schema, i.table.name}}
	for _, c := range i.read() {
		if !slices.Contains(users.columns, c.Name) {
			users.columns = append(users.columns, c.Name)
		}
		if c.Option == "last_login" {
			users.updated = append(users.updated, c.Name)
		}
		if c.Option == "password" && i.s.needs.UpgradePassword {
			users.updated = append(users.updated, c.Name)
		}
	}
	return append([]relatedColumns{users}, i.plan.related...)
}

// least returns statements that grant the privileges needed on tables, and on the
// list of revoked tokens.
func least(to string, needed []relatedColumns, list tableName) []string {
	var statements []string
	for _, r := range needed {
		statements = append(statements, r.grant(to))
	}
	if list.table != "" {
		statements = append(statements, "GRANT SELECT ON "+list.sql()+" TO "+to)
	}
	return statements
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ", ")
}

// ClockDifference is how far the server's clock is ahead of the one here. It
// is as exact as half the time that an answer takes.
func (i *Inspector) ClockDifference(ctx context.Context) (time.Duration, error) {
	var difference time.Duration
	quickest := time.Duration(-1)
	for range 3 {
		ahead, took, err := i.compareClocks(ctx)
		if err != nil {
			return 0, i.s.setupFailed("asking for the time", err)
		}
		if quickest < 0 || took < quickest {
			quickest, difference = took, ahead
		}
	}
	return difference, nil
}

func (i *Inspector) compareClocks(ctx context.Context) (ahead, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, i.s.timeout)
	defer cancel()
	var text string
	began := time.Now()
	if err := i.s.pool.db.QueryRowContext(ctx, "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)").Scan(&text); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	there, ok, err := parseLastLogin(text)
	if err != nil || !ok {
		return 0, 0, errors.New("the server's time can't be read")
	}
	return there.Sub(began.Add(took / 2)), took, nil
}

// LatestLogin is the latest last_login of all users, in the time zone in which it
// is written; ok is false if no user has logged in. It reads the column of all
// rows, and must come after Table.
func (i *Inspector) LatestLogin(ctx context.Context) (at time.Time, ok bool, err error) {
	if i.plan == nil {
		return at, false, errNoTable
	}
	ctx, cancel := context.WithTimeout(ctx, i.s.timeout)
	defer cancel()
	var text *string
	column := quote(orDefault(i.s.cfg.Columns.LastLogin, defaultLastLogin))
	err = i.s.pool.db.QueryRowContext(ctx, "SELECT CAST(MAX("+column+") AS CHAR) FROM "+i.s.name.sql()).Scan(&text)
	if err != nil {
		return at, false, i.s.setupFailed("looking for the latest login", err)
	}
	if text == nil {
		return at, false, nil
	}
	if at, ok, err = parseLastLogin(*text); err != nil || !ok {
		return at, false, err
	}
	return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), i.s.location), true, nil
}

// HasDuplicateKeys reports whether two rows of a view have one key. It reads
// the key of all rows, and must come after Table.
func (i *Inspector) HasDuplicateKeys(ctx context.Context) (bool, error) {
	if i.plan == nil {
		return false, errNoTable
	}
	ctx, cancel := context.WithTimeout(ctx, i.s.timeout)
	defer cancel()
	key := quote(i.plan.key.name)
	rows, err := i.s.pool.db.QueryContext(ctx, "SELECT 1 FROM "+i.s.name.sql()+" WHERE "+key+" IS NOT NULL GROUP BY "+key+" HAVING COUNT(*) > 1 LIMIT 1")
	if err != nil {
		return false, i.s.setupFailed("looking for keys that several rows have", err)
	}
	defer rows.Close()
	twice := rows.Next()
	if err := rows.Err(); err != nil {
		return false, i.s.setupFailed("looking for keys that several rows have", err)
	}
	return twice, nil
}

// Ping does what a lookup does, within its time limit, but reads no user: a server that
// answers may be unable to serve lookups.
func (s *MySQL) Ping(ctx context.Context) error {
	p, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if err := s.tryLookup(ctx, p); err != nil {
		return s.failed(ctx, "asking MySQL for a sign of life", err)
	}
	return nil
}
