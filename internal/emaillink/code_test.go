package emaillink

import (
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/internal/seal"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// linkIn is the link in the text of a mail, and its token.
func linkIn(t *testing.T, m mail.Message) (Link, string) {
	t.Helper()
	for line := range strings.Lines(m.Text) {
		if !strings.HasPrefix(line, "https://") {
			continue
		}
		found, err := url.Parse(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		link, ok := LinkOf(found.Query())
		if !ok || found.Path != "/_sesame/login" || found.Query().Get("next") != "/reports/7?x=1" {
			t.Fatalf("the link is %s", found)
		}
		return link, found.Query().Get("sesame")
	}
	t.Fatalf("the mail has no link: %s", m.Text)
	return Link{}, ""
}

// TestCodeIsForOneBrowserAndUse: in any form in which users type it, and neither for
// another browser, page, user or mail, nor after a login.
func TestCodeIsForOneBrowserAndUse(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	ann, twin := newUser(1, "ann@example.com"), newUser(2, "ann@example.com")
	g.users = []*userstore.User{ann, twin}
	pending, err := g.ask(t, "ann@example.com", 1)
	if err != nil {
		t.Fatal(err)
	}
	code, twins := codeIn(t, g.nextMail(t)), codeIn(t, g.nextMail(t))
	sealed, err := g.Sealed(pending, "TIE", "scope")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(sealed, "ann") {
		t.Error("the form shows the address")
	}
	whose := func(typed string) (token.PrimaryKey, error) {
		opened, err := g.Open(sealed, []string{"old", "TIE"}, "scope")
		if err != nil {
			t.Fatal(err)
		}
		g.counts.attempts.used = make(map[string]*tried)
		try, err := g.Try(opened, typed)
		if err != nil {
			return token.PrimaryKey{}, err
		}
		return try.Whose(t.Context())
	}
	for _, typed := range []string{code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), " " + code + " ", strings.ReplaceAll(code, "0", "o"), strings.ReplaceAll(code, "1", "l")} {
		if pk, err := whose(typed); err != nil || pk != ann.PrimaryKey {
			t.Errorf("%q is of %s: %v", typed, pk, err)
		}
	}
	if pk, err := whose(twins); err != nil || pk != twin.PrimaryKey {
		t.Errorf("the other user's code is of %s: %v", pk, err)
	}
	looked := len(g.lookups)
	for _, typed := range []string{"", "ABCD", "0000-0000", code + "0", "ünïcöde!", twins[:4] + "\x00\x00\x00\x00"} {
		if _, err := whose(typed); !errors.Is(err, ErrWrongCode) {
			t.Errorf("%q: %v", typed, err)
		}
	}
	if n := len(g.lookups) - looked; n > 1 { // that with the right first half
		t.Errorf("%d look-ups for wrong codes", n)
	}
	for name, open := range map[string]func() (*Pending, error){
		"another browser": func() (*Pending, error) { return g.Open(sealed, []string{"OTHER", ""}, "scope") },
		"another page":    func() (*Pending, error) { return g.Open(sealed, []string{"TIE"}, "other") },
		"cut":             func() (*Pending, error) { return g.Open(sealed[:20], []string{"TIE"}, "scope") },
		"none":            func() (*Pending, error) { return g.Open("", []string{"TIE"}, "scope") },
		"no base64":       func() (*Pending, error) { return g.Open("!"+sealed, []string{"TIE"}, "scope") },
	} {
		if _, err := open(); !errors.Is(err, ErrNotPending) {
			t.Errorf("%s: %v", name, err)
		}
	}
	row := *ann
	for name, change := range map[string]func(){
		"a login":                       func() { ann.LastLogin = new(ann.LastLogin.Add(time.Second)) },
		"a new password":                func() { ann.Password = new("other") },
		"a new address":                 func() { ann.Email = new("Ann@example.com") },
		"another user with the address": func() { ann.PrimaryKey = token.IntKey(3) },
	} {
		change()
		if pk, err := whose(code); !errors.Is(err, ErrWrongCode) {
			t.Errorf("after %s: %s, %v", name, pk, err)
		}
		*ann = row
	}
	g.pass(defaultMaxAge + time.Second)
	if _, err := g.Open(sealed, []string{"TIE"}, "scope"); !errors.Is(err, ErrExpired) {
		t.Errorf("too late: %v", err)
	}
}

// TestFiveCodesCanBeTried: the sixth is rejected, even if it is the right one, and
// also by the handlers of the next configuration.
func TestFiveCodesCanBeTried(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	g.users = []*userstore.User{newUser(1, "ann@example.com")}
	pending, err := g.ask(t, "ann@example.com", 1)
	if err != nil {
		t.Fatal(err)
	}
	code := codeIn(t, g.nextMail(t))
	for i := range mostAttempts {
		try, err := g.Try(pending, "0000-0000")
		if err != nil || try.Left != mostAttempts-1-i {
			t.Fatalf("attempt %d: %+v, %v", i, try, err)
		}
	}
	next := newGateway(t, nil) // of the same site
	for _, gateway := range []*gateway{g, next} {
		if _, err := gateway.Try(pending, code); !errors.Is(err, ErrNoneLeft) {
			t.Errorf("the sixth: %v", err)
		}
	}
}

// TestAttemptsFillABoundedTable: when it is full, no code is accepted until links
// have expired.
func TestAttemptsFillABoundedTable(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := attempts{used: make(map[string]*tried)}
	for i := range mostTried {
		if _, ok := a.take(string(rune(i))+"x", now, now.Add(time.Minute)); !ok {
			t.Fatalf("attempt %d is rejected", i)
		}
	}
	if _, ok := a.take("another", now, now.Add(time.Minute)); ok {
		t.Error("there is room for more")
	}
	if _, ok := a.take("another", now.Add(2*time.Minute), now.Add(3*time.Minute)); !ok {
		t.Error("there is no room after links have expired")
	}
	if n := len(a.used); n != 1 {
		t.Errorf("%d links are remembered", n)
	}
}

// TestRateIsBounded: it holds no more keys than it may.
func TestRateIsBounded(t *testing.T) {
	t.Parallel()
	r, now := newRate(Limit{1, 1_000_000_000}), time.Unix(1_800_000_000, 0)
	for i := range uint64(mostKeys + 1000) {
		if r.take(i, now) > 0 {
			t.Fatalf("key %d is over the limit", i)
		}
	}
	if n := len(r.forgotten); n > mostKeys {
		t.Errorf("%d keys", n)
	}
}

// FuzzOpen reads forms and codes that anyone may send.
func FuzzOpen(f *testing.F) {
	// Workers get forms of other processes, which have other keys.
	l := &Links{sealer: seal.New([]byte(rand.Text()), "pending"), maxAge: defaultMaxAge, env: Environment{Key: []byte("key"), Now: time.Now}}
	sealed, err := l.Sealed(l.newPending("ann@example.com", "", 0), "TIE", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, "0123-4567", "ann@example.com")
	f.Add("", "", "")
	f.Add("AAAA", "\u2010\u00a0oil", "@")
	f.Fuzz(func(t *testing.T, form, typed, address string) {
		if _, err := l.Open(form, []string{"TIE"}, ""); err == nil && form != sealed {
			t.Errorf("the form %q counts", form)
		}
		if first, second, ok := readCode(typed); ok && len(first)+len(second) != codeSize {
			t.Errorf("%q is read as %q and %q", typed, first, second)
		}
		if IsAddress(address) && (strings.ContainsAny(address, "\r\n \x00") || domainOf(address) == "") {
			t.Errorf("%q counts as an address", address)
		}
	})
}
