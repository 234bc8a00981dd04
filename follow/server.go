package follow

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A querier runs a statement, and returns the rows as text by the columns' names in
// lower case.
type querier interface {
	query(ctx context.Context, statement string) ([]map[string]string, error)
}

// server is what a server says of itself.
type server struct {
	identity userstore.ServerIdentity
	version  string
	isMaria  bool

	variables map[string]string
}

// askServer asks a server who it is, and for the variables that following depends on.
func askServer(ctx context.Context, q querier) (*server, error) {
	identity, err := userstore.IdentityOf(func(statement string, found func(name, value string)) error {
		values, err := namesAndValues(ctx, q, statement)
		for name, value := range values {
			found(name, value)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	variables, err := namesAndValues(ctx, q, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+
		"'version', 'lower_case_table_names', 'log_bin', 'binlog_format', 'binlog_row_image', 'gtid_mode', "+
		"'log_slave_updates', 'log_replica_updates', 'wsrep_on', 'binlog_optimize_thread_scheduling')")
	if err != nil {
		return nil, fmt.Errorf("asking for the server's variables: %w", err)
	}
	s := &server{identity: identity, version: variables["version"], variables: variables}
	s.isMaria = strings.Contains(lower(s.version), "mariadb")
	return s, nil
}

// namesAndValues runs a SHOW statement that answers with names and values.
func namesAndValues(ctx context.Context, q querier, statement string) (map[string]string, error) {
	rows, err := q.query(ctx, statement)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(rows))
	for _, row := range rows {
		values[row["variable_name"]] = row["value"]
	}
	return values, nil
}

// statusOf asks for status variables by a pattern.
func statusOf(ctx context.Context, q querier, pattern string) (map[string]string, error) {
	// Not GLOBAL, which adds up the status of all sessions.
	status, err := namesAndValues(ctx, q, "SHOW STATUS LIKE '"+pattern+"'")
	if err != nil {
		return nil, fmt.Errorf("asking for the server's status: %w", err)
	}
	return status, nil
}

// isOn reports whether a variable is on, under the first of some names that the server
// has.
func (s *server) isOn(names ...string) bool {
	for _, name := range names {
		if value, ok := s.variables[name]; ok {
			return value == "ON" || value == "1"
		}
	}
	return false
}

// foldsNames reports whether names of tables differ in more than letter case.
func (s *server) foldsNames() bool { return s.variables["lower_case_table_names"] != "0" }

// logEnd is what SHOW MASTER STATUS says.
type logEnd struct {
	file string
	at   userstore.LogPosition

	// isFiltered tells that some databases aren't logged. Whether TRUNCATE and changes of
	// definitions are logged, and any statement of the formats MIXED and STATEMENT, depends
	// on the session's default database, whichever tables it changes.
	isFiltered bool
}

// askLogEnd asks for the end of the log.
func (s *server) askLogEnd(ctx context.Context, q querier) (logEnd, error) {
	statement := "SHOW MASTER STATUS"
	if !s.isMaria && atLeast(s.version, 8, 2) {
		statement = "SHOW BINARY LOG STATUS"
	}
	rows, err := q.query(ctx, statement)
	if err != nil {
		return logEnd{}, fmt.Errorf("asking for the end of the binlog: %w", refusal(err))
	}
	if len(rows) == 0 {
		return logEnd{}, &userstore.Unfollowable{Err: errNoLog}
	}
	offset, err := strconv.ParseUint(rows[0]["position"], 10, 64)
	if err != nil {
		return logEnd{}, fmt.Errorf("the end of the binlog is at %q, which is no number", rows[0]["position"])
	}
	number, err := fileNumber(rows[0]["file"])
	return logEnd{
		rows[0]["file"],
		userstore.LogPosition{File: number, Offset: offset},
		rows[0]["binlog_do_db"] != "" || rows[0]["binlog_ignore_db"] != "",
	}, err
}

// fileNumber is the number at the end of a binlog's name.
func fileNumber(file string) (uint64, error) {
	number, err := strconv.ParseUint(file[strings.LastIndexByte(file, '.')+1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the binlog %q has no number at its end", file)
	}
	return number, nil
}

// atLeast reports whether a version is not before another one.
func atLeast(version string, want ...int) bool {
	parts := strings.FieldsFunc(version, func(c rune) bool { return c < '0' || c > '9' })
	for i, n := range want {
		if i >= len(parts) {
			return false
		}
		if have, err := strconv.Atoi(parts[i]); err != nil || have != n {
			return err == nil && have > n
		}
	}
	return true
}
