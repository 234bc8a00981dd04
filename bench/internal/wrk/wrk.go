// Package wrk measures throughput with the load generator of that name: a fixed
// number of connections, each of which sends its next request as soon as the
// last one is answered.
package wrk

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ErrNotInstalled is returned by Find where there is no wrk.
var ErrNotInstalled = errors.New("wrk is not installed (Debian: apt install wrk; Homebrew: brew install wrk)")

// Find returns the path of wrk.
func Find() (string, error) {
	path, err := exec.LookPath("wrk")
	if err != nil {
		return "", ErrNotInstalled
	}
	return path, nil
}

//go:embed script.lua
var script []byte

// Request is what one user sends: a GET for the path, with one header field,
// which may be empty.
type Request struct {
	Path   string
	Header string // "Name: value"
}

// Tool runs wrk.
type Tool struct {
	path   string
	script string
}

// New finds wrk, and puts what it needs into a directory.
func New(dir string) (*Tool, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	t := &Tool{path: path, script: filepath.Join(dir, "wrk.lua")}
	if err := os.WriteFile(t.script, script, 0o600); err != nil {
		return nil, fmt.Errorf("writing wrk's script: %w", err)
	}
	return t, nil
}

// WriteRequests makes a file of requests, for Load. order has the index of each
// request to send.
func WriteRequests(path string, requests []Request, order []int) error {
	for _, r := range requests {
		if strings.ContainsAny(r.Path+r.Header, "\t\r\n") {
			return errors.New("a request has a tab or a line break in it")
		}
	}
	var text strings.Builder
	for _, i := range order {
		text.WriteString(requests[i].Path + "\t" + requests[i].Header + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("writing requests for wrk: %w", err)
	}
	return nil
}

// Load is what to measure.
type Load struct {
	URL         string // without a path
	Requests    string // a file made by WriteRequests
	Connections int
	Duration    time.Duration // in whole seconds
	MinBody     int           // what every answer has at least, in bytes
}

// Result is what wrk has measured.
type Result struct {
	Requests int64
	Bytes    int64
	Duration time.Duration
	CPU      time.Duration // of wrk itself, once it has read its requests
	Failures
	P50, P90, P99 time.Duration
}

// Failures are the requests that were not answered as they should be.
type Failures struct {
	Status, Connect, Read, Write, Timeout int64
}

// PerSecond is how many requests were answered in a second.
func (r Result) PerSecond() float64 {
	return float64(r.Requests) / r.Duration.Seconds()
}

// Run measures. Anything but the right answer to any request is an error.
func (t *Tool) Run(ctx context.Context, load Load) (Result, error) {
	// One thread is enough for a gateway on a few CPUs; more would only take
	// time from it.
	threads := min(max(runtime.NumCPU()/4, 1), load.Connections)
	cmd := exec.CommandContext(ctx, t.path, //nolint:gosec // it is the wrk that was found
		"--threads", strconv.Itoa(threads),
		"--connections", strconv.Itoa(load.Connections),
		"--duration", strconv.Itoa(max(int(load.Duration.Seconds()), 1))+"s",
		"--timeout", "10s",
		"--script", t.script,
		load.URL, "--", load.Requests, strconv.Itoa(threads))
	out, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		return Result{}, fmt.Errorf("running wrk: %w\n%s", err, out)
	}
	r, err := parse(string(out))
	if err != nil {
		return Result{}, fmt.Errorf("%w in what wrk says:\n%s", err, out)
	}
	return r, r.check(load.MinBody)
}

// parse reads the line that the script writes.
func parse(out string) (Result, error) {
	var line string
	for l := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(l, "result: "); ok {
			line = rest
		}
	}
	if line == "" {
		return Result{}, errors.New("there is no result")
	}
	var r Result
	var microseconds, cpu, p50, p90, p99 int64
	fields := map[string]*int64{
		"requests": &r.Requests, "bytes": &r.Bytes, "microseconds": &microseconds, "cpu": &cpu,
		"status": &r.Status, "connect": &r.Connect, "read": &r.Read, "write": &r.Write, "timeout": &r.Timeout,
		"p50": &p50, "p90": &p90, "p99": &p99,
	}
	for pair := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(pair, "=")
		to, ok := fields[name]
		if !ok {
			return Result{}, fmt.Errorf("%q is not a known value", name)
		}
		var err error
		if *to, err = strconv.ParseInt(value, 10, 64); err != nil {
			return Result{}, fmt.Errorf("%s is not a number", name)
		}
		delete(fields, name)
	}
	for name := range fields {
		return Result{}, fmt.Errorf("%s is missing", name)
	}
	if r.Requests == 0 || microseconds == 0 {
		return Result{}, errors.New("no request was answered")
	}
	r.Duration, r.CPU = time.Duration(microseconds)*time.Microsecond, time.Duration(cpu)*time.Microsecond
	r.P50, r.P90, r.P99 = time.Duration(p50)*time.Microsecond, time.Duration(p90)*time.Microsecond, time.Duration(p99)*time.Microsecond
	return r, nil
}

// check is an error if an answer was not the application's. wrk takes redirects
// for good answers; they have no body.
func (r Result) check(minBody int) error {
	if r.Failures != (Failures{}) {
		return fmt.Errorf("not all of %d requests were answered 200: %d had another status, "+
			"and there were failures to connect %d, to read %d, to write %d, and timeouts %d",
			r.Requests, r.Status, r.Connect, r.Read, r.Write, r.Timeout)
	}
	if average := r.Bytes / r.Requests; average < int64(minBody) {
		return fmt.Errorf("the answers have %d bytes each, and the application's have more than %d", average, minBody)
	}
	return nil
}

// Version is what wrk says of itself.
func (t *Tool) Version(ctx context.Context) (string, error) {
	// It prints its version and its usage, and takes that for a failure.
	out, err := exec.CommandContext(ctx, t.path, "--version").Output() //nolint:gosec // see Run
	fields := strings.Fields(string(out))
	if len(fields) < 2 || fields[0] != "wrk" {
		return "", fmt.Errorf("asking wrk for its version: it says %q, %w", out, err)
	}
	return fields[1], nil
}
