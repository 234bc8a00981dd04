package follow_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// briefly is a silence after which a stream ends, in tests where it does. All others must
// hear from the server in that time, on a busy machine too.
const briefly = 3 * time.Second

// TestStreamEndsWhenTheLogDoesntContinue changes the server so that the stream can't
// be relied on any more.
func TestStreamEndsWhenTheLogDoesntContinue(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name    string
		silence time.Duration
		options []string
		act     func(t *testing.T, f *followed, server serverUnderTest)
	}{
		{"the server is restarted", patience, nil, func(t *testing.T, _ *followed, server serverUnderTest) {
			server.Stop()
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
		}},
		{"the server crashes", patience, nil, func(_ *testing.T, _ *followed, server serverUnderTest) { server.Kill() }},
		{"the server freezes", briefly, nil, func(t *testing.T, _ *followed, server serverUnderTest) {
			if err := server.Freeze(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Thaw)
		}},
		{"the log is reset in its second file", briefly, nil, func(t *testing.T, f *followed, server serverUnderTest) {
			if err := server.Exec("", "FLUSH BINARY LOGS"); err != nil {
				t.Fatal(err)
			}
			f.take(t)
			if err := server.Exec("", "RESET MASTER", "INSERT INTO gone.users (name) VALUES ('x')"); err != nil {
				t.Fatal(err)
			}
		}},
		{"the stream is killed", patience, nil, func(t *testing.T, _ *followed, server serverUnderTest) {
			if err := server.Exec("", "BEGIN NOT ATOMIC DECLARE stream int; "+
				"SELECT ID INTO stream FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'; KILL stream; END"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, fault.options...)
			name := database(t, server, "gone", usersTable)
			source := sourceOf(t, server, name, "users id")
			source.Silence = fault.silence
			f := start(t, source)
			fault.act(t, f, server)
			err := f.end(t)
			if err == nil || errors.As(err, new(*userstore.Unfollowable)) {
				t.Errorf("the stream has ended with %v: want an error after which it is tried again", err)
			}
			t.Log(err)
		})
	}
}

// serverUnderTest is what a fault may do to a server.
type serverUnderTest interface {
	Exec(database string, statements ...string) error
	Freeze() error
	Thaw()
	Kill()
	Stop()
	Restart(arguments ...string) error
}

// TestWrittenFailsAfterTheLogWasReset resets the first file of a log. The server goes on
// to send heartbeats of the removed file.
func TestWrittenFailsAfterTheLogWasReset(t *testing.T) {
	t.Parallel()
	for _, isLonger := range []bool{false, true} {
		server := startServer(t)
		name := database(t, server, "reset", usersTable)
		source := sourceOf(t, server, name, "users id")
		source.Silence = briefly
		f := start(t, source)
		exec(t, server, name, "RESET MASTER")
		if isLonger {
			for range 20 {
				exec(t, server, name, "INSERT INTO users (name) VALUES (UUID())")
			}
		}
		awaitError(t, f)
	}
}

// awaitError waits until Written returns an error, or the stream has ended.
func awaitError(t *testing.T, f *followed) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if _, err := f.positions.Written(t.Context()); err != nil {
			t.Log(err)
			return
		}
		select {
		case <-poll.C:
		case err := <-f.ended:
			t.Log(err)
			return
		case <-deadline:
			t.Fatalf("after %s there is no error", patience)
		}
	}
}

// TestStreamGoesOnOverNewFiles has the server begin files, and remove old ones.
func TestStreamGoesOnOverNewFiles(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "files", usersTable)
	f := start(t, sourceOf(t, server, name, "users id"))
	f.expect(t, server, []string{"users 1"}, "INSERT INTO users (name) VALUES ('a')", "FLUSH BINARY LOGS")
	f.expect(t, server, []string{"users 2"}, "FLUSH LOGS", "INSERT INTO users (name) VALUES ('b')")
	f.expect(t, server, []string{"users 3"}, "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY", "INSERT INTO users (name) VALUES ('c')")
	f.expect(t, server, []string{"users 4"}, "SET GLOBAL binlog_checksum = NONE", "INSERT INTO users (name) VALUES ('d')")
	f.expect(t, server, []string{"users 5"}, "SET GLOBAL binlog_checksum = CRC32", "INSERT INTO users (name) VALUES ('e')")
}

// TestHeartbeatsKeepAQuietStream follows a server on which nothing happens.
func TestHeartbeatsKeepAQuietStream(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	source := sourceOf(t, server, database(t, server, "quiet", usersTable), "users id")
	source.Silence = 2 * briefly
	f := start(t, source)
	beats := 0
	f.mu.Lock()
	f.onReached = func() { beats++ }
	f.mu.Unlock()
	f.wait(t, func() bool { return beats > 4 })
}

// TestOneServerIDForTwoStreams has two gateways with the same server_id.
func TestOneServerIDForTwoStreams(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	source := sourceOf(t, server, database(t, server, "twice", usersTable), "users id")
	source.ServerID = 4711
	first := start(t, source)
	start(t, source)
	err := first.end(t)
	if !errors.As(err, new(*userstore.Unfollowable)) || !strings.Contains(err.Error(), "server_id 4711") {
		t.Errorf("the first stream has ended with %v: want one that names the ID, and isn't tried again", err)
	}
}
