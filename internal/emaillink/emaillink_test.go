package emaillink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// gateway has Links with users in memory, and a clock that the test sets.
type gateway struct {
	*Links
	mu      sync.Mutex
	now     time.Time
	users   []*userstore.User
	lookups [][]string
	hold    chan struct{} // look-ups wait for its end; nil for none
	mails   chan mail.Message
}

func (g *gateway) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gateway) pass(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

func (g *gateway) FindByAddress(ctx context.Context, addresses []string) (map[string][]*userstore.User, error) {
	g.mu.Lock()
	g.lookups = append(g.lookups, addresses)
	hold := g.hold
	g.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	found := make(map[string][]*userstore.User)
	for _, address := range addresses {
		for _, user := range g.users {
			if userstore.FoldAddress(*user.Email) == userstore.FoldAddress(address) {
				found[address] = append(found[address], user)
			}
		}
	}
	return found, nil
}

func (g *gateway) Send(m mail.Message) error {
	g.mails <- m
	return nil
}

var errForbidden = errors.New("forbidden")

func newUser(id int64, email string) *userstore.User {
	password, last := "pbkdf2", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &userstore.User{PrimaryKey: token.IntKey(id), IsActive: true, Username: "u", User: token.User{Password: &password, Email: &email, LastLogin: &last}}
}

// newGateway makes Links for a site whose limits no other test shares.
func newGateway(t *testing.T, change func(*Config)) *gateway {
	t.Helper()
	g := &gateway{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), mails: make(chan mail.Message, 1000)}
	cfg := &Config{BaseURL: "https://" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", ",", "").Replace(t.Name())) + ".example"}
	if change != nil {
		change(cfg)
	}
	var err error
	g.Links, err = New(cfg, Environment{
		Users: func() Users { return g },
		Accepts: func(user *userstore.User) error {
			if user.IsStaff {
				return errForbidden
			}
			return nil
		},
		Site: func(context.Context) (token.Settings, error) {
			return token.Settings{SecretKey: "key", Encoding: token.LongPacker}, nil
		},
		Path: "/_sesame/login", TokenName: "sesame", Key: []byte("key of links"), Now: g.clock, Logger: zap.NewNop(), Mail: g,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func english(t *testing.T) Language {
	t.Helper()
	pages, err := page.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pages.Language(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
}

func (g *gateway) ask(t *testing.T, address string, client int) (*Pending, error) {
	t.Helper()
	return g.Ask(Request{
		Address: address, Client: limit.Client(client), Tie: "TIE", Scope: "scope", Next: "/reports/7?x=1",
		Length: session.Remembered, Language: english(t),
	})
}

// nextMail waits for a mail.
func (g *gateway) nextMail(t *testing.T) mail.Message {
	t.Helper()
	select {
	case m := <-g.mails:
		return m
	case <-time.After(time.Minute):
		t.Fatal("no mail came")
		panic("unreachable")
	}
}

// codeIn is the code in the text of a mail.
func codeIn(t *testing.T, m mail.Message) string {
	t.Helper()
	for line := range strings.Lines(m.Text) {
		if line = strings.TrimSpace(line); len(line) == codeSize+1 && line[codeHalf] == '-' {
			return line
		}
	}
	t.Fatalf("the mail has no code: %s", m.Text)
	return ""
}

// TestMailGoesToTheStoredAddress: of each user who may log in, not to the typed one.
func TestMailGoesToTheStoredAddress(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	inactive, forbidden := newUser(3, "ann@example.com"), newUser(4, "ann@example.com")
	inactive.IsActive, forbidden.IsStaff = false, true
	g.users = []*userstore.User{newUser(1, "Ann@example.com"), newUser(2, "ann@Example.com"), inactive, forbidden, newUser(5, "bob@example.com")}
	if _, err := g.ask(t, "ANN@example.com", 1); err != nil {
		t.Fatal(err)
	}
	first, second := g.nextMail(t), g.nextMail(t)
	if first.To != "Ann@example.com" || second.To != "ann@Example.com" {
		t.Errorf("mails to %s and %s", first.To, second.To)
	}
	if first.Language != "en" || !strings.Contains(first.Text, "https://") || !strings.Contains(first.HTML, `<a href="https://`) {
		t.Errorf("the mail is %+v", first)
	}
	g.working.Wait()
	if n := len(g.mails); n != 0 {
		t.Errorf("%d more mails", n)
	}
}

// TestAskingLooksNothingUp: the answer is there while the store hangs.
func TestAskingLooksNothingUp(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	g.hold = make(chan struct{})
	g.users = []*userstore.User{newUser(1, "ann@example.com")}
	for i, address := range []string{"ann@example.com", "nobody@example.com", "odd..@-", "ann@example.com"} {
		pending, err := g.ask(t, address, i+1)
		if err != nil || pending == nil {
			t.Errorf("%s: %v, %v", address, pending, err)
		}
	}
	close(g.hold)
	g.nextMail(t)
}

// TestLinksAreLimited: by address and in total without a sign, by client with one.
func TestLinksAreLimited(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(c *Config) {
		c.LimitTotal = &Limit{12, caddy.Duration(time.Minute)}
	})
	var asked int
	accepted := func(address string, client int) bool {
		t.Helper()
		asked++
		if _, err := g.ask(t, address, client); err != nil {
			if _, ok := errors.AsType[*limit.Exceeded](err); !ok {
				t.Fatal(err)
			}
			return false
		}
		return true
	}
	inQueue := func() int {
		g.working.Wait()
		n := 0
		for _, addresses := range g.lookups {
			n += len(addresses)
		}
		return n
	}
	for i := range 5 {
		if !accepted("ann@example.com", 100+i) {
			t.Error("the limit of an address shows")
		}
	}
	if n := inQueue(); n != 3 {
		t.Errorf("%d look-ups for an address, want 3", n)
	}
	for i := range 10 {
		if ok := accepted(fmt.Sprintf("ann@%d.example", i%2), 7); !ok {
			t.Errorf("client's request %d is over the limit", i)
		}
	}
	if accepted("new@example.com", 7) {
		t.Error("a client's request 11 is accepted")
	}
	for i := range 20 {
		accepted(fmt.Sprintf("u%d@example.com", i), 200+i)
	}
	if n := inQueue(); n != 12 {
		t.Errorf("%d look-ups in total, want 12", n)
	}
	g.pass(6 * time.Minute)
	if !accepted("ann@example.com", 7) || inQueue() != 13 {
		t.Error("nothing is accepted after a while")
	}
}

// TestFloodLeavesRoomForOthers: a client that fills the queue loses its own requests.
func TestFloodLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(c *Config) {
		c.LimitTotal, c.LimitClient = &Limit{100_000, caddy.Duration(time.Minute)}, &Limit{100_000, caddy.Duration(time.Minute)}
	})
	g.hold = make(chan struct{})
	g.users = []*userstore.User{newUser(1, "ann@example.com")}
	for i := range 2 * queueLength {
		if _, err := g.ask(t, fmt.Sprintf("u%d@example.com", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.ask(t, "ann@example.com", 2); err != nil {
		t.Fatal(err)
	}
	g.queue.mu.Lock()
	if g.queue.waiting > queueLength {
		t.Errorf("%d requests wait", g.queue.waiting)
	}
	g.queue.mu.Unlock()
	close(g.hold)
	g.nextMail(t)
	g.working.Wait()
	if turn := len(g.lookups); turn < 2 || !strings.Contains(strings.Join(append(g.lookups[0], g.lookups[1]...), " "), "ann@example.com") {
		t.Errorf("the second client waited for the first one's requests, of %d look-ups", turn)
	}
}

// TestLinkIsBoundToWhatItSays: with other parameters, or the site's key, the token
// isn't valid.
func TestLinkIsBoundToWhatItSays(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	user := newUser(1, "ann@example.com")
	g.users = []*userstore.User{user}
	if _, err := g.ask(t, "ann@example.com", 1); err != nil {
		t.Fatal(err)
	}
	link, made := linkIn(t, g.nextMail(t))
	if !g.IsFrom(link, []string{"other", "TIE"}) || g.IsFrom(link, []string{"other", ""}) {
		t.Error("the browser that asked isn't recognized, or another one is")
	}
	other := link
	other.Browser = g.browser("other")
	shared := link
	shared.Length = session.Shared
	tokens, err := g.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	site, err := token.New(token.Settings{SecretKey: "key", Encoding: token.LongPacker, OneTime: true, MaxAge: new(defaultMaxAge), InvalidateOnEmailChange: true, SignatureSize: signatureSize})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		tokens *token.Tokens
		scope  string
		after  time.Duration
		want   error
	}{
		"as it is":       {tokens, "scope" + link.Bound(), 0, nil},
		"another page":   {tokens, "other" + link.Bound(), 0, token.BadSignature},
		"other browser":  {tokens, "scope" + other.Bound(), 0, token.BadSignature},
		"other length":   {tokens, "scope" + shared.Bound(), 0, token.BadSignature},
		"the site's key": {site, "scope" + link.Bound(), 0, token.BadSignature},
		"too late":       {tokens, "scope" + link.Bound(), defaultMaxAge + 2*time.Second, token.Expired},
	} {
		parsed, err := test.tokens.Parse(made, token.Expectation{Scope: test.scope, Now: g.clock().Add(test.after)})
		if err == nil {
			err = test.tokens.Verify(&parsed, user.User)
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestFloodOfRequestsIsLoggedInFewLines: ten for each reason, and how many were left
// out with the first one a minute later.
func TestFloodOfRequestsIsLoggedInFewLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, func(cfg *Config) {
			cfg.LimitClient, cfg.LimitTotal = &Limit{mostLinks, caddy.Duration(time.Second)}, &Limit{1, caddy.Duration(time.Hour)}
		})
		core, logged := observer.New(zap.InfoLevel)
		g.Links.env.Logger = zap.New(core)
		request := Request{Tie: "TIE", Next: "/reports/7?x=1", Language: english(t)}
		ask := func(times int) {
			for i := range times {
				request.Address, request.Client = fmt.Sprintf("user%d@example.com", i), limit.Client(i)
				if _, err := g.Ask(request); err != nil {
					t.Fatal(err)
				}
			}
		}
		ask(1001)
		if n := logged.Len(); n != mostLines {
			t.Errorf("%d lines, want %d", n, mostLines)
		}
		time.Sleep(linesPer)
		logged.TakeAll()
		ask(1)
		lines := logged.TakeAll()
		if len(lines) != 1 || lines[0].ContextMap()["omitted"] != int64(1000-mostLines) || lines[0].ContextMap()["reason"] != resultOverTotal.String() {
			t.Errorf("after a minute: %v", lines)
		}
	})
}
