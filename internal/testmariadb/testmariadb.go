// Package testmariadb runs a private MariaDB server for tests. It needs mariadbd and
// mariadb-install-db, which Debian's mariadb-server and Homebrew's mariadb install.
package testmariadb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"

	"github.com/caddy-sesame/caddy-sesame/internal/testserver"
)

// ErrNotInstalled is returned by Start where there is no MariaDB to run. Tests
// skip on it, or fail where they must not skip.
var ErrNotInstalled = errors.New("mariadbd and mariadb-install-db are not installed (Debian: apt install mariadb-server)")

// unsynced are options without which the server waits for the disk in tests that
// create tables. A crash of the server loses nothing with them; only one of the
// whole system would.
var unsynced = []string{"--debug-no-sync", "--innodb-flush-method=nosync", "--innodb-doublewrite=0"}

// Server is a running MariaDB of this process.
type Server struct{ *testserver.Server }

// Start makes a data directory inside dir and runs a server on it, with further
// arguments of mariadbd, which override those here. The caller calls Stop, and
// removes dir.
func Start(dir string, arguments ...string) (*Server, error) {
	s, err := Install(dir, arguments...)
	if err != nil {
		return nil, err
	}
	return s, s.Restart()
}

// Install is Start without running the server, which Restart does. The data belong
// to this process's user.
func Install(dir string, arguments ...string) (*Server, error) {
	installer, err := find("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return nil, err
	}
	daemon, err := find("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	s, err := testserver.Install(dir, testserver.Program{
		Name:    "MariaDB",
		Install: func(s *testserver.Server) *exec.Cmd { return exec.Command(installer, installOptions(s)...) },
		Run: func(s *testserver.Server, more ...string) *exec.Cmd {
			// The server takes the first --user, and not the last.
			return exec.Command(daemon, slices.Concat(runOptions(s), arguments, more, account())...)
		},
	})
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// installOptions are those that make a data directory.
func installOptions(s *testserver.Server) []string {
	return slices.Concat([]string{
		"--no-defaults",
		"--datadir=" + s.DataDir(),
		"--tmpdir=" + s.TempDir(),
		"--auth-root-authentication-method=normal",
		"--skip-test-db",
		"--skip-name-resolve",
	}, unsynced, account())
}

// runOptions are those that run a server.
func runOptions(s *testserver.Server) []string {
	// --no-defaults must come first. Tests don't use the machine's settings.
	return slices.Concat([]string{
		"--no-defaults",
		"--datadir=" + s.DataDir(),
		"--socket=" + s.Socket(),
		"--pid-file=" + s.PIDFile(),
		"--tmpdir=" + s.TempDir(),
		"--skip-networking=0",
		"--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(s.Port()),
		"--skip-name-resolve",
		"--max-connections=500",
		"--innodb-buffer-pool-size=16M",
		"--innodb-log-file-size=8M",
		"--innodb-flush-log-at-trx-commit=0",
		"--innodb-fast-shutdown=2",
		"--key-buffer-size=1M",
		"--performance-schema=0",
	}, unsynced)
}

// PrimaryOptions are the options of a server that others replicate.
var PrimaryOptions = []string{"--server-id=1", "--log-bin=binlog", "--binlog-format=ROW"}

// ReplicaOptions are the options of a server that replicates one with
// PrimaryOptions.
var ReplicaOptions = []string{"--server-id=2"}

// Replicate makes the server a replica of primary, from the primary's start
// on. STOP SLAVE SQL_THREAD makes it fall behind.
func (s *Server) Replicate(primary *Server) error {
	return s.Exec("",
		fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %d, MASTER_USER = 'root', "+
			"MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1", primary.Port()),
		"START SLAVE")
}

// account returns the option for the system user. MariaDB refuses to run as
// root unless --user=root says so.
func account() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// find looks for a program on PATH, and in Debian's directories for servers,
// which are not on every user's PATH.
func find(names ...string) (string, error) {
	for _, name := range names {
		for _, candidate := range []string{name, "/usr/sbin/" + name} {
			if path, err := exec.LookPath(candidate); err == nil {
				return path, nil
			}
		}
	}
	return "", ErrNotInstalled
}
