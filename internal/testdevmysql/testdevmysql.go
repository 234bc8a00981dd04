// Package testdevmysql runs the embedded MySQL server for tests. The server is
// in a separate module, so that Caddy doesn't depend on it; this package
// builds and starts its program.
package testdevmysql

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Start builds the server of the module in moduleDir, and runs it. The program
// is built into dir. stop ends it.
func Start(moduleDir, dir string) (dsn string, stop func(), err error) {
	program := filepath.Join(dir, "devmysql")
	build := exec.Command("go", "build", "-C", moduleDir, "-o", program, "./cmd/devmysql")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("%w\n%s", err, output)
	}
	server := exec.Command(program)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = stdin.Close() // the server then ends
		_ = server.Wait()
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	dsn, ok := strings.CutPrefix(strings.TrimSpace(line), "DSN ")
	if err != nil || !ok {
		stop()
		return "", nil, fmt.Errorf("it didn't say its DSN: %q, %w", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return dsn, stop, nil
}
