// Package testserver runs a private server that speaks MySQL's protocol, for tests:
// with its own data directory and a free loopback port, it shares nothing with another
// server of the machine. Which program that is, and with which options, is said by the
// packages for each kind of server.
package testserver

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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// How long the server may take to answer after it was started, and to end
// after it was asked to. Only a broken or very busy machine gets near.
const (
	startLimit = 3 * time.Minute
	stopLimit  = 20 * time.Second
)

// accessDenied is the number of the error for a wrong user or password.
const accessDenied = 1045

// A Program makes data directories and runs servers on them.
type Program struct {
	Name    string                                         // of the kind of server, for messages
	Install func(s *Server) *exec.Cmd                      // makes the data directory
	Run     func(s *Server, arguments ...string) *exec.Cmd // runs a server on it, as root with an empty password
}

// Server is a running server of this process.
type Server struct {
	program Program
	dir     string
	port    int
	cmd     *exec.Cmd
	gone    <-chan struct{} // closed when the process has ended
}

// Install makes a data directory inside dir, for a server that Restart runs. The caller
// calls Stop, and removes dir.
func Install(dir string, program Program) (*Server, error) {
	s := &Server{program: program, dir: dir}
	if err := os.Mkdir(s.TempDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory for temporary files of %s: %w", program.Name, err)
	}
	install := program.Install(s)
	var said bytes.Buffer
	install.Stdout, install.Stderr = &said, &said
	installed, err := child.StartTied(install)
	if err != nil {
		return nil, fmt.Errorf("making the data directory of %s: %w", program.Name, err)
	}
	<-installed
	if !install.ProcessState.Success() {
		return nil, fmt.Errorf("making the data directory of %s: %s\n%s", program.Name, install.ProcessState, &said)
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
	logFile, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", s.program.Name, err)
	}
	defer logFile.Close()
	s.cmd = s.program.Run(s, arguments...)
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	if s.gone, err = child.StartTied(s.cmd); err != nil {
		return fmt.Errorf("starting %s: %w", s.program.Name, err)
	}
	return nil
}

// awaitReady returns as soon as the server answers a query.
func (s *Server) awaitReady() error {
	db, err := sql.Open("mysql", s.DSN(""))
	if err != nil {
		return fmt.Errorf("opening the private %s: %w", s.program.Name, err)
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
		if denied := new(mysql.MySQLError); errors.As(err, &denied) && denied.Number == accessDenied {
			return fmt.Errorf("%s doesn't know its root user: %w", s.program.Name, err)
		}
		select {
		case <-poll.C:
		case <-s.gone:
			return fmt.Errorf("%s ended before it was ready:\n%s", s.program.Name, s.log())
		case <-ctx.Done():
			return fmt.Errorf("%s isn't ready after %s: %w\n%s", s.program.Name, startLimit, err, s.log())
		}
	}
}

// DataDir is the server's data directory.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// TempDir is where the server has its temporary files. That isn't /tmp: at its start, a
// server removes all temporary tables there, including those of other running servers.
func (s *Server) TempDir() string { return filepath.Join(s.dir, "tmp") }

// PIDFile is where the server writes its process ID.
func (s *Server) PIDFile() string { return filepath.Join(s.dir, "pid") }

// Port is the port of the loopback interface that the server listens on.
func (s *Server) Port() int { return s.port }

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
		return fmt.Errorf("opening the private %s: %w", s.program.Name, err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("running %q: %w", statement, err)
		}
	}
	return nil
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
			return fmt.Errorf("%s still runs %s after it was stopped", s.program.Name, stopLimit)
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

func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }

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
