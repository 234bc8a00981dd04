package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// caddy is the running gateway.
type caddy struct {
	cmd     *exec.Cmd
	dir     string // removed with everything in it at the end
	logPath string
	ended   chan struct{} // closed when the process has ended
	err     error         // how; set before ended is closed
}

func startCaddy(path, config string, env map[string]string) (*caddy, error) {
	dir, err := os.MkdirTemp("", "sesame-demo")
	if err != nil {
		return nil, fmt.Errorf("making a directory for caddy's files: %w", err)
	}
	c := &caddy{dir: dir, logPath: filepath.Join(dir, "caddy.log"), ended: make(chan struct{})}
	if err := c.start(path, config, env); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

func (c *caddy) start(path, config string, env map[string]string) error {
	log, err := os.Create(c.logPath)
	if err != nil {
		return fmt.Errorf("making caddy's log: %w", err)
	}
	defer log.Close()
	c.cmd = exec.Command(path, "run", "--config", config, "--adapter", "caddyfile")
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = childAttributes()
	// What Caddy keeps between runs is not to be mixed with that of a real one.
	c.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+c.dir, "XDG_CONFIG_HOME="+c.dir)
	for name, value := range env {
		c.cmd.Env = append(c.cmd.Env, name+"="+value)
	}

	started := make(chan error)
	go func() {
		err := c.runHere(started)
		if err != nil {
			c.err = err
		}
		close(c.ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting caddy: %w", err)
	}
	return nil
}

// runHere starts caddy and waits for its end, in one thread.
func (c *caddy) runHere(started chan<- error) error {
	keepThread()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return err
	}
	return c.cmd.Wait()
}

// wait returns when Caddy answers requests.
func (c *caddy) wait(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			return response.Body.Close()
		}
		select {
		case <-c.ended:
			return fmt.Errorf("caddy didn't start: %w", c.failure())
		case <-ctx.Done():
			return fmt.Errorf("caddy doesn't answer: %w", c.failure())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// failure is an error with what Caddy said last.
func (c *caddy) failure() error {
	const enough = 20
	log, err := os.ReadFile(c.logPath)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if len(lines) > enough {
		lines = lines[len(lines)-enough:]
	}
	return errors.New("it logged\n" + strings.Join(lines, "\n"))
}

// close ends Caddy as an operator would, and if need be by force.
func (c *caddy) close() error {
	var err error
	select {
	case <-c.ended:
	default:
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may end at this moment
		select {
		case <-c.ended:
			if c.err != nil {
				err = fmt.Errorf("stopping caddy: %w", c.err)
			}
		case <-time.After(stopLimit):
			_ = c.cmd.Process.Kill()
			<-c.ended
			err = errors.New("caddy had to be killed")
		}
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
