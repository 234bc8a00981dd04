package sesame

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func init() {
	caddy.RegisterModule(new(Rights))
}

// Rights compares, when Caddy starts, what matchers ask about users with what
// the handlers read of them. It has nothing to configure, and is there where
// they are.
//
// Matchers can't do that when they are provisioned. Caddy provisions some of
// them before all handlers, and others after.
type Rights struct {
	mu    sync.Mutex
	reads []userstore.Reads      // of each handler
	asks  []require.Requirements // of each matcher
}

// CaddyModule returns the Caddy module information.
func (*Rights) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sesame", New: func() caddy.Module { return new(Rights) }}
}

// rightsOf is the one of a configuration; nil outside of any, as in tests.
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

// read notes what a handler reads of users.
func (a *Rights) read(reads userstore.Reads) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads = append(a.reads, reads)
}

// asked notes what a matcher asks.
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
