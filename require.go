package sesame

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// provisionRequire checks the requirements, and that what they need is read.
func (h *Handler) provisionRequire() error {
	if err := h.Require.Validate(); err != nil {
		return setting.In("require", err)
	}
	for _, r := range h.Require {
		want := r.Reads()
		if lacking, ok := require.Covers(h.UserStore.Reads(h.requiredFlags()), want); !ok {
			return setting.Errorf("require "+r.String(), "require %s: the store doesn't read %s; add that to userstore", r, lacking)
		}
	}
	return nil
}

// requiredFlags are the columns that requirements are about. They need not be
// named in userstore.
func (h *Handler) requiredFlags() userstore.Needs {
	reads := h.Require.Reads()
	return userstore.Needs{Staff: reads.Staff, Superuser: reads.Superuser}
}

// mayEnter checks that a user meets the handler's requirements.
func (h *Handler) mayEnter(user *userstore.User) error {
	return h.Require.Check(user)
}

// anybody is for what is no matter of requirements.
func anybody(*userstore.User) error { return nil }

// forbid tells an operator who has debug logs on why a user's request is
// refused. given is what it was made with, or a session's.
func (h *Handler) forbid(r *http.Request, given claim.Token, err error) error {
	f, ok := errors.AsType[*require.Forbidden](err)
	if !ok {
		return err
	}
	h.audit.forbidden(r, f.User)
	if c := h.logger.Check(zap.DebugLevel, "user refused"); c != nil {
		fields := []zap.Field{zap.String("requirement", f.Requirement), zap.Stringer("user", f.User.PrimaryKey)}
		if given.Found {
			fields = append(fields, zap.String("token_from", given.From))
		}
		c.Write(append(fields, requestFields(r)...)...)
	}
	return err
}

// refuseUser answers a request of a user who doesn't meet the requirements.
func (h *Handler) refuseUser(w http.ResponseWriter, r *http.Request, err error) error {
	f, _ := errors.AsType[*require.Forbidden](err)
	counted.requests[outcomeForbidden].Add(1)
	answer := refusal{status: http.StatusForbidden, page: page.Data{Kind: page.Forbidden, User: displayName(f.User)}}
	w.Header().Set("WWW-Authenticate", h.challenge(answer))
	return h.answer(w, r, answer)
}

// proverVar is the variable of a request that holds the handler which has proven
// its user.
const proverVar = "sesame.prover"

// serveProven answers a request that has neither a token nor a session, by the
// user whom an earlier handler has proven: nobody else meets a requirement.
func (h *Handler) serveProven(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	user, ok := identity.UserOf(r)
	if !ok {
		return h.fail(w, r, h.rejected(r, claim.Token{}, nil, token.Missing))
	}
	prover, _ := caddyhttp.GetVar(r.Context(), proverVar).(*Handler)
	err := h.mayEnter(user)
	if require.IsForbidden(err) && prover != nil && prover.cache != nil {
		user, err = prover.findUser(r.Context(), user.PrimaryKey, true, func(now *userstore.User) error {
			if now == nil || !now.IsActive {
				return &require.Forbidden{User: user, Requirement: "of being active"}
			}
			return h.mayEnter(now)
		})
		if err == nil {
			identity.SetUser(r, user)
		}
	}
	if err != nil {
		return h.fail(w, r, h.forbid(r, claim.Token{}, err))
	}
	counted.requests[outcomeAnonymous].Add(1)
	h.identity.Restore(r, h.logger)
	if prover == nil || prover.watcher == nil {
		return next.ServeHTTP(w, r)
	}
	return prover.serveWatched(w, r, next, &visitor{user: user}, h.mayEnter)
}
