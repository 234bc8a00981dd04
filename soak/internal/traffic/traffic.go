// Package traffic is the clients of a soak: people with tokens and sessions,
// programs, scanners, and those who have no business there. Each request is
// judged by what the user's row said while it was on its way.
package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/application"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Traffic is what all clients have in common.
type Traffic struct {
	Books       *ledger.Ledger
	Gateways    []*gateway.Gateway
	Table       *people.Table
	Application *application.Application

	reusable, once, forged *token.Tokens
	sessions               sessions

	// Programs keep their connections. Each one-time token gets new ones: on one
	// that broke, Go's client sends a request again by itself, and counts it once.
	keeping, fresh *http.Client
}

// How many clients there are of those that wait for each other. The rate is
// shared among the first.
const (
	clients        = 16
	oneTimeClients = 4
	longClients    = 8
)

// MaxAge of tokens is longer than a request takes, and tokens are made anew for
// each.
const MaxAge = time.Hour

// New prepares clients that make tokens with a key.
func New(secretKey string, books *ledger.Ledger, table *people.Table, app *application.Application, gateways []*gateway.Gateway) (*Traffic, error) {
	t := &Traffic{Books: books, Gateways: gateways, Table: table, Application: app}
	for _, made := range []struct {
		tokens  **token.Tokens
		key     string
		oneTime bool
	}{{&t.reusable, secretKey, false}, {&t.once, secretKey, true}, {&t.forged, secretKey + "?", false}} {
		var err error
		*made.tokens, err = token.New(token.Settings{
			SecretKey: made.key, OneTime: made.oneTime, MaxAge: new(MaxAge), Encoding: token.LongPacker,
		})
		if err != nil {
			return nil, err
		}
	}
	t.keeping, t.fresh = newClient(false), newClient(true)
	return t, nil
}

// noAnswerAfter is longer than a gateway may take for anything.
const noAnswerAfter = 30 * time.Second

func newClient(fresh bool) *http.Client {
	return &http.Client{
		Timeout:       noAnswerAfter,
		Transport:     &http.Transport{DisableKeepAlives: fresh, MaxIdleConnsPerHost: clients, IdleConnTimeout: 5 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Run makes requests, about so many each second, until ctx ends, and returns
// when all of them are over. The same seed makes the same choices.
func (t *Traffic) Run(ctx context.Context, seed uint64, rate int) {
	var all sync.WaitGroup
	start := func(n int, interval time.Duration, client func(*rand.Rand)) {
		for range n {
			seed++
			random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // it is to be repeatable
			all.Go(func() { every(ctx, interval, func() { client(random) }) })
		}
	}
	start(clients, clients*time.Second/time.Duration(rate), t.request)
	start(1, 250*time.Millisecond, t.changeUser)
	share := len(t.Table.Once) / oneTimeClients
	for i := range oneTimeClients {
		mine := t.Table.Once[i*share : (i+1)*share]
		start(1, 200*time.Millisecond, func(random *rand.Rand) { t.useOnce(random, pick(random, mine)) })
	}
	for range longClients {
		start(1, 100*time.Millisecond, func(random *rand.Rand) { t.holdOpen(ctx, random) })
	}
	all.Wait()
	t.keeping.CloseIdleConnections()
}

// every calls a function, and again after an interval or when it is done,
// whichever is later.
func every(ctx context.Context, interval time.Duration, do func()) {
	next := time.NewTicker(interval)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			do()
		}
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// changeUser gives a user a new password, or deactivates the user, or activates
// one again.
func (t *Traffic) changeUser(random *rand.Rand) {
	p := pick(random, t.Table.People)
	_, active := p.Now()
	what, change := "new password", func(ctx context.Context) error { return t.Table.ChangePassword(ctx, p) }
	if n := random.IntN(10); !active && n < 7 || active && n < 3 {
		what = map[bool]string{true: "deactivated", false: "activated"}[active]
		change = func(ctx context.Context) error { return t.Table.SetActive(ctx, p, !active) }
	}
	if err := change(context.Background()); err != nil {
		t.Books.Violation("changing a user's row: %v", err)
		return
	}
	t.Books.Count("changes of rows", what)
}

// request makes one of the short requests.
func (t *Traffic) request(random *rand.Rand) {
	switch n := random.IntN(100); {
	case n < 30:
		t.bearer(random)
	case n < 50:
		t.query(random)
	case n < 60:
		t.logIn(random)
	case n < 80:
		t.useSession(random)
	default:
		t.refused(random)
	}
}

// answer is what became of one request to one gateway.
type answer struct {
	gateway        *gateway.Gateway
	status         int // 0 for none
	header         http.Header
	sent, answered time.Time
}

// send sends one request. That there is no answer is right only where the
// gateway was killed, or took another configuration: Linux resets what waits at
// a listener that is replaced, in any Caddy.
func (t *Traffic) send(client *http.Client, g *gateway.Gateway, kind, method, path string, header ...string) answer {
	request, err := http.NewRequestWithContext(context.Background(), method, "http://"+g.Address+path, nil)
	if err != nil {
		panic(err) // the paths are ours
	}
	request.Host = gateway.Host
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	a := answer{gateway: g, sent: time.Now()}
	got, err := client.Do(request)
	a.answered = time.Now()
	if err != nil {
		t.noAnswer(kind, a, err)
		return a
	}
	_ = got.Body.Close() // what it says doesn't matter
	a.status, a.header = got.StatusCode, got.Header
	return a
}

// settle is for how long after a gateway is back, or MySQL is, something may
// still be a consequence.
const settle = 2 * time.Second

func (t *Traffic) noAnswer(kind string, a answer, err error) {
	switch {
	case a.gateway.Away.Touch(a.sent, a.answered, settle):
		t.Books.Count(kind, "no answer: gateway away")
	case a.gateway.Reloading.Touch(a.sent, a.answered, settle):
		t.Books.Count(kind, "no answer: reload")
	default:
		t.Books.Violation("%s: no answer of gateway %s after %s: %v", kind, a.gateway.Name, a.answered.Sub(a.sent), err)
	}
}

// ask sends a request until a gateway answers, the next one where one doesn't,
// as a load balancer in front of them would.
func (t *Traffic) ask(random *rand.Rand, kind, method, path string, header ...string) answer {
	header = append(header, "X-Forwarded-For", clientAddress(random))
	deadline := time.Now().Add(noAnswerAfter)
	for i := random.IntN(len(t.Gateways)); ; i++ {
		a := t.send(t.keeping, t.Gateways[i%len(t.Gateways)], kind, method, path, header...)
		switch {
		case a.status != 0:
			return a
		case time.Now().After(deadline):
			t.Books.Violation("%s: no gateway answers", kind)
			return a
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// clientAddress is one of many, a few of which make many requests.
func clientAddress(random *rand.Rand) string {
	if random.IntN(4) == 0 {
		return fmt.Sprintf("203.0.113.%d", 1+random.IntN(4))
	}
	return fmt.Sprintf("198.18.%d.%d", random.IntN(256), random.IntN(256))
}

// judge compares an answer to a request with a token, or a session that was
// begun with one, with what the person's row said. good is the status of one
// that passes.
func (t *Traffic) judge(kind string, a answer, p *people.Person, password string, good int) {
	if a.status == 0 {
		return // noAnswer has told
	}
	t.Books.Count(kind, fmt.Sprint(a.status))
	v := p.Verdict(password, a.sent, a.answered)
	took := a.answered.Sub(a.sent)
	switch a.status {
	case good:
		if !v.MayPass && !t.mayBeStale(a, p, password, good) {
			t.Books.Violation("%s: gateway %s let %s in, whose row said otherwise since before the request was sent, %s before its answer", kind, a.gateway.Name, p.Name, took)
		}
		if seen := a.header.Get(application.SeenUser); good == http.StatusOK && seen != p.Name {
			t.Books.Violation("%s: the application took %s for %q", kind, p.Name, seen)
		}
	case http.StatusUnauthorized, http.StatusTooManyRequests:
		if !v.MayBeRefused {
			t.Books.Violation("%s: gateway %s refused %s with %d, whose row was right all the %s", kind, a.gateway.Name, p.Name, a.status, took)
		}
	case http.StatusServiceUnavailable:
		t.judgeUnavailable(kind, a)
	default:
		t.Books.Violation("%s: gateway %s answered %d", kind, a.gateway.Name, a.status)
	}
}

// mayBeStale reports whether a request may have been let in by a row that is as old as
// the lease, at a gateway that follows the binlog. Logins and rejections never rest on
// such a row.
func (t *Traffic) mayBeStale(a answer, p *people.Person, password string, good int) bool {
	return good == http.StatusOK && p.Verdict(password, a.sent.Add(-a.gateway.Stale()), a.answered).MayPass
}

// judgeUnavailable: 503 is right where MySQL was away.
func (t *Traffic) judgeUnavailable(kind string, a answer) {
	if !t.Books.MySQL.Touch(a.sent, a.answered, settle) {
		t.Books.Violation("%s: gateway %s answered 503 after %s, though MySQL was there", kind, a.gateway.Name, a.answered.Sub(a.sent))
	}
	if a.header.Get("Retry-After") == "" {
		t.Books.Violation("%s: a 503 without Retry-After", kind)
	}
}

// tokenOf makes a token for a person, with the password that the row has now or,
// now and then, one that it had.
func (t *Traffic) tokenOf(random *rand.Rand, p *people.Person) (made, password string) {
	password, _ = p.Now()
	if former, ok := p.Former(); ok && random.IntN(10) == 0 {
		password = former
	}
	return t.create(t.reusable, p, token.User{Password: &password}, time.Now()), password
}

func (t *Traffic) create(tokens *token.Tokens, p *people.Person, user token.User, at time.Time) string {
	made, err := tokens.Create(token.IntKey(p.ID), user, "", at)
	if err != nil {
		panic(err) // the settings don't ask for what isn't there
	}
	if !strings.HasPrefix(made, people.TokenPrefix) {
		panic("a token doesn't begin as all of them do: " + made)
	}
	return made
}
