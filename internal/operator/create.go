package operator

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// revocationsName is the table's name if the configuration has none yet.
const revocationsName = "sesame_revocations"

// printTables prints the statements that make the tables of revoked tokens and of
// sessions. Of several handlers it is for the first one with each: the others have
// the same tables, or are chosen by --route.
func (c *command) printTables() error {
	config, err := c.configuration()
	if err != nil {
		return err
	}
	handlers := config.handlers
	if route := c.text("route"); route != "" {
		chosen, err := choose(handlers, route, nil, areSame)
		if err != nil {
			return err
		}
		handlers = []*configured{chosen}
	}
	revocations := ""
	var ofSessions *configured
	for _, h := range handlers {
		if revocations == "" {
			revocations = h.Issues.Store.Revocations
		}
		if ofSessions == nil && h.SessionTable != "" {
			ofSessions = h
		}
	}
	if revocations != "" || ofSessions == nil {
		if revocations == "" {
			revocations = revocationsName
		}
		statement, err := userstore.RevocationsTable(revocations)
		if err != nil {
			return fmt.Errorf("revocations: %w", err)
		}
		fmt.Fprintln(c.OutOrStdout(), statement)
	}
	if ofSessions == nil {
		return nil
	}
	timeout, err := c.timeout()
	if err != nil {
		return err
	}
	statement, err := ofSessions.sessionList(c.context(), caddy.Duration(timeout))
	if err != nil {
		return fmt.Errorf("session: table: %w", err)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), statement)
	return err
}

// sessionList is the statement that makes the table of sessions. It depends on the
// table of users.
func (h *Handler) sessionList(ctx context.Context, timeout caddy.Duration) (string, error) {
	settings, err := h.Settings()
	if err != nil {
		return "", err
	}
	cfg, needs, err := h.reading(settings)
	if err != nil {
		return "", err
	}
	cfg.QueryTimeout = timeout
	// Only the type of the users' key matters. Other tables may not exist yet.
	cfg.Revocations, cfg.Groups, cfg.Permissions, cfg.HasRelations = "", nil, nil, true
	inspector, err := userstore.NewInspector(cfg, needs)
	if err != nil {
		return "", err
	}
	defer func() { _ = inspector.Close() }() // nothing depends on it any more
	if _, err := inspector.Table(ctx); err != nil {
		return "", err
	}
	return inspector.SessionList(h.SessionTable)
}
