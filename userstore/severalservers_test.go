package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/internal/testgalera"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// galeraConfig has the DSNs of nodes.
func galeraConfig(nodes ...*testgalera.Node) userstore.Config {
	var dsns []string
	for _, n := range nodes {
		dsns = append(dsns, n.UserDSN("gateway", "", "django"))
	}
	return userstore.Config{DSN: dsns[0], MoreDSNs: dsns[1:]}
}

// TestSeveralServersMustBeOfOneCluster rejects servers that accept writes without each
// other, at the start, and once the second can be reached.
func TestSeveralServersMustBeOfOneCluster(t *testing.T) {
	t.Parallel()
	one, other := newServer(t), newServer(t)
	for _, server := range []*testmariadb.Server{one, other} {
		makeUsers(t, server)
	}
	needs := userstore.Needs{LastLogin: true}
	cfg := userstore.Config{DSN: one.UserDSN("gateway", "", "django"), MoreDSNs: []string{other.UserDSN("gateway", "", "django")}}
	wantError(t, openError(t, cfg, needs), "no node of a Galera cluster", "a one-time token could be used on each server", "replica")
	cfg.StartWithout = true
	wantError(t, openError(t, cfg, needs), "no node of a Galera cluster")

	node := newGalera(t, 1).Nodes[0]
	stranger := newGalera(t, 1).Nodes[0]
	for _, n := range []*testgalera.Node{node, stranger} {
		makeUsers(t, n.Server)
	}
	cfg = galeraConfig(node, stranger)
	wantError(t, openError(t, cfg, needs), "belongs to the cluster Galera ", "name servers of one cluster")
	cfg.MoreDSNs = []string{other.UserDSN("gateway", "", "django")}
	wantError(t, openError(t, cfg, needs), other.Addr(), "no node of a Galera cluster")

	cfg = galeraConfig(node, stranger)
	stranger.Stop()
	s := openStore(t, cfg, needs)
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		if err == nil {
			return errors.New("a server is used, while the other belongs to another cluster")
		}
		return nil
	})
	_, err := s.Lookup(t.Context(), token.IntKey(1))
	wantError(t, err, "can't be used together", "name servers of one cluster")
}

// load are lookups of one user, and one-time uses of others, at the same time.
type load struct {
	t     *testing.T
	s     *userstore.MySQL
	first int64 // key of the user who is used up first

	reads, writes             atomic.Int64 // that succeeded
	failedReads, failedWrites atomic.Int64
	wrong                     atomic.Int64
	lastRead, lastWrite       atomic.Int64 // Unix nanoseconds

	used atomic.Int64
	stop context.CancelFunc
	done sync.WaitGroup
}

// startLoad begins a load of about so many lookups and uses a second.
func startLoad(t *testing.T, s *userstore.MySQL, first int64, lookups, uses int) *load {
	t.Helper()
	l := &load{t: t, s: s, first: first}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = func() { cancel(); l.done.Wait() }
	t.Cleanup(l.stop)
	l.every(ctx, lookups, l.lookup)
	l.every(ctx, uses, l.use)
	return l
}

// every calls do a number of times a second, whether the calls before have ended or
// not.
func (l *load) every(ctx context.Context, times int, do func()) {
	l.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(times))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.done.Go(do)
			case <-ctx.Done():
				return
			}
		}
	})
}

func (l *load) lookup() {
	u, err := l.s.Lookup(context.Background(), token.IntKey(1))
	switch {
	case err == nil && u.Username == "alice":
		l.reads.Add(1)
		l.lastRead.Store(time.Now().UnixNano())
	case errors.Is(err, userstore.ErrUnavailable):
		l.failedReads.Add(1)
	default:
		l.wrong.Add(1)
		l.t.Errorf("a lookup: %v, %v", u, err)
	}
}

// use uses a user's token up twice.
func (l *load) use() {
	u, err := l.s.Lookup(context.Background(), token.IntKey(l.first+l.used.Add(1)))
	if errors.Is(err, userstore.ErrUnavailable) {
		l.failedReads.Add(1)
		return
	}
	if err != nil {
		l.wrong.Add(1)
		l.t.Errorf("a user who is there: %v", err)
		return
	}
	accepted := 0
	for range 2 {
		switch err := l.s.Consume(context.Background(), u, time.Now()); {
		case err == nil:
			accepted++
			l.writes.Add(1)
			l.lastWrite.Store(time.Now().UnixNano())
		case errors.Is(err, userstore.ErrUnavailable):
			l.failedWrites.Add(1)
		case !errors.Is(err, userstore.ErrConsumed):
			l.wrong.Add(1)
			l.t.Errorf("a use: %v", err)
		}
	}
	if accepted > 1 {
		l.wrong.Add(1)
		l.t.Error("a token was used twice")
	}
}

// resumes waits until lookups and uses succeed that began after now, and returns how
// long it took.
func (l *load) resumes() (reads, writes time.Duration) {
	l.t.Helper()
	began := time.Now()
	deadline := time.After(3 * time.Minute)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for reads == 0 || writes == 0 {
		ok, err := l.s.Lookup(context.Background(), token.IntKey(1))
		if err == nil && reads == 0 && ok.Username == "alice" {
			reads = time.Since(began)
		}
		if l.lastWrite.Load() > began.Add(20*time.Millisecond).UnixNano() && writes == 0 {
			writes = time.Since(began)
		}
		select {
		case <-poll.C:
		case <-deadline:
			l.t.Fatalf("lookups took %s to resume, uses %s", reads, writes)
		}
	}
	return reads, writes
}

func (l *load) String() string {
	return fmt.Sprintf("%d lookups and %d uses succeeded, %d and %d had no answer, %d were wrong",
		l.reads.Load(), l.writes.Load(), l.failedReads.Load(), l.failedWrites.Load(), l.wrong.Load())
}

// oneTimeUsers makes users with the keys from 1001.
const oneTimeUsers = "INSERT INTO auth_user SELECT 1000 + seq, 'x', NULL, 0, CONCAT('user', seq), '', '', '', 0, 1, '2024-01-01' FROM seq_1_to_20000"

// TestGalera has a real cluster lose its nodes in all ways, under load.
func TestGalera(t *testing.T) {
	t.Parallel()
	c := newGalera(t, 3)
	makeUsers(t, c.Nodes[0].Server)
	if err := c.Nodes[0].Exec("django", oneTimeUsers); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if err := n.Exec("django", "SET SESSION wsrep_sync_wait = 1", "SELECT 1 FROM auth_user LIMIT 1"); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("races over all nodes", func(t *testing.T) { testGaleraRaces(t, c) })
	t.Run("reads after writes", func(t *testing.T) { testGaleraReads(t, c) })
	t.Run("a node is killed", func(t *testing.T) {
		testGaleraLoss(t, c, 4000, (*testgalera.Node).Kill, (*testgalera.Node).Join)
	})
	t.Run("a node is paused", func(t *testing.T) {
		testGaleraLoss(t, c, 7000, func(n *testgalera.Node) { _ = n.Freeze() }, func(n *testgalera.Node) error {
			n.Thaw()
			return n.AwaitStatus("wsrep_local_state_comment", "Synced")
		})
	})
	t.Run("a node is cut off", func(t *testing.T) {
		testGaleraLoss(t, c, 10000, func(n *testgalera.Node) { _ = n.CutOff() }, func(n *testgalera.Node) error {
			if err := n.Connect(); err != nil {
				return err
			}
			return n.AwaitStatus("wsrep_local_state_comment", "Synced")
		})
	})
	t.Run("rolling restart", func(t *testing.T) { testGaleraRolling(t, c, 13000, false) })
	t.Run("rolling restart, with reads after writes", func(t *testing.T) { testGaleraRolling(t, c, 15000, true) })
}

// testGaleraRaces uses each token ten times at once, over all nodes.
func testGaleraRaces(t *testing.T, c *testgalera.Cluster) {
	const tokens, uses = 300, 10
	var stores []*userstore.MySQL
	for _, n := range c.Nodes {
		stores = append(stores, openStore(t, galeraConfig(n), userstore.Needs{LastLogin: true}))
	}
	var accepted, rejected atomic.Int64
	for i := range tokens {
		var wins atomic.Int64
		var all sync.WaitGroup
		for use := range uses {
			all.Go(func() {
				s := stores[use%len(stores)]
				u, err := s.Lookup(t.Context(), token.IntKey(int64(1001+i)))
				if err != nil {
					t.Error(err)
					return
				}
				if u.LastLogin != nil {
					rejected.Add(1) // the token isn't valid for that row
					return
				}
				switch err := s.Consume(t.Context(), u, time.Now()); {
				case err == nil:
					wins.Add(1)
				case errors.Is(err, userstore.ErrConsumed):
					rejected.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if wins.Load() != 1 {
			t.Errorf("token %d was accepted %d times", i, wins.Load())
		}
		accepted.Add(wins.Load())
	}
	t.Logf("%d accepted, %d rejected", accepted.Load(), rejected.Load())
}

// testGaleraReads changes a row over one node and reads it over another.
func testGaleraReads(t *testing.T, c *testgalera.Cluster) {
	const times = 2000
	db := openDSN(t, c.Nodes[0].DSN("django"))
	for _, waits := range []bool{false, true} {
		cfg := galeraConfig(c.Nodes[1])
		cfg.ReadAfterWrite = waits
		s := openStore(t, cfg, userstore.Needs{})
		stale := 0
		began := time.Now()
		for i := range times {
			password := fmt.Sprint(waits, i)
			if _, err := db.Exec("UPDATE auth_user SET password = ? WHERE id = 3", password); err != nil {
				t.Fatal(err)
			}
			u, err := s.Lookup(t.Context(), token.IntKey(3))
			if err != nil {
				t.Fatal(err)
			}
			if *u.Password != password {
				stale++
			}
		}
		t.Logf("read_after_write %v: %d of %d lookups were stale, in %s", waits, stale, times, time.Since(began))
		if waits && stale > 0 {
			t.Errorf("%d lookups were stale", stale)
		}
	}
}

// testGaleraLoss loses the node that a gateway uses, and gets it back.
func testGaleraLoss(t *testing.T, c *testgalera.Cluster, first int64, lose func(*testgalera.Node), back func(*testgalera.Node) error) {
	s := openStore(t, galeraConfig(c.Nodes...), userstore.Needs{LastLogin: true})
	l := startLoad(t, s, first, 200, 20)
	l.resumes()
	lose(c.Nodes[0])
	reads, writes := l.resumes()
	if err := back(c.Nodes[0]); err != nil {
		t.Fatal(err)
	}
	l.stop()
	t.Logf("lookups were back after %s, uses after %s; %s", reads, writes, l)
}

// testGaleraRolling restarts each node, one after the other. The cluster commits nothing
// for up to 2.5 seconds while it takes a node in, and reads after writes wait as long.
func testGaleraRolling(t *testing.T, c *testgalera.Cluster, first int64, waits bool) {
	cfg := galeraConfig(c.Nodes...)
	cfg.ReadAfterWrite = waits
	s := openStore(t, cfg, userstore.Needs{LastLogin: true})
	l := startLoad(t, s, first, 200, 20)
	l.resumes()
	for _, n := range c.Nodes {
		n.Stop()
		if err := n.Join(); err != nil {
			t.Fatal(err)
		}
	}
	l.stop()
	t.Log(l)
}

// TestSeveralDSNs checks how they are written.
func TestSeveralDSNs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  userstore.Config
		want string
	}{
		{userstore.Config{DSN: "u:s3cret@tcp(a)/d", MoreDSNs: []string{"u:s3cret@tcp(a:3306)/d"}}, "named twice"},
		{userstore.Config{DSN: "u:s3cret@tcp(a)/d", MoreDSNs: []string{"u:s3cret@tcp(b)/e"}}, `the databases "d" and "e"`},
		{userstore.Config{DSN: "u:s3cret@tcp(a)/d", MoreDSNs: []string{"u:s3cret@b/d"}}, "dsn number 2"},
		{userstore.Config{DSN: "u:s3cret@tcp(a)/d", MoreDSNFiles: []string{"f"}}, "dsn_file"},
		{userstore.Config{DSNFile: "f", MoreDSNFiles: []string{"f"}}, "one twice"},
	} {
		_, err := userstore.Open(t.Context(), test.cfg, userstore.Needs{}, zaptest.NewLogger(t))
		wantError(t, err, test.want)
	}
}
