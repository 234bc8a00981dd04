package sesame

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/loglimit"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/repost"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// refuser answers requests that don't go on.
type refuser struct {
	g          *gate
	challenges challenges
	outages    loglimit.Limit // for the reasons for a 503
}

// refusal is an answer of the gateway's own, in the place of the upstream's.
type refusal struct {
	status int
	page   page.Data
	owner  *userstore.User // of the link that has expired; nil for none
}

// errorPlaceholder is the placeholder of the page's name, for the error
// routes.
const errorPlaceholder = "http.auth.sesame.error"

// retryAfter is how long a client should wait for MySQL to come back.
const retryAfter = 2 * time.Second

// refuse answers a request whose credentials are rejected, or that has none. err
// is the reason, or wraps it.
func (f *refuser) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	if r.URL.Path == "/favicon.ico" && origin.IsSafe(r.Method) {
		// Browsers ask by themselves, for a tab that shows a page of the gateway.
		f.g.counts.requests[outcomePage].Add(1)
		f.g.pages.ServeFavicon(w, r)
		return nil
	}
	f.g.counts.refuse(err)
	f.g.hints.warnOfHelp(r)
	answer := refusal{status: http.StatusUnauthorized, page: page.Data{Kind: page.Kind(authn.Public(err)), HelpURL: f.g.hints.helpURL(r), IsOfLink: takenOf(r).isLink()}}
	if f.g.loginPage != nil && asksForPage(r) {
		answer.page.LoginURL = f.g.loginPage.Link(r, f.targetOf(r))
	}
	expired, isExpired := errors.AsType[*expiredLink](err)
	if isExpired {
		answer.page.User, answer.page.HelpURL, answer.owner = expired.name, expired.helpURL, expired.user
	}
	answer.page.LoginAt = f.loginAt(r)
	if answer.page.LoginAt != "" && r.Method == http.MethodGet && r.Header.Get("HX-Request") == "true" {
		w.Header().Set("HX-Redirect", answer.page.LoginAt)
	}
	f.challenge(w.Header(), r, err)
	if f.g.login != nil && asksForPage(r) && !origin.Of(r).IsFrame {
		switch posted := f.posted(r); {
		case posted != nil:
			return f.offerLogin(w, r, answer, posted)
		case r.Method == http.MethodGet:
			return f.offerLogin(w, r, answer, nil)
		}
	}
	return f.answer(w, r, answer)
}

// posted is what a browser has posted after its session had ended, if the user can
// send it again after the login.
func (f *refuser) posted(r *http.Request) *login.Posted {
	if !f.g.login.Carries() || !repost.MayRead(r) || f.g.reserved.pageOf(r) != "" {
		return nil // a form of the gateway's own has a password or a code
	}
	owner, ok := f.ownerOf(r)
	if !ok {
		return nil
	}
	body, err := repost.Read(r, f.g.sources.Clean(ownURI(r)))
	if err != nil {
		return nil // too large, or not of a form
	}
	return &login.Posted{Body: body, Owner: owner}
}

// ownerOf returns the primary key of the user in whose session a request was sent,
// empty if the user isn't known. ok is false if there are sessions of several users.
func (f *refuser) ownerOf(r *http.Request) (owner string, ok bool) {
	c := takenOf(r)
	sent, err := authn.SentSessions(r.Context(), c.ambient, c.at)
	if err != nil {
		return "", false
	}
	for _, parsed := range slices.Concat(sent.Valid, sent.OtherScope, sent.Ended) {
		of := parsed.PrimaryKey().String()
		if owner != "" && owner != of {
			return "", false
		}
		owner = of
	}
	return owner, true
}

// offerLogin answers a browser whose request is rejected with the login page, or
// sends it there. posted may be nil.
func (f *refuser) offerLogin(w http.ResponseWriter, r *http.Request, answer refusal, posted *login.Posted) error {
	target := f.targetOf(r)
	if posted != nil {
		target = f.placeInScope(r, posted.Body.Target)
	}
	shown := login.Shown{Kind: answer.page.Kind, Posted: posted}
	if c := takenOf(r); c.confirmation.isAfter && len(c.ambient) == 0 {
		shown.Error = "no_cookies" // another redirect would have the browser go round in circles
	}
	if f.g.login.Redirects() && posted == nil && shown.Error == "" && answer.page.Kind == page.Missing && !origin.IsAhead(r) {
		return seeOther(w, f.g.login.URL(target))
	}
	v := &visit{g: f.g, r: r, c: taken{confirmation: takenOf(r).confirmation, lastMethod: takenOf(r).lastMethod, target: target}}
	data, err := f.g.login.Data(w, v, shown)
	if err != nil {
		return v.Fail(w, err)
	}
	if answer.owner != nil {
		data.Ways = append(f.g.login.Resend(w, v, answer.owner), data.Ways...)
	}
	data.User, data.HelpURL, data.LoginURL = answer.page.User, answer.page.HelpURL, answer.page.LoginURL
	data.IsOfLink = answer.page.IsOfLink
	answer.page = data
	return f.answer(w, r, answer)
}

// placeInScope is the page that a form was posted from, if a session for the form's
// scope is also one for the page, or else the form's target.
func (f *refuser) placeInScope(r *http.Request, target string) string {
	from := f.cameFrom(r)
	if from == "" {
		return target
	}
	scope, err := f.g.scope.Of(r)
	if other, otherErr := f.g.scope.OfTarget(r, from); err != nil || otherErr != nil || other != scope {
		return target
	}
	return from
}

// targetOf is the page to which a login leads back: the one that a GET asks for, which
// is next for a link to the login page, such as an e-mailed one.
func (f *refuser) targetOf(r *http.Request) string {
	switch {
	case r.Method != http.MethodGet:
		return ""
	case f.g.reserved.pageOf(r) == reservedLogin:
		return f.g.reserved.nextOf(r, "/")
	}
	return f.g.sources.Clean(ownURI(r))
}

// placesOf are the pages that ways on from a refusal lead to.
func (f *refuser) placesOf(r *http.Request) page.Places {
	same := f.targetOf(r)
	if !origin.IsSafe(r.Method) {
		same = cmp.Or(f.cameFrom(r), "/")
	}
	to := page.Places{Same: same}
	if f.g.login != nil {
		to.Login, to.Other = f.g.login.URL(same), f.g.login.SwitchURL(same)
	}
	if c := takenOf(r); len(c.ambient) > 0 {
		to.Logout = f.g.reserved.url(reservedLogout)
	}
	return to
}

// cameFrom is the page of this site that a request came from, without a token; empty
// if it came from elsewhere, or from a page of the gateway's own.
func (f *refuser) cameFrom(r *http.Request) string {
	from := rawuri.OwnTarget(origin.OwnReferer(r), "")
	if prefix := f.g.reserved.url(""); prefix != "" && strings.HasPrefix(from, prefix) {
		return ""
	}
	return f.g.sources.Clean(from)
}

// loginAt is where a script sends its user to log in. The login leads back to the
// script's page. It is empty where users don't log in by themselves.
func (f *refuser) loginAt(r *http.Request) string {
	switch {
	case f.g.login != nil:
		return f.g.login.URL(f.cameFrom(r))
	case f.g.loginPage != nil:
		return f.g.loginPage.Link(r, f.cameFrom(r))
	}
	return ""
}

// takenVar is the variable of a request that holds what was taken out of it, for the
// ways on from a refusal.
const takenVar = "sesame.taken"

// takenOf is what was taken out of a request that is refused.
func takenOf(r *http.Request) *taken {
	if c, ok := caddyhttp.GetVar(r.Context(), takenVar).(*taken); ok {
		return c
	}
	return new(taken)
}

// failFor is fail for a request whose answer depends on its credentials.
func (f *refuser) failFor(w http.ResponseWriter, r *http.Request, c taken, err error) error {
	caddyhttp.SetVar(r.Context(), takenVar, &c)
	return f.fail(w, r, err)
}

// refuseAnonymous answers a request that has no credentials: it sends a browser that
// asks for a page to the login page, if there is one, and rejects other requests.
func (f *refuser) refuseAnonymous(w http.ResponseWriter, r *http.Request, c taken) error {
	var err error
	if len(c.unsure) > 0 {
		_, err = f.g.authn.Explicit(r, c.unsure, c.at, f.g.meets)
	} else {
		err = f.g.rejected(r, nil, token.Missing)
	}
	if f.g.loginPage != nil && f.g.login == nil && asksForPage(r) && !origin.IsAhead(r) &&
		f.g.loginPage.Send(w, r, f.targetOf(r), c.timesAtLogin) {
		f.g.counts.refuse(err)
		return nil
	}
	return f.failFor(w, r, c, err)
}

// mayAct returns errCrossSite for a visitor's request that a page of another
// origin may have made the browser send.
func (f *refuser) mayAct(r *http.Request, v *visitor) error {
	if !v.needsOrigin || origin.MayAct(r) {
		return nil
	}
	if logged := f.g.logger.Check(zap.DebugLevel, "credentials refused"); logged != nil {
		fields := []zap.Field{zap.Error(errCrossSite), zap.String("scheme", v.scheme), zap.Stringer("reason", errCrossSite)}
		logged.Write(append(fields, requestFields(r)...)...)
	}
	f.g.audit.rejected(r, v.scheme, errCrossSite)
	return errCrossSite
}

// refuseForNow answers a request that can't be checked.
func (f *refuser) refuseForNow(w http.ResponseWriter, r *http.Request, retryAfter time.Duration) error {
	setRetryAfter(w.Header(), retryAfter)
	return f.answer(w, r, refusal{status: http.StatusServiceUnavailable, page: page.Data{Kind: page.Unavailable}})
}

// setRetryAfter tells a client how long to wait.
func setRetryAfter(header http.Header, wait time.Duration) {
	header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}

// challenge writes WWW-Authenticate: one field for each scheme, since some clients
// read only the first challenge of a field. Basic comes first, for old clients.
func (f *refuser) challenge(header http.Header, r *http.Request, err error) {
	header.Del("WWW-Authenticate")
	if basic := f.challenges.basic; basic != "" && (f.challenges.asksBrowsers || !isBrowser(r)) {
		header.Add("WWW-Authenticate", basic)
	}
	header.Add("WWW-Authenticate", f.bearerChallenge(err))
	for _, challenge := range f.challenges.others {
		header.Add("WWW-Authenticate", challenge)
	}
}

// challenges are those of schemes beside Bearer, which is always there.
type challenges struct {
	basic  string
	others []string

	// asksBrowsers: browsers get the challenge of Basic, too, so that they ask
	// their users for a name and a password.
	asksBrowsers bool
}

// add adds the challenges of a scheme, each once.
func (c *challenges) add(all []string) {
	for _, challenge := range all {
		switch scheme, _, _ := strings.Cut(challenge, " "); {
		case strings.EqualFold(scheme, "Basic"):
			c.basic = challenge
		case !strings.EqualFold(scheme, "Bearer") && !slices.Contains(c.others, challenge):
			c.others = append(c.others, challenge)
		}
	}
}

// asksBrowsers reports whether browsers are to ask their users for a name and a
// password: where the gateway accepts that, and has no other way to log them in.
func asksBrowsers(h *Handler) bool {
	return h.Password != nil && h.Password.Basic && h.Session == nil && h.DjangoSession == nil
}

// isBrowser reports whether a request comes from a browser, by navigation or by a
// page or its script.
func isBrowser(r *http.Request) bool {
	return page.Wanted(r) == page.HTML || len(r.Header["Sec-Fetch-Mode"]) > 0 || len(r.Header["X-Requested-With"]) > 0
}

// bearerChallenge is the challenge of RFC 6750, section 3, for a request that is
// refused: without an error where it had no token.
func (f *refuser) bearerChallenge(err error) string {
	challenge := "Bearer"
	if f.g.config.Realm != "" {
		challenge += " realm=" + authn.Quote(f.g.config.Realm)
	}
	problem := ""
	switch {
	case require.IsForbidden(err):
		problem = ` error="insufficient_scope", error_description="The user may not do this"`
	case isOfToken(err):
		problem = ` error="invalid_token", error_description="The token is ` + authn.Public(err) + `"`
	}
	if problem != "" && f.g.config.Realm != "" {
		challenge += ","
	}
	return challenge + problem
}

// isOfToken reports whether an error rejects a token that could have come as a
// bearer token.
func isOfToken(err error) bool {
	if reason, ok := errors.AsType[token.Reason](err); ok {
		return reason != token.Missing
	}
	_, ok := errors.AsType[apitoken.Reason](err)
	return ok
}

// answer answers through the server's error routes, or with a small page where
// none of them does. It doesn't return an error to Caddy: see internal/accesslog.
func (f *refuser) answer(w http.ResponseWriter, r *http.Request, answer refusal) error {
	claim.ForbidLinking(w.Header())
	if answer.page.Ways == nil && asksForPage(r) {
		answer.page.Ways = answer.page.Kind.Ways(f.placesOf(r))
	}
	write := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return f.g.pages.Write(w, r, answer.status, answer.page)
	})
	if accesslog.IsErrorRoute(r.Context()) {
		return write(w, r) // the error routes would come back here
	}
	reason := string(cmp.Or(answer.page.Reason, answer.page.Kind))
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(errorPlaceholder, reason)
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	err := caddyhttp.Error(answer.status, errors.New("sesame: "+reason))
	if accesslog.ServeErrorRoutes(server, w, r, err, write) != nil {
		return write(w, r)
	}
	return nil
}

// fail answers a request that doesn't go on: 401 for credentials that are rejected,
// 403 for a user who doesn't meet the requirements, 429 for a client over the limit,
// 503 where the store has no answer, or too many passwords are to be hashed.
func (f *refuser) fail(w http.ResponseWriter, r *http.Request, err error) error {
	if limited, ok := errors.AsType[*limit.Exceeded](err); ok {
		return f.refuseLimited(w, r, limited.Wait)
	}
	if busy, ok := errors.AsType[*hashing.Busy](err); ok {
		f.g.counts.requests[outcomeBusy].Add(1)
		f.tellBusy(busy)
		return f.refuseForNow(w, r, busy.Wait)
	}
	if denied, ok := errors.AsType[denial](err); ok {
		return f.deny(w, r, denied)
	}
	switch {
	case authn.IsRejection(err):
		return f.refuse(w, r, err)
	case require.IsForbidden(err):
		return f.refuseUser(w, r, err)
	case errors.Is(err, require.ErrUnread):
		return caddyhttp.Error(http.StatusInternalServerError, err)
	case errors.Is(err, errAhead):
		f.g.counts.requests[outcomeAhead].Add(1)
		return answerAhead(w, r)
	case errors.Is(err, errTooEarly):
		f.g.counts.requests[outcomeEarly].Add(1)
		return answerTooEarly(w)
	case r.Context().Err() != nil:
		f.g.counts.requests[outcomeCanceled].Add(1)
		w.WriteHeader(statusClientClosed) // the client has gone: err is what that caused
		return nil                        //nolint:nilerr
	}
	f.g.counts.requests[outcomeUnavailable].Add(1)
	f.tellUnavailable(err)
	return f.refuseForNow(w, r, retryAfter)
}

// denial is a reason besides requirements to answer a user's request with 403: the
// name of the page.
type denial page.Kind

func (d denial) Error() string  { return "sesame: " + string(d) }
func (d denial) String() string { return string(d) }

// errCrossSite: a page of another origin may have made the browser send it.
// errOtherLogin: the user has logged in to Django by a backend that isn't listed.
const (
	errCrossSite  = denial(page.CrossSite)
	errOtherLogin = denial(page.OtherLogin)
)

// deny answers a request with 403.
func (f *refuser) deny(w http.ResponseWriter, r *http.Request, d denial) error {
	f.g.counts.refuse(d)
	return f.answer(w, r, refusal{status: http.StatusForbidden, page: page.Data{Kind: page.Kind(d)}})
}

// statusClientClosed is what Caddy logs for a client that went away.
const statusClientClosed = 499

// errAhead: the token is valid for one use, but the request was made ahead of it.
var errAhead = errors.New("the request was made ahead of its use")

// answerAhead answers a request that was made ahead of the use of a one-time token.
// The request doesn't go on to the upstream: with an identity it would use the
// token, and without a user its answer would be wrong. The browser must not keep
// this answer and show it later, since the click must reach the gateway.
func answerAhead(w http.ResponseWriter, r *http.Request) error {
	claim.ForbidLinking(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// errTooEarly: the request came as early data, and would change something.
var errTooEarly = errors.New("the request came as early data")

// answerTooEarly has the client send its request again when the handshake is
// complete. Browsers do that by themselves.
func answerTooEarly(w http.ResponseWriter) error {
	claim.ForbidLinking(w.Header())
	w.WriteHeader(http.StatusTooEarly)
	return nil
}

// outageInterval is the least time between two lines of one reason for a 503, so that
// an outage doesn't fill the disk.
const outageInterval = 5 * time.Second

// tellUnavailable logs why requests get 503: at once for each reason, and then once
// per outageInterval.
func (f *refuser) tellUnavailable(err error) {
	if omitted, ok := f.outages.Take(err.Error()); ok {
		f.g.logger.Error("the user store has no answer; requests get 503", zap.Error(err), zap.Int("omitted", omitted))
	}
}

// tellBusy logs that requests get 503 since too many passwords are to be hashed.
func (f *refuser) tellBusy(busy *hashing.Busy) {
	if omitted, ok := f.outages.Take(busy.Error()); ok {
		f.g.logger.Warn("too many passwords are to be hashed; requests get 503", zap.Error(busy), zap.Int("omitted", omitted))
	}
}

// refuseUser answers a request of a user who doesn't meet the requirements.
func (f *refuser) refuseUser(w http.ResponseWriter, r *http.Request, err error) error {
	forbidden, _ := errors.AsType[*require.Forbidden](err)
	f.g.counts.requests[outcomeForbidden].Add(1)
	answer := refusal{status: http.StatusForbidden, page: page.Data{Kind: page.Forbidden, User: forbidden.User.DisplayName()}}
	w.Header().Set("WWW-Authenticate", f.bearerChallenge(err))
	return f.answer(w, r, answer)
}
