package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// pins is a scheme of the tests' own: a field `X-Pin: USER PIN`, which is
// proven by the user's password. That is all that a new scheme takes.
type pins struct{ isAmbient bool }

type pin struct {
	scheme pins
	user   string
	pin    string
	proven int // how often Prove was called
}

func (pins) Name() string { return "pin" }

func (s pins) Take(r *http.Request) (taken []Credential) {
	for _, value := range r.Header["X-Pin"] {
		user, digits, _ := strings.Cut(value, " ")
		taken = append(taken, &pin{scheme: s, user: user, pin: digits})
	}
	delete(r.Header, "X-Pin")
	return taken
}

func (p *pin) Subject(_ context.Context, at At) (key userstore.Key, err error) {
	if p.user == "" || at.Scope != "" {
		return key, Reject(errors.New("malformed"))
	}
	return userstore.ByPrimaryKey(token.StringKey(p.user)), nil
}

func (p *pin) Prove(user *userstore.User) error {
	p.proven++
	if user.Password == nil || subtle.ConstantTimeCompare([]byte(*user.Password), []byte(p.pin)) == 0 {
		return Reject(errors.New("wrong pin"))
	}
	return nil
}

func (p *pin) Scheme() string              { return p.scheme.Name() }
func (p *pin) Origin() (string, time.Time) { return "", time.Time{} }
func (p *pin) Traits() Traits              { return Traits{IsAmbient: p.scheme.isAmbient, Guess: p.user + p.pin} }

// rows finds the users of the tests. A user's password is the first letter of the
// name, four times. Other names are unknown, and down fails.
func rows(_ *http.Request, _ Credential, key userstore.Key, check func(*userstore.User) error) (*userstore.User, error) {
	pk, _ := key.PrimaryKey()
	name := pk.String()
	if name == "down" {
		return nil, userstore.ErrUnavailable
	}
	if !slices.Contains([]string{"alice", "bob", "carol", "dave", "eve", "gone"}, name) {
		return nil, check(nil)
	}
	password := strings.Repeat(name[:1], 4)
	user := &userstore.User{PrimaryKey: pk, IsActive: name != "gone"}
	user.Password = &password
	return user, check(user)
}

// notCarol is a requirement.
func notCarol(user *userstore.User) error {
	if user.PrimaryKey.String() == "carol" {
		return &require.Forbidden{User: user, Requirement: "not carol"}
	}
	return nil
}

// tried records the rejections that a test's authenticator was told.
type tried []string

func (t *tried) authenticator() *Authenticator {
	return &Authenticator{Find: rows, Rejected: func(_ *http.Request, c Credential, err error) error {
		*t = append(*t, c.(*pin).user+": "+err.Error())
		return err
	}}
}

// outcome describes the result of an authentication.
func outcome(v Visitor, err error) string {
	none, isNone := errors.AsType[*None](err)
	switch {
	case isNone && none.IsAmbiguous:
		return "ambiguous"
	case errors.Is(err, ErrNone):
		return "none"
	case require.IsForbidden(err):
		return "forbidden"
	case IsRejection(err):
		return "rejected: " + err.Error()
	case err != nil:
		return "error"
	}
	return v.User.PrimaryKey.String()
}

func request() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

// take sends pins, and takes them out of the request.
func take(t *testing.T, scheme Scheme, pins ...string) []Credential {
	t.Helper()
	r := request()
	for _, p := range pins {
		r.Header.Add("X-Pin", p)
	}
	credentials := scheme.Take(r)
	if len(r.Header["X-Pin"]) > 0 {
		t.Error("credentials are left in the request")
	}
	return credentials
}

func TestExplicitTriesTheNextCredentialOnlyAfterARejection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		pins  []string
		want  string
		tried string
	}{
		{"nothing was sent", nil, "none", "[]"},
		{"the pin is right", []string{"alice aaaa"}, "alice", "[]"},
		{"the pin is wrong", []string{"alice bbbb"}, "rejected: wrong pin", "[alice: wrong pin]"},
		{"the user is unknown", []string{"nobody nnnn"}, "rejected: no such user", ""},
		{"the user is inactive", []string{"gone gggg"}, "rejected: the user is inactive", ""},
		{"it is malformed", []string{" "}, "rejected: malformed", "[: malformed]"},
		{"the second is right", []string{"alice bbbb", "bob bbbb"}, "bob", "[alice: wrong pin]"},
		{"the first is right", []string{"bob bbbb", "alice aaaa"}, "bob", "[]"},
		{"the first rejection is kept", []string{"alice x", " "}, "rejected: wrong pin", "[alice: wrong pin : malformed]"},
		{"there is no answer", []string{"down dddd", "alice aaaa"}, "error", "[]"},
		{"the user doesn't meet what is required", []string{"carol cccc", "alice aaaa"}, "forbidden", "[]"},
		{"a wrong pin isn't forbidden", []string{"carol x"}, "rejected: wrong pin", "[carol: wrong pin]"},
	} {
		var told tried
		got := outcome(told.authenticator().Explicit(request(), take(t, pins{}, test.pins...), At{}, notCarol))
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if told := fmt.Sprint([]string(told)); test.tried != "" && told != test.tried {
			t.Errorf("%s: rejections %s, want %s", test.name, told, test.tried)
		}
	}
}

// TestCredentialsOfAllUsersAreProven: a rejection takes the same work whether the
// user exists or not, so that the time doesn't tell.
func TestCredentialsOfAllUsersAreProven(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"alice x", "gone x", "nobody x"} {
		taken := take(t, pins{}, p)
		if _, err := new(tried).authenticator().Explicit(request(), taken, At{}, notCarol); !IsRejection(err) {
			t.Errorf("%s: %v", p, err)
		}
		if n := taken[0].(*pin).proven; n != 1 {
			t.Errorf("%s was proven %d times", p, n)
		}
	}
}

func TestExplicitReturnsTheErrorOfRejected(t *testing.T) {
	t.Parallel()
	limited := errors.New("limited")
	a := &Authenticator{Find: rows, Rejected: func(*http.Request, Credential, error) error { return limited }}
	if _, err := a.Explicit(request(), take(t, pins{}, "alice x"), At{}, notCarol); err != limited { //nolint:errorlint // it must be the same error value
		t.Errorf("error %v, want the one of the limit", err)
	}
}

func TestAmbientCountsForOneUserOnly(t *testing.T) {
	t.Parallel()
	junk := slices.Repeat([]string{" "}, 150)
	for _, test := range []struct {
		name string
		pins []string
		want string
	}{
		{"nothing was sent", nil, "none"},
		{"one is valid", []string{"alice aaaa"}, "alice"},
		{"none is valid", []string{"alice x", "bob x"}, "none"},
		{"junk comes first", append(slices.Clone(junk), "alice aaaa"), "alice"},
		{"a second of the same user is valid", []string{"alice x", "alice aaaa"}, "alice"},
		{"one of another user is invalid", []string{"bob x", "alice aaaa"}, "alice"},
		{"two users are valid", []string{"bob bbbb", "alice aaaa"}, "ambiguous"},
		{"one of two is forbidden", []string{"carol cccc", "alice aaaa"}, "ambiguous"},
		{"one is forbidden", []string{"carol cccc"}, "forbidden"},
		{"too many users claim it", []string{"alice x", "bob x", "carol x", "dave x", "eve eeee"}, "ambiguous"},
		{"there is no answer for one", []string{"alice aaaa", "down x"}, "error"},
		{"the user is inactive", []string{"gone gggg"}, "none"},
	} {
		var told tried
		got := outcome(told.authenticator().Ambient(request(), take(t, pins{isAmbient: true}, test.pins...), At{}, notCarol))
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestAmbientNotesEachReasonOnce(t *testing.T) {
	t.Parallel()
	malformed := Reject(errors.New("malformed"))
	noted := 0
	a := &Authenticator{Find: rows, Rejected: func(_ *http.Request, _ Credential, err error) error { noted++; return err }}
	credentials := slices.Repeat([]Credential{broken{malformed}}, 100)
	_, err := a.Ambient(request(), credentials, At{}, notCarol)
	none, ok := errors.AsType[*None](err)
	if !ok || len(none.Rejected) != 100 || noted != 1 {
		t.Errorf("%d credentials rejected and %d notes, want 100 and 1", len(none.Rejected), noted)
	}
}

// broken is a credential that claims no user.
type broken struct{ err error }

func (b broken) Subject(context.Context, At) (userstore.Key, error) {
	return userstore.Key{}, b.err
}
func (broken) Scheme() string              { return "broken" }
func (broken) Prove(*userstore.User) error { panic("it is never proven") }
func (broken) Origin() (string, time.Time) { return "", time.Time{} }
func (broken) Traits() Traits              { return Traits{IsAmbient: true} }

// busy is a credential that isn't checked, since its client has sent too many.
type busy struct{ broken }

func (busy) Subject(context.Context, At) (userstore.Key, error) {
	return userstore.ByPrimaryKey(token.StringKey("x")), nil
}

func (busy) ProveSlowly(context.Context, *userstore.User) error {
	return &limit.Exceeded{Wait: time.Second, Reason: Reject(errors.New("too many"))}
}

// TestAClientWithTooManyGuessesLearnsNothing: the answer is the same for active,
// inactive and unknown users.
func TestAClientWithTooManyGuessesLearnsNothing(t *testing.T) {
	t.Parallel()
	for _, user := range []*userstore.User{nil, {}, {IsActive: true}} {
		err := accepts(t.Context(), busy{}, user)
		if _, isOver := errors.AsType[*limit.Exceeded](err); !isOver {
			t.Errorf("%+v: %v", user, err)
		}
	}
}
