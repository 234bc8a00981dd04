package watch

import (
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Session is the login that a response belongs to. The gateway's own sessions
// have no ID, so two logins of a user within one second count as the same session.
// A session of Django's has a Mark alone.
type Session struct {
	Audience string // hash of the keys that the session is signed with
	User     token.PrimaryKey
	Login    int64 // in Unix seconds

	Mark string // identifies a session that is in a table
}

// responses are the open responses of sessions, of all watchers: a logout at
// one handler ends responses of other handlers. They are in shards by the time
// of the login or by the mark, so that requests of different sessions mostly take different
// locks.
var responses [64]shard

// shard is a list of open responses.
type shard struct {
	mu    sync.Mutex
	first *guarded
}

func (s *Session) shard() *shard {
	number := uint64(s.Login) //nolint:gosec // any number will do
	if s.Mark != "" {
		number = maphash.String(seed, s.Mark)
	}
	return &responses[number%uint64(len(responses))]
}

// seed is for the shards of marks.
var seed = maphash.MakeSeed()

// GuardSession is Guard for a response of a session, which EndSession can end.
func (w *Watcher) GuardSession(to http.ResponseWriter, r *http.Request, session Session, key userstore.Key, until time.Time, why func(*userstore.User) Reason) (http.ResponseWriter, *http.Request, func()) {
	g, writer, r := w.guard(to, r, key, until, why)
	s := session.shard()
	s.mu.Lock()
	defer s.mu.Unlock()
	g.session, g.shard = session, s
	if g.next = s.first; g.next != nil {
		g.next.previous = g
	}
	s.first = g
	return writer, r, g.done
}

// unlink removes a response from those of its session.
func (g *guarded) unlink() {
	s := g.shard
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.previous != nil {
		g.previous.next = g.next
	} else {
		s.first = g.next
	}
	if g.next != nil {
		g.next.previous = g.previous
	}
	g.shard, g.next, g.previous = nil, nil, nil
}

// reconnectTime is the time after a logout in which a browser may still send
// the cookie: a script may reopen a closed WebSocket before the browser gets
// the response to the logout.
const reconnectTime = 2 * time.Second

// EndSession ends the open responses of a session, at once and again when the
// browser must have received the response to the logout.
func EndSession(session Session) {
	endSession(session)
	time.AfterFunc(reconnectTime, func() { endSession(session) })
}

func endSession(session Session) {
	s := session.shard()
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := s.first; g != nil; g = g.next {
		if g.session == session {
			g.mu.Lock()
			g.end(LoggedOut)
			g.mu.Unlock()
		}
	}
}
