package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A session that is in a table has an ID, by which it can be ended: its row is
// deleted.

// errNoSessionTable says that no session can be ended by its ID.
const errNoSessionTable = notEnded("session has no option table, so that no session has an ID: end all of the user's sessions with --user")

// tablesOfSessions returns the tables of sessions of the chosen handler, and of the
// handlers that are interchangeable with it.
func tablesOfSessions(handlers []*configured, chosen *configured) (tables []string) {
	for _, h := range append([]*configured{chosen}, handlers...) {
		if h.SessionTable != "" && issueAlike(h, chosen) && !slices.Contains(tables, h.SessionTable) {
			tables = append(tables, h.SessionTable)
		}
	}
	return tables
}

// listedSession is a session in a table, with its user.
type listedSession struct {
	userstore.ListedSession
	user *userstore.User
}

// String describes the session to an operator.
func (s *listedSession) String() string {
	client := s.Browser
	if s.Platform != "" {
		client = strings.TrimPrefix(client+" on "+s.Platform, " on ")
	}
	facts := []string{"of " + describeUser(s.user)}
	if client != "" {
		facts = append(facts, client)
	}
	if s.Address != "" {
		facts = append(facts, "from "+s.Address)
	}
	return strings.Join(append(facts, "begun at "+s.Created.Format(time.RFC3339)), ", ")
}

// findListed reads the row of a session with its user; nil if there is none. The
// store must have been opened with the via.
func findListed(ctx context.Context, store *userstore.MySQL, via *userstore.Via, id session.ID) (*listedSession, error) {
	user, err := store.LookupVia(ctx, via.Key(id.String()))
	if errors.Is(err, userstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the session: %w", err)
	}
	row, _ := user.ListedSession() // the via reads it
	return &listedSession{row, user}, nil
}

// findSession reads the row of a session with its user; nil if there is none.
func (i *issuer) findSession(ctx context.Context, table string, id session.ID) (*listedSession, error) {
	via := userstore.SessionRowVia(table)
	store, err := i.openFor(ctx, func(needs *userstore.Needs) { needs.Vias = append(needs.Vias, via) })
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // nothing depends on it any more
	return findListed(ctx, store, via, id)
}

// sessionEnder ends sessions of a table.
type sessionEnder struct {
	table string
	via   *userstore.Via
	store *userstore.MySQL
}

// openEnder opens the store to write to a table of sessions. The caller closes the
// store.
func (i *issuer) openEnder(ctx context.Context, table string, timeout time.Duration) (*sessionEnder, error) {
	cfg, needs, err := i.reading(i.tokens.Settings())
	if err != nil {
		return nil, err
	}
	if timeout > 0 {
		cfg.QueryTimeout = caddy.Duration(timeout)
	}
	e := &sessionEnder{table: table, via: userstore.SessionRowVia(table)}
	needs.SessionList, needs.Vias = table, append(needs.Vias, e.via)
	e.store, err = userstore.Open(ctx, cfg, needs, zap.NewNop())
	switch {
	case lacksPrivilege(err):
		return nil, fmt.Errorf("the MySQL user of the configuration may not write to %s: grant it SELECT, INSERT, UPDATE and DELETE on that table, or call this command with a configuration of another user (--config): %w",
			table, mysqlError(err))
	case err != nil:
		return nil, fmt.Errorf("userstore: %w", err)
	}
	return e, nil
}

func (e *sessionEnder) close() { _ = e.store.Close() } // nothing depends on it any more

// end ends a session, and returns it as it was; nil if there was none.
func (e *sessionEnder) end(ctx context.Context, id session.ID) (*listedSession, error) {
	found, err := findListed(ctx, e.store, e.via, id)
	if found == nil || err != nil {
		return nil, err
	}
	if _, err := e.store.EndSessions(ctx, []string{id.String()}); err != nil {
		return nil, err
	}
	return found, nil
}

// endSession ends the session with an ID, in the first table that has it.
func (r *revocation) endSession(ctx context.Context, id session.ID) error {
	if len(r.tables) == 0 {
		return errNoSessionTable
	}
	for _, table := range r.tables {
		ended, err := r.endSessionIn(ctx, table, id)
		if err != nil {
			return err
		}
		if ended != nil {
			r.audit.note(auditLine{message: auditEnded, user: ended.user.ID(), host: strings.Join(r.chosen.hosts, ","), scope: r.Issues.Scope, session: id.String()})
			fmt.Fprintf(r.out, "Ended the session %s: %s.\n", id, ended)
			r.mentionSessions()
			return nil
		}
	}
	fmt.Fprintf(r.out, "No session in %s has the ID %s: if it is the right one, the session has ended already.\n", strings.Join(r.tables, " and "), id)
	return nil
}

// endCookie ends the session of a cookie, if it is in a table.
func (r *revocation) endCookie(ctx context.Context, read *sessionText) error {
	if id := read.parsed.ID(); !id.IsZero() {
		return r.endSession(ctx, id)
	}
	return notEnded(fmt.Sprintf("%s: end all of the user's sessions with --user, as a single one that is in no table can't be ended", read))
}

func (r *revocation) endSessionIn(ctx context.Context, table string, id session.ID) (*listedSession, error) {
	ender, err := r.openEnder(ctx, table, r.timeout)
	if err != nil {
		return nil, err
	}
	defer ender.close()
	return ender.end(ctx, id)
}

// endListed ends all sessions of a user that are in tables.
func (r *revocation) endListed(ctx context.Context, user *userstore.User) error {
	for _, table := range r.tables {
		ender, err := r.openEnder(ctx, table, r.timeout)
		if err != nil {
			return err
		}
		ended, err := ender.store.EndOtherSessions(ctx, user, "")
		ender.close()
		if err != nil {
			return err
		}
		fmt.Fprintf(r.out, "Ended the sessions of user %s in %s: %d.\n", user.ID(), table, ended)
	}
	return nil
}

// mentionSessions says when gateways know that sessions of a table have ended.
func (r *revocation) mentionSessions() {
	fmt.Fprintln(r.out, "Every gateway with that table rejects it from now on, and ends its open responses with the next check (watch). Neither a replica nor a cache is asked.")
	r.mentionNodes()
}
