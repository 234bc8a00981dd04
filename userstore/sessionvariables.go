package userstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// variable is a session variable that each connection sets at its start.
type variable struct {
	name, value string

	named bool // as a parameter of the DSN
	may   bool // servers may lack it
}

// syncWait is Galera's variable for reads that wait, and syncGroup that of Group
// Replication, whose servers don't have the former.
const (
	syncWait  = "wsrep_sync_wait"
	syncGroup = "group_replication_consistency"
)

// variables are what connections set: the parameters of the DSN that the driver
// doesn't know, and then what this package relies on.
func variables(cfg *mysql.Config, limits poolLimits) []variable {
	var all []variable
	for _, name := range slices.Sorted(maps.Keys(cfg.Params)) {
		all = append(all, variable{name: name, value: cfg.Params[name], named: true})
	}
	add := func(name, value string) { all = append(all, variable{name: name, value: value}) }
	// TIMESTAMP columns are converted to the session's zone.
	add("time_zone", "'+00:00'")

	// A server can have autocommit off by default: then consumption would be undone
	// at the end of the connection, and every SELECT would see the first snapshot.
	add("autocommit", "1")

	// Groups, permissions and revoked tokens come as a list each, which servers
	// cut at 1024 bytes by default. The variable is unsigned: in MySQL 8 and later, the
	// greatest of an unsigned and a signed number is DECIMAL, which it doesn't take.
	if _, set := cfg.Params["group_concat_max_len"]; !set {
		add("group_concat_max_len", "GREATEST(@@SESSION.group_concat_max_len, CAST(1048576 AS UNSIGNED))")
	}

	// A last_login that doesn't fit must be an error, never 0000-00-00.
	if _, set := cfg.Params["sql_mode"]; !set {
		add("sql_mode", "TRIM(LEADING ',' FROM CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES'))")
	}

	// Until the node has applied what the cluster had committed before, reads wait.
	if limits.readAfterWrite {
		all = append(all, variable{name: syncWait, value: "1"})
	}

	// The server stops waiting for a lock when the store does. It doesn't notice by
	// itself that the client has left, and an UPDATE would take effect long after
	// its request was rejected.
	seconds := strconv.Itoa(int(math.Ceil(limits.query.Seconds())))
	return append(all,
		variable{name: "lock_wait_timeout", value: seconds, may: true},
		variable{name: "innodb_lock_wait_timeout", value: seconds, may: true})
}

// set is the statement for variables.
func set(all ...variable) string {
	assignments := make([]string, len(all))
	for i, s := range all {
		assignments[i] = s.name + " = " + s.value
	}
	return "SET " + strings.Join(assignments, ", ")
}

// Connect makes a connection that is ready for use. It takes no longer than a
// statement may, whatever the context says.
func (t *target) Connect(ctx context.Context) (*connection, error) {
	deadline := deadlineOf(ctx, t.limits.query)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	dialed := &dialing{deadline: deadline, stalled: t.stalled}
	conn, err := t.connector.Connect(context.WithValue(ctx, dialingKey{}, dialed))
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok || dialed.wire == nil {
		_ = conn.Close()
		return nil, errors.New("the MySQL driver makes connections of another kind than is expected") // unreachable
	}
	made := &connection{fullConn: full, wire: dialed.wire, limit: t.limits.query, by: t}
	if err := t.ready(ctx, made); err != nil {
		_ = made.Close() // err has the cause
		return nil, err
	}
	return made, nil
}

// ready sets the session's variables, and asks for the connection's id.
func (t *target) ready(ctx context.Context, conn *connection) error {
	_, err := conn.ExecContext(ctx, set(t.variables...), nil)
	if numberOf(err) != 0 {
		err = t.setEach(ctx, conn)
	}
	if err != nil {
		return err
	}
	id, err := connectionID(ctx, conn)
	if numberOf(err) != 0 {
		t.log.Print("asking for the connection's id, by which to end statements: ", err)
		return nil
	}
	conn.wire.identify(id)
	return err
}

// setEach sets the variables one by one, to see which of them the server rejects.
// Some servers that only speak MySQL's protocol lack those for locks, and work
// without them.
func (t *target) setEach(ctx context.Context, conn *connection) error {
	for _, s := range t.variables {
		_, err := conn.ExecContext(ctx, set(s), nil)
		if s.name == syncWait && numberOf(err) == erUnknownSystemVariable {
			_, err = conn.ExecContext(ctx, set(variable{name: syncGroup, value: "'BEFORE'"}), nil)
		}
		switch {
		case err == nil:
		case numberOf(err) != 0 && s.may:
			t.log.Print("limiting the wait for locks: ", err)
		case numberOf(err) != 0 && s.named:
			return rejectedParameter(s.name, numberOf(err))
		case numberOf(err) != 0 && s.name == syncWait:
			return setting.Of("read_after_write", misfitf("read_after_write is for Galera and Group Replication, and the server has neither %s nor %s: remove the option (%w)", syncWait, syncGroup, err))
		default:
			return err
		}
	}
	return nil
}

// connectionID returns the number by which other connections can end this one's
// statement.
func connectionID(ctx context.Context, conn *connection) (uint64, error) {
	rows, err := conn.QueryContext(ctx, "SELECT CONNECTION_ID()", nil)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	values := make([]driver.Value, 1)
	if err := rows.Next(values); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, errors.New("the server has no id for the connection")
		}
		return 0, err
	}
	id, err := strconv.ParseUint(textOf(values[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the connection's id: %w", err)
	}
	return id, nil
}
