// Package require checks conditions on users.
package require

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Requirement is a condition on a user. All fields that are set must be met;
// at least one must be set. Names are compared byte for byte.
type Requirement struct {
	// The user must be in one of these groups.
	Groups []string `json:"groups,omitempty"`

	// The user must have one of these permissions, such as `blog.change_post`.
	// A superuser has all permissions.
	Permissions []string `json:"permissions,omitempty"`

	// The user must have one of these user names, or one of these primary keys
	// if the table has no user names.
	Users []string `json:"users,omitempty"`

	// The user must be a member of the staff.
	Staff bool `json:"staff,omitempty"`

	// The user must be a superuser.
	Superuser bool `json:"superuser,omitempty"`
}

// Requirements are conditions on a user that all must be met.
type Requirements []Requirement

// Forbidden is the error for a proven user that doesn't meet a requirement.
type Forbidden struct {
	User        *userstore.User
	Requirement string // the requirement that isn't met
}

func (f *Forbidden) Error() string { return "the user doesn't meet the requirement " + f.Requirement }

// ErrUnread is wrapped by errors that say that a user's row was read without
// the data that a requirement needs. Then it isn't known whether the
// requirement is met.
var ErrUnread = errors.New("the user was read without it")

// IsForbidden reports whether an error is a *Forbidden.
func IsForbidden(err error) bool {
	_, ok := errors.AsType[*Forbidden](err)
	return ok
}

// Validate returns an error for the first requirement that is wrong.
func (rs Requirements) Validate() error {
	for _, r := range rs {
		if r.Reads() == (userstore.Reads{}) && len(r.Users) == 0 {
			return errors.New("it is empty: name a group, a permission or a user, or staff or superuser")
		}
		if slices.Contains(slices.Concat(r.Groups, r.Permissions, r.Users), "") {
			return fmt.Errorf("%s: a name is empty: write it, or set the environment variable that is missing", strings.TrimSpace(r.String()))
		}
		for _, name := range r.Permissions {
			if app, codename, ok := strings.Cut(name, "."); !ok || app == "" || codename == "" {
				return fmt.Errorf("%s: a permission is written as app_label.codename, like blog.change_post", r)
			}
		}
	}
	return nil
}

// Reads returns what must be read of users to check all requirements.
func (rs Requirements) Reads() (all userstore.Reads) {
	for _, r := range rs {
		all = union(all, r.Reads())
	}
	return all
}

// Reads returns what must be read of users to check the requirement.
func (r *Requirement) Reads() userstore.Reads {
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

// Covers reports whether everything is read that is wanted. lacking is the
// option of userstore that reads the first missing data.
func Covers(have, want userstore.Reads) (lacking string, ok bool) {
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

// String returns the requirement as it is written in a Caddyfile.
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

// Check returns nil if the user meets all requirements, a *Forbidden if not,
// and an error that wraps ErrUnread if that isn't known.
func (rs Requirements) Check(user *userstore.User) error {
	unmet, err := rs.firstUnmet(user)
	if err == nil && unmet != nil {
		err = &Forbidden{User: user, Requirement: unmet.String()}
	}
	return err
}

// AreMet reports whether the user meets all requirements, for callers that
// need no reason.
func (rs Requirements) AreMet(user *userstore.User) (bool, error) {
	unmet, err := rs.firstUnmet(user)
	return err == nil && unmet == nil, err
}

// firstUnmet returns the first requirement that the user doesn't meet, or nil.
func (rs Requirements) firstUnmet(user *userstore.User) (*Requirement, error) {
	for i := range rs {
		if err := rs[i].readable(user); err != nil {
			return nil, err
		}
		if !rs[i].isMet(user) {
			return &rs[i], nil
		}
	}
	return nil, nil
}

// readable checks that the user was read with the data that the requirement
// needs.
func (r *Requirement) readable(user *userstore.User) error {
	want := r.Reads()
	if want == (userstore.Reads{}) {
		return nil
	}
	if lacking, ok := Covers(user.Reads(), want); !ok {
		return fmt.Errorf("%s: %w: add %s to the userstore of the sesame handler that the user comes from", r, ErrUnread, lacking)
	}
	return nil
}

func (r *Requirement) isMet(user *userstore.User) bool {
	if r.Staff && !user.IsStaff || r.Superuser && !user.IsSuperuser {
		return false
	}
	if len(r.Users) > 0 {
		if name, _ := identity.Column(user, "username"); !slices.Contains(r.Users, name) {
			return false
		}
	}
	return (len(r.Groups) == 0 || slices.ContainsFunc(r.Groups, user.InGroup)) &&
		(len(r.Permissions) == 0 || slices.ContainsFunc(r.Permissions, user.HasPermission))
}
