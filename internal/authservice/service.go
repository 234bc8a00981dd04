// Package authservice answers other proxies, which ask before each request of a
// client whether it may go on: nginx by auth_request, Traefik, Caddy and HAProxy by
// forward_auth. The proxy sends what the client has sent, without the body, and says
// in header fields what the request was; the answer says who the user is.
package authservice

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Kind is how a proxy asks, and which answers it understands.
type Kind string

// The kinds, by the names that nginx and Caddy have for them.
const (
	// ForwardAuth: the request is in X-Forwarded-Method, -Proto, -Host and -Uri. The
	// proxy passes any answer that isn't 2xx on to the client.
	ForwardAuth Kind = "forward_auth"

	// AuthRequest: the request is in X-Original-Method and X-Original-URI, or in
	// X-Original-URL. The proxy understands 401 and 403, and takes any other answer
	// that isn't 2xx for an error.
	AuthRequest Kind = "auth_request"
)

// Service answers proxies of a kind.
type Service struct {
	kind   Kind
	fields []string // what a proxy is to take over from the answer

	// When requests that can't be answered were last logged, in seconds. Those of
	// senders that aren't trusted have a time of their own: a client that reaches the
	// port would else keep the log from saying what is wrong with the proxy's.
	warnedOfSender, warnedOfFields atomic.Int64
}

// New makes the service of a kind. identity are the header fields that tell who the
// user is. header is the field of the assertion, or empty.
func New(kind Kind, identity []string, assertion string) (*Service, error) {
	if kind != ForwardAuth && kind != AuthRequest {
		return nil, setting.Errorf("auth_service", "auth_service %q: it must be %s (Traefik, Caddy, HAProxy) or %s (nginx)", kind, ForwardAuth, AuthRequest)
	}
	if assertion != "" && assertion != "Authorization" {
		return nil, setting.Errorf("assertion: header", "assertion: header %s: auth_service sends it in an answer, where Caddy's log hides Authorization alone; leave header out, and have the proxy rename the field", assertion)
	}
	fields := slices.Clone(identity)
	for _, name := range taken {
		if !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	return &Service{kind: kind, fields: fields}, nil
}

// taken are the fields out of which the gateway takes credentials. The proxy must
// forward these fields as the answer has them, and not as the client sent them.
var taken = []string{"Authorization", "Cookie", "Referer"}

// Misasked is the error for a request that is no question of a proxy: its sender is no
// trusted proxy, or the proxy doesn't say what the client's request was.
type Misasked struct {
	Status int
	Why    string
}

func (m *Misasked) Error() string { return "not an answerable request of a proxy: " + m.Why }

func misasked(format string, values ...any) *Misasked {
	return &Misasked{Status: http.StatusBadRequest, Why: fmt.Sprintf(format, values...)}
}

// misaskedInterval is the least time between two log lines about the same, in seconds.
const misaskedInterval = 60

// Report returns the status of the answer to an error of Restore, and logs the error now
// and then: direct clients can cause any number of them.
func (s *Service) Report(logger *zap.Logger, r *http.Request, err error) (status int) {
	wrong, ok := errors.AsType[*Misasked](err)
	if !ok {
		return http.StatusInternalServerError
	}
	warned := &s.warnedOfFields
	if wrong.Status == http.StatusForbidden {
		warned = &s.warnedOfSender
	}
	now := time.Now().Unix()
	if last := warned.Load(); now-last >= misaskedInterval && warned.CompareAndSwap(last, now) {
		logger.Warn("auth_service rejects a request", zap.Error(err), zap.String("sender", r.RemoteAddr))
	}
	return wrong.Status
}
