package watch

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// begin has a response guarded by a certain guarded, as if the pool had it.
func (g *guarded) begin(t *testing.T, until time.Time) *http.Request {
	t.Helper()
	g.watcher.spare.New = func() any { return g }
	got, _, r := g.watcher.guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), userstore.ByPrimaryKey(token.IntKey(1)), until, anyUser)
	if got != g {
		t.Fatal("the response got another guarded")
	}
	return r
}

// newSpare is a guarded whose response is done, and which is in no pool.
func newSpare(t *testing.T, interval time.Duration) *guarded {
	t.Helper()
	w := New(interval, (&watchedUsers{}).lookUp, zap.NewNop())
	t.Cleanup(w.Stop)
	g := &guarded{watcher: w, state: guardState{finished: true}}
	g.done = g.finish
	return g
}

// doneOnce ends the response, and takes what it leaves from the pool.
func (g *guarded) doneOnce() {
	g.done()
	g.watcher.spare.Get()
}

// now returns when the timer fires, and the flags.
func (g *guarded) now() (fires time.Time, state guardState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fires, g.state
}

func TestTimerOfADoneResponseServesTheNextOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSpare(t, time.Minute)
		g.begin(t, time.Time{})
		first, _ := g.now()
		g.doneOnce()
		for range 3 {
			time.Sleep(10 * time.Second)
			g.begin(t, time.Now().Add(time.Hour))
			if fires, _ := g.now(); !fires.Equal(first) {
				t.Errorf("the timer was changed to fire after %s, and would have fired before", fires.Sub(first))
			}
			g.doneOnce()
		}

		g.begin(t, time.Time{})
		time.Sleep(31 * time.Second) // the timer has fired, 30 s after the response began
		synctest.Wait()
		if _, state := g.now(); state.listed {
			t.Error("a response is listed half an interval after it began")
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if _, state := g.now(); !state.listed {
			t.Error("a response isn't listed an interval after it began")
		}
		g.done()
	})
}

func TestResponseThatEndsBeforeTheTimerFiresEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSpare(t, time.Hour)
		g.begin(t, time.Time{})
		g.doneOnce()
		r := g.begin(t, time.Now().Add(5*time.Second))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if err := r.Context().Err(); err != nil {
			t.Errorf("the response has ended a second early: %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r.Context().Err() == nil {
			t.Error("the response of a session that is over goes on")
		}
		g.doneOnce()
	})
}

func TestTimerThatFiresAfterAResponseIsDoneDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSpare(t, time.Second)
		g.begin(t, time.Now().Add(time.Second))
		g.doneOnce()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if fires, state := g.now(); state.listed || state.ended || !fires.IsZero() {
			t.Errorf("after the timer has fired: %+v, fires at %s", state, fires)
		}
		r := g.begin(t, time.Time{})
		if fires, _ := g.now(); r.Context().Err() != nil || fires.IsZero() {
			t.Error("the next response isn't guarded")
		}
		g.doneOnce()
	})
}
