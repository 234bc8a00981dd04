package sesame

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
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

// anybody accepts every user.
func anybody(*userstore.User) error { return nil }

// forbid tells an operator who has debug logs on why a user's request is
// refused. given is its token, or nil.
func (h *Handler) forbid(r *http.Request, given *authn.TokenCredential, err error) error {
	f, ok := errors.AsType[*require.Forbidden](err)
	if !ok {
		return err
	}
	h.audit.forbidden(r, f.User)
	if c := h.logger.Check(zap.DebugLevel, "user refused"); c != nil {
		fields := []zap.Field{zap.String("requirement", f.Requirement), zap.Stringer("user", f.User.PrimaryKey)}
		if given != nil {
			fields = append(fields, zap.String("token_from", given.Given.From))
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
