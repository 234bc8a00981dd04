package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// bearer sends a token in Authorization.
func (t *Traffic) bearer(random *rand.Rand) {
	const kind = "bearer token"
	p := pick(random, t.Table.People)
	made, password := t.tokenOf(random, p)
	a := t.ask(random, kind, http.MethodGet, gateway.PathAPI, "Authorization", "Bearer "+made)
	t.judge(kind, a, p, password, http.StatusOK)
}

// query sends a token in the URL, at times with HEAD, at times ahead of a click:
// to a token for many uses that makes no difference.
func (t *Traffic) query(random *rand.Rand) {
	const kind = "token in the query"
	p := pick(random, t.Table.People)
	made, password := t.tokenOf(random, p)
	method, more := http.MethodGet, []string(nil)
	switch random.IntN(4) {
	case 0:
		method = http.MethodHead
	case 1:
		more = []string{"Sec-Purpose", "prefetch"}
	}
	a := t.ask(random, kind, method, gateway.PathAPI+"?page=2&sesame="+made, more...)
	t.judge(kind, a, p, password, http.StatusOK)
}

// session is what a person has after a login.
type session struct {
	person   *people.Person
	password string // that the row had then
	cookie   string
}

// sessions are those of all people.
type sessions struct {
	mu   sync.Mutex
	list []session
}

// mostSessions are kept; then the oldest makes room.
const mostSessions = 300

func (s *sessions) add(one session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == mostSessions {
		s.list = s.list[1:]
	}
	s.list = append(s.list, one)
}

func (s *sessions) pick(random *rand.Rand) (one session, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return session{}, false
	}
	return pick(random, s.list), true
}

// logIn opens a link that logs in.
func (t *Traffic) logIn(random *rand.Rand) {
	const kind = "login by a link"
	p := pick(random, t.Table.People)
	made, password := t.tokenOf(random, p)
	a := t.ask(random, kind, http.MethodGet, gateway.PathSession+"?sesame="+made, "Accept", "text/html")
	t.judge(kind, a, p, password, http.StatusSeeOther)
	if a.status != http.StatusSeeOther {
		return
	}
	if to := a.header.Get("Location"); to != gateway.PathSession {
		t.Books.Violation("%s: it leads to %q", kind, to)
	}
	answer := http.Response{Header: a.header}
	cookies := answer.Cookies()
	if len(cookies) != 1 {
		t.Books.Violation("%s: there are %d cookies", kind, len(cookies))
		return
	}
	t.sessions.add(session{p, password, cookies[0].Name + "=" + cookies[0].Value})
}

// useSession goes on with a session, at whichever gateway.
func (t *Traffic) useSession(random *rand.Rand) {
	const kind = "session"
	s, ok := t.sessions.pick(random)
	if !ok {
		t.logIn(random)
		return
	}
	a := t.ask(random, kind, http.MethodGet, gateway.PathSession, "Cookie", s.cookie)
	t.judge(kind, a, s.person, s.password, http.StatusOK)
}

// refused sends requests that must be rejected.
func (t *Traffic) refused(random *rand.Rand) {
	p := pick(random, t.Table.People)
	password, _ := p.Now()
	user := token.User{Password: &password}
	right := t.create(t.reusable, p, user, time.Now())
	var kind, made string
	switch random.IntN(6) {
	case 0:
		kind, made = "forged token", t.create(t.forged, p, user, time.Now())
	case 1:
		kind, made = "altered token", alter(random, right)
	case 2:
		kind, made = "expired token", t.create(t.reusable, p, user, time.Now().Add(-MaxAge-time.Minute))
	case 3:
		kind, made = "malformed token", right[:random.IntN(len(right)-2)]
	case 4:
		missing := people.Person{ID: people.FirstID - 1 - random.Int64N(1000)}
		made, _ = t.reusable.Create(token.IntKey(missing.ID), user, "", time.Now())
		kind = "token of a missing user"
	default:
		kind = "no token"
	}
	path := gateway.PathAPI
	if kind != "no token" {
		path += "?sesame=" + made
	}
	a := t.ask(random, kind, http.MethodGet, path)
	t.judgeRefusal(kind, a)
}

// judgeRefusal: what can be refused without the row needs no MySQL, except to
// learn the type of the key's column, which a gateway must do once.
func (t *Traffic) judgeRefusal(kind string, a answer) {
	if a.status == 0 {
		return
	}
	t.Books.Count(kind, fmt.Sprint(a.status))
	switch a.status {
	case http.StatusUnauthorized, http.StatusTooManyRequests:
	case http.StatusServiceUnavailable:
		t.judgeUnavailable(kind, a)
	default:
		t.Books.Violation("%s: gateway %s answered %d", kind, a.gateway.Name, a.status)
	}
}

// alter changes one character of a token's signature, of which every one
// counts but the last.
func alter(random *rand.Rand, made string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	bytes := []byte(made)
	at := len(bytes) - 2 - random.IntN(8)
	place := strings.IndexByte(alphabet, bytes[at])
	bytes[at] = alphabet[(place+1+random.IntN(len(alphabet)-1))%len(alphabet)]
	return string(bytes)
}
