// Package testmysql runs a private MySQL server for tests, of version 8.0 or later. It
// runs the mysqld that SESAME_TEST_MYSQLD names; .ci/mysql gets one from Debian.
package testmysql

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/caddy-sesame/caddy-sesame/internal/testserver"
)

// variable names the mysqld, or a script that executes one with the script's arguments
// first.
const variable = "SESAME_TEST_MYSQLD"

// ErrNotInstalled is returned by Start where there is no MySQL to run. Tests skip on it,
// in continuous integration, too: the servers that can be had move on, and a change isn't
// wrong because there is none today.
var ErrNotInstalled = errors.New("no MySQL: " + variable + " names no mysqld (on Debian, .ci/mysql gets one, and prints its path)")

// unsynced are options without which the server waits for the disk. A crash of the
// server loses nothing with them; only one of the whole system would.
var unsynced = []string{"--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--sync-binlog=0", "--innodb-redo-log-capacity=64M"}

// rootOverTCP makes an account for the loopback interface, whose address isn't resolved
// to localhost. MySQL has that name alone.
const rootOverTCP = `CREATE USER 'root'@'127.0.0.1';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
GRANT PROXY ON ''@'' TO 'root'@'127.0.0.1' WITH GRANT OPTION;
`

// Server is a running MySQL of this process.
type Server struct{ *testserver.Server }

// Start makes a data directory inside dir and runs a server on it, with further
// arguments of mysqld, which override those here. The caller calls Stop, and removes
// dir.
func Start(dir string, arguments ...string) (*Server, error) {
	s, err := Install(dir, arguments...)
	if err != nil {
		return nil, err
	}
	return s, s.Restart()
}

// Install is Start without running the server, which Restart does.
func Install(dir string, arguments ...string) (*Server, error) {
	daemon := os.Getenv(variable)
	if daemon == "" {
		return nil, ErrNotInstalled
	}
	accounts := filepath.Join(dir, "accounts.sql")
	if err := os.WriteFile(accounts, []byte(rootOverTCP), 0o600); err != nil {
		return nil, fmt.Errorf("writing the statements for MySQL's accounts: %w", err)
	}
	s, err := testserver.Install(dir, testserver.Program{
		Name: "MySQL",
		Install: func(s *testserver.Server) *exec.Cmd {
			return exec.Command(daemon, slices.Concat(installOptions(s, accounts), installed(arguments), account())...) //nolint:gosec // the tests' caller says which
		},
		Run: func(s *testserver.Server, more ...string) *exec.Cmd {
			return exec.Command(daemon, slices.Concat(runOptions(s), arguments, more, account())...) //nolint:gosec // the tests' caller says which
		},
	})
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// PrimaryOptions are the options of a server that others replicate.
var PrimaryOptions = []string{"--server-id=1", "--log-bin=binlog", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"}

// ReplicaOptions are the options of a server that replicates one with PrimaryOptions, and
// accepts no other writes.
var ReplicaOptions = []string{"--server-id=2", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--super-read-only=ON"}

// Replicate makes the server a replica of primary, from the primary's start on.
func (s *Server) Replicate(primary *Server) error {
	return s.Exec("",
		fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = %d, SOURCE_USER = 'root', "+
			"SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1", primary.Port()),
		"START REPLICA")
}

// installOptions are those that make a data directory.
func installOptions(s *testserver.Server, accounts string) []string {
	return slices.Concat([]string{
		"--no-defaults",
		"--initialize-insecure",
		"--datadir=" + s.DataDir(),
		"--tmpdir=" + s.TempDir(),
		"--init-file=" + accounts,
		"--skip-log-bin",
	}, unsynced)
}

// installed are those of a server's arguments that its data directory must be made with.
func installed(arguments []string) []string {
	return slices.DeleteFunc(slices.Clone(arguments), func(argument string) bool {
		return !slices.Contains([]string{"--lower-case-table-names=1"}, argument)
	})
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
		"--secure-file-priv=NULL",
		"--mysqlx=OFF",
		"--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(s.Port()),
		"--skip-name-resolve",
		"--max-connections=500",
		"--innodb-buffer-pool-size=16M",
		"--innodb-flush-log-at-trx-commit=2",
		"--innodb-fast-shutdown=2",
		"--key-buffer-size=1M",
		"--performance-schema=0",
		"--skip-log-bin",
	}, unsynced)
}

// account returns the option for the system user. MySQL refuses to run as root unless
// --user=root says so.
func account() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}
