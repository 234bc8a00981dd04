package hashing

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// users are what tests count checks with.
type tried struct {
	*Shared
	checked atomic.Int64
}

func newTried() *tried { return &tried{Shared: NewShared(Key{AtWork: 1})} }

// check sends a password of a user, which is right or wrong, and returns how long
// that took. Hashing takes no time here.
func (s *tried) check(t *testing.T, client Client, user, password string, isRight bool) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	g := Guess{Client: client, User: user, Credentials: s.Verdicts.Of(user, password), Encoded: "hash"}
	got, err := s.Check(t.Context(), g, func() bool { s.checked.Add(1); return isRight })
	if err == nil && got != isRight {
		t.Errorf("the check of %s says %t", user, got)
	}
	return time.Since(began), err
}

// fail sends so many wrong passwords, one after the other.
func (s *tried) fail(t *testing.T, client Client, user string, n int) {
	t.Helper()
	for i := range n {
		if _, err := s.check(t, client, user, fmt.Sprint("wrong", i), false); err != nil {
			t.Fatalf("wrong password %d: %v", i, err)
		}
	}
}

func (s *tried) wantDelay(t *testing.T, client Client, user string, want time.Duration) {
	t.Helper()
	if got, err := s.check(t, client, user, "right", true); got != want || err != nil {
		t.Errorf("the right password of %s from client %d was checked after %s (%v), want %s", user, client, got, err, want)
	}
}

func TestDelaysGrowAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		for i, want := range []time.Duration{0, 0, 0, 0, 0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
			if got, _ := s.check(t, 1, "alice", fmt.Sprint(i), false); got != want {
				t.Errorf("wrong password %d waited for %s, want %s", i, got, want)
			}
		}
		s.fail(t, 1, "alice", 30)
		s.wantDelay(t, 2, "alice", maxDelay) // however many failures there were
		time.Sleep(mostFailures * forgiveAfter)
		s.wantDelay(t, 3, "alice", 0)
	})
}

func TestDelaysLockNoUserOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		s.wantDelay(t, 1, "alice", 0)
		s.fail(t, 666, "alice", 50)
		s.wantDelay(t, 1, "alice", 0)        // a known client
		s.wantDelay(t, 2, "alice", maxDelay) // an unknown client, at first
		s.wantDelay(t, 2, "alice", 0)
		s.wantDelay(t, 3, "bob", 0)          // another user
		s.wantDelay(t, 666, "bob", maxDelay) // another user, for the client that guesses
		s.wantDelay(t, 666, "bob", 0)
	})
}

// TestAKnownClientIsDelayedByItsOwnGuesses: a client that had the right password
// once can't guess another one freely.
func TestAKnownClientIsDelayedByItsOwnGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		s.wantDelay(t, 1, "alice", 0)
		s.fail(t, 1, "alice", freeGuesses)
		if got, _ := s.check(t, 1, "alice", "another", false); got != firstDelay {
			t.Errorf("the next wrong password waited for %s, want %s", got, firstDelay)
		}
		s.wantDelay(t, 2, "alice", 0) // no other user is
	})
}

func TestDelaysAreTheSameForUsersWhoDontExist(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		for i := range 12 {
			exists, _ := s.check(t, 1, "alice", fmt.Sprint(i), false)
			doesnt, _ := s.check(t, 2, "no such user", fmt.Sprint(i), false)
			if exists != doesnt {
				t.Errorf("wrong password %d waited for %s, and for %s", i, exists, doesnt)
			}
		}
	})
}

// TestGuessesSentAtOnceAreDelayedLikeOthers: they count before they are checked.
func TestGuessesSentAtOnceAreDelayedLikeOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		var tooMany atomic.Int64
		for i := range 200 {
			go func() {
				_, err := s.check(t, 1, "alice", fmt.Sprint(i), false)
				if many, ok := errors.AsType[*TooMany](err); ok && many.Wait > 0 {
					tooMany.Add(1)
				}
			}()
		}
		pause(time.Minute)
		if checked := s.checked.Load(); checked > 12 || checked+tooMany.Load() != 200 {
			t.Errorf("of 200 guesses %d were checked and %d were too many", checked, tooMany.Load())
		}
		if s.guesses.delayed != 0 || len(s.guesses.waiting) != 0 {
			t.Errorf("%d guesses are still delayed", s.guesses.delayed)
		}
	})
}

// TestManyUsersOfOneAddressAreNotDelayed: an office comes to work.
func TestManyUsersOfOneAddressAreNotDelayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		began := time.Now()
		for i := range queueShare {
			go func() {
				g := Guess{Client: 1, User: fmt.Sprint("user", i), Credentials: s.Verdicts.Of(fmt.Sprint("user", i), "right")}
				isRight, err := s.Check(t.Context(), g, func() bool { time.Sleep(100 * time.Millisecond); s.checked.Add(1); return true })
				if took := time.Since(began); !isRight || took > queueShare*100*time.Millisecond {
					t.Errorf("user %d: %t after %s: %v", i, isRight, took, err)
				}
			}()
		}
		pause(time.Minute)
		if s.checked.Load() != queueShare {
			t.Errorf("%d checks, want %d", s.checked.Load(), queueShare)
		}
	})
}

func TestNothingIsForgivenToAClientThatGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		s.fail(t, 1, "alice", 30)
		for i := range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			g := Guess{Client: 1, User: "alice", Credentials: s.Verdicts.Of("alice", fmt.Sprint("gone", i))}
			_, _ = s.Check(ctx, g, func() bool { t.Error("it was checked"); return false })
			cancel()
		}
		s.wantDelay(t, 2, "alice", maxDelay)
	})
}

func TestTheSameGuessSentAtOnceIsCheckedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		same := Guess{Client: 1, User: "alice", Credentials: s.Verdicts.Of("alice", "right"), Encoded: "hash"}
		hash := func() bool { time.Sleep(time.Second); s.checked.Add(1); return true }
		gone, leave := context.WithCancel(t.Context())
		var rightOnes, canceled atomic.Int64
		for _, ctx := range []context.Context{gone, t.Context(), t.Context(), t.Context()} {
			go func() {
				if isRight, err := s.Check(ctx, same, hash); isRight {
					rightOnes.Add(1)
				} else if errors.Is(err, context.Canceled) {
					canceled.Add(1)
				}
			}()
			synctest.Wait()
		}
		leave()
		pause(time.Minute)
		if s.checked.Load() != 1 || rightOnes.Load() != 4 {
			t.Errorf("%d checks, and %d of 4 right", s.checked.Load(), rightOnes.Load())
		}
		other := same
		other.Encoded = "another hash"
		_, _ = s.Check(t.Context(), other, hash)
		if s.checked.Load() != 2 {
			t.Error("the same guess against another hash wasn't checked")
		}
	})
}

// TestAnotherRequestTakesOverFromOneThatHasGone: the client that began a check left
// while the check waited.
func TestAnotherRequestTakesOverFromOneThatHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTried()
		go func() { _ = s.queue.run(t.Context(), 9, known, 1, right100ms) }()
		synctest.Wait()
		same := Guess{Client: 1, User: "alice", Credentials: s.Verdicts.Of("alice", "right")}
		gone, leave := context.WithCancel(t.Context())
		go func() { _, _ = s.Check(gone, same, func() bool { return true }) }()
		synctest.Wait()
		time.AfterFunc(time.Millisecond, leave)
		if isRight, err := s.Check(t.Context(), same, func() bool { return true }); !isRight || err != nil {
			t.Errorf("right: %t, %v", isRight, err)
		}
	})
}

func TestMemoryOfGuessesDoesNotGrow(t *testing.T) { //nolint:paralleltest // others would change the heap
	s := newTried()
	fill := func() {
		for i := range 10_000 {
			made, err := s.guesses.begin(Client(i), fmt.Sprint("user", i))
			if err != nil {
				continue
			}
			if made.delay > 0 {
				s.guesses.waited(made.client)
			}
			s.guesses.end(made, wrong)
			s.Verdicts.Remember(s.Verdicts.Of(fmt.Sprint("user", i), "password"), Subject{}, "hash")
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	fill()
	fill()
	before := heap()
	for range 5 {
		fill()
	}
	if after := heap(); after > before+2<<20 {
		t.Errorf("the heap grew from %d to %d", before, after)
	}
}

func TestHandlersWithOneKeyShare(t *testing.T) {
	t.Parallel()
	of := Key{AtWork: 1, Users: t.Name()}
	a, err := Acquire(of)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Acquire(of)
	other, _ := Acquire(Key{AtWork: 1, Users: t.Name() + "2"})
	if a != b || a == other {
		t.Errorf("same key shares: %t, another: %t", a == b, a == other)
	}
	for _, s := range []*Shared{a, b, other} {
		if err := s.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	v := NewVerdicts()
	pk := token.IntKey(1)
	subject := Subject{PrimaryKey: pk, Field: "username", Value: "alice"}
	c := v.Of("alice", "secret")
	v.Remember(c, subject, "hash")
	for name, test := range map[string]struct {
		identifier, password string
		user                 token.PrimaryKey
		hash                 string
		finds, accepts       bool
	}{
		"the same":                       {"alice", "secret", pk, "hash", true, true},
		"another hash":                   {"alice", "secret", pk, "hash2", true, false},
		"another user":                   {"alice", "secret", token.IntKey(2), "hash", true, false},
		"another password":               {"alice", "secret2", pk, "hash", false, false},
		"another identifier":             {"bob", "secret", pk, "hash", false, false},
		"another spelling":               {"Alice", "secret", pk, "hash", false, true},
		"a letter that moved":            {"alices", "ecret", pk, "hash", false, false},
		"no password":                    {"alice", "", pk, "hash", false, false},
		"no hash":                        {"alice", "secret", pk, "", true, false},
		"a letter of another alphabet":   {"alıce", "secret", pk, "hash", false, false},
		"another spelling of a password": {"alice", "Secret", pk, "hash", false, false},
	} {
		c := v.Of(test.identifier, test.password)
		got, finds := v.Subject(c)
		if finds != test.finds || finds && got != subject {
			t.Errorf("%s: found %t %v, want %t", name, finds, got, test.finds)
		}
		if accepts := v.Accepts(c, test.user, test.hash); accepts != test.accepts {
			t.Errorf("%s: accepted %t, want %t", name, accepts, test.accepts)
		}
	}
	if strings.Contains(c.ID(), "secret") || c.ID() == NewVerdicts().Of("alice", "secret").ID() {
		t.Error("the ID of credentials reveals them")
	}
}

func TestVerdictsKnowSomeSpellings(t *testing.T) {
	t.Parallel()
	v := NewVerdicts()
	spellings := []string{"alice", "Alice", "ALICE", "aLice", "alIce", "aliCe"}
	for _, spelling := range spellings {
		v.Remember(v.Of(spelling, "secret"), Subject{PrimaryKey: token.IntKey(1)}, "hash")
	}
	known := 0
	for _, spelling := range spellings {
		if _, ok := v.Subject(v.Of(spelling, "secret")); ok {
			known++
		}
	}
	if _, last := v.Subject(v.Of("aliCe", "secret")); known != mostSpellings || !last {
		t.Errorf("%d spellings are known, want %d with the last one: %t", known, mostSpellings, last)
	}
	v.Remember(v.Of("alice", "secret"), Subject{PrimaryKey: token.IntKey(2)}, "hash")
	if _, ok := v.Subject(v.Of("aliCe", "secret")); ok {
		t.Error("a spelling that was of another user is still known")
	}
}

func TestVerdictsInUseAreKept(t *testing.T) {
	t.Parallel()
	v := NewVerdicts()
	pk := token.IntKey(1)
	used := v.Of("alice", "secret")
	v.Remember(used, Subject{PrimaryKey: pk}, "hash")
	for i := range 2 * verdictBuckets * verdictSlots {
		v.Remember(v.Of("bob", fmt.Sprint(i)), Subject{PrimaryKey: pk}, "hash")
		if i%(verdictBuckets/4) == 0 && !v.Accepts(used, pk, "hash") {
			t.Fatalf("a verdict in use is lost after %d others", i)
		}
	}
}

func BenchmarkVerdict(b *testing.B) {
	v := NewVerdicts()
	pk := token.IntKey(1)
	const encoded = "pbkdf2_sha256$1000000$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	v.Remember(v.Of("alice", "correct horse"), Subject{PrimaryKey: pk}, encoded)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c := v.Of("alice", "correct horse")
			if _, ok := v.Subject(c); !ok || !v.Accepts(c, pk, encoded) {
				b.Fatal("no verdict")
			}
		}
	})
}

func TestNamesAreEqualOnlyWhereTheStoreTakesThemForEqual(t *testing.T) {
	t.Parallel()
	v := NewVerdicts()
	for _, test := range []struct {
		one, other string
		isSame     bool
	}{
		{"alice", "ALICE", true},
		{"kate", "\u212aate", false}, // the Kelvin sign
		{"j\u00e4rg", "J\u00c4RG", false},
		{"\u017fam", "sam", false}, // the long s
		{"alice", "alice ", false},
	} {
		if one, other := v.Of(test.one, "").Name(), v.Of(test.other, "").Name(); (one == other) != test.isSame {
			t.Errorf("%q and %q: the names are %q and %q", test.one, test.other, one, other)
		}
	}
}
