// Package testmariadb runs a private MariaDB server for tests, with its own
// data directory and a free loopback port. It shares nothing with another
// server of the machine. It needs mariadbd and mariadb-install-db, which
// Debian's mariadb-server and Homebrew's mariadb install.
package testmariadb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// ErrNotInstalled is returned by Start where there is no MariaDB to run. Tests
// skip on it, or fail where they must not skip.
var ErrNotInstalled = errors.New("mariadbd and mariadb-install-db are not installed (Debian: apt install mariadb-server)")

// How long the server may take to answer after it was started, and to end
// after it was asked to. Only a broken or very busy machine gets near.
const (
	startLimit = 3 * time.Minute
	stopLimit  = 20 * time.Second
)

// unsynced are options without which the server waits for the disk in tests that
// create tables. A crash of the server loses nothing with them; only one of the
// whole system would.
var unsynced = []string{"--debug-no-sync", "--innodb-flush-method=nosync", "--innodb-doublewrite=0"}

// Server is a running MariaDB of this process.
type Server struct {
	dir  string
	port int
	more []string // additional arguments of the caller
	cmd  *exec.Cmd
	gone <-chan struct{} // closed when the process has ended
}

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
	if _, err := find("mariadbd", "mysqld"); err != nil {
		return nil, err
	}
	s := &Server{dir: dir, more: arguments}
	if err := os.Mkdir(s.tmp(), 0o700); err != nil {
		return nil, fmt.Errorf("making MariaDB's directory for temporary files: %w", err)
	}
	data := filepath.Join(dir, "data")
	install := exec.Command(installer, slices.Concat([]string{
		"--no-defaults",
		"--datadir=" + data,
		"--tmpdir=" + s.tmp(),
		"--auth-root-authentication-method=normal",
		"--skip-test-db",
		"--skip-name-resolve",
	}, unsynced, account())...)
	var said bytes.Buffer
	install.Stdout, install.Stderr = &said, &said
	installed, err := child.StartTied(install)
	if err != nil {
		return nil, fmt.Errorf("making MariaDB's data directory: %w", err)
	}
	<-installed
	if !install.ProcessState.Success() {
		return nil, fmt.Errorf("making MariaDB's data directory: %s\n%s", install.ProcessState, &said)
	}
	if s.port, err = child.FreePort(); err != nil {
		return nil, err
	}
	return s, nil
}

// Restart runs the server again on the same data and port, after Kill or Stop, with
// further arguments for this time. It does nothing if the server runs.
func (s *Server) Restart(arguments ...string) error {
	if s.gone != nil {
		select {
		case <-s.gone:
		default:
			return nil
		}
	}
	if err := s.run(arguments...); err != nil {
		return err
	}
	if err := s.awaitReady(); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// run starts the server's process.
func (s *Server) run(arguments ...string) error {
	daemon, err := find("mariadbd", "mysqld")
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening MariaDB's log: %w", err)
	}
	defer logFile.Close()

	// --no-defaults must come first. Tests don't use the machine's settings.
	args := []string{
		"--no-defaults",
		"--datadir=" + filepath.Join(s.dir, "data"),
		"--socket=" + s.Socket(),
		"--pid-file=" + filepath.Join(s.dir, "pid"),
		// Not /tmp: at its start, a server removes all temporary tables there,
		// including those of other running servers.
		"--tmpdir=" + s.tmp(),
		"--skip-networking=0",
		"--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(s.port),
		"--skip-name-resolve",
		"--max-connections=500",
		"--innodb-buffer-pool-size=16M",
		"--innodb-log-file-size=8M",
		"--innodb-flush-log-at-trx-commit=0",
		"--innodb-fast-shutdown=2",
		"--key-buffer-size=1M",
		"--performance-schema=0",
	}
	args = slices.Concat(args, unsynced)
	// The server takes the first --user, and not the last.
	s.cmd = exec.Command(daemon, slices.Concat(args, s.more, arguments, account())...)
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	if s.gone, err = child.StartTied(s.cmd); err != nil {
		return fmt.Errorf("starting MariaDB: %w", err)
	}
	return nil
}

// awaitReady returns as soon as the server answers a query.
func (s *Server) awaitReady() error {
	db, err := sql.Open("mysql", s.DSN(""))
	if err != nil {
		return fmt.Errorf("opening the private MariaDB: %w", err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-s.gone:
			return fmt.Errorf("MariaDB ended before it was ready:\n%s", s.log())
		case <-ctx.Done():
			return fmt.Errorf("MariaDB isn't ready after %s: %w\n%s", startLimit, err, s.log())
		}
	}
}

// Addr returns the host and port that the server listens on.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Socket is the Unix socket that the server listens on.
func (s *Server) Socket() string { return filepath.Join(s.dir, "sock") }

// DSN returns a data source name of go-sql-driver/mysql for a database of the
// server, as its root user. The name may be empty, for no database.
func (s *Server) DSN(database string) string { return s.UserDSN("root", "", database) }

// UserDSN is like DSN, for another user.
func (s *Server) UserDSN(user, password, database string) string {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = user, password
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", s.Addr(), database
	// Otherwise polling for readiness would fill the test's output.
	cfg.Logger = &mysql.NopLogger{}
	return cfg.FormatDSN()
}

// CreateDatabase makes an empty database, as Django's documentation
// recommends.
func (s *Server) CreateDatabase(name string) error {
	return s.Exec("", "CREATE DATABASE `"+strings.ReplaceAll(name, "`", "``")+"` CHARACTER SET utf8mb4")
}

// Exec runs statements one by one as root, in a database or in none.
func (s *Server) Exec(database string, statements ...string) error {
	db, err := sql.Open("mysql", s.DSN(database))
	if err != nil {
		return fmt.Errorf("opening the private MariaDB: %w", err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("running %q: %w", statement, err)
		}
	}
	return nil
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
			"MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1", primary.port),
		"START SLAVE")
}

// Stop shuts the server down. A second call does nothing.
func (s *Server) Stop() {
	s.Thaw() // a stopped process would not see the signal
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(stopLimit):
		s.Kill()
	}
}

// Kill ends the server at once, as a crash does, and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.gone
}

// Freeze makes the server stop answering while its connections stay open, as
// a hung machine does. Thaw ends that.
func (s *Server) Freeze() error {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal stops one thread after the other, after the call.
	deadline := time.Now().Add(stopLimit)
	for !s.isStopped() {
		if time.Now().After(deadline) {
			return fmt.Errorf("MariaDB still runs %s after it was stopped", stopLimit)
		}
	}
	return nil
}

// isStopped reports whether all of the server's threads are stopped, which Linux tells.
// Elsewhere, a server that greets no client is taken for stopped.
func (s *Server) isStopped() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid)) // the pattern is right
	if len(threads) == 0 {
		return !s.greets()
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread) //nolint:gosec // of the system
		if err != nil {
			continue // it has ended
		}
		// The state follows the name, which may hold anything.
		if state := text[bytes.LastIndexByte(text, ')')+1:]; !bytes.HasPrefix(state, []byte(" T ")) {
			return false
		}
	}
	return true
}

// greets reports whether the server sends a client its greeting.
func (s *Server) greets() bool {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	n, _ := conn.Read(make([]byte, 1))
	return n > 0
}

// Thaw lets a frozen server continue.
func (s *Server) Thaw() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

func (s *Server) tmp() string     { return filepath.Join(s.dir, "tmp") }
func (s *Server) logPath() string { return filepath.Join(s.dir, "mariadbd.log") }

// log returns the end of the server's log, for error messages.
func (s *Server) log() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	const enough = 4000
	if len(text) > enough {
		text = text[len(text)-enough:]
	}
	return string(text)
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
