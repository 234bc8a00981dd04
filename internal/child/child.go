// Package child runs the servers of tests, the demo, the benchmark and the
// soak as child processes, and ends them with the program.
package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// How long a server may take to listen after it was started, and to end after
// it was asked to. Only a broken or very busy machine takes nearly as long.
const (
	startLimit = 3 * time.Minute
	stopLimit  = 10 * time.Second
)

// Process is a running server.
type Process struct {
	name    string
	cmd     *exec.Cmd
	logPath string
	ended   chan struct{} // closed when the process has ended
}

// Start runs a command whose output goes to a file. Its environment is this
// program's with env in addition.
func Start(name, logPath string, env []string, command ...string) (*Process, error) {
	log, err := os.Create(logPath) //nolint:gosec // the caller says where
	if err != nil {
		return nil, fmt.Errorf("making the log of %s: %w", name, err)
	}
	defer log.Close()
	p := &Process{name: name, logPath: logPath}
	p.cmd = exec.Command(command[0], command[1:]...) //nolint:gosec // what to run is what this is for
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), env...)
	if p.ended, err = start(p.cmd, syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// StartTied starts a command that is killed when this program ends in any way:
// a test that times out leaves no server behind, not even one that is stopped
// by a signal. The channel is closed when the command has ended.
func StartTied(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	return start(cmd, syscall.SIGKILL)
}

// start starts a command that gets a signal when this program ends, and waits for
// it in the background.
func start(cmd *exec.Cmd, atEnd syscall.Signal) (chan struct{}, error) {
	cmd.SysProcAttr = attributes(atEnd)
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		keepThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its log shows how it ended
		}
		close(ended)
	}()
	return ended, <-started
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// AwaitListening returns as soon as connections to the address are accepted.
func (p *Process) AwaitListening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var dialer net.Dialer
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if conn, err := dialer.DialContext(ctx, "tcp", address); err == nil {
			return conn.Close()
		}
		select {
		case <-poll.C:
		case <-p.ended:
			return fmt.Errorf("%s ended before it listened: %w", p.name, p.Logged())
		case <-ctx.Done():
			return fmt.Errorf("%s doesn't listen on %s: %w\n%w", p.name, address, context.Cause(ctx), p.Logged())
		}
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Check returns an error if the process has ended.
func (p *Process) Check() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended: %w", p.name, p.Logged())
	default:
		return nil
	}
}

// Logged returns an error with the last output of the process.
func (p *Process) Logged() error {
	const enough = 20
	log, err := os.ReadFile(p.logPath)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if len(lines) > enough {
		lines = lines[len(lines)-enough:]
	}
	return errors.New("it logged\n" + strings.Join(lines, "\n"))
}

// Stop ends the process with a signal, as an operator does, and kills it if
// that takes too long. Further calls do nothing.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	// Workers that outlive their master are in the same group.
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
}

// Kill ends the process at once, as a crash does, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}
