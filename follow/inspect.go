package follow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Inspect implements userstore.Follower.
func (Follower) Inspect(ctx context.Context, source userstore.FollowSource) (report userstore.FollowReport, err error) {
	defer notPanicking(source.Logger, &err)
	p, err := openPositions(ctx, source)
	if err != nil {
		return report, fmt.Errorf("asking the server whether its binlog can be followed: %w", err)
	}
	defer p.close()
	report.Identity, report.Version = p.server.identity, p.server.version
	if err := p.server.inspectLog(ctx, p, source, &report); err != nil {
		return report, err
	}
	if err := inspectTables(ctx, p, source, &report); err != nil {
		return report, err
	}
	if len(report.Problems) > 0 {
		return report, nil
	}
	return report, inspectStream(ctx, p, source, &report)
}

// inspectLog looks at the server's variables, and at the end of its log.
func (s *server) inspectLog(ctx context.Context, q querier, source userstore.FollowSource, report *userstore.FollowReport) error {
	if !s.isOn("log_bin") {
		report.Problems = append(report.Problems, errNoLog.Error())
		return nil
	}
	end, err := s.askLogEnd(ctx, q)
	switch {
	case isDenied(err):
		report.Problems = append(report.Problems, s.grants(source.Server))
		return nil
	case errors.As(err, new(*userstore.Unfollowable)):
		report.Problems = append(report.Problems, err.Error())
		return nil
	case err != nil:
		return err
	}
	if end.isFiltered {
		report.Problems = append(report.Problems, errFiltered.Error())
	}
	if err := s.mustTell(); err != nil {
		report.Problems = append(report.Problems, err.Error())
	}
	s.warn(report)
	return s.inspectReplica(ctx, q, source, report)
}

// mustTell returns an error if the server can't tell which transactions are visible. A
// row that has changed could never be kept again.
func (s *server) mustTell() error {
	switch {
	case s.isMaria && !s.isOn("binlog_optimize_thread_scheduling"):
		return errors.New("binlog_optimize_thread_scheduling is OFF, so the server doesn't tell which transactions are visible: remove the setting from the server's configuration")
	case !s.isMaria && s.variables["gtid_mode"] != "ON":
		return errors.New("gtid_mode isn't ON, so the server doesn't tell which transactions are visible: set enforce_gtid_consistency=ON and gtid_mode=ON in the server's configuration")
	}
	return nil
}

// warn says what costs speed, or what can't be seen.
func (s *server) warn(report *userstore.FollowReport) {
	warn := func(text string) { report.Warnings = append(report.Warnings, text) }
	if format := s.variables["binlog_format"]; format != "" && format != "ROW" {
		warn("binlog_format is " + format + ": each statement that is logged instead of rows drops all kept rows; SET GLOBAL binlog_format = 'ROW', and in the server's configuration")
	}
	if image := s.variables["binlog_row_image"]; image != "" && image != "FULL" && image != "FULL_NODUP" {
		warn("binlog_row_image is " + image + ": a change whose row in the log lacks a key drops all kept rows of its table; SET GLOBAL binlog_row_image = 'FULL', and in the server's configuration")
	}
	if s.isNode() {
		warn("the server is a Galera node: it must have log_slave_updates=ON, and each node has a binlog of its own, so follow the node that answers lookups")
	}
}

// inspectReplica looks whether the server replicates another one without logging that.
func (s *server) inspectReplica(ctx context.Context, q querier, source userstore.FollowSource, report *userstore.FollowReport) error {
	isKnown, err := s.mustLogReplicated(ctx, q, source.IsReplica)
	switch {
	case errors.As(err, new(*userstore.Unfollowable)):
		report.Problems = append(report.Problems, err.Error())
		return nil
	case err == nil && !isKnown:
		report.Warnings = append(report.Warnings, "log_slave_updates is OFF, and the account may not see whether the server is a replica (GRANT REPLICA MONITOR ON *.* lets it): if it is one, "+logReplicated)
	}
	return err
}

// logReplicated is what to do if a replica doesn't log what it replicates.
const logReplicated = "set log_slave_updates=ON (MySQL 8.0.26 and later: log_replica_updates=ON) in its configuration, and restart it"

// mustLogReplicated returns an error if other servers change the server's rows without
// that being in its log. isKnown is false if the account may not see whether they do.
func (s *server) mustLogReplicated(ctx context.Context, q querier, isReplica bool) (isKnown bool, err error) {
	switch {
	case s.isOn("log_replica_updates", "log_slave_updates"):
		return true, nil
	case s.isNode():
		return true, unfollowablef("the Galera node doesn't log what other nodes change: %s", logReplicated)
	}
	isKnown = true
	if !isReplica {
		isReplica, isKnown, err = s.replicates(ctx, q)
	}
	if isReplica && err == nil {
		err = unfollowablef("the server is a replica, and doesn't log what it replicates: %s", logReplicated)
	}
	return isKnown, err
}

// replicates reports whether the server is a replica.
func (s *server) replicates(ctx context.Context, q querier) (is, isKnown bool, err error) {
	statement := "SHOW SLAVE STATUS"
	switch {
	case s.isMaria:
		statement = "SHOW ALL SLAVES STATUS"
	case atLeast(s.version, 8, 0, 22):
		statement = "SHOW REPLICA STATUS"
	}
	rows, err := q.query(ctx, statement)
	switch {
	case err == nil:
		return len(rows) > 0, true, nil
	case !isDenied(err):
		return false, false, fmt.Errorf("asking whether the server is a replica: %w", err)
	}
	// Any account may see how many replications run on MariaDB, but not whether there are
	// others.
	status, err := statusOf(ctx, q, `Slaves\_running`)
	if err != nil {
		return false, false, err
	}
	running := status["Slaves_running"]
	is = running != "" && running != "0"
	return is, is, nil
}

// inspectTables looks whether the account sees the tables.
func inspectTables(ctx context.Context, p *positions, source userstore.FollowSource, report *userstore.FollowReport) error {
	_, err := readDefinitions(ctx, p, p.server, source.Tables)
	if errors.As(err, new(*userstore.Unfollowable)) {
		report.Problems = append(report.Problems, err.Error())
		return nil
	}
	return err
}

// inspectStream opens a stream, which tells whether the account may read one.
func inspectStream(ctx context.Context, p *positions, source userstore.FollowSource, report *userstore.FollowReport) error {
	// With the configured ID, MariaDB would end the stream that is in use.
	source.ServerID = 0
	source.Identify = func(userstore.ServerIdentity) error { return nil }
	s, err := openStream(ctx, source, p)
	if err == nil {
		defer s.close()
		_, _, err = s.packets.next()
		err = s.explain(err)
	}
	switch {
	case isDenied(err):
		report.Problems = append(report.Problems, p.server.grants(source.Server))
		return nil
	case errors.As(err, new(*userstore.Unfollowable)):
		report.Problems = append(report.Problems, err.Error())
		return nil
	}
	return err
}

// isDenied reports whether an error says that the account lacks a privilege.
func isDenied(err error) bool {
	var answer *mysql.MySQLError
	return errors.As(err, &answer) && (answer.Number == erPrivilegeMissing || answer.Number == erAccessDenied)
}

// grants says which privileges are needed.
func (s *server) grants(cfg *mysql.Config) string {
	privileges := "REPLICATION SLAVE, REPLICATION CLIENT"
	if s.isMaria && atLeast(s.version, 10, 5, 2) {
		privileges = "REPLICATION SLAVE, BINLOG MONITOR"
	}
	return fmt.Sprintf("the account %s may not read the binlog: GRANT %s ON *.* TO it", cfg.User, privileges)
}

// isAnotherReplica reports whether a stream has ended since another one with its ID
// has begun.
func isAnotherReplica(err *mysql.MySQLError) bool {
	return strings.Contains(err.Message, "same server_uuid/server_id") || err.Number == erConnectionKilled || err.Number == erSlaveSameID
}

// The errors of a stream that MariaDB ends for another one: until 11, and since.
const (
	erConnectionKilled = 1927
	erSlaveSameID      = 4052
)
