package authn

import (
	"context"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// maxTouches is how many sessions are extended at a time. Further ones are extended
// by a later request.
const maxTouches = 16

// touches are sessions that are being extended.
type touches struct {
	limit   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	keys map[userstore.Key]struct{}
	told time.Time // when the log was told last that one failed
}

// begin reports whether a session is to be extended, which done ends.
func (t *touches) begin(key userstore.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, isRunning := t.keys[key]; isRunning {
		return false // by another request
	}
	select {
	case t.limit <- struct{}{}:
	default:
		return false
	}
	if t.keys == nil {
		t.keys = make(map[userstore.Key]struct{})
	}
	t.keys[key] = struct{}{}
	t.running.Add(1)
	return true
}

func (t *touches) done(key userstore.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, key)
	<-t.limit
	t.running.Done()
}

// mayTell reports whether the log may be told that a session couldn't be
// extended.
func (t *touches) mayTell(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.told) < time.Minute {
		return false
	}
	t.told = now
	return true
}

// Touch extends the session of a request where that is due, beside the request,
// and sets the cookie anew, as Django does with SESSION_SAVE_EVERY_REQUEST. The
// statement only extends a session that is there and hasn't ended. A cookie that
// lasts longer than its session harms nothing.
func (c *DjangoCookie) Touch(w http.ResponseWriter, r *http.Request, user *userstore.User, key userstore.Key) {
	s := c.scheme
	if s.touch == 0 {
		return
	}
	now := s.env.Now()
	data := c.parsed.Data()
	ends, err := s.sessions.ExpireDate(data, now)
	if err != nil || ends.Sub(c.ends) < s.touch || !s.touches.begin(key) {
		return
	}
	if !s.sessions.ExpiresAtBrowserClose(data) {
		s.setCookie(w, r, c.value, data, ends.Sub(now))
	}
	ctx := context.WithoutCancel(r.Context())
	go func() {
		defer s.touches.done(key)
		_, err := s.env.Store().Extend(ctx, key, user, now, userstore.Extension{By: ends.Sub(now), AtLeast: s.touch})
		if err != nil && s.touches.mayTell(now) {
			s.env.Logger.Warn("a session of Django's could not be extended", zap.Error(err))
		}
	}()
}

// Close waits for sessions that are being extended.
func (s *DjangoSession) Close() error {
	s.touches.running.Wait()
	return nil
}
