package sesame

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// limiter has clients that come with too many rejected credentials wait.
type limiter struct {
	failures *limit.Failures
	queue    *limit.Queue // of clients over the limit
	users    userstore.Finder
	cache    *userstore.Cache // nil for none
	logger   *zap.Logger
	audit    *audit
}

// isRejection reports whether an error says that credentials are rejected, or
// that their client is over the limit. Any other says that there is no answer.
func isRejection(err error) bool {
	if _, limited := errors.AsType[*limit.Exceeded](err); limited {
		return true
	}
	return authn.IsRejection(err)
}

// clientOf is the client that a request is from.
func (l *limiter) clientOf(r *http.Request) limit.Client {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return limit.ClientOf(address)
}

// isGuess reports whether a token that was rejected for a reason may have been
// made without the key. Others are no guesses: what isn't a token of a version
// that is accepted, or has expired, is rejected whatever its signature is, and
// what has been used, revoked or is v1 and of a former password, was signed.
func isGuess(reason error) bool {
	if authn.IsStale(reason) {
		return false
	}
	known, isToken := errors.AsType[token.Reason](reason)
	if !isToken {
		return true // of another scheme
	}
	switch known {
	case token.UnknownUser, token.InactiveUser, token.IncompleteUser, token.BadSignature:
		return true
	default:
		return false
	}
}

// credentialOf identifies a credential among those that its client has sent
// before.
func (l *limiter) credentialOf(r *http.Request, c authn.Credential) limit.Credential {
	return l.failures.CredentialOf(l.clientOf(r), c.Traits().Guess)
}

// chargeToken counts a token that was rejected against the request's client if it
// is a guess, and once only: a browser that sends the same old link again and
// again is no guesser. It returns the reason, or limit.Exceeded if the client is
// over the limit.
//
// A prefetch that is rejected counts as any other request. It would be the way
// around the limit otherwise.
func (l *limiter) chargeToken(r *http.Request, credential limit.Credential, reason error) error {
	known, _ := errors.AsType[token.Reason](reason)
	// What took a lookup is remembered, so that the next one waits in the queue.
	isNew := known >= token.UnknownUser && l.failures.RememberRejected(credential)
	return l.charge(r, reason, isNew && isGuess(reason))
}

// chargeOther is chargeToken for credentials of other schemes.
func (l *limiter) chargeOther(r *http.Request, credential limit.Credential, reason error) error {
	isNew := !authn.IsStale(reason) && l.failures.RememberRejected(credential)
	return l.charge(r, reason, isNew)
}

// charge returns the reason of a rejection, or limit.Exceeded if the client is
// over the limit. It counts one more failure of the client, or none.
func (l *limiter) charge(r *http.Request, reason error, isFailure bool) error {
	client := l.clientOf(r)
	wait := l.failures.Wait(client)
	if isFailure {
		wait = l.note(r, client)
	}
	if wait == 0 {
		return reason
	}
	return &limit.Exceeded{Wait: wait, Reason: reason}
}

// note counts a failure of a client, and logs if that is over the limit. It
// returns how long the client is limited already.
func (l *limiter) note(r *http.Request, client limit.Client) time.Duration {
	noted := l.failures.Note(client)
	if noted.Crowded {
		l.logger.Warn("more clients fail than limit_failures can tell apart: those with the fewest failures are forgotten")
	}
	if noted.First {
		l.tellLimited(r)
	}
	return noted.Wait
}

// tellLimited tells that a client is over the limit, once for each and a while.
func (l *limiter) tellLimited(r *http.Request) {
	omitted, ok := l.failures.TakeLine()
	if !ok {
		return
	}
	if c := l.logger.Check(zap.WarnLevel, "client exceeded limit_failures; its rejected requests are answered 429"); c != nil {
		c.Write(append(requestFields(r), zap.Int("omitted", omitted))...)
	}
	l.audit.limited(r)
}

// findInTurn is Finder.Find for credentials that can be guessed. Where the client is over the limit, or the
// token was rejected before, the lookup waits in a queue, and MySQL is asked no
// more often however many such requests come. Only what a kept row accepts is
// answered at once: neither the answer nor its time tells whether a user exists.
func (l *limiter) findInTurn(r *http.Request, credential limit.Credential, key userstore.Key, fresh bool, check func(*userstore.User) error) (*userstore.User, error) {
	client := l.clientOf(r)
	wait := l.failures.Wait(client)
	switch standing := l.failures.Standing(credential); {
	case standing == limit.Valid, standing == limit.Unseen && wait == 0:
		return l.users.Find(r.Context(), key, fresh, check)
	case standing == limit.Rejected && wait > 0:
		return nil, &limit.Exceeded{Wait: max(wait, limit.RejectedFor)}
	}
	if pk, ok := key.PrimaryKey(); ok && l.cache != nil && !fresh {
		if user, _ := l.cache.Kept(pk); user != nil && check(user) == nil {
			return user, nil
		}
	}
	ctx, span := userstore.StartSpan(r.Context(), "sesame.lookup")
	if span != nil {
		defer span.End()
	}
	user, err := l.queue.Find(ctx, client, key, check)
	switch {
	case err == nil:
		l.failures.RememberValid(credential)
	case errors.Is(err, limit.ErrTurnedAway):
		return nil, &limit.Exceeded{Wait: time.Second}
	}
	return user, err
}

// refuseLimited answers what is refused of a client over the limit. It tells
// neither whether the token was looked at, nor why it is rejected.
func (f *refuser) refuseLimited(w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	counted.requests[outcomeLimited].Add(1)
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return f.answer(w, r, refusal{status: http.StatusTooManyRequests, page: page.Data{Kind: page.Limited}})
}

// chargeForged counts forged sessions against the request's client, each once:
// one that a browser sends again and again was signed by a former key. It returns
// a limit.Exceeded where there are any and the client is over the limit, else nil.
func (l *limiter) chargeForged(r *http.Request, none *authn.None) error {
	client := l.clientOf(r)
	for _, rejected := range none.Rejected {
		guess := guessOf(rejected)
		if guess == "" {
			continue // what isn't a session is another application's
		}
		isNew := l.failures.RememberRejected(l.failures.CredentialOf(client, guess))
		err := l.charge(r, rejected.Err, isNew)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	return nil
}

// guessOf tells a rejected session that may have been made up from others. It is
// empty for one that was not.
func guessOf(rejected authn.Rejected) string {
	switch c := rejected.Credential.(type) {
	case *authn.SessionCookie:
		if errors.Is(rejected.Err, session.BadSignature) {
			return c.Value()
		}
	case *authn.DjangoCookie:
		if c.IsForged(rejected.Err) {
			return c.Value()
		}
	}
	return ""
}
