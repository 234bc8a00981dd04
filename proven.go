package sesame

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/internal/watch"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// proven is what later handlers of a request need besides its user, whom a
// handler has authenticated.
type proven struct {
	visitor visitor // without the user, who is the request's

	// reread reads the user's row anew; nil if the row was read after the request
	// arrived. See Finder.Find for check.
	reread func(ctx context.Context, key userstore.Key, fresh bool, check func(*userstore.User) error) (*userstore.User, error)

	// tell sets the header fields of a newer row of the user.
	tell func(r *http.Request, user *userstore.User)

	// watcher is the gate whose serveWatched passes the request on; nil where nothing
	// is watched.
	watcher *gate
}

// provenVar is the variable of a request that holds its *proven.
const provenVar = "sesame.proven"

// setProven leaves for later handlers what they need of a visitor, and returns it.
func (g *gate) setProven(r *http.Request, v *visitor) *proven {
	p := g.proven
	if g.watcher != nil || g.config.mayReadOld() && (v.session != nil || g.config.UserStore.Revocations != "") {
		p = &proven{visitor: *v, reread: p.reread, tell: p.tell}
		if g.watcher != nil {
			p.watcher = g
		}
	}
	caddyhttp.SetVar(r.Context(), provenVar, p)
	return p
}

// newProven returns the proven of visitors for whom later handlers need only the
// user. One serves all requests.
func (g *gate) newProven() *proven {
	p := &proven{visitor: visitor{outlivesPassword: g.config.outlivePassword()}}
	if g.config.mayReadOld() {
		p.reread = g.users.Find
		p.tell = func(r *http.Request, user *userstore.User) { g.identity.Set(r, user, g.logger) }
	}
	return p
}

// outlivePassword reports whether tokens stay valid when the password changes.
func (h *Handler) outlivePassword() bool {
	return h.InvalidateOnPasswordChange != nil && !*h.InvalidateOnPasswordChange
}

// mayReadOld reports whether users may come from rows that were read before a
// request arrived, or from replicas.
func (h *Handler) mayReadOld() bool {
	return h.Cache != nil || h.UserStore.Follow != nil || len(h.UserStore.Replicas)+len(h.UserStore.ReplicaFiles) > 0
}

// keepRows has rows be kept as the configuration says, and prepares to find users.
func (g builder) keepRows(ctx caddy.Context, validating bool) (err error) {
	if g.config.Cache != nil {
		if g.cache, err = userstore.NewCache(g.store, *g.config.Cache); err != nil {
			return setting.In("cache", err)
		}
	}
	if err := g.follow(ctx, validating); err != nil {
		return err
	}
	g.users = userstore.Finder{Store: g.store, Cache: g.cache, Following: g.follows}
	if g.limiter != nil {
		g.limiter.users = g.users
	}
	return nil
}

// follow has the store's rows kept until the server's binlog says that they have
// changed, if that is configured.
func (g builder) follow(ctx caddy.Context, validating bool) error {
	if g.config.UserStore.Follow == nil {
		return nil
	}
	if _, err := newFollower(); err != nil {
		return err
	}
	follower, err := ctx.LoadModuleByID(userstore.FollowerModule, nil)
	if err != nil {
		return fmt.Errorf("loading what reads binlogs: %w", err)
	}
	if !validating {
		g.follows = g.store.Follow(follower.(userstore.Follower))
	}
	return nil
}

// newFollower makes what reads binlogs, for commands.
func newFollower() (userstore.Follower, error) {
	info, err := caddy.GetModule(userstore.FollowerModule)
	if err != nil {
		return nil, setting.Errorf("userstore: follow", "userstore: follow: this build of Caddy can't read binlogs: build it with xcaddy and "+
			"--with github.com/caddy-sesame/caddy-sesame/follow, or remove follow")
	}
	return info.New().(userstore.Follower), nil
}

// newWatcher makes what ends long responses.
func (g builder) newWatcher(interval time.Duration) *watch.Watcher {
	logger := g.logger.Named("watch")
	// The rows of a replica that is followed may be older than those that decide here.
	lookup, isFollowed := g.store.LookupKeys, g.follows != nil && len(g.config.UserStore.Replicas)+len(g.config.UserStore.ReplicaFiles) == 0
	if isFollowed {
		lookup = g.follows.LookupKeys
	}
	w := watch.New(interval, lookup, logger)
	w.CountIn(&g.counts.cut)
	if isFollowed {
		w.Follow(g.follows)
	}
	return w
}

// newest returns the row of a user as it is now, if the visitor may still log in and
// check accepts the row. The error is check's, a *require.Forbidden, or says why
// the store has no answer.
func (p *proven) newest(ctx context.Context, user *userstore.User, check func(*userstore.User) error) (*userstore.User, error) {
	v := p.visitor
	v.user = user
	key := v.key
	if via, _ := key.Via(); via == nil {
		key = userstore.ByPrimaryKey(user.PrimaryKey)
	}
	return p.reread(ctx, key, true, func(now *userstore.User) error {
		switch {
		case now == nil || !now.IsActive:
			return &require.Forbidden{User: v.user, Requirement: "of being active"}
		case v.isRevoked(now), !v.outlivesPassword && v.hasNewPassword(now):
			return &require.Forbidden{User: v.user, Requirement: "of a token or session that still holds"}
		}
		return check(now)
	})
}

// provenIn returns what an earlier handler has left by setProven, or nil.
func provenIn(r *http.Request) *proven {
	p, _ := caddyhttp.GetVar(r.Context(), provenVar).(*proven)
	return p
}

// update has a request go on with the user's row as it is now. The error is a
// *require.Forbidden where the visitor may no longer log in, or says why the
// store has no answer.
func (p *proven) update(r *http.Request, user *userstore.User) (*userstore.User, error) {
	now, err := p.newest(r.Context(), user, func(*userstore.User) error { return nil })
	if err != nil {
		return nil, err
	}
	updated := *p
	updated.reread = nil
	caddyhttp.SetVar(r.Context(), provenVar, &updated)
	p.tell(r, now)
	return now, nil
}

// serveProven answers a request that has neither a token nor a session, by the
// user whom an earlier handler has proven: without one, no requirement is met. A
// row that may be old can let the user in, but only a fresh one can reject.
func (g *gate) serveProven(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken) error {
	user, ok := identity.UserOf(r)
	if !ok {
		return g.refuser.refuseAnonymous(w, r, c)
	}
	p := provenIn(r)
	err := g.meets(user)
	if require.IsForbidden(err) && p != nil && p.reread != nil {
		if user, err = p.newest(r.Context(), user, g.meets); err == nil {
			identity.SetUser(r, user)
		}
	}
	if err != nil {
		return g.refuser.fail(w, r, g.forbid(r, nil, err))
	}
	g.counts.requests[outcomeAnonymous].Add(1)
	g.identity.Restore(r, g.logger)
	if p == nil || p.watcher == nil {
		return next.ServeHTTP(w, r)
	}
	v := p.visitor
	v.user = user
	return p.watcher.serveWatched(w, r, next, &v, g.meets)
}
