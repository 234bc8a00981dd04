package traffic

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/application"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
)

// late is how long a response may go on after its user may no longer log in:
// two looks at the user, and much more for a machine that is busy. Where another
// configuration was loaded, the former one's responses have its grace period.
const late = 2*gateway.Watch + gateway.GracePeriod + 20*time.Second

// holdOpen opens a long response, by a token or a session, or a connection that
// is upgraded, and reads from it for a while, or until it is cut off.
func (t *Traffic) holdOpen(ctx context.Context, random *rand.Rand) {
	p := pick(random, t.Table.People)
	kind, how := "long response", "Authorization: Bearer "
	var credential, password string
	if s, ok := t.sessions.pick(random); ok && random.IntN(2) == 0 {
		p, password, how, credential = s.person, s.password, "Cookie: ", s.cookie
	} else {
		credential, password = t.tokenOf(random, p)
	}
	upgrade, good := "Connection: close\r\n", http.StatusOK
	if random.IntN(2) == 0 {
		kind, good = "WebSocket", http.StatusSwitchingProtocols
		upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	}
	keep := time.Duration(5+random.IntN(25)) * time.Second
	g := pick(random, t.Gateways)

	a := answer{gateway: g, sent: time.Now()}
	conn, err := net.DialTimeout("tcp", g.Address, noAnswerAfter)
	if err != nil {
		a.answered = time.Now()
		t.noAnswer(kind, a, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(noAnswerAfter)) // an error shows with the next read
	_, _ = fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n\r\n",
		gateway.PathSession, application.PathLong, gateway.Host, upgrade, how, credential)
	from := bufio.NewReader(conn)
	got, err := http.ReadResponse(from, nil) //nolint:bodyclose // that would read it to its end, which never comes
	a.answered = time.Now()
	if err != nil {
		t.noAnswer(kind, a, err)
		return
	}
	a.status, a.header = got.StatusCode, got.Header
	t.judge(kind, a, p, password, good)
	if a.status != good {
		return
	}
	body := io.Reader(got.Body)
	if good == http.StatusSwitchingProtocols {
		body = from // what follows is no body
	}
	l := long{traffic: t, kind: kind, person: p, password: password, answer: a}
	l.read(ctx, conn, body, a.sent.Add(keep))
}

// long is a response that goes on.
type long struct {
	traffic  *Traffic
	kind     string
	person   *people.Person
	password string
	answer   answer
}

// read reads until it has been long enough, or the response ends.
func (l *long) read(ctx context.Context, conn net.Conn, body io.Reader, until time.Time) {
	books, tick := l.traffic.Books, make([]byte, len(application.Tick))
	for ctx.Err() == nil && time.Now().Before(until) {
		_ = conn.SetReadDeadline(time.Now().Add(noAnswerAfter)) // an error shows with the next read
		if _, err := io.ReadFull(body, tick); err != nil {
			l.judgeEnd(err)
			return
		}
		if string(tick) != application.Tick {
			books.Violation("%s: %q came in the place of a tick", l.kind, tick)
			return
		}
		if since, isLate := l.isLate(time.Now()); isLate {
			books.Violation("%s: it goes on %s after %s was refused for certain", l.kind, time.Since(since).Round(time.Millisecond), l.person.Name)
			return
		}
	}
	books.Count(l.kind, "open until the end")
}

// isLate reports whether a response should have been cut off by now. While MySQL
// is away no user can be looked up, and a reload begins anew.
func (l *long) isLate(now time.Time) (since time.Time, isLate bool) {
	since, refused := l.person.RefusedSince(l.password)
	if !refused {
		return since, false
	}
	begin := since
	for _, spans := range []interface {
		Last() (end time.Time, open bool)
	}{&l.traffic.Books.MySQL, &l.answer.gateway.Reloading} {
		end, open := spans.Last()
		if open {
			return since, false
		}
		if end.After(begin) {
			begin = end
		}
	}
	return since, now.Sub(begin) > late
}

// judgeEnd: a response ends early if its user was refused at some time since,
// or with the gateway that it came from.
func (l *long) judgeEnd(err error) {
	now, g, books := time.Now(), l.answer.gateway, l.traffic.Books
	switch {
	case l.person.Verdict(l.password, l.answer.sent, now).MayBeRefused:
		books.Count(l.kind, "cut off after a change of the row")
	case g.Away.Touch(l.answer.sent, now, 0):
		books.Count(l.kind, "ended with the gateway")
	case g.Reloading.Touch(l.answer.sent, now, 0):
		books.Count(l.kind, "ended by a reload")
	default:
		books.Violation("%s of %s at gateway %s was cut off after %s, for no reason: %s",
			l.kind, l.person.Name, g.Name, now.Sub(l.answer.sent).Round(time.Millisecond), strings.TrimSpace(err.Error()))
	}
}
