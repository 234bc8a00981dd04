package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A session cookie of the gateway is for one site and scope, which are signed and
// can't be read from it. They are found by trying those of the configuration, and
// those that are given.

// sessionText is a session cookie of a gateway in a text.
type sessionText struct {
	value  string
	parsed session.Parsed // zero if another key has signed it
}

// mostWords is how many words of a text are read as a session.
const mostWords = 500

// readSession finds the session cookie of a gateway in a text, which may be a field
// with several cookies. ok is false if no word even has the form of one.
func (i *issuer) readSession(text string, now time.Time) (read sessionText, ok bool) {
	words := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune("; \t\r\n=\"", c) })
	words = words[:min(len(words), mostWords)]
	if sessions, err := i.sessions(); err == nil && sessions != nil {
		for _, word := range words {
			parsed, _ := sessions.Parse(word, "", now) // a rejected session holds its user, too
			if !parsed.PrimaryKey().IsZero() {
				return sessionText{word, parsed}, true
			}
		}
	}
	at := slices.IndexFunc(words, func(word string) bool { return session.HasForm(word, now) })
	if at < 0 {
		return sessionText{}, false
	}
	return sessionText{value: words[at]}, true
}

// sessions makes the handler's sessions, or returns nil if it has none.
func (i *issuer) sessions() (*session.Sessions, error) {
	if i.Sessions == nil {
		return nil, nil
	}
	return i.Sessions(i.tokens)
}

// isSigned reports whether this handler's key has signed the session.
func (s *sessionText) isSigned() bool { return !s.parsed.PrimaryKey().IsZero() }

// String describes the cookie to an operator, without its value.
func (s *sessionText) String() string {
	if !s.isSigned() {
		return "it has the form of this module's session cookies, and is no token; another secret_key or another table of users made it"
	}
	return fmt.Sprintf("it is a session cookie of user %s, not a token", s.parsed.PrimaryKey())
}

// explainForm explains a text that only has the form of a session cookie.
func (s *sessionText) explainForm(q *question) *credentialExplanation {
	return &credentialExplanation{
		Verdict: session.BadSignature.String(), Summary: session.BadSignature.Error(), Length: len(q.text), Scheme: new(authn.Session).Name(),
		Holds: []string{"nothing else is known of it"},
		Findings: []token.Finding{{
			Cause: causeSession, Certainty: token.Likely, Text: s.String(),
			Remedy: sessionRemedies[session.BadSignature.String()],
		}},
	}
}

// sessionPlace is a site and a scope that a session may have been made for.
type sessionPlace struct {
	site, scope string
	isHere      bool // whether the handler serves the site, with this scope
}

// sessionPlaces returns the sites and scopes of the configuration, and those that
// are given. isWhole is false if the handler has others, which can't be known.
func (i *issuer) sessionPlaces(q *question) (places []sessionPlace, isWhole bool) {
	scope, err := i.expectedScope(nil)
	isWhole = err == nil || len(q.scopes) > 0
	here, elsewhere := slices.Clone(q.scopes), q.scopes
	if err == nil {
		here = []string{scope}
	}
	add := func(sites, scopes []string, isHere bool) {
		for _, site := range sites {
			for _, scope := range scopes {
				places = append(places, sessionPlace{site, scope, isHere})
			}
		}
	}
	var own, foreign []string
	for _, c := range append([]*configured{q.chosen}, q.others...) {
		isOwn := c == q.chosen || issueAlike(c, q.chosen)
		sites, isKnown := c.sites()
		if isOwn {
			own = append(own, sites...)
			isWhole = isWhole && (isKnown || q.site != "")
		} else {
			foreign = append(foreign, sites...)
		}
	}
	if q.site != "" {
		own = append(own, q.site)
	}
	add(own, here, true)
	add(own, elsewhere, false)
	add(foreign, append(here, elsewhere...), false)
	return places, isWhole
}

// sites returns the hosts that the handler serves, as sessions name them. isWhole is
// false if it may serve others.
func (c *configured) sites() (sites []string, isWhole bool) {
	if domain := c.SessionCookie.Domain(); domain != "" {
		return []string{domain}, true
	}
	isWhole = len(c.hosts) > 0
	for _, pattern := range c.hosts {
		host := asciiHost(caddy.NewReplacer().ReplaceKnown(pattern, ""))
		if host == "" || strings.ContainsAny(host, "*{") {
			isWhole = false
			continue
		}
		sites = append(sites, host)
	}
	return sites, isWhole
}

// explainSession explains a session that this handler's key has signed: the scheme
// itself checks it, so that the verdict is the gateway's own.
func (i *issuer) explainSession(ctx context.Context, read sessionText, q *question) (*credentialExplanation, error) {
	scheme := &authn.Session{Cookie: &i.SessionCookie, Keys: func(context.Context) (*session.Sessions, error) { return i.sessions() }}
	if i.SessionTable != "" {
		scheme.List = authn.NewSessionList(i.SessionTable, new(authn.Environment))
	}
	sessions, err := i.sessions()
	if err != nil {
		return nil, err
	}
	places, isWhole := i.sessionPlaces(q)
	isOf := func(p sessionPlace) bool {
		parsed, _ := sessions.Parse(read.value, authn.BoundScope(p.site, p.scope), q.at)
		return parsed.Scope() != ""
	}
	at := slices.IndexFunc(places, isOf)
	var place sessionPlace
	if at >= 0 {
		place = places[at]
	}
	tried, err := i.trySession(ctx, scheme, read.value, place, q)
	if err != nil {
		return nil, err
	}
	if tried.user == nil { // the session was rejected before its user was looked up
		if tried.user, err = i.sessionUser(ctx, &read.parsed); err != nil {
			return nil, err
		}
	}
	e := tried.explain(q)
	e.Authentic = true
	if err := i.addSessionRow(ctx, e, &read.parsed); err != nil {
		return nil, err
	}
	switch {
	case at >= 0 && !place.isHere:
		e.reject(session.WrongScope, "it was made for "+place.String())
	case at >= 0: // the verdict is the scheme's
	case !q.at.Before(read.parsed.Expires()):
		e.reject(session.Expired, session.Expired.Error())
	case tried.user == nil:
		e.reject(session.UnknownUser, session.UnknownUser.Error())
	case !tried.user.IsActive:
		e.reject(session.InactiveUser, session.InactiveUser.Error())
	case !isWhole:
		e.leaveOpen()
	}
	for n := range e.Findings {
		if f := &e.Findings[n]; f.Cause != token.CauseOtherUser {
			f.Certainty, f.Remedy = token.Certain, sessionRemedies[e.Verdict]
		}
	}
	return e, nil
}

// sessionUser is the user of a session, or nil if there is none.
func (i *issuer) sessionUser(ctx context.Context, parsed *session.Parsed) (*userstore.User, error) {
	user, err := i.users.Lookup(ctx, parsed.PrimaryKey())
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking up the user of the session: %w", err)
	}
	return user, nil
}

// reject changes the verdict.
func (e *credentialExplanation) reject(reason session.Reason, text string) {
	e.Verdict, e.Summary = reason.String(), reason.Error()
	e.Findings = append([]token.Finding{{Cause: token.Cause(e.Verdict), Text: text}}, e.ofOtherUsers()...)
}

// leaveOpen takes the verdict back, as the site and the scope of the session aren't
// known.
func (e *credentialExplanation) leaveOpen() {
	e.Verdict, e.ScopeUnknown, e.Findings = verdictUnknown, true, e.ofOtherUsers()
	e.Summary = "it depends on the site and the scope, which the configuration doesn't tell"
}

// ofOtherUsers are the findings about whose credential it is.
func (e *credentialExplanation) ofOtherUsers() []token.Finding {
	return slices.DeleteFunc(e.Findings, func(f token.Finding) bool { return f.Cause != token.CauseOtherUser })
}

// String names the place to an operator.
func (p sessionPlace) String() string {
	if p.scope == "" {
		return p.site
	}
	return fmt.Sprintf("%s and the scope %q", p.site, p.scope)
}

// trySession has the scheme check a session at a place.
func (i *issuer) trySession(ctx context.Context, scheme *authn.Session, value string, place sessionPlace, q *question) (attempt, error) {
	store, err := i.openFor(ctx, scheme.AddNeeds)
	if err != nil {
		return attempt{}, err
	}
	defer func() { _ = store.Close() }() // nothing depends on it any more
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
	if err != nil {
		return attempt{}, fmt.Errorf("making up a request: %w", err)
	}
	request.Host = place.site
	// The prefix depends on how the browser reaches the site.
	name := i.SessionCookie.Name()
	request.Header.Set("Cookie", name+"="+value+"; __Host-"+name+"="+value)
	tried := attempt{credential: scheme.Take(request)[0], isNamed: true}
	authenticator := authn.Authenticator{
		Find:     tried.find(ctx, store),
		Rejected: func(_ *http.Request, _ authn.Credential, err error) error { return err },
	}
	at := authn.At{Scope: place.scope, Now: q.at}
	_, tried.err = authenticator.Explicit(request, []authn.Credential{tried.credential}, at, func(*userstore.User) error { return nil })
	if tried.err != nil && !authn.IsRejection(tried.err) {
		return attempt{}, fmt.Errorf("looking up the user of the session: %w", tried.err)
	}
	return tried, nil
}

// addSessionRow says whether the row of a session with an ID is there.
func (i *issuer) addSessionRow(ctx context.Context, e *credentialExplanation, parsed *session.Parsed) error {
	if parsed.ID().IsZero() {
		return nil
	}
	row, err := i.describeRow(ctx, parsed)
	if err != nil {
		return err
	}
	e.Holds = append(e.Holds, row)
	return nil
}

// describeRow says whether the row of a session with an ID is there.
func (i *issuer) describeRow(ctx context.Context, parsed *session.Parsed) (string, error) {
	if i.SessionTable == "" {
		return "it needs a row in a table, and session has no option table here, so that it is rejected", nil
	}
	row, err := i.findSession(ctx, i.SessionTable, parsed.ID())
	switch {
	case err != nil:
		return "", err
	case row == nil:
		return i.SessionTable + " has no row with it: the session has ended", nil
	case row.user.PrimaryKey != parsed.PrimaryKey():
		return fmt.Sprintf("its row in %s is that of another user: the session has ended", i.SessionTable), nil
	}
	return fmt.Sprintf("its row is in %s until %s (to end it, call caddy sesame revoke --session %s)", i.SessionTable, row.Expires.Format(time.RFC3339), parsed.ID()), nil
}

// sessionRemedies are the remedies for the reasons of sessions.
var sessionRemedies = map[string]string{
	"bad_signature": "compare secret_key, key, primary_key_field and the userstore's table with those of the gateway that made it; for a copy, take the whole value",
	"ended":         "log in again: the session was ended, by the user or an operator, or its user was deleted",
	"expired":       "log in again; max_age of session says how long sessions last",
	"idle_expired":  "log in again; idle of session says for how long a session may go unused",
	"inactive_user": "make the user active in Django, if that is meant",
	"malformed":     "log in again; if a newer release of the gateway made the session, update this one",
	"no_table":      "give all gateways of the site the same table of session",
	"not_yet_valid": "run NTP on all gateways",
	"revoked":       "log in again: the password has changed, or an operator has revoked the user's sessions",
	"unknown_user":  "the user was deleted; compare the userstore's table with that of the gateway that made the session",
	"wrong_scope":   "log in at this site: a session is for one host, unless session has a domain, and for one scope",
}
