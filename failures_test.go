package sesame

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func newTestFailures(n int, per time.Duration) *failures {
	return newFailures(FailureLimit{Failures: n, Per: caddy.Duration(per)})
}

// TestClientOf tells who is the same client.
func TestClientOf(t *testing.T) {
	t.Parallel()
	f := newTestFailures(20, time.Minute)
	for _, test := range []struct {
		name, a, b string
		same       bool
	}{
		{"IPv4", "192.0.2.1", "192.0.2.1", true},
		{"neighbours of IPv4", "192.0.2.1", "192.0.2.2", false},
		{"IPv4 in IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"IPv4 in IPv6 in hexadecimal", "192.0.2.1", "::ffff:c000:201", true},
		{"neighbours of IPv4 in IPv6", "::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"one /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"two /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"zones of a /64", "fe80::1%eth0", "fe80::2%eth1", true},
		{"an IPv6 address that begins as IPv4 does", "192.0.2.1", "c000:201::", false},
		{"no address", "", "@", true},
		{"no address and one", "", "0.0.0.0", false},
	} {
		if same := f.clientOf(test.a) == f.clientOf(test.b); same != test.same {
			t.Errorf("%s: %s and %s are the same client: %t", test.name, test.a, test.b, same)
		}
	}
}

// TestFailuresAreForgiven has a client fail until it is limited, and wait.
func TestFailuresAreForgiven(t *testing.T) {
	t.Parallel()
	f := newTestFailures(20, time.Minute)
	at := time.Now()
	goTo := func(passed time.Duration) { f.began = at.Add(-passed) } // the clock shows passed
	bad, good := f.clientOf("192.0.2.1"), f.clientOf("192.0.2.2")
	goTo(time.Hour)
	for i := range 20 {
		if noted := f.note(bad); noted.wait != 0 || noted.first {
			t.Fatalf("failure %d is over the limit: %+v", i+1, noted)
		}
	}
	if wait := f.wait(bad); wait <= 2*time.Second || wait > 3*time.Second {
		t.Errorf("after 20 failures it waits %s, want 3s", wait)
	}
	if noted := f.note(bad); noted.wait == 0 || !noted.first {
		t.Errorf("failure 21: %+v", noted)
	}
	if noted := f.note(bad); noted.wait == 0 || noted.first {
		t.Errorf("failure 22: %+v, want it told once", noted)
	}
	for range 1000 {
		f.note(bad)
	}
	if wait := f.wait(good); wait != 0 {
		t.Errorf("another client waits %s", wait)
	}

	goTo(time.Hour + 4*time.Second) // one is forgiven, however many there were
	if wait := f.wait(bad); wait != 0 {
		t.Errorf("after 4s it still waits %s", wait)
	}
	if noted := f.note(bad); noted.wait != 0 {
		t.Errorf("after 4s: %+v", noted)
	}
	if noted := f.note(bad); noted.wait == 0 {
		t.Errorf("after 4s, the second: %+v", noted)
	}
	goTo(time.Hour + 2*time.Minute)
	for i := range 20 {
		if noted := f.note(bad); noted.wait != 0 {
			t.Fatalf("after 2m, failure %d: %+v", i+1, noted)
		}
	}
	if noted := f.note(bad); !noted.first {
		t.Errorf("after 2m it isn't told again: %+v", noted)
	}
}

// TestFailuresOfManyClients has a million addresses fail. The memory stays what
// it is, a client that fails more than they do stays limited, and those that
// never failed aren't.
func TestFailuresOfManyClients(t *testing.T) {
	f := newTestFailures(20, time.Hour)
	flooder := f.clientOf("192.0.2.1")
	for range 30 {
		f.note(flooder)
	}
	address := func(i int) client {
		ip := [16]byte{0x20, 0x01}
		binary.BigEndian.PutUint32(ip[4:], uint32(i)) //nolint:gosec // it is small
		return f.clientOf(netip.AddrFrom16(ip).String())
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var crowded bool
	var failing sync.WaitGroup
	var mu sync.Mutex
	for part := range 4 {
		failing.Go(func() {
			for i := part; i < 1_000_000; i += 4 {
				if noted := f.note(address(i)); noted.crowded {
					mu.Lock()
					crowded = true
					mu.Unlock()
				} else if noted.wait > 0 {
					t.Errorf("address %d is limited at its first failure", i)
				}
			}
		})
	}
	failing.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the memory has grown by %d bytes", grown)
	}
	if !crowded {
		t.Error("nobody was told that clients were forgotten")
	}
	if f.wait(flooder) == 0 {
		t.Error("the client with the most failures was forgotten")
	}
	for i := range 100_000 {
		if wait := f.wait(address(2_000_000 + i)); wait != 0 {
			t.Fatalf("a client that never failed waits %s", wait)
		}
	}
}

// TestFailuresAllocateNothing looks at what each request costs.
func TestFailuresAllocateNothing(t *testing.T) {
	f := newTestFailures(20, time.Minute)
	f.note(f.clientOf("2001:db8::1"))
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		if n := testing.AllocsPerRun(100, func() { f.wait(f.clientOf(address)) }); n != 0 {
			t.Errorf("asking for %s allocates %v times", address, n)
		}
		if n := testing.AllocsPerRun(100, func() { f.note(f.clientOf(address)) }); n != 0 {
			t.Errorf("a failure of %s allocates %v times", address, n)
		}
	}
}

// TestStandings remembers tokens, and forgets those that were refused first.
func TestStandings(t *testing.T) {
	t.Parallel()
	f := newTestFailures(20, time.Minute)
	at := time.Now()
	f.began = at.Add(-time.Hour)
	f.remember("valid", standingValid)
	f.remember("refused", standingRefused)
	f.remember("revoked", standingValid)
	f.remember("revoked", standingRefused)
	// As many again as there is room for: refused ones never push out a valid one.
	for i := range 2 * standingBuckets * standingSlots {
		f.remember(strconv.Itoa(i), standingRefused)
	}
	if got := f.standing("valid"); got != standingValid {
		t.Errorf("a valid token has the standing %d", got)
	}
	if got := f.standing("never seen"); got != standingNone {
		t.Errorf("an unknown token has the standing %d", got)
	}
	f.remember("revoked", standingRefused)
	if got := f.standing("revoked"); got != standingRefused {
		t.Errorf("a token that was refused now has the standing %d", got)
	}
	f.began = f.began.Add(-2 * time.Second)
	if got := f.standing("revoked"); got != standingNone {
		t.Errorf("2s after it was refused a token has the standing %d", got)
	}
	f.began = f.began.Add(-time.Hour)
	if got := f.standing("valid"); got != standingNone {
		t.Errorf("an hour later, a token has the standing %d", got)
	}
}

// TestLineLimit has more written than there is room for.
func TestLineLimit(t *testing.T) {
	t.Parallel()
	var l lineLimit
	written := 0
	for range 1000 {
		if _, ok := l.take(); ok {
			written++
		}
	}
	if written != mostLines {
		t.Errorf("%d lines, want %d", written, mostLines)
	}
	l.began = l.began.Add(-2 * linesForTime)
	if omitted, ok := l.take(); !ok || omitted != 1000-mostLines {
		t.Errorf("later: %t, %d omitted", ok, omitted)
	}
}

// TestFailureLimitArgs reads limit_failures.
func TestFailureLimitArgs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		want *FailureLimit // nil for an error
	}{
		{"20 per 1m", &FailureLimit{Failures: 20, Per: caddy.Duration(time.Minute)}},
		{"1 per 1d", &FailureLimit{Failures: 1, Per: caddy.Duration(24 * time.Hour)}},
		{"off", &FailureLimit{Off: true}},
		{"", nil},
		{"on", nil},
		{"20", nil},
		{"20 1m", nil},
		{"20 in 1m", nil},
		{"20 per", nil},
		{"20 per 1m now", nil},
		{"off 20 per 1m", nil},
		{"0 per 1m", nil},
		{"-1 per 1m", nil},
		{"1.5 per 1m", nil},
		{"many per 1m", nil},
		{"20 per minute", nil},
		{"20 per 0", nil},
		{"20 per -1m", nil},
		{"20 per 2d", nil},
		{"99999999999 per 1m", nil},
	} {
		h := new(Handler)
		err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(minimal + "limit_failures " + test.args + "\n}"))
		switch {
		case test.want == nil && err == nil:
			t.Errorf("limit_failures %s: no error", test.args)
		case test.want != nil && err != nil:
			t.Errorf("limit_failures %s: %v", test.args, err)
		case test.want != nil && *h.LimitFailures != *test.want:
			t.Errorf("limit_failures %s: %+v", test.args, *h.LimitFailures)
		}
	}
}

// FuzzFailureLimitArgs looks for limits that are accepted and can't work.
func FuzzFailureLimitArgs(f *testing.F) {
	for _, args := range []string{"20 per 1m", "off", "1 per 24h", "2147483647 per 1ns", "20 per 1h30m", "0x10 per 1m", "{", "}"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, args string) {
		tokens, err := caddyfile.Tokenize([]byte(minimal+"limit_failures "+args+"\n}"), "Caddyfile")
		if err != nil {
			return // Caddy has refused it
		}
		h := new(Handler)
		if h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)) != nil || h.LimitFailures == nil {
			return
		}
		limit := h.LimitFailures.withDefaults()
		if limit.Off {
			return
		}
		interval := max(int64(limit.Per)/int64(limit.Failures), 1)
		most := interval * int64(limit.Failures)
		if most <= 0 || most > int64(2*longestPer) {
			t.Errorf("limit_failures %s: %+v", args, limit)
		}
	})
}

// FailuresInUse is how many limits the process counts failures for.
func FailuresInUse() int {
	n := 0
	failuresOf.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}
