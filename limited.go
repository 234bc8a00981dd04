package sesame

import (
	"errors"
	"net/http"
	"sync/atomic"
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

// limiter has clients wait that send too many rejected credentials.
type limiter struct {
	failures *limit.Failures
	queue    *limit.Queue // of clients over the limit
	users    userstore.Finder
	logger   *zap.Logger
	audit    *audit
	limited  *atomic.Uint64 // clients that came over the limit
}

// isRejection reports whether an error says that credentials are rejected, or that
// their client is over the limit. Any other error means that the store gave no
// answer.
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

// isGuess reports whether a token that was rejected for a reason may have been made
// without the key. A token of a version that isn't accepted, or one that has
// expired, is no guess: it is rejected whatever its signature is. A token that was
// used or revoked, or a v1 token of a former password, is no guess either: its
// signature was right.
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

// chargeToken counts a rejected token against the request's client if the token is a
// guess. Each token counts once, since a browser may send the same old link many
// times. It returns the reason, or limit.Exceeded if the client is over the limit.
//
// A rejected prefetch counts as any other request: otherwise prefetching would
// bypass the limit.
func (l *limiter) chargeToken(r *http.Request, credential limit.Credential, reason error) error {
	known, _ := errors.AsType[token.Reason](reason)
	// A token that took a lookup is remembered, so that its next lookup waits in the
	// queue.
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

// note counts a failure of a client, and logs if that takes the client over the
// limit. It returns how long the client had to wait before this failure; 0 is within
// the limit.
func (l *limiter) note(r *http.Request, client limit.Client) time.Duration {
	noted := l.failures.Note(client)
	if noted.Crowded {
		l.logger.Warn("more clients fail than limit_failures can tell apart: those with the fewest failures are forgotten")
	}
	if noted.First {
		l.limited.Add(1)
		l.tellLimited(r)
	}
	return noted.Wait
}

// tellLimited logs that a client is over the limit, and emits the event. It leaves
// lines out if there are many such clients.
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

// findInTurn is Finder.Find for credentials that can be guessed. Where the client is
// over the limit, or the token was rejected before, the lookup waits in a queue, and
// MySQL is asked no more often however many such requests come. Only credentials
// that a cached row accepts are answered at once, so that neither the answer nor its
// time tells whether a user exists. guess is that of the credential's Traits.
func (l *limiter) findInTurn(r *http.Request, guess string, key userstore.Key, fresh bool, check func(*userstore.User) error) (*userstore.User, error) {
	client := l.clientOf(r)
	credential := l.failures.CredentialOf(client, guess)
	wait := l.failures.Wait(client)
	switch standing := l.failures.Standing(credential); {
	case standing == limit.Valid, standing == limit.Unseen && wait == 0:
		return l.users.Find(r.Context(), key, fresh, check)
	case standing == limit.Rejected && wait > 0:
		return nil, &limit.Exceeded{Wait: max(wait, limit.RejectedFor)}
	}
	if !fresh {
		if user := l.users.Kept(key); user != nil && check(user) == nil {
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

// refuseLimited answers a rejected request of a client over the limit. It tells
// neither whether the token was looked at, nor why it is rejected.
func (f *refuser) refuseLimited(w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	f.g.counts.requests[outcomeLimited].Add(1)
	setRetryAfter(w.Header(), wait)
	return f.answer(w, r, refusal{status: http.StatusTooManyRequests, page: page.Data{Kind: page.Limited, Wait: wait}})
}

// chargeForged counts forged sessions against the request's client. Each counts
// once, since a browser may send a session of a former key many times. It returns a
// limit.Exceeded where there are any and the client is over the limit, else nil.
func (l *limiter) chargeForged(r *http.Request, none *authn.None) error {
	client := l.clientOf(r)
	for _, rejected := range none.Rejected {
		guess := guessOf(rejected)
		if guess == "" {
			continue // a cookie that is no session is another application's
		}
		isNew := l.failures.RememberRejected(l.failures.CredentialOf(client, guess))
		err := l.charge(r, rejected.Err, isNew)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	return nil
}

// guessOf returns the value of a rejected session that may be forged. It is empty
// for other credentials.
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
