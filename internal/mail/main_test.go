package mail

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

// smtpServer is the program of a mail server.
var smtpServer *testsmtp.Program

func TestMain(m *testing.M) {
	flag.Parse()
	// The targets of fuzzing need no server.
	if flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := child.TempDir("sesame-mail-test")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if smtpServer, err = testsmtp.Build("../devsmtp", dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// testClock is a clock that a test sets.
type testClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*testTimer]struct{}
	more   chan struct{} // closed at the next timer
}

type testTimer struct {
	at   time.Time
	span time.Duration
	f    func()
}

func newTestClock() *testClock {
	return &testClock{now: testTime, timers: make(map[*testTimer]struct{}), more: make(chan struct{})}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := &testTimer{c.now.Add(d), d, f}
	c.timers[timer] = struct{}{}
	close(c.more)
	c.more = make(chan struct{})
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.timers[timer]
		delete(c.timers, timer)
		return waits
	}
}

// advance moves the clock on, and calls what is due.
func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for timer := range c.timers {
		if !timer.at.After(c.now) {
			delete(c.timers, timer)
			go timer.f()
		}
	}
}

// waitLimit is how long something may be awaited. Only a broken or very busy
// machine takes nearly as long.
const waitLimit = 60 * time.Second

// await waits until a number of timers wait for a duration from least to most.
func (c *testClock) await(t *testing.T, n int, least, most time.Duration) {
	t.Helper()
	deadline := time.After(waitLimit)
	for {
		c.mu.Lock()
		waiting := 0
		for timer := range c.timers {
			if timer.span >= least && timer.span <= most {
				waiting++
			}
		}
		more := c.more
		c.mu.Unlock()
		if waiting >= n {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%d timers of %s to %s wait, want %d", waiting, least, most, n)
		}
	}
}

// retry waits until a mail waits for its next try, and lets that begin.
func (c *testClock) retry(t *testing.T) {
	t.Helper()
	c.await(t, 1, firstWait/2, usualLimits.shutdown-1)
	c.advance(longestWait)
}

// testLog is a log that tests read.
type testLog struct {
	*observer.ObservedLogs
	logger *zap.Logger
	mu     sync.Mutex
	more   chan struct{}
}

func newTestLog() *testLog {
	core, logs := observer.New(zapcore.DebugLevel)
	l := &testLog{ObservedLogs: logs, more: make(chan struct{})}
	l.logger = zap.New(zapcore.RegisterHooks(core, func(zapcore.Entry) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.more)
		l.more = make(chan struct{})
		return nil
	}))
	return l
}

// await waits for a number of lines with a message, and returns their fields.
func (l *testLog) await(t *testing.T, n int, message string) []map[string]any {
	t.Helper()
	deadline := time.After(waitLimit)
	for {
		l.mu.Lock()
		more := l.more
		l.mu.Unlock()
		if lines := l.FilterMessage(message).All(); len(lines) >= n {
			var fields []map[string]any
			for _, line := range lines {
				fields = append(fields, line.ContextMap())
			}
			return fields
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("the log has no %d lines %q: %+v", n, message, l.All())
		}
	}
}
