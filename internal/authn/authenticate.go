package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// An Authenticator finds the user of a request by its credentials.
type Authenticator struct {
	// Find looks a user up and calls check with the user's row, or with nil if
	// there is none. The error is that of check, or says why the store has no
	// answer. A row that may be old can accept a credential, not reject it.
	Find func(r *http.Request, c Credential, key userstore.Key, check func(*userstore.User) error) (*userstore.User, error)

	// Rejected notes that a credential was rejected. It returns the error to reject
	// the request with: the given one, or another, as for a client over a limit.
	Rejected func(r *http.Request, c Credential, err error) error
}

// Visitor is the user of a request, the credential that has proven it, and the
// key by which the user was found.
type Visitor struct {
	User       *userstore.User
	Credential Credential
	Key        userstore.Key
}

// ErrNone says that a request has no credentials that were accepted.
var ErrNone = errors.New("no credentials")

// MaxAmbientUsers is how many users are looked up for the ambient credentials of
// one request. Credentials of more users are ambiguous without a lookup.
const MaxAmbientUsers = 4

// Explicit returns the visitor of the first accepted credential among those that
// were sent on purpose; meets must accept the user. The error is that of the first
// rejection, ErrNone if there are no credentials, that of meets, or says why the
// store has no answer. The next credential is tried only after a rejection.
func (a *Authenticator) Explicit(r *http.Request, credentials []Credential, at At, meets func(*userstore.User) error) (Visitor, error) {
	first := ErrNone
	for _, c := range credentials {
		visitor, err := a.one(r, c, at, meets)
		if err == nil {
			return visitor, nil
		}
		if !IsRejection(err) {
			return Visitor{}, err
		}
		if err = a.note(r, c, err); first == ErrNone { //nolint:errorlint // the value itself is compared
			first = err
		}
	}
	return Visitor{}, first
}

// note calls Rejected. A text that turned out to be no credential isn't rejected.
func (a *Authenticator) note(r *http.Request, c Credential, err error) error {
	if IsAbsent(err) {
		return err
	}
	return a.Rejected(r, c, err)
}

// ErrAgain says that a credential must be looked up again before it is proven:
// the user's row has changed, or isn't the right one.
var ErrAgain = errors.New("the user's row has changed")

// mostLookups is how often one credential is looked up. See ErrAgain.
const mostLookups = 4

// one authenticates by one credential.
func (a *Authenticator) one(r *http.Request, c Credential, at At, meets func(*userstore.User) error) (visitor Visitor, err error) {
	for range mostLookups {
		if visitor, err = a.lookUp(r, c, at, meets); !errors.Is(err, ErrAgain) {
			break
		}
	}
	return visitor, err
}

// lookUp authenticates by one credential and one lookup.
func (a *Authenticator) lookUp(r *http.Request, c Credential, at At, meets func(*userstore.User) error) (Visitor, error) {
	key, err := c.Subject(r.Context(), at)
	if err != nil {
		return Visitor{}, err
	}
	user, err := a.Find(r, c, key, func(user *userstore.User) error {
		if err := accepts(r.Context(), c, user); err != nil {
			return err
		}
		return meets(user)
	})
	if err != nil {
		return Visitor{}, err
	}
	return Visitor{user, c, key}, nil
}

// absent stands in for users who don't exist. Its row is as long as those of real
// users.
var absent = func() *userstore.User {
	password, email, lastLogin := "pbkdf2_sha256$1000000$AAAAAAAAAAAAAAAAAAAAAA$"+strings.Repeat("A", 43)+"=", "user@example.com", time.Unix(0, 0)
	return &userstore.User{User: token.User{Password: &password, Email: &email, LastLogin: &lastLogin}}
}()

// accepts checks a credential against the row of its user: active, then proven,
// then not revoked.
func accepts(ctx context.Context, c Credential, user *userstore.User) error {
	traits := c.Traits()
	switch {
	case user == nil:
		// Proving takes as long as for a user who exists.
		if err := prove(ctx, c, nil); !isVerdict(err) {
			return err
		}
		return traits.reasons().UnknownUser
	case !user.IsActive && !traits.ChecksActive:
		err := prove(ctx, c, user)
		if err == nil {
			return Stale{traits.reasons().InactiveUser}
		}
		if !isVerdict(err) {
			return err
		}
		return traits.reasons().InactiveUser
	}
	if err := prove(ctx, c, user); err != nil {
		return err
	}
	if user.HasRevocations() && user.IsRevoked(c.Origin()) {
		return traits.reasons().Revoked
	}
	return nil
}

// isVerdict reports whether an error rejects a credential, or is nil. It isn't one
// for a client that has sent too many to check this one.
func isVerdict(err error) bool {
	_, isOver := errors.AsType[*limit.Exceeded](err)
	return err == nil || IsRejection(err) && !isOver
}

// prove checks a credential against the row of its user, or nil for none.
func prove(ctx context.Context, c Credential, user *userstore.User) error {
	if slow, ok := c.(SlowCredential); ok {
		return slow.ProveSlowly(ctx, user)
	}
	if user == nil {
		user = absent
	}
	return c.Prove(user)
}

// None says that none of a request's ambient credentials was accepted, and what
// they are. It is an ErrNone.
type None struct {
	// Rejected are the credentials that were rejected, with the reasons.
	Rejected []Rejected

	// IsAmbiguous: valid credentials belong to several users, so that the user of
	// the request is unknown. Users are those users, and the users of further
	// authentic credentials that weren't compared with their rows.
	IsAmbiguous bool
	Users       []token.PrimaryKey
}

// Rejected is a credential that was rejected, and why.
type Rejected struct {
	Credential Credential
	Err        error
}

func (n *None) Error() string {
	if n.IsAmbiguous {
		return "credentials of several users"
	}
	return ErrNone.Error()
}

// add adds a credential that was rejected.
func (n *None) add(c Credential, err error) {
	if !IsAbsent(err) {
		n.Rejected = append(n.Rejected, Rejected{c, err})
	}
}

// isOf notes the users of ambiguous credentials that are known without a lookup.
func (n *None) isOf(groups []group) {
	n.IsAmbiguous = true
	for _, group := range groups {
		if pk, ok := group.key.PrimaryKey(); ok {
			n.Users = append(n.Users, pk)
		}
	}
}

// Is reports that a None is an ErrNone.
func (*None) Is(target error) bool { return target == ErrNone }

// Ambient returns the visitor by the credentials that a browser has sent
// unasked. Another host of the domain can have the browser send more of them, so
// all are looked at. Where they are valid for several users, none of them
// counts. The error is ErrNone, a *None, that of meets, or says why the store has
// no answer.
func (a *Authenticator) Ambient(r *http.Request, credentials []Credential, at At, meets func(*userstore.User) error) (Visitor, error) {
	switch len(credentials) {
	case 0:
		return Visitor{}, ErrNone
	case 1:
		return a.onlyAmbient(r, credentials[0], at, meets)
	}
	none := new(None)
	groups, err := a.groups(r, credentials, at, none)
	if err != nil {
		return Visitor{}, err
	}
	if len(groups) > MaxAmbientUsers {
		none.isOf(groups)
		return Visitor{}, none
	}
	var found Visitor
	var whose *userstore.User // the user of found, or of forbidden
	var forbidden error
	for i, group := range groups {
		visitor, err := a.first(r, group, meets)
		if IsRejection(err) {
			_ = a.note(r, group.credentials[0], err)
			none.add(group.credentials[0], err)
			continue
		}
		user := visitor.User
		if refused, ok := errors.AsType[*require.Forbidden](err); ok {
			user = refused.User
		} else if err != nil {
			return Visitor{}, err
		}
		switch {
		case whose == nil:
			found, forbidden, whose = visitor, err, user
		case whose.PrimaryKey != user.PrimaryKey:
			none.Users = append(none.Users, whose.PrimaryKey, user.PrimaryKey)
			none.isOf(groups[i+1:])
			return Visitor{}, none
		}
	}
	switch {
	case forbidden != nil:
		return Visitor{}, forbidden
	case whose != nil:
		return found, nil
	}
	return Visitor{}, none
}

// onlyAmbient is Ambient for the one credential that a request mostly has.
func (a *Authenticator) onlyAmbient(r *http.Request, c Credential, at At, meets func(*userstore.User) error) (Visitor, error) {
	visitor, err := a.one(r, c, at, meets)
	if IsRejection(err) {
		_ = a.note(r, c, err)
		none := new(None)
		none.add(c, err)
		return Visitor{}, none
	}
	return visitor, err
}

// group has the credentials that claim the user of one key. Another key may lead to
// the same user.
type group struct {
	key         userstore.Key
	credentials []Credential
}

// groups groups credentials by the keys that they claim, in order. Credentials that
// are rejected already are added to none. If there are too many users, it returns
// MaxAmbientUsers+1 groups.
func (a *Authenticator) groups(r *http.Request, credentials []Credential, at At, none *None) ([]group, error) {
	var groups []group
	for _, c := range credentials {
		key, err := c.Subject(r.Context(), at)
		if err != nil && !IsRejection(err) {
			return nil, err
		}
		if err != nil {
			a.noteOnce(r, c, err, none)
			continue
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.key == key })
		switch {
		case i >= 0:
			groups[i].credentials = append(groups[i].credentials, c)
		case len(groups) <= MaxAmbientUsers:
			groups = append(groups, group{key, []Credential{c}})
		}
	}
	return groups, nil
}

// noteOnce notes a rejection once for each reason, however many credentials
// there are.
func (a *Authenticator) noteOnce(r *http.Request, c Credential, err error, none *None) {
	isSame := func(other Rejected) bool { return errors.Is(other.Err, err) }
	if !slices.ContainsFunc(none.Rejected, isSame) {
		_ = a.note(r, c, err)
	}
	none.add(c, err)
}

// first authenticates by the first of the credentials that the user's row
// accepts.
func (a *Authenticator) first(r *http.Request, g group, meets func(*userstore.User) error) (Visitor, error) {
	var accepted Credential
	user, err := a.Find(r, g.credentials[0], g.key, func(user *userstore.User) error {
		var err error
		for _, accepted = range g.credentials {
			if err = accepts(r.Context(), accepted, user); err == nil {
				return meets(user)
			}
		}
		return err
	})
	if err != nil {
		return Visitor{}, err
	}
	return Visitor{user, accepted, g.key}, nil
}
