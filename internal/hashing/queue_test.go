package hashing

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// atOnce counts the checks at work, now and at most.
type atOnce struct{ now, most atomic.Int64 }

func (a *atOnce) work(d time.Duration) {
	now := a.now.Add(1)
	for most := a.most.Load(); now > most && !a.most.CompareAndSwap(most, now); most = a.most.Load() {
	}
	time.Sleep(d)
	a.now.Add(-1)
}

// right is a check of a right password that takes a tenth of a second.
func right100ms() bool {
	time.Sleep(100 * time.Millisecond)
	return false
}

// pause lets time pass, with everything that happens in it.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wrong100ms() bool {
	time.Sleep(100 * time.Millisecond)
	return true
}

func TestQueueHasSoManyChecksAtWorkAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(3)
		var count atOnce
		var failed atomic.Int64
		for client := range 20 {
			go func() {
				err := q.run(t.Context(), Client(client), clean, 1, func() bool { count.work(time.Second); return false })
				if err != nil {
					failed.Add(1)
				}
			}()
		}
		pause(30 * time.Second)
		if count.most.Load() != 3 || failed.Load() != 0 {
			t.Errorf("%d checks were at work at once and %d failed, want 3 and 0", count.most.Load(), failed.Load())
		}
	})
}

func TestQueueHasHalfTheCPUsByDefault(t *testing.T) {
	t.Parallel()
	if got, want := newQueue(0).slots, max(runtime.GOMAXPROCS(0)/2, 1); got != want {
		t.Errorf("%d checks at a time, want %d", got, want)
	}
}

// turnedAway counts the checks that found no room in the queue.
type turnedAway[K comparable] struct {
	mu     sync.Mutex
	counts map[K]int
}

// of returns a function that counts a Busy error under a key.
func (a *turnedAway[K]) of(key K) func(error) {
	return func(err error) {
		if _, isBusy := errors.AsType[*Busy](err); !isBusy {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.counts == nil {
			a.counts = make(map[K]int)
		}
		a.counts[key]++
	}
}

func (a *turnedAway[K]) count(key K) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[key]
}

// join has a check of a client wait that takes no time and notes when it began.
func join(t *testing.T, q *queue, client Client, at rank, note func(error)) {
	t.Helper()
	go func() {
		if err := q.run(t.Context(), client, at, 1, func() bool { note(nil); return false }); err != nil {
			note(err)
		}
	}()
	synctest.Wait()
}

func TestQueueHasClientsTakeTurnsByRank(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		go func() { _ = q.run(t.Context(), 0, clean, 1, right100ms) }()
		synctest.Wait()
		var mu sync.Mutex
		var order []Client
		for _, c := range []struct {
			client Client
			at     rank
		}{{9, failing}, {1, clean}, {1, clean}, {1, clean}, {2, clean}, {3, known}} {
			join(t, q, c.client, c.at, func(error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, c.client)
			})
		}
		pause(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if want := []Client{3, 1, 2, 1, 1, 9}; !slices.Equal(order, want) {
			t.Errorf("checks began in the order %v, want %v", order, want)
		}
	})
}

func TestQueueGivesNoClientAllOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		go func() { _ = q.run(t.Context(), 0, clean, 1, func() bool { time.Sleep(8 * time.Second); return false }) }()
		synctest.Wait()
		var busy turnedAway[Client]
		for range queueShare + 10 {
			join(t, q, 1, clean, busy.of(1))
		}
		pause(busyHold)
		if busy.count(1) != 10 {
			t.Fatalf("%d checks of a client beyond its share were turned away, want 10", busy.count(1))
		}
		for client := range Client(queueLength - queueShare) {
			join(t, q, client+2, clean, busy.of(client+2))
		}
		join(t, q, 1000, clean, busy.of(1000))
		pause(busyHold)
		if busy.count(1) != 11 || busy.count(1000) != 0 {
			t.Errorf("turned away: %d of the client with the most and %d of the new one, want 11 and 0", busy.count(1), busy.count(1000))
		}
		for range queueShare {
			join(t, q, 1, failing, busy.of(1))
		}
		q.mu.Lock()
		if q.waiting != queueLength {
			t.Errorf("%d checks wait, want %d", q.waiting, queueLength)
		}
		q.mu.Unlock()
		pause(time.Minute)
	})
}

// TestQueuePutsFailingClientsBehindOthers: a full queue of failing clients has room
// for one that doesn't fail.
func TestQueuePutsFailingClientsBehindOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		go func() { _ = q.run(t.Context(), 0, clean, 1, func() bool { time.Sleep(8 * time.Second); return false }) }()
		synctest.Wait()
		var busy turnedAway[rank]
		for client := range Client(queueLength + 5) {
			join(t, q, client, failing, busy.of(failing))
		}
		pause(busyHold)
		if busy.count(failing) != 5 {
			t.Errorf("%d of 5 too many were turned away", busy.count(failing))
		}
		for client := range Client(7) {
			join(t, q, client+1000, clean, busy.of(clean))
		}
		pause(busyHold)
		if busy.count(failing) != 12 || busy.count(clean) != 0 {
			t.Errorf("turned away: %d failing and %d others, want 12 and 0", busy.count(failing), busy.count(clean))
		}
		pause(time.Minute)
	})
}

func TestQueueHasNoCheckWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		go func() { _ = q.run(t.Context(), 0, clean, 1, func() bool { time.Sleep(time.Hour); return false }) }()
		synctest.Wait()
		never := func() bool { t.Error("it was checked"); return false }
		began := time.Now()
		err := q.run(t.Context(), 1, known, 1, never)
		if busy, ok := errors.AsType[*Busy](err); !ok || busy.Wait <= 0 || time.Since(began) != queueWait {
			t.Errorf("after %s: %v, want a Busy after %s", time.Since(began), err, queueWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := q.run(ctx, 1, known, 1, never); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has gone: %v", err)
		}
		if err := q.run(ctx, 1, known, 1, never); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that had gone before: %v", err)
		}
		synctest.Wait()
		if q.waiting != 0 || len(q.turns[known]) != 0 {
			t.Errorf("%d checks still wait", q.waiting)
		}
		pause(time.Hour)
		if q.working != 0 {
			t.Errorf("%d checks are still at work", q.working)
		}
	})
}

// TestWrongPasswordsTakeAShareOfTheCPUs: 64 clients send wrong passwords for an
// hour without a pause.
func TestWrongPasswordsTakeAShareOfTheCPUs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2)
		var checked atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		for client := range Client(64) {
			go func() {
				for ctx.Err() == nil {
					_ = q.run(ctx, client, failing, 1, func() bool { checked.Add(1); return wrong100ms() })
				}
			}()
		}
		pause(time.Hour)
		cpus := time.Hour * time.Duration(runtime.GOMAXPROCS(0))
		most := int64((cpus/guessShare + guessBurst) / (100 * time.Millisecond))
		if got := checked.Load(); got > most+2 || got < most-10 {
			t.Errorf("%d wrong passwords were hashed in an hour, want %d", got, most)
		}
		// A client that sends the right password meanwhile has its turn before
		// theirs.
		began := time.Now()
		if err := q.run(t.Context(), 1000, known, 1, right100ms); err != nil || time.Since(began) > time.Second {
			t.Errorf("the right password took %s: %v", time.Since(began), err)
		}
		cancel()
		pause(time.Minute)
	})
}

func TestRightPasswordsAreFreeOfThatShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		began := time.Now()
		for client := range Client(1000) {
			if err := q.run(t.Context(), client, clean, 1, right100ms); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 100*time.Second {
			t.Errorf("1000 right passwords of 0.1s took %s", took)
		}
	})
}

func TestACheckThatPanicsFreesItsPlace(t *testing.T) {
	t.Parallel()
	q := newQueue(1)
	func() {
		defer func() { _ = recover() }()
		_ = q.run(t.Context(), 1, clean, 1, func() bool { panic("a hasher's") })
	}()
	if err := q.run(t.Context(), 1, clean, 1, func() bool { return false }); err != nil {
		t.Error(err)
	}
}
