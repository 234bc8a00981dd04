package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func (c *checker) checkServer(ctx context.Context) (userstore.Server, bool) {
	server, err := c.inspector.Server(ctx)
	if err != nil {
		c.failWith("connection", err)
		return server, false
	}
	c.ok("connection", "%s at %s, as %s", server.Version, server.Address, server.Account)
	const check = "tls"
	switch {
	case server.TLS != "" && server.Verified:
		c.ok(check, "%s, and the server's certificate is checked", server.TLS)
	case server.TLS != "" && server.Local:
		c.ok(check, "%s; the connection doesn't leave this machine", server.TLS)
	case server.TLS != "":
		c.warn(check, server.TLS+", and the server's certificate isn't checked: any server that answers gets the password", "write tls=true in the dsn")
	case server.Local:
		c.ok(check, "none, and the connection doesn't leave this machine")
	default:
		c.warn(check, "none: password hashes can be read on the way to the database", "write tls=true in the dsn")
	}
	return server, true
}

// checkNodes looks at the servers of several DSNs, and for the delay between the nodes
// of a cluster.
func (c *checker) checkNodes(ctx context.Context) {
	const check = "servers"
	nodes := c.inspector.Nodes(ctx)
	isCluster, lags := false, false
	for _, n := range nodes {
		isCluster, lags = isCluster || n.IsNode, lags || n.Lags
		switch {
		case len(nodes) == 1: // connection has told
		case n.IsMisfit:
			c.fail(check, n.Address+": "+n.Err.Error(), "docs/mysql.md says which servers can be used together")
		case n.Err != nil:
			c.warn(check, n.Address+" can't be used now: "+n.Err.Error(), "")
		case n.IsSecondary:
			c.ok(check, "%s is a secondary member of its group, and is used as soon as it is the primary", n.Address)
		default:
			c.ok(check, "%s accepts writes", n.Address)
		}
	}
	switch waits := c.Issues.Store.ReadAfterWrite; {
	case lags && !waits:
		c.warn("read_after_write", "lookups may not see what was written over another node of the cluster a moment ago, such as a new password",
			"write read_after_write on in userstore")
	case isCluster && waits:
		c.ok("read_after_write", "lookups see what was written over other nodes")
	case waits:
		c.warn("read_after_write", "it has no effect, since the server is no node of Galera or Group Replication", "remove it")
	}
}

// mostClockDifference is how far two clocks may differ.
const mostClockDifference = 2 * time.Second

func (c *checker) checkClock(ctx context.Context) {
	const check = "clock"
	ahead, err := c.inspector.ClockDifference(ctx)
	if err != nil {
		c.warn(check, err.Error(), "")
		return
	}
	if ahead.Abs() > mostClockDifference {
		direction := "ahead of"
		if ahead < 0 {
			direction = "behind"
		}
		c.warn(check, fmt.Sprintf("the database's clock is %s %s the one here", ahead.Abs().Round(time.Millisecond), direction),
			"keep both right with NTP, and Django's: tokens expire by the clock here")
		return
	}
	c.ok(check, "the database's clock and the one here differ by %s", ahead.Abs().Round(time.Millisecond))
}

func (c *checker) checkTable(ctx context.Context) (*userstore.Table, bool) {
	table, err := c.inspector.Table(ctx)
	if err != nil {
		if lacksPrivilege(err) {
			c.fail("privileges", err.Error(), "docs/mysql.md has the GRANT for each option")
		} else {
			c.failWith("table", err)
		}
		return nil, false
	}
	kind := "table"
	if table.View {
		kind = "view"
	}
	columns := make([]string, len(table.Columns))
	for i, column := range table.Columns {
		columns[i] = column.Name + " " + column.Type
	}
	c.ok("table", "%s %s", kind, table.Name)
	c.ok("columns", "%s", strings.Join(columns, ", "))
	if len(table.Related) > 0 {
		c.ok("tables", "also read: %s", strings.Join(table.Related, ", "))
	}
	switch active := c.Issues.Store.Columns.IsActive; {
	case table.HasIsActive:
	case active == userstore.NoColumn:
		c.ok("is_active", "none, as configured: every user may log in")
	default:
		c.warn("is_active", "the table has no such column, so that every user may log in",
			"name it with the is_active option, or say with is_active - that there is none")
	}
	return table, true
}

// lacksPrivilege reports whether MySQL denied access because the account lacks a
// privilege (ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR,
// ER_COLUMNACCESS_DENIED_ERROR).
func lacksPrivilege(err error) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains([]uint16{1044, 1142, 1143}, answer.Number)
}

// checkKey is about the column that tokens hold.
func (c *checker) checkKey(ctx context.Context, table *userstore.Table, settings token.Settings) {
	column, _ := table.Find("primary_key") // it is always read
	if packer := packerOf(settings); packer != nil {
		c.ok("packer", "%s, as configured; by the type of %s it would be %s", cmp.Or(settings.Packer, packer.Name()), column.Name, table.Packer)
	} else {
		c.ok("packer", "%s, by the type of %s", table.Packer, column.Name)
	}
	c.checkUnique(ctx, table)
	switch {
	case column.Collation == "":
	case strings.HasSuffix(column.Collation, "_bin") || column.Collation == "binary":
		c.ok("collation", "%s tells apart whatever differs", column.Collation)
	default:
		c.ok("collation", "%s may take keys for equal that differ in case or accents; the gateway takes none but the token's own", column.Collation)
	}
}

func (c *checker) checkUnique(ctx context.Context, table *userstore.Table) {
	const check = "primary_key"
	if !table.View {
		c.ok(check, "%s is unique", table.PrimaryKey)
		return
	}
	const advice = "make it unique in what the view selects: of several users with one key, none gets in"
	switch twice, err := c.inspector.HasDuplicateKeys(ctx); {
	case err != nil:
		c.warn(check, "nothing makes "+table.PrimaryKey+" unique in a view, and it couldn't be looked at: "+err.Error(), "")
	case twice:
		c.fail(check, "several rows of the view have one "+table.PrimaryKey, advice)
	default:
		c.ok(check, "%s is unique now; in a view, nothing makes it so", table.PrimaryKey)
	}
}

func (c *checker) checkPrivileges(ctx context.Context, server userstore.Server) {
	const check = "privileges"
	found, err := c.inspector.Privileges(ctx, server.Account)
	least := "what is needed is " + strings.Join(found.Least, "; ")
	if err := c.inspector.Needed(ctx); err != nil {
		c.fail(check, err.Error(), least)
		return
	}
	switch {
	case err != nil:
		c.warn(check, "all that is needed is granted; what more is couldn't be told: "+err.Error(), least)
	case len(found.Surplus) > 0:
		c.warn(check, "more than is needed: "+strings.Join(found.Surplus, ", "), least)
	case found.Others > 0:
		c.warn(check, "all that is needed is granted; roles and the like weren't looked into", least)
	default:
		c.ok(check, "those that are needed, and no others")
	}
}

// djangoPrecision is the number of digits of a second that Django keeps.
const djangoPrecision = 6

// checkFollow looks at what following the binlog needs.
func (c *checker) checkFollow(ctx context.Context) {
	const check = "follow"
	if c.Follows == nil {
		return
	}
	follower, err := c.Follows()
	if err != nil {
		c.failWith(check, err)
		return
	}
	servers, err := c.inspector.Follow(ctx, follower)
	if err != nil {
		c.failWith(check, err)
		return
	}
	for i := range servers {
		c.checkFollowed(check, &servers[i], len(servers) > 1)
	}
}

// checkFollowed looks at what was found of a server that may be followed.
func (c *checker) checkFollowed(check string, server *userstore.FollowedServer, isOneOfSeveral bool) {
	if isOneOfSeveral {
		check += ": " + server.Address
	}
	if server.Err != nil {
		c.failWith(check, server.Err)
		return
	}
	for _, problem := range server.Problems {
		c.fail(check, problem, "docs/follow.md has what the server and the account need")
	}
	for _, warning := range server.Warnings {
		c.warn(check, warning, "")
	}
	if len(server.Problems) == 0 {
		c.ok(check, "the binlog of %s %s can be followed", server.Version, server.Identity)
	}
}

func (c *checker) checkLastLogin(ctx context.Context, table *userstore.Table) {
	const check = "last_login"
	if !c.needs.LastLogin {
		c.ok(check, "it isn't needed: no login writes it, and no token depends on it")
		return
	}
	column, _ := table.Find("last_login") // or there would be no table
	const advice = "make it DATETIME(6), as Django does: ALTER TABLE … MODIFY … DATETIME(6) NULL"
	switch {
	case table.LastLoginPrecision >= djangoPrecision:
		c.ok(check, "%s keeps microseconds", column.Type)
	case c.Issues.Settings.OneTime:
		c.fail(check, fmt.Sprintf("%s cuts off the microseconds on which Django's one-time tokens depend: "+
			"those that it makes right after a login are refused", column.Type), advice)
	default:
		c.warn(check, column.Type+" cuts off microseconds, which one_time would need", advice)
	}
	c.checkTimes(ctx)
}

// mostInFuture is how far a login may lie in the future.
const mostInFuture = 5 * time.Minute

// checkTimes checks use_tz and time_zone. Wrong values are visible where the zone
// is east of UTC.
func (c *checker) checkTimes(ctx context.Context) {
	const check = "time_zone"
	at, found, err := c.inspector.LatestLogin(ctx)
	switch {
	case err != nil:
		c.warn(check, err.Error(), "")
	case !found:
		c.ok(check, "no user has logged in yet, so that use_tz and time_zone can't be checked")
	case time.Until(at) > mostInFuture:
		c.warn(check, fmt.Sprintf("the latest login is in the future, by %s", time.Until(at).Round(time.Minute)),
			"compare use_tz with Django's USE_TZ, and time_zone with TIME_ZONE, if that is off")
	default:
		c.ok(check, "the latest login was at %s", at.UTC().Format(time.RFC3339))
	}
}
