package sesame

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func init() {
	caddy.RegisterModule(new(Rights))
	caddy.RegisterModule(new(MatchUser))
}

// MatchUser matches requests whose user an earlier `sesame` handler has
// authenticated and who meets all of the requirements; without any, every user does.
// Nothing that the client sends counts.
//
// It matches no user where no such handler stands in front. That handler's store
// must read what a requirement is about: else the request is answered 500, also
// within `not`, since the result isn't known.
type MatchUser require.Requirements

// CaddyModule returns the Caddy module information.
func (*MatchUser) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.sesame_user",
		New: func() caddy.Module { return new(MatchUser) },
	}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	sesame_user
//	sesame_user group|permission|user <name>...
//	sesame_user staff|superuser
//
// Of several names one is enough; several lines must all hold.
func (m *MatchUser) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	*m = MatchUser{}
	for d.Next() {
		if words := d.RemainingArgs(); len(words) > 0 {
			r, err := require.Parse(words)
			if err != nil {
				return d.WrapErr(err)
			}
			*m = append(*m, r)
		}
		if d.NextBlock(d.Nesting()) {
			return d.Err("sesame_user has no block: write each requirement in a line of its own")
		}
	}
	return nil
}

// Provision checks the requirements, and has them checked against the handlers
// when Caddy starts.
func (m *MatchUser) Provision(ctx caddy.Context) error {
	if err := require.Requirements(*m).Validate(); err != nil {
		return fmt.Errorf("sesame_user: %w", err)
	}
	rights, err := rightsOf(ctx)
	if err != nil || rights == nil {
		return err
	}
	rights.asked(require.Requirements(*m))
	return nil
}

// Match implements caddyhttp.RequestMatcher.
func (m *MatchUser) Match(r *http.Request) bool {
	match, _ := m.MatchWithError(r) // Caddy calls MatchWithError
	return match
}

// MatchWithError reports whether the request's user meets the requirements.
func (m *MatchUser) MatchWithError(r *http.Request) (bool, error) {
	user, ok := identity.UserOf(r)
	if !ok {
		return false, nil
	}
	matches, err := require.Requirements(*m).AreMet(user)
	// A row that may be old can match. Only a fresh one decides that a user doesn't
	// match, since the request is mostly rejected then.
	if p := provenIn(r); err == nil && !matches && p != nil && p.reread != nil {
		user, err := p.update(r, user)
		switch {
		case require.IsForbidden(err):
			return false, nil
		case err != nil:
			return false, caddyhttp.Error(http.StatusServiceUnavailable, fmt.Errorf("sesame_user: reading the user again: %w", err))
		}
		matches, _ = require.Requirements(*m).AreMet(user) // the same columns as before
	}
	if err != nil {
		return false, caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("sesame_user %w", err))
	}
	return matches, nil
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchUser)(nil)
	_ caddyfile.Unmarshaler             = (*MatchUser)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchUser)(nil)
)

// Rights compares, when Caddy starts, what matchers ask about users with what the
// handlers read of them. It has no options. Provisioning a handler or a matcher
// loads it.
//
// Matchers can't compare it when they are provisioned: Caddy provisions some of them
// before all handlers, and others after.
type Rights struct {
	mu    sync.Mutex
	reads []userstore.Reads      // of each handler
	asks  []require.Requirements // of each matcher
}

// CaddyModule returns the Caddy module information.
func (*Rights) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sesame", New: func() caddy.Module { return new(Rights) }}
}

// rightsOf returns the Rights of a configuration, or nil without one, as in tests.
func rightsOf(ctx caddy.Context) (*Rights, error) {
	if accesslog.HTTPApp(ctx) == nil {
		return nil, nil
	}
	app, err := ctx.App("sesame")
	if err != nil {
		return nil, err
	}
	return app.(*Rights), nil
}

// read records which columns and rights of users a handler reads.
func (a *Rights) read(reads userstore.Reads) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads = append(a.reads, reads)
}

// asked records the requirements of a matcher.
func (a *Rights) asked(rs require.Requirements) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asks = append(a.asks, rs)
}

// Start refuses a configuration in which no handler can answer a matcher.
func (a *Rights) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, rs := range a.asks {
		if len(a.reads) == 0 {
			return errors.New("sesame_user: there is no sesame handler that could tell who the user is")
		}
		want := rs.Reads()
		if slices.ContainsFunc(a.reads, func(have userstore.Reads) bool { _, ok := require.Covers(have, want); return ok }) {
			continue
		}
		lacking, _ := require.Covers(a.reads[0], want)
		return fmt.Errorf("sesame_user: no sesame handler reads what it asks about users: add %s to userstore", lacking)
	}
	return nil
}

// Stop implements caddy.App.
func (*Rights) Stop() error { return nil }

// Interface guards
var _ caddy.App = (*Rights)(nil)
