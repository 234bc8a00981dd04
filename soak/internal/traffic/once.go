package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
	"github.com/caddy-sesame/caddy-sesame/token"
)

const kindOnce = "one-time token"

// pages numbers the pages that one-time links lead to, so that each has one of
// its own.
var pages atomic.Int64

// use is what became of a one-time token.
type use struct {
	passed  atomic.Int32 // accepted requests
	unclear atomic.Int32 // requests that may have been accepted: 503, or no answer
	refused atomic.Int32
}

// useOnce has several clients use one token at once, over all gateways, each
// until it is let in or refused. In front of them, and among them, scanners
// open the link. No other goroutine changes the person's row.
func (t *Traffic) useOnce(random *rand.Rand, p *people.Person) {
	ctx := context.Background()
	before, err := t.Table.LastLogin(ctx, p)
	if err != nil {
		t.Books.Violation("reading last_login: %v", err)
		return
	}
	password, _ := p.Now()
	made := t.create(t.once, p, token.User{Password: &password, LastLogin: before}, time.Now())
	path := fmt.Sprintf("%s%d", gateway.PathOnce, pages.Add(1))
	link := path + "?sesame=" + made
	t.Application.Watch(path)

	if random.IntN(2) == 0 {
		t.scan(random, link, false)
	}
	var u use
	var users sync.WaitGroup
	for i := range 2 + random.IntN(4) {
		own := rand.New(rand.NewPCG(random.Uint64(), 2)) //nolint:gosec // it is to be repeatable
		if i > 0 && random.IntN(4) == 0 {
			users.Go(func() { t.scan(own, link, true) })
			continue
		}
		users.Go(func() { t.useUntilClear(own, i, link, p, &u) })
	}
	users.Wait()
	t.judgeUse(ctx, p, path, before, &u)

	// It is used up now, by one request or another.
	a := t.ask(random, "one-time token again", http.MethodGet, link)
	t.judgeRefusal("one-time token again", a)
}

// useUntilClear uses a token until it is known what became of it.
func (t *Traffic) useUntilClear(random *rand.Rand, first int, link string, p *people.Person, u *use) {
	deadline := time.Now().Add(4 * noAnswerAfter)
	address := clientAddress(random)
	for i := first; ; i++ {
		a := t.send(t.fresh, t.Gateways[i%len(t.Gateways)], kindOnce, http.MethodGet, link, "X-Forwarded-For", address)
		if a.status != 0 {
			t.Books.Count(kindOnce, fmt.Sprint(a.status))
		}
		switch a.status {
		case http.StatusOK:
			u.passed.Add(1)
			return
		case http.StatusUnauthorized, http.StatusTooManyRequests:
			u.refused.Add(1)
			return
		case http.StatusServiceUnavailable:
			if !t.Books.ReadOnly.Touch(a.sent, a.answered, settle) {
				t.judgeUnavailable(kindOnce, a)
			}
			u.unclear.Add(1)
		case 0:
			u.unclear.Add(1)
		default:
			t.Books.Violation("%s: gateway %s answered %d", kindOnce, a.gateway.Name, a.status)
			u.unclear.Add(1)
		}
		if time.Now().After(deadline) {
			t.Books.Violation("%s of %s: it was neither used nor refused", kindOnce, p.Name)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// judgeUse: exactly one request got through, unless the answer to it was lost.
func (t *Traffic) judgeUse(ctx context.Context, p *people.Person, path string, before *time.Time, u *use) {
	after, err := t.Table.LastLogin(ctx, p)
	if err != nil {
		t.Books.Violation("reading last_login: %v", err)
		return
	}
	arrived := t.Application.Arrived(path)
	isWritten := after != nil && (before == nil || !after.Equal(*before))
	passed, unclear := int(u.passed.Load()), int(u.unclear.Load())
	what := fmt.Sprintf("%s of %s (let in %d, unclear %d, refused %d, reached the application %d, last_login written: %v)",
		kindOnce, p.Name, passed, unclear, u.refused.Load(), arrived, isWritten)
	const kind = "one-time tokens"
	switch {
	case passed > 1 || arrived > 1:
		t.Books.Violation("%s: it was used more than once", what)
	case !isWritten:
		t.Books.Violation("%s: no request used it up", what)
	case passed == 1 && arrived == 1:
		t.Books.Count(kind, "used once")
	case passed == 0 && unclear > 0 && arrived == 1:
		t.Books.Count(kind, "used once, and the answer was lost")
	case passed == 0 && unclear > 0:
		t.Books.Count(kind, "used up by a request that got 503 or no answer")
	default:
		t.Books.Violation("%s: no request was accepted, for no reason", what)
	}
}

// scan opens a link as scanners and browsers do before the user clicks. late:
// the token may be used up meanwhile.
func (t *Traffic) scan(random *rand.Rand, link string, late bool) {
	method, good, more := http.MethodHead, http.StatusOK, []string(nil)
	kind := "one-time token, HEAD"
	switch random.IntN(3) {
	case 0:
		kind, method, good, more = "one-time token, prefetch", http.MethodGet, http.StatusNoContent, []string{"Sec-Purpose", "prefetch"}
	case 1:
		kind, method, more = "one-time token, page with a button", http.MethodGet, []string{"Accept", "text/html"}
	}
	a := t.ask(random, kind, method, link, more...)
	if a.status == 0 {
		return
	}
	t.Books.Count(kind, fmt.Sprint(a.status))
	switch a.status {
	case good:
		if a.header.Get("Seen-User") != "" {
			t.Books.Violation("%s: it reached the application", kind)
		}
	case http.StatusUnauthorized, http.StatusTooManyRequests:
		if !late {
			t.Books.Violation("%s: gateway %s refused a token that no request has used", kind, a.gateway.Name)
		}
	case http.StatusServiceUnavailable:
		t.judgeUnavailable(kind, a)
	default:
		t.Books.Violation("%s: gateway %s answered %d", kind, a.gateway.Name, a.status)
	}
}
