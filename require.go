package sesame

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Requirement is a condition on a user. Whatever is set of it must hold; at
// least one thing must be. Names are compared byte for byte.
type Requirement struct {
	// The user is in one of these groups.
	Groups []string `json:"groups,omitempty"`

	// The user has one of these permissions, such as `blog.change_post`. A
	// superuser has all.
	Permissions []string `json:"permissions,omitempty"`

	// The user has one of these user names; or primary keys, where the table has
	// no user names.
	Users []string `json:"users,omitempty"`

	// The user is one of the staff.
	Staff bool `json:"staff,omitempty"`

	// The user is a superuser.
	Superuser bool `json:"superuser,omitempty"`
}

// requirements are conditions on a user that all must hold.
type requirements []Requirement

// forbidden is why a user who is proven may not go on.
type forbidden struct {
	user        *userstore.User
	requirement string // that isn't met
}

func (f *forbidden) Error() string { return "the user doesn't meet the requirement " + f.requirement }

// errUnread is in errors that say that a user's row was read without what a
// requirement is about. It isn't known then whether it holds.
var errUnread = errors.New("the user was read without it")

func isForbidden(err error) bool {
	_, ok := errors.AsType[*forbidden](err)
	return ok
}

// validate reports the first requirement that can't be right.
func (rs requirements) validate() error {
	for _, r := range rs {
		if r.reads() == (userstore.Reads{}) && len(r.Users) == 0 {
			return errors.New("it is empty: name a group, a permission or a user, or staff or superuser")
		}
		if slices.Contains(slices.Concat(r.Groups, r.Permissions, r.Users), "") {
			return fmt.Errorf("%s: a name is empty", r)
		}
		for _, name := range r.Permissions {
			if app, codename, ok := strings.Cut(name, "."); !ok || app == "" || codename == "" {
				return fmt.Errorf("%s: a permission is written as app_label.codename, like blog.change_post", r)
			}
		}
	}
	return nil
}

// reads is what must be read of users to tell whether all hold.
func (rs requirements) reads() (all userstore.Reads) {
	for _, r := range rs {
		all = union(all, r.reads())
	}
	return all
}

func (r *Requirement) reads() userstore.Reads {
	return userstore.Reads{
		Groups:      len(r.Groups) > 0,
		Permissions: len(r.Permissions) > 0,
		Staff:       r.Staff,
		Superuser:   r.Superuser,
	}
}

func union(a, b userstore.Reads) userstore.Reads {
	return userstore.Reads{
		Groups:      a.Groups || b.Groups,
		Permissions: a.Permissions || b.Permissions,
		Staff:       a.Staff || b.Staff,
		Superuser:   a.Superuser || b.Superuser,
	}
}

// covers reports whether all is read that is wanted. lacking is the first thing
// that isn't, by the option of userstore that has it read.
func covers(have, want userstore.Reads) (lacking string, ok bool) {
	switch {
	case want.Groups && !have.Groups:
		return "groups", false
	case want.Permissions && !have.Permissions:
		return "permissions", false
	case want.Staff && !have.Staff:
		return "is_staff", false
	case want.Superuser && !have.Superuser:
		return "is_superuser", false
	}
	return "", true
}

// String is the requirement as it is written in a Caddyfile.
func (r Requirement) String() string {
	var parts []string
	for _, part := range []struct {
		kind  string
		names []string
	}{{"group", r.Groups}, {"permission", r.Permissions}, {"user", r.Users}} {
		if len(part.names) > 0 {
			parts = append(parts, part.kind+" "+strings.Join(part.names, " "))
		}
	}
	if r.Staff {
		parts = append(parts, "staff")
	}
	if r.Superuser {
		parts = append(parts, "superuser")
	}
	return strings.Join(parts, ", ")
}

// check returns nil if the user meets all requirements, a *forbidden if not, and
// an error with errUnread if that can't be told.
func (rs requirements) check(user *userstore.User) error {
	for i := range rs {
		if err := rs[i].readable(user); err != nil {
			return err
		}
		if !rs[i].isMet(user) {
			return &forbidden{user: user, requirement: rs[i].String()}
		}
	}
	return nil
}

// readable makes sure that the user was read with what the requirement is about.
func (r *Requirement) readable(user *userstore.User) error {
	want := r.reads()
	if want == (userstore.Reads{}) {
		return nil
	}
	if lacking, ok := covers(user.Reads(), want); !ok {
		return fmt.Errorf("%s: %w: add %s to the userstore of the sesame handler that the user comes from", r, errUnread, lacking)
	}
	return nil
}

func (r *Requirement) isMet(user *userstore.User) bool {
	if r.Staff && !user.IsStaff || r.Superuser && !user.IsSuperuser {
		return false
	}
	if len(r.Users) > 0 {
		if name, _ := userColumn(user, "username"); !slices.Contains(r.Users, name) {
			return false
		}
	}
	return (len(r.Groups) == 0 || slices.ContainsFunc(r.Groups, user.InGroup)) &&
		(len(r.Permissions) == 0 || slices.ContainsFunc(r.Permissions, user.HasPermission))
}

// provisionRequire checks the requirements, and that what they need is read.
func (h *Handler) provisionRequire() error {
	if err := requirements(h.Require).validate(); err != nil {
		return fmt.Errorf("require: %w", err)
	}
	for _, r := range h.Require {
		want := r.reads()
		if lacking, ok := covers(h.UserStore.Reads(h.requiredFlags()), want); !ok {
			return fmt.Errorf("require %s: the store doesn't read %s; add that to userstore", r, lacking)
		}
	}
	return nil
}

// requiredFlags are the columns that requirements are about. They need not be
// named in userstore.
func (h *Handler) requiredFlags() userstore.Needs {
	reads := requirements(h.Require).reads()
	return userstore.Needs{Staff: reads.Staff, Superuser: reads.Superuser}
}

// mayEnter checks that a user meets the handler's requirements.
func (h *Handler) mayEnter(user *userstore.User) error {
	return requirements(h.Require).check(user)
}

// anybody is for what is no matter of requirements.
func anybody(*userstore.User) error { return nil }

// forbid tells an operator who has debug logs on why a user's request is
// refused. claim is what it was made with, or a session's.
func (h *Handler) forbid(r *http.Request, claim presented, err error) error {
	f, ok := errors.AsType[*forbidden](err)
	if !ok {
		return err
	}
	h.audit.forbidden(r, f.user)
	if c := h.logger.Check(zap.DebugLevel, "user refused"); c != nil {
		fields := []zap.Field{zap.String("requirement", f.requirement), zap.Stringer("user", f.user.PrimaryKey)}
		if claim.found {
			fields = append(fields, zap.String("token_from", claim.from))
		}
		c.Write(append(fields, requestFields(r)...)...)
	}
	return err
}

// refuseUser answers a request of a user who doesn't meet the requirements.
func (h *Handler) refuseUser(w http.ResponseWriter, r *http.Request, err error) error {
	f, _ := errors.AsType[*forbidden](err)
	counted.requests[outcomeForbidden].Add(1)
	answer := refusal{status: http.StatusForbidden, page: page.Data{Kind: page.Forbidden, User: displayName(f.user)}}
	w.Header().Set("WWW-Authenticate", h.challenge(answer))
	return h.answer(w, r, answer)
}

// proverVar is the variable of a request that holds the handler which has proven
// its user.
const proverVar = "sesame.prover"

// serveProven answers a request that has neither a token nor a session, by the
// user whom an earlier handler has proven: nobody else meets a requirement.
func (h *Handler) serveProven(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	user, ok := caddyhttp.GetVar(r.Context(), userVar).(*userstore.User)
	if !ok {
		return h.fail(w, r, h.rejected(r, presented{}, nil, token.Missing))
	}
	prover, _ := caddyhttp.GetVar(r.Context(), proverVar).(*Handler)
	err := h.mayEnter(user)
	if isForbidden(err) && prover != nil && prover.cache != nil {
		user, err = prover.findUser(r.Context(), user.PrimaryKey, true, func(now *userstore.User) error {
			if now == nil || !now.IsActive {
				return &forbidden{user: user, requirement: "of being active"}
			}
			return h.mayEnter(now)
		})
		if err == nil {
			caddyhttp.SetVar(r.Context(), userVar, user)
		}
	}
	if err != nil {
		return h.fail(w, r, h.forbid(r, presented{}, err))
	}
	counted.requests[outcomeAnonymous].Add(1)
	h.identity.restore(r, h.logger)
	if prover == nil || prover.watcher == nil {
		return next.ServeHTTP(w, r)
	}
	return prover.serveWatched(w, r, next, &visitor{user: user}, h.mayEnter)
}

// requireArgs reads a requirement from the rest of a line.
func requireArgs(d *caddyfile.Dispenser) (Requirement, error) {
	var r Requirement
	if !d.NextArg() {
		return r, d.ArgErr()
	}
	kind := d.Val()
	names := d.RemainingArgs()
	switch kind {
	case "group":
		r.Groups = names
	case "permission":
		r.Permissions = names
	case "user":
		r.Users = names
	case "staff", "superuser":
		r.Staff, r.Superuser = kind == "staff", kind == "superuser"
		if len(names) > 0 {
			return r, d.Errf("%s takes no names", kind)
		}
		return r, nil
	default:
		return r, d.Errf("unrecognized requirement %q: it must be group, permission, user, staff or superuser", kind)
	}
	if len(names) == 0 {
		return r, d.Errf("%s needs a name, or several of which one is enough", kind)
	}
	return r, requirements{r}.validate()
}
