package follow_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// shared is a server with PrimaryOptions for tests that change only databases of their
// own.
var shared *testmariadb.Server

func TestMain(m *testing.M) {
	flag.Parse()
	// The target of fuzzing needs no server, and each worker would start its own.
	if flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true" {
		os.Exit(m.Run())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "follow")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	sharedMySQL.dir = filepath.Join(dir, "mysql")
	if err := os.Mkdir(sharedMySQL.dir, 0o700); err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() {
		if sharedMySQL.server != nil {
			sharedMySQL.server.Stop()
		}
	}()
	shared, err = testmariadb.Start(dir, testmariadb.PrimaryOptions...)
	switch {
	case errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "":
		fmt.Println("without a server, only what needs none is tested:", err)
	case err != nil:
		fmt.Println(err)
		return 1
	default:
		defer shared.Stop()
	}
	return m.Run()
}

// startServer runs a server of the test's own, with a binlog and further options.
func startServer(t *testing.T, options ...string) *testmariadb.Server {
	t.Helper()
	server, err := testmariadb.Start(t.TempDir(), append(slices.Clone(testmariadb.PrimaryOptions), options...)...)
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// optionsOfMySQL are those of a server that is followed.
var optionsOfMySQL = []string{"--server-id=1", "--log-bin=binlog", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"}

// startMySQL runs a server of the test's own, with a binlog, GTIDs and further options.
func startMySQL(t *testing.T, options ...string) *testmysql.Server {
	t.Helper()
	server, err := testmysql.Start(t.TempDir(), slices.Concat(optionsOfMySQL, options)...)
	if errors.Is(err, testmysql.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// sharedMySQL is a server for tests that change only databases of their own. It is started
// when a test needs it.
var sharedMySQL struct {
	once   sync.Once
	dir    string
	server *testmysql.Server
	err    error
}

// needsMySQL returns the shared MySQL.
func needsMySQL(t *testing.T) *testmysql.Server {
	t.Helper()
	sharedMySQL.once.Do(func() {
		sharedMySQL.server, sharedMySQL.err = testmysql.Start(sharedMySQL.dir, slices.Concat(optionsOfMySQL, []string{"--log-bin-trust-function-creators=ON"})...)
	})
	if errors.Is(sharedMySQL.err, testmysql.ErrNotInstalled) {
		t.Skip(sharedMySQL.err)
	}
	if sharedMySQL.err != nil {
		t.Fatal(sharedMySQL.err)
	}
	return sharedMySQL.server
}

// needsServer returns the shared server.
func needsServer(t *testing.T) *testmariadb.Server {
	t.Helper()
	if shared == nil {
		t.Skip(testmariadb.ErrNotInstalled)
	}
	return shared
}

// A databaseServer is one of MariaDB or of MySQL.
type databaseServer interface {
	Addr() string
	DSN(database string) string
	UserDSN(user, password, database string) string
	CreateDatabase(name string) error
	Exec(database string, statements ...string) error
	Freeze() error
	Thaw()
	Stop()
	Restart(arguments ...string) error
}

// account is the configuration of a user of a server.
func account(t *testing.T, server databaseServer, user, password string) *mysql.Config {
	t.Helper()
	cfg, err := mysql.ParseDSN(server.UserDSN(user, password, ""))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// database makes a database with tables, in place of one of an earlier run, and returns
// its name.
func database(t *testing.T, server databaseServer, name string, statements ...string) string {
	t.Helper()
	exec(t, server, "", "DROP DATABASE IF EXISTS `"+strings.ReplaceAll(name, "`", "``")+"`")
	if err := server.CreateDatabase(name); err != nil {
		t.Fatal(err)
	}
	exec(t, server, name, statements...)
	return name
}

func exec(t *testing.T, server databaseServer, name string, statements ...string) {
	t.Helper()
	if err := server.Exec(name, statements...); err != nil {
		t.Fatal(err)
	}
}

// patience is how long tests wait for what must come.
const patience = 60 * time.Second

// sourceOf follows tables of a server as root. Each is a name and its keys, as in
// "users id".
func sourceOf(t *testing.T, server databaseServer, schema string, tables ...string) userstore.FollowSource {
	t.Helper()
	source := userstore.FollowSource{
		Server:   account(t, server, "root", ""),
		Identify: func(userstore.ServerIdentity) error { return nil },
		Timeout:  patience, Silence: patience,
		Logger: zaptest.NewLogger(t),
	}
	for _, table := range tables {
		fields := strings.Fields(table)
		source.Tables = append(source.Tables, userstore.FollowedTable{Schema: schema, Name: fields[0], Keys: fields[1:]})
	}
	return source
}

// followed is a stream that a test reads.
type followed struct {
	source userstore.FollowSource
	stop   context.CancelFunc
	ended  chan error // has the error of Follow

	mu        sync.Mutex
	changed   *sync.Cond
	positions userstore.Positions
	at, start userstore.LogPosition
	said      []string // what was reported, but for Reached
	when      []userstore.LogPosition
	isOver    bool
	onReached func()
}

// Began implements userstore.Feed.
func (f *followed) Began(at userstore.LogPosition, positions userstore.Positions) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.start, f.positions = at, at, positions
	f.changed.Broadcast()
}

// Changed implements userstore.Feed.
func (f *followed) Changed(at userstore.LogPosition, table int, keys [][]*string) {
	for _, row := range keys {
		texts := make([]string, len(row))
		for i, key := range row {
			if texts[i] = "NULL"; key != nil {
				texts[i] = *key
			}
		}
		f.say(at, f.source.Tables[table].Name+" "+strings.Join(texts, ","))
	}
}

// ChangedTable implements userstore.Feed.
func (f *followed) ChangedTable(at userstore.LogPosition, table int) {
	f.say(at, f.source.Tables[table].Name+" *")
}

// ChangedAll implements userstore.Feed.
func (f *followed) ChangedAll(at userstore.LogPosition, isStructure bool, _ string) {
	if isStructure {
		f.say(at, "structure")
		return
	}
	f.say(at, "all")
}

// Reached implements userstore.Feed.
func (f *followed) Reached(at userstore.LogPosition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.Before(f.at) {
		panic(fmt.Sprintf("the stream goes back from %v to %v", f.at, at))
	}
	f.at = at
	if f.onReached != nil {
		f.onReached()
	}
	f.changed.Broadcast()
}

func (f *followed) say(at userstore.LogPosition, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, what)
	f.when = append(f.when, at)
	f.changed.Broadcast()
}

// start follows until the test ends.
func start(t *testing.T, source userstore.FollowSource) *followed {
	t.Helper()
	f := launch(t, source)
	f.wait(t, func() bool { return f.positions != nil })
	return f
}

// launch is start without waiting for the stream's beginning.
func launch(t *testing.T, source userstore.FollowSource) *followed {
	t.Helper()
	f := &followed{source: source, ended: make(chan error, 1)}
	f.changed = sync.NewCond(&f.mu)
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := follow.Follower{}.Follow(ctx, source, f)
		f.ended <- err
		f.mu.Lock()
		f.isOver = true
		f.mu.Unlock()
		f.changed.Broadcast()
	}()
	t.Cleanup(func() {
		stop()
		<-over
	})
	return f
}

// wait waits for a condition. The mutex is held while it is looked at.
func (f *followed) wait(t *testing.T, isTrue func() bool) {
	t.Helper()
	isLate := false
	timer := time.AfterFunc(patience, func() {
		f.mu.Lock()
		isLate = true
		f.mu.Unlock()
		f.changed.Broadcast()
	})
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !isTrue() {
		if f.isOver {
			t.Fatalf("the stream has ended: %v", <-f.ended)
		}
		if isLate {
			t.Fatalf("after %s it is at %v and has said %q", patience, f.at, f.said)
		}
		f.changed.Wait()
	}
}

// written is the end of the log.
func (f *followed) written(t *testing.T) userstore.LogPosition {
	t.Helper()
	at, err := f.positions.Written(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// take returns what was reported since the last call, up to the end of the log.
func (f *followed) take(t *testing.T) []string {
	t.Helper()
	end := f.written(t)
	f.wait(t, func() bool { return !f.at.Before(end) })
	f.mu.Lock()
	defer f.mu.Unlock()
	said := f.said
	f.said, f.when = nil, nil
	return said
}

// expect makes changes, and compares what is reported, each thing once and sorted.
func (f *followed) expect(t *testing.T, server databaseServer, want []string, statements ...string) {
	t.Helper()
	exec(t, server, f.source.Tables[0].Schema, statements...)
	said := f.take(t)
	slices.Sort(said)
	if said = slices.Compact(said); !slices.Equal(said, want) {
		t.Errorf("after %.200q it was reported that %q changed, and not %q", statements, said, want)
	}
}

// end waits for the stream's end, and returns its error.
func (f *followed) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.ended:
		return err
	case <-time.After(patience):
		t.Fatalf("the stream hasn't ended after %s", patience)
		return nil
	}
}

// awaitSuccess repeats a function until it returns no error.
func awaitSuccess(t *testing.T, do func() error) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
