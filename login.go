package sesame

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// tokenLogin answers requests whose token is valid.
type tokenLogin struct{ g *gate }

// logIn answers a request whose token is valid: it shows the page with the button,
// or uses the token and starts a session, or just passes the request on.
func (f *tokenLogin) logIn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken, given *authn.TokenCredential, user *userstore.User) error {
	if !given.IsLink() && !given.Traits().IsConsumed && c.confirmation.signature == "" {
		// There is nothing to log in by, and nothing to use up.
		v := f.g.visitor(authn.Visitor{User: user, Credential: given})
		return f.g.serveVisitor(w, r, next, &v)
	}
	if origin.IsAhead(r) {
		return f.serveAhead(w, r, next, given, user)
	}
	from := origin.Of(r)
	current, replaced, err := f.loggedIn(r, c, given, user)
	if err != nil {
		return f.g.refuser.fail(w, r, err)
	}
	isLink := given.IsLink()
	isPressed := c.confirmation.signature != "" && !from.IsFrame && from.Initiator != origin.Other
	always := asksFirst(f.g.config) && !c.emailed.isBrowser
	asks := isLink && r.Method == http.MethodGet && (replaced != nil || always) && acceptsHTML(r)
	switch {
	case isPressed && from.Initiator != origin.Opaque && f.g.confirmer.isConfirmed(c, given.Given.Value, replaced):
		return f.useToken(w, r, next, c, given, user, tokenUse{isConfirmed: true, startsSession: isLink})
	case isPressed && current != nil && replaced == nil:
		// The page was open in two tabs, and the user has logged in by the other.
		f.g.counts.requests[outcomeSession].Add(1)
		return seeOther(w, c.loginTarget(r))
	case isPressed:
		// The page was too old, or another site's, or hides its origin, or another
		// user has logged in since.
		return f.g.confirmer.ask(w, r, c, given, user, replaced)
	case given.OnlyByButton() && !(c.emailed.isBrowser && r.Method == http.MethodGet):
		return f.offerButton(w, r, next, c, given, user, replaced)
	case from.IsForced(), asks && !asksForPage(r):
		return f.serveAhead(w, r, next, given, user) // also for a script, which can't show the page
	case asks:
		return f.g.confirmer.ask(w, r, c, given, user, replaced)
	}
	// The link needs no button.
	mayReplace := replaced == nil || from.Initiator == origin.Own
	return f.useToken(w, r, next, c, given, user, tokenUse{startsSession: isLink && from.MayLogIn() && mayReplace})
}

// offerButton answers a request by a link that only the button uses: with the page,
// whatever the client accepts, so that no client that follows redirects by itself,
// such as Microsoft Office, opens another URL than the link's in the browser. A
// request that a page of another origin made the browser send gets no button.
func (f *tokenLogin) offerButton(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken, given *authn.TokenCredential, user, replaced *userstore.User) error {
	from := origin.Of(r)
	switch {
	case from.IsFrame, from.IsOther() && !from.IsLink, r.Method != http.MethodGet && !given.Traits().IsConsumed:
		return f.serveAhead(w, r, next, given, user)
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		f.g.counts.requests[outcomePage].Add(1)
		claim.ForbidLinking(w.Header())
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	return f.g.confirmer.ask(w, r, c, given, user, replaced)
}

// tokenUse says what useToken does beside using the token.
type tokenUse struct {
	isConfirmed   bool // the button sent the request
	startsSession bool // if sessions are on
}

// useToken uses a token that is valid, starts a session, and passes the request
// on or leads to the page that the link is for.
func (f *tokenLogin) useToken(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken, given *authn.TokenCredential, user *userstore.User, l tokenUse) error {
	if traits := given.Traits(); origin.IsEarly(r) && (traits.IsConsumed || traits.StartsLogin) {
		return f.g.refuser.fail(w, r, errTooEarly)
	}
	if c.emailed.isLink && f.g.login.NeedsFactor(user) {
		return f.askFactor(w, r, c, given, user)
	}
	if err := f.use(r, given, user); err != nil {
		return f.g.serveBesideRejected(w, r, next, c, err)
	}
	if l.isConfirmed {
		f.g.confirmer.cookie.Clear(w, r)
	}
	v := f.g.visitor(authn.Visitor{User: user, Credential: given})
	if f.g.logins == nil || !l.startsSession {
		if l.isConfirmed {
			turnIntoGet(r)
		}
		return f.g.serveVisitor(w, r, next, &v)
	}
	if !given.Traits().IsConsumed {
		f.g.logins.note(r.Context(), user)
	}
	if err := f.g.logins.start(w, r, user, c, c.emailed.length); err != nil {
		return f.g.refuser.fail(w, r, err)
	}
	if f.g.login != nil {
		f.g.login.Remember(w, r, login.Login{Method: given.Scheme(), Length: c.emailed.length})
	}
	f.g.counts.loginsBy(given.Scheme()).Add(1)
	fingerprint, _ := given.Origin()
	f.g.audit.login(r, user, given.Scheme(), fingerprint)
	if l.isConfirmed || r.Method == http.MethodGet && f.g.logins.redirects(r) {
		f.g.counts.requests[outcomeLogin].Add(1)
		return seeOther(w, c.loginTarget(r))
	}
	return f.g.serveVisitor(w, r, next, &v)
}

// askFactor has the login page ask for the second factor of a user whose e-mailed link
// is valid. The link isn't used up before the code was right.
func (f *tokenLogin) askFactor(w http.ResponseWriter, r *http.Request, c taken, given *authn.TokenCredential, user *userstore.User) error {
	f.g.counts.requests[outcomePage].Add(1)
	link := secondfactor.Link{User: user}
	link.Fingerprint, link.Issued = given.Origin()
	return f.g.login.ServeLink(w, r, &visit{g: f.g, r: r, c: c}, link, c.emailed.length)
}

// serveAhead answers a request that no user has clicked for. It starts no session. A
// reusable token authenticates it as any other request.
func (f *tokenLogin) serveAhead(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, given *authn.TokenCredential, user *userstore.User) error {
	if given.Traits().IsConsumed {
		return f.g.refuser.fail(w, r, errAhead)
	}
	v := f.g.visitor(authn.Visitor{User: user, Credential: given})
	return f.g.serveVisitor(w, r, next, &v)
}

// asksFirst reports whether every link has to be confirmed.
func asksFirst(h *Handler) bool {
	switch h.Confirm {
	case confirmAlways, confirmStrict:
		return true
	case confirmOff:
		return false
	default:
		return h.OneTime
	}
}

// loggedIn returns the user whose session a request has, if any, and the same user
// as replaced if it isn't the one that a login is for: an attacker could otherwise
// send a user the link of the attacker's account, and have the user work in that
// account. A session for another scope is replaced, too, since it is in the same
// cookie.
func (f *tokenLogin) loggedIn(r *http.Request, c taken, given *authn.TokenCredential, user *userstore.User) (current, replaced *userstore.User, err error) {
	if f.g.logins == nil || !given.IsLink() || len(c.ambient) == 0 {
		return nil, nil, nil
	}
	v, err := f.g.visitorUnasked(r, c, anyUser)
	none, isNone := errors.AsType[*authn.None](err)
	switch {
	case isNone && none.IsAmbiguous:
		replaced, err = f.otherThan(r, user.PrimaryKey, append(keysOf(none.Users), f.loggedInElsewhere(none.Rejected)...))
		return nil, replaced, err
	case isNone:
		replaced, err = f.otherThan(r, user.PrimaryKey, f.loggedInElsewhere(none.Rejected))
		return nil, replaced, err
	case err != nil:
		return nil, nil, err
	}
	if v.user.PrimaryKey != user.PrimaryKey {
		replaced = v.user
	}
	return v.user, replaced, nil
}

// keysOf are the keys of users with primary keys.
func keysOf(users []token.PrimaryKey) []userstore.Key {
	keys := make([]userstore.Key, len(users))
	for i, pk := range users {
		keys[i] = userstore.ByPrimaryKey(pk)
	}
	return keys
}

// loggedInElsewhere returns the users of sessions that aren't accepted here, but
// that a login here ends: sessions for another scope, and sessions of Django's by an
// unlisted backend. A new password may already have ended the latter.
func (f *tokenLogin) loggedInElsewhere(rejected []authn.Rejected) (users []userstore.Key) {
	for _, other := range rejected {
		if key, ok := authn.UnlistedUser(other); ok && writesDjango(f.g.config) {
			users = append(users, key)
			continue
		}
		cookie, ok := other.Credential.(*authn.SessionCookie)
		if ok && errors.Is(other.Err, session.WrongScope) && cookie.Parsed().Expires().After(f.g.now()) {
			users = append(users, userstore.ByPrimaryKey(cookie.Parsed().PrimaryKey()))
		}
	}
	return users
}

// otherThan returns the first of some users who hasn't a given key and exists, or
// nil. It looks up a few of them at most.
func (f *tokenLogin) otherThan(r *http.Request, pk token.PrimaryKey, users []userstore.Key) (*userstore.User, error) {
	looked := 0
	for i, key := range users {
		if key == userstore.ByPrimaryKey(pk) || slices.Contains(users[:i], key) || looked == authn.MaxAmbientUsers {
			continue
		}
		looked++
		other, err := f.g.users.Find(r.Context(), key, false, anyUser)
		switch {
		case err != nil:
			return nil, err
		case other != nil && other.PrimaryKey != pk:
			return other, nil
		}
	}
	return nil, nil
}

// redirects reports whether a browser is sent to the URL without the token.
//
// django-sesame doesn't do it on Safari, whose Intelligent Tracking Prevention
// 2.0 (2018) was seen to drop the cookie, as if the redirect were a tracker's
// bounce. But WebKit's published rules are about redirects from one registrable
// domain to another ("Tracking Prevention in WebKit": a site is an eTLD+1,
// and bounces are cross-site navigations), and count only domains that no user
// interacts with. A redirect within a site isn't that, so on is the default,
// and safari_off is there for sites where that is seen.
func (l *logins) redirects(r *http.Request) bool {
	switch l.redirect {
	case redirectOff:
		return false
	case redirectSafariOff:
		return !isSafari(r.UserAgent())
	default:
		return true
	}
}

// isSafari reports whether a user agent is Safari, or any browser of iOS, all
// of which share its engine.
func isSafari(agent string) bool {
	if strings.Contains(agent, "iPhone") || strings.Contains(agent, "iPad") || strings.Contains(agent, "iPod") {
		return true
	}
	if !strings.Contains(agent, "Safari/") {
		return false
	}
	for _, other := range []string{"Chrome/", "Chromium/", "Edg", "OPR/", "Android"} {
		if strings.Contains(agent, other) {
			return false
		}
	}
	return true
}

// asksForPage reports whether a request is one for a page, as browsers make it
// when they navigate.
func asksForPage(r *http.Request) bool {
	return page.Wanted(r) == page.HTML
}

// seeOther sends a browser to another page of the same site.
func seeOther(w http.ResponseWriter, target string) error {
	claim.ForbidLinking(w.Header())
	w.Header().Set("Location", escaped(target))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// escaped is a target with all that isn't visible ASCII percent-encoded, as a URI
// must be (RFC 3986, section 2.1). Browsers guess an encoding otherwise. What is
// encoded already stays.
func escaped(target string) string {
	isUnfit := func(c byte) bool { return c <= ' ' || c >= 0x7f }
	unfit := 0
	for i := range len(target) {
		if isUnfit(target[i]) {
			unfit++
		}
	}
	if unfit == 0 {
		return target
	}
	uri := make([]byte, 0, len(target)+2*unfit)
	for i := range len(target) {
		if c := target[i]; isUnfit(c) {
			uri = append(uri, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		} else {
			uri = append(uri, c)
		}
	}
	return string(uri)
}

// ownURI is the URI of a request as the browser sees it, for a link or a
// redirect to it: as it came, before any rewrite. It leads to this site even
// for a path like //evil.example, which alone would be a link to that host.
func ownURI(r *http.Request) string {
	uri := ""
	switch original, ok := claim.OriginalRequest(r); {
	case !ok:
		uri = r.URL.RequestURI()
	case strings.HasPrefix(original.RequestURI, "/"):
		uri = original.RequestURI
	default:
		uri = original.URL.RequestURI()
	}
	if !strings.HasPrefix(uri, "/") {
		return "/"
	}
	if len(uri) > 1 && (uri[1] == '/' || uri[1] == '\\') {
		return "/." + uri // the same path (RFC 3986, section 5.2.4), but no host
	}
	return uri
}

// anyUser accepts every user.
func anyUser(*userstore.User) error { return nil }

// use uses up a one-time token. The error is token.Consumed, or says why the store
// has no answer: then the token may or may not be used up.
func (f *tokenLogin) use(r *http.Request, given *authn.TokenCredential, user *userstore.User) error {
	if !given.Traits().IsConsumed {
		return nil
	}
	err := f.g.store.Consume(r.Context(), user, f.g.now())
	f.g.counts.used(err)
	switch {
	case err == nil:
		fingerprint, _ := given.Origin()
		f.g.audit.consumed(r, user, given.Scheme(), fingerprint)
	case errors.Is(err, userstore.ErrConsumed):
		return f.g.rejected(r, given, token.Consumed)
	}
	return err
}
