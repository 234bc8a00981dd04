package sesame

import (
	"cmp"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Another host of the domain can set cookies of the session's name for this one
// too, unless the name has the prefix __Host-: any number of them, in front of
// the session's own, with any value, and with a valid session of its own user.
// So all cookies of the name are looked at, up to maxCookies, and what isn't
// signed is passed over. Where there are valid sessions of several users, it
// isn't known whose request it is, and none of them counts.

// maxCookies is how many cookies of the name are looked at. Browsers keep no
// more than 180 for a domain.
const maxCookies = 200

// maxSessionUsers is how many users are looked up whose sessions one request
// has. Sessions of more are ambiguous without a lookup.
const maxSessionUsers = 4

// sentSessions are the sessions in a request's cookies that are authentic, in
// the order of the cookies. No row has been looked at.
type sentSessions struct {
	valid      []session.Parsed // for this site and scope, and not expired
	otherScope []session.Parsed // for another
	ended      []session.Parsed // expired
	forged     []string         // in the right form, and not signed with our keys
}

// sessionsOf reads the session cookies of a request.
func (h *Handler) sessionsOf(r *http.Request, c claims, sessions *session.Sessions) sentSessions {
	var sent sentSessions
	var noted uint16 // the reasons that were noted: once each, however many cookies there are
	now, bound := h.now(), h.logins.boundScope(r, c.scope)
	for _, value := range c.cookies[:min(len(c.cookies), maxCookies)] {
		parsed, err := sessions.Parse(value, bound, now)
		if err == nil {
			sent.valid = append(sent.valid, parsed)
			continue
		}
		reason, _ := errors.AsType[session.Reason](err)
		switch reason {
		case session.WrongScope:
			sent.otherScope = append(sent.otherScope, parsed)
		case session.BadSignature:
			sent.forged = append(sent.forged, value)
		case session.Malformed: // another application's
		default:
			sent.ended = append(sent.ended, parsed)
		}
		if noted&(1<<reason) == 0 {
			noted |= 1 << reason
			h.sessionRefused(r, &parsed, err)
		}
	}
	return sent
}

// ofUsers groups the valid sessions by their users. It returns nil where there
// are too many users.
func (s *sentSessions) ofUsers() [][]session.Parsed {
	if len(s.valid) <= 1 {
		return [][]session.Parsed{s.valid}[:len(s.valid)]
	}
	var groups [][]session.Parsed
next:
	for _, parsed := range s.valid {
		for i := range groups {
			if groups[i][0].PrimaryKey() == parsed.PrimaryKey() {
				groups[i] = append(groups[i], parsed)
				continue next
			}
		}
		if len(groups) == maxSessionUsers {
			return nil
		}
		groups = append(groups, []session.Parsed{parsed})
	}
	return groups
}

// errNoSession is what a noSession is.
var errNoSession = errors.New("no session")

// noSession says that none of a request's cookies is a valid session, and what
// they are.
type noSession struct {
	otherScope  []session.Parsed // may be valid for another page of the site
	isAmbiguous bool             // there are valid ones of several users
	one         *visitor         // where it is ambiguous, one of them, if any was looked up
	hasEnded    bool             // one was a session that has ended
	limited     error            // a limit.Exceeded, where one is forged and the client over the limit
}

func (e *noSession) Error() string {
	if e.isAmbiguous {
		return "sessions of several users"
	}
	return errNoSession.Error()
}

func (e *noSession) Is(target error) bool { return target == errNoSession }
func (e *noSession) Unwrap() error        { return e.limited }

// visitorBySession finds the user whose session a request has. The error is
// errNoSession, mostly a *noSession, or that of mayEnter, or says why the store
// has no answer.
func (h *Handler) visitorBySession(r *http.Request, c claims, mayEnter func(*userstore.User) error) (*visitor, error) {
	if len(c.cookies) == 0 {
		return nil, errNoSession
	}
	made, err := h.credentials(r.Context())
	if err != nil {
		return nil, err
	}
	sent := h.sessionsOf(r, c, made.sessions)
	none := &noSession{otherScope: sent.otherScope, hasEnded: len(sent.ended) > 0}
	groups := sent.ofUsers()
	if groups == nil && len(sent.valid) > 0 {
		none.isAmbiguous = true
		return nil, none
	}
	var found *visitor
	var forbidden error
	for _, group := range groups {
		v, err := h.visitorOf(r, made.sessions, group, mayEnter)
		if _, isReason := errors.AsType[session.Reason](err); isReason {
			none.hasEnded = true
			continue
		}
		if _, isForbidden := errors.AsType[*require.Forbidden](err); err != nil && !isForbidden {
			return nil, err
		}
		if found != nil || forbidden != nil {
			none.isAmbiguous, none.one = true, cmp.Or(found, v)
			return nil, none
		}
		found, forbidden = v, err
	}
	switch {
	case forbidden != nil:
		return nil, h.forbid(r, claim.Token{}, forbidden)
	case found != nil:
		return found, nil
	case h.failures != nil:
		none.limited = h.chargeForged(r, sent.forged)
	}
	return nil, none
}

// visitorOf finds the user of sessions that are all of the same one, and the
// first of the sessions that is valid. The error is a session.Reason, that of
// mayEnter, or says why the store has no answer.
func (h *Handler) visitorOf(r *http.Request, sessions *session.Sessions, sent []session.Parsed, mayEnter func(*userstore.User) error) (*visitor, error) {
	var valid *session.Parsed
	user, err := h.findUser(r.Context(), sent[0].PrimaryKey(), false, func(user *userstore.User) error {
		switch {
		case user == nil:
			return session.UnknownUser
		case !user.IsActive:
			return session.InactiveUser
		}
		var err error
		if valid, err = firstValid(sessions, sent, user); err != nil {
			return err
		}
		return mayEnter(user)
	})
	if err != nil {
		if _, isReason := errors.AsType[session.Reason](err); isReason {
			h.sessionRefused(r, &sent[0], err)
		}
		return nil, err
	}
	return &visitor{user: user, session: valid}, nil
}

// firstValid returns the first of the sessions that the user's row doesn't end.
func firstValid(sessions *session.Sessions, sent []session.Parsed, user *userstore.User) (*session.Parsed, error) {
	var refused error
	for i := range sent {
		switch err := sessions.Verify(&sent[i], user.User); {
		case user.IsRevoked("", sent[i].Issued()):
			refused = session.Revoked
		case err != nil:
			refused = err
		default:
			return &sent[i], nil
		}
	}
	return nil, refused
}

// chargeForged counts forged sessions against the request's client, each once:
// one that a browser sends again and again was signed by a former key. It returns
// a limit.Exceeded where there are any and the client is over the limit, else nil.
func (h *Handler) chargeForged(r *http.Request, forged []string) error {
	client := h.clientOf(r)
	for _, value := range forged {
		isNew := h.failures.RememberRejected(h.failures.CredentialOf(client, value, ""))
		if err := h.charge(r, errNoSession, isNew); err != errNoSession { //nolint:errorlint // another takes its place
			return err
		}
	}
	return nil
}

// boundScope is what a session is bound to: the site and the scope.
func (l *logins) boundScope(r *http.Request, scope string) string {
	return l.cookie.Site(r) + "\x00" + scope
}

// sessionRefused tells an operator who has debug logs on why a session is not
// one.
func (h *Handler) sessionRefused(r *http.Request, parsed *session.Parsed, reason error) {
	if reason, ok := errors.AsType[session.Reason](reason); ok {
		counted.sessionsEnded[reason].Add(1)
	}
	c := h.logger.Check(zap.DebugLevel, "session refused")
	if c == nil {
		return
	}
	fields := []zap.Field{zap.Error(reason)}
	if reason, ok := errors.AsType[session.Reason](reason); ok {
		fields = append(fields, zap.Stringer("reason", reason))
	}
	if !parsed.PrimaryKey().IsZero() {
		fields = append(fields, zap.Stringer("user", parsed.PrimaryKey()))
	}
	c.Write(append(fields, requestFields(r)...)...)
}

// forgetSession makes the browser forget session cookies that are of no use.
// Applications lose what they keep of the user, where there was a session.
func (h *Handler) forgetSession(w http.ResponseWriter, r *http.Request, c claims, err error) {
	none, ok := errors.AsType[*noSession](err)
	switch {
	case !ok || len(c.cookies) == 0:
		return
	case none.isAmbiguous:
		// All of them: with one left, its user would be taken for this one.
		h.logins.cookie.ClearAll(w, r)
	case len(none.otherScope) > 0:
		return
	default:
		h.logins.cookie.Clear(w, r)
	}
	if none.isAmbiguous || none.hasEnded {
		h.logins.ending.Expire(w, r)
	}
}

// isOnlyOf reports whether a user is the only one whose sessions a request has,
// ended ones included, and has one.
func (s *sentSessions) isOnlyOf(key token.PrimaryKey) bool {
	isOf := false
	for _, list := range [][]session.Parsed{s.valid, s.otherScope, s.ended} {
		for i := range list {
			if list[i].PrimaryKey() != key {
				return false
			}
			isOf = true
		}
	}
	return isOf
}
