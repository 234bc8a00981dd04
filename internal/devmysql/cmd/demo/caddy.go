package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// caddy is the running gateway.
type caddy struct {
	*child.Process
	dir     string // removed with everything in it at the end
	logPath string
}

// startCaddy runs the caddy at a path with a configuration. Env is what this has
// in its environment in addition, as NAME=VALUE.
func startCaddy(path, config string, env ...string) (*caddy, error) {
	dir, err := child.TempDir("sesame-demo")
	if err != nil {
		return nil, err
	}
	c := &caddy{dir: dir, logPath: filepath.Join(dir, "caddy.log")}
	// What Caddy keeps between runs is not to be mixed with that of a real one.
	env = append(env, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	c.Process, err = child.Start("caddy", c.logPath, env, path, "run", "--config", config, "--adapter", "caddyfile")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// close ends Caddy as an operator would, and if need be by force.
func (c *caddy) close() error {
	c.Stop()
	return os.RemoveAll(c.dir)
}
