package limit

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func newTestFailures(n int, per time.Duration) *Failures {
	return newFailures(Config{Failures: n, Per: caddy.Duration(per)})
}

// TestAddressesOfOneClientCountAsOne compares the clients of addresses.
func TestAddressesOfOneClientCountAsOne(t *testing.T) {
	t.Parallel()
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
		{"no address and one of IPv6", "", "::", false},
		{"IPv4 and an address of IPv6 with its bytes", "0.0.0.0", "::", false},
	} {
		if same := ClientOf(test.a) == ClientOf(test.b); same != test.same {
			t.Errorf("%s: %s and %s are the same client: %t", test.name, test.a, test.b, same)
		}
	}
}

// TestFailuresAreForgiven has a client fail until it is limited, and wait.
func TestFailuresAreForgiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Minute)
		at := time.Now()
		goTo := func(passed time.Duration) { f.began = at.Add(-passed) } // the clock shows passed
		bad, good := ClientOf("192.0.2.1"), ClientOf("192.0.2.2")
		goTo(time.Hour)
		for i := range 20 {
			if noted := f.Note(bad); noted.Wait != 0 || noted.First {
				t.Fatalf("failure %d is over the limit: %+v", i+1, noted)
			}
		}
		if wait := f.Wait(bad); wait <= 2*time.Second || wait > 3*time.Second {
			t.Errorf("after 20 failures it waits %s, want 3s", wait)
		}
		if noted := f.Note(bad); noted.Wait == 0 || !noted.First {
			t.Errorf("failure 21: %+v", noted)
		}
		if noted := f.Note(bad); noted.Wait == 0 || noted.First {
			t.Errorf("failure 22: %+v, want it told once", noted)
		}
		for range 1000 {
			f.Note(bad)
		}
		if wait := f.Wait(good); wait != 0 {
			t.Errorf("another client waits %s", wait)
		}

		goTo(time.Hour + 4*time.Second) // one failure is forgiven, however many there were
		if wait := f.Wait(bad); wait != 0 {
			t.Errorf("after 4s it still waits %s", wait)
		}
		if noted := f.Note(bad); noted.Wait != 0 {
			t.Errorf("after 4s: %+v", noted)
		}
		if noted := f.Note(bad); noted.Wait == 0 {
			t.Errorf("after 4s, the second: %+v", noted)
		}
		goTo(time.Hour + 2*time.Minute)
		for i := range 20 {
			if noted := f.Note(bad); noted.Wait != 0 {
				t.Fatalf("after 2m, failure %d: %+v", i+1, noted)
			}
		}
		if noted := f.Note(bad); !noted.First {
			t.Errorf("after 2m it isn't told again: %+v", noted)
		}
	})
}

// TestFailuresOfManyClients has a million addresses fail. The memory doesn't grow,
// a client with more failures stays limited, and clients without failures aren't
// limited.
func TestFailuresOfManyClients(t *testing.T) {
	f := newTestFailures(20, time.Hour)
	flooder := ClientOf("192.0.2.1")
	for range 30 {
		f.Note(flooder)
	}
	address := func(i int) Client {
		ip := [16]byte{0x20, 0x01}
		binary.BigEndian.PutUint32(ip[4:], uint32(i)) //nolint:gosec // it is small
		return ClientOf(netip.AddrFrom16(ip).String())
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
				if noted := f.Note(address(i)); noted.Crowded {
					mu.Lock()
					crowded = true
					mu.Unlock()
				} else if noted.Wait > 0 {
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
		t.Error("it wasn't told that clients were forgotten")
	}
	if f.Wait(flooder) == 0 {
		t.Error("the client with the most failures was forgotten")
	}
	for i := range 100_000 {
		if wait := f.Wait(address(2_000_000 + i)); wait != 0 {
			t.Fatalf("a client that never failed waits %s", wait)
		}
	}
}

// TestFailuresAreSharedByEqualLimits: a reload must not forget them, and
// another limit counts for itself.
func TestFailuresAreSharedByEqualLimits(t *testing.T) {
	limit := Config{Failures: 3, Per: caddy.Duration(17 * time.Minute)}
	before := InUse()
	if before != 0 {
		t.Errorf("%d limits are in use before any is", before)
	}
	f := Acquire(limit)
	client := ClientOf("192.0.2.1")
	for range 4 {
		f.Note(client)
	}
	if f.Wait(client) == 0 {
		t.Error("after 4 failures of 3 the client isn't limited")
	}
	again, other := Acquire(limit), Acquire(Config{Failures: 4, Per: limit.Per})
	if again != f || other == f || InUse() != before+2 {
		t.Errorf("the same limit has the same failures: %t, another one: %t; %d in use, want %d", again == f, other == f, InUse(), before+2)
	}
	f.Release()
	if next := Acquire(limit); next.Wait(client) == 0 {
		t.Error("while the limit is in use its failures are forgotten")
	}
	other.Release()
	again.Release()
	again.Release()
	if InUse() != before {
		t.Errorf("%d limits are in use after their release, want %d", InUse(), before)
	}
	if fresh := Acquire(limit); fresh.Wait(client) != 0 {
		t.Error("the failures of a limit that was no longer in use are still known")
	} else {
		fresh.Release()
	}
}

// TestFewestFailuresAreForgottenFirst fills a bucket of the table.
func TestFewestFailuresAreForgottenFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Minute)
		f.began = time.Now().Add(-time.Hour)
		in := func(i int) Client { return Client(1 + i*failureBuckets) } //nolint:gosec // it is small
		for i := range failureSlots {
			for range 21 + i%7 {
				if noted := f.Note(in(i)); noted.Crowded {
					t.Fatalf("client %d finds the bucket full", i)
				}
			}
		}
		// The first and the last client have the fewest. The first one found is
		// replaced.
		if noted := f.Note(in(failureSlots)); !noted.Crowded || noted.Wait != 0 {
			t.Errorf("another client: %+v", noted)
		}
		if noted := f.Note(in(failureSlots + 1)); noted.Crowded {
			t.Errorf("that a client was forgotten is told twice: %+v", noted)
		}
		told := 0
		for range 25 {
			if f.Note(in(failureSlots + 1)).First {
				told++
			}
		}
		if told != 1 {
			t.Errorf("that the client in the slot of another is limited is told %d times, want once", told)
		}
		f.mustWait(t, in, map[int]bool{0: false, 1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: false, 9: true})
	})
}

func (f *Failures) mustWait(t *testing.T, in func(int) Client, want map[int]bool) {
	t.Helper()
	for i, isLimited := range want {
		if got := f.Wait(in(i)) > 0; got != isLimited {
			t.Errorf("client %d is limited: %t, want %t", i, got, isLimited)
		}
	}
}

// TestFirstFailureOverTheLimitIsToldSoonAfterTheStart, when the clock of the
// limit has hardly begun.
func TestFirstFailureOverTheLimitIsToldSoonAfterTheStart(t *testing.T) {
	t.Parallel()
	f := newTestFailures(20, time.Hour)
	client := ClientOf("192.0.2.1")
	for i := range 22 {
		if noted := f.Note(client); noted.First != (i == 20) {
			t.Errorf("failure %d: %+v", i+1, noted)
		}
	}
}

// TestFailuresAllocateNothing measures the work of each request.
func TestFailuresAllocateNothing(t *testing.T) {
	f := newTestFailures(20, time.Minute)
	f.Note(ClientOf("2001:db8::1"))
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		if n := testing.AllocsPerRun(100, func() { f.Wait(ClientOf(address)) }); n != 0 {
			t.Errorf("asking for %s allocates %v times", address, n)
		}
		if n := testing.AllocsPerRun(100, func() { f.Note(ClientOf(address)) }); n != 0 {
			t.Errorf("a failure of %s allocates %v times", address, n)
		}
	}
}
