package sesame

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// isRefusal reports whether an error says that a token doesn't hold, or that
// its client is over the limit. Any other says that there is no answer.
func isRefusal(err error) bool {
	if _, limited := errors.AsType[*limit.Exceeded](err); limited {
		return true
	}
	_, isReason := errors.AsType[token.Reason](err)
	return isReason
}

// clientOf is the client that a request is from.
func (h *Handler) clientOf(r *http.Request) limit.Client {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return h.failures.ClientOf(address)
}

// isLimited reports whether a request is from a client over the limit.
func (h *Handler) isLimited(r *http.Request) bool {
	return h.failures != nil && h.failures.Wait(h.clientOf(r)) > 0
}

// failed counts a failure against a request's client: a token that was refused
// for a reason, or a forged session. It returns the reason, or what takes its
// place where the client is over the limit.
//
// A prefetch that is refused counts as any other request. It would be the way
// around the limit otherwise.
func (h *Handler) failed(r *http.Request, reason error) error {
	if h.failures == nil {
		return reason
	}
	noted := h.failures.Note(h.clientOf(r))
	if noted.Crowded {
		h.logger.Warn("more clients fail than limit_failures can tell apart: those with the fewest failures are forgotten")
	}
	if noted.Wait == 0 {
		return reason
	}
	if noted.First {
		h.tellLimited(r)
	}
	return &limit.Exceeded{Wait: noted.Wait, Reason: reason}
}

// tellLimited tells that a client is over the limit, once for each and a while.
func (h *Handler) tellLimited(r *http.Request) {
	omitted, ok := h.failures.TakeLine()
	if !ok {
		return
	}
	if c := h.logger.Check(zap.WarnLevel, "a client is over limit_failures: what is refused of it gets 429"); c != nil {
		c.Write(append(requestFields(r), zap.Int("omitted", omitted))...)
	}
	h.audit.limited(r)
}

// findInTurn is findUser for the token of a client over the limit. What the
// cache or the token's standing can answer is answered at once; other
// lookups wait in a queue, where those of clients within the limit never are.
func (h *Handler) findInTurn(r *http.Request, presented string, pk token.PrimaryKey, fresh bool, check func(*userstore.User) error) (*userstore.User, error) {
	switch h.failures.Standing(presented) {
	case limit.Valid:
		user, err := h.findUser(r.Context(), pk, fresh, check)
		h.rememberStanding(presented, err)
		return user, err
	case limit.Rejected:
		noted := h.failures.Note(h.clientOf(r))
		return nil, &limit.Exceeded{Wait: max(noted.Wait, limit.RejectedFor)}
	}
	if h.cache != nil && !fresh {
		if user, known := h.cache.Kept(pk); known && (user == nil || check(user) == nil) {
			return user, check(user)
		}
	}
	ctx, span := startSpan(r.Context(), "sesame.lookup")
	if span != nil {
		defer span.End()
	}
	user, err := h.queue.Find(ctx, h.clientOf(r), pk)
	if errors.Is(err, limit.ErrTurnedAway) {
		return nil, &limit.Exceeded{Wait: time.Second}
	}
	user, err = checked(user, err, check)
	h.rememberStanding(presented, err)
	return user, err
}

// rememberStanding keeps what findUser said of a token.
func (h *Handler) rememberStanding(presented string, err error) {
	if err == nil {
		h.failures.Remember(presented, limit.Valid)
	} else if _, isReason := errors.AsType[token.Reason](err); isReason {
		h.failures.Remember(presented, limit.Rejected)
	}
}

// refuseOverLimit answers what is refused of a client over the limit. It tells
// neither whether the token was looked at, nor why it doesn't hold.
func (h *Handler) refuseOverLimit(w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	counted.requests[outcomeLimited].Add(1)
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return h.answer(w, r, refusal{status: http.StatusTooManyRequests, page: page.Data{Kind: page.Limited}})
}
