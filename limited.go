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
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// isRejection reports whether an error says that credentials are rejected, or
// that their client is over the limit. Any other says that there is no answer.
func isRejection(err error) bool {
	if _, limited := errors.AsType[*limit.Exceeded](err); limited {
		return true
	}
	return authn.IsRejection(err)
}

// clientOf is the client that a request is from.
func (h *Handler) clientOf(r *http.Request) limit.Client {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return h.failures.ClientOf(address)
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
func (h *Handler) credentialOf(r *http.Request, c authn.Credential) limit.Credential {
	return h.failures.CredentialOf(h.clientOf(r), c.Traits().Guess)
}

// chargeToken counts a token that was rejected against the request's client if it
// is a guess, and once only: a browser that sends the same old link again and
// again is no guesser. It returns the reason, or limit.Exceeded if the client is
// over the limit.
//
// A prefetch that is rejected counts as any other request. It would be the way
// around the limit otherwise.
func (h *Handler) chargeToken(r *http.Request, credential limit.Credential, reason error) error {
	known, _ := errors.AsType[token.Reason](reason)
	// What took a lookup is remembered, so that the next one waits in the queue.
	isNew := known >= token.UnknownUser && h.failures.RememberRejected(credential)
	return h.charge(r, reason, isNew && isGuess(reason))
}

// charge returns the reason of a rejection, or limit.Exceeded if the client is
// over the limit. It counts one more failure of the client, or none.
func (h *Handler) charge(r *http.Request, reason error, isFailure bool) error {
	client := h.clientOf(r)
	wait := h.failures.Wait(client)
	if isFailure {
		wait = h.note(r, client)
	}
	if wait == 0 {
		return reason
	}
	return &limit.Exceeded{Wait: wait, Reason: reason}
}

// note counts a failure of a client, and logs if that is over the limit. It
// returns how long the client is limited already.
func (h *Handler) note(r *http.Request, client limit.Client) time.Duration {
	noted := h.failures.Note(client)
	if noted.Crowded {
		h.logger.Warn("more clients fail than limit_failures can tell apart: those with the fewest failures are forgotten")
	}
	if noted.First {
		h.tellLimited(r)
	}
	return noted.Wait
}

// tellLimited tells that a client is over the limit, once for each and a while.
func (h *Handler) tellLimited(r *http.Request) {
	omitted, ok := h.failures.TakeLine()
	if !ok {
		return
	}
	if c := h.logger.Check(zap.WarnLevel, "client exceeded limit_failures; its rejected requests are answered 429"); c != nil {
		c.Write(append(requestFields(r), zap.Int("omitted", omitted))...)
	}
	h.audit.limited(r)
}

// findInTurn is Finder.Find for a token. Where the client is over the limit, or the
// token was rejected before, the lookup waits in a queue, and MySQL is asked no
// more often however many such requests come. Only what a kept row accepts is
// answered at once: neither the answer nor its time tells whether a user exists.
func (h *Handler) findInTurn(r *http.Request, credential limit.Credential, pk token.PrimaryKey, fresh bool, check func(*userstore.User) error) (*userstore.User, error) {
	client := h.clientOf(r)
	wait := h.failures.Wait(client)
	switch standing := h.failures.Standing(credential); {
	case standing == limit.Valid, standing == limit.Unseen && wait == 0:
		return h.users.Find(r.Context(), pk, fresh, check)
	case standing == limit.Rejected && wait > 0:
		return nil, &limit.Exceeded{Wait: max(wait, limit.RejectedFor)}
	}
	if h.cache != nil && !fresh {
		if user, _ := h.cache.Kept(pk); user != nil && check(user) == nil {
			return user, nil
		}
	}
	ctx, span := userstore.StartSpan(r.Context(), "sesame.lookup")
	if span != nil {
		defer span.End()
	}
	user, err := h.queue.Find(ctx, client, pk, check)
	switch {
	case err == nil:
		h.failures.RememberValid(credential)
	case errors.Is(err, limit.ErrTurnedAway):
		return nil, &limit.Exceeded{Wait: time.Second}
	}
	return user, err
}

// refuseOverLimit answers what is refused of a client over the limit. It tells
// neither whether the token was looked at, nor why it doesn't hold.
func (h *Handler) refuseOverLimit(w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	counted.requests[outcomeLimited].Add(1)
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return h.answer(w, r, refusal{status: http.StatusTooManyRequests, page: page.Data{Kind: page.Limited}})
}
