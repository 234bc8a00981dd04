package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// verdict is what became of a mutant.
type verdict string

const (
	killed    verdict = "killed"    // a test failed, or didn't end
	survived  verdict = "SURVIVED"  // all tests passed
	unreached verdict = "UNREACHED" // no test runs its line
	invalid   verdict = "invalid"   // it doesn't compile
)

type result struct {
	*mutant
	verdict verdict
}

// runner runs the tests of mutants.
type runner struct {
	options
	dir     string // for temporary files
	reached coverage
	invalid map[*mutant]bool // that are known not to compile

	binaries []binary        // with many mutants
	numbers  map[*mutant]int // numbers of the mutants in binaries
}

// How long a test binary has to end after its own time limit, and its output
// after it has ended.
const (
	grace     = 2 * time.Minute
	waitDelay = 10 * time.Second
)

// baseline runs the tests of the unchanged code. They must pass, and give the time
// limit of a mutant and the lines that tests reach.
func (r *runner) baseline(ctx context.Context) error {
	profile := filepath.Join(r.dir, "profile")
	arguments := []string{"-coverprofile=" + profile, "-coverpkg=" + strings.Join(packagesOf(r.files), ",")}
	began := time.Now()
	if output, err := r.test(ctx, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("the tests fail without any change: %w\n%s", err, output)
	}
	took := time.Since(began)
	if r.timeout == 0 {
		r.timeout = 3*took + 20*time.Second
	}
	var err error
	r.reached, err = readCoverage(profile)
	fmt.Printf("without a change the tests take %s; those of a mutant may take %s\n",
		took.Round(100*time.Millisecond), r.timeout.Round(time.Second))
	return err
}

// test is the command that runs the tests.
func (r *runner) test(ctx context.Context, arguments ...string) *exec.Cmd {
	command := append([]string{"test", "-count=1", "-failfast", "-vet=off", "-ldflags=-s -w"}, arguments...)
	if r.run != "" {
		command = append(command, "-run="+r.run)
	}
	return exec.CommandContext(ctx, "go", append(command, r.packages...)...) //nolint:gosec // the command line names the packages
}

// all runs the tests of the mutants, some at the same time, until the budget is
// spent.
func (r *runner) all(ctx context.Context, mutants []*mutant) []result {
	var (
		work    sync.WaitGroup
		mu      sync.Mutex
		results []result
		queue   = make(chan *mutant)
	)
	if r.budget > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, r.budget)
		defer stop()
	}
	for n := range r.parallel {
		work.Go(func() {
			for m := range queue {
				v, err := r.try(ctx, m, n)
				if ctx.Err() != nil {
					return // the tests were stopped midway
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, "mutate:", m, err)
					continue
				}
				mu.Lock()
				results = append(results, result{m, v})
				if v == survived || v == unreached {
					fmt.Println(v, m)
				}
				mu.Unlock()
			}
		})
	}
	func() {
		defer close(queue)
		for _, m := range mutants {
			select {
			case queue <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	work.Wait()
	return results
}

// try runs the tests with one mutant in the place of its file.
func (r *runner) try(ctx context.Context, m *mutant, worker int) (verdict, error) {
	if r.invalid[m] {
		return invalid, nil
	}
	text, err := os.ReadFile(m.path)
	if err != nil {
		return "", err
	}
	isReached := r.reached.reaches(m, inFunction(m, text))
	if number := r.numbers[m]; number != 0 {
		// The conditions of cases are in no profile: running it tells.
		if v := r.tryBuilt(ctx, number); v != survived || isReached {
			return v, nil
		}
	}
	if !isReached {
		return unreached, nil
	}
	overlay, err := r.overlay(m, text, worker)
	if err != nil {
		return "", err
	}
	// Stop a test binary that doesn't end by itself.
	limited, stop := context.WithTimeout(ctx, r.timeout+grace)
	defer stop()
	cmd := r.test(limited, "-overlay="+overlay, "-timeout="+r.timeout.String())
	cmd.WaitDelay = waitDelay
	output, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return survived, nil
	case bytes.Contains(output, []byte("[build failed]")), bytes.Contains(output, []byte("[setup failed]")):
		return invalid, nil
	}
	return killed, nil
}

// overlay writes the changed file, and the file for go's -overlay.
func (r *runner) overlay(m *mutant, text []byte, worker int) (string, error) {
	original, err := filepath.Abs(m.path)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(r.dir, fmt.Sprintf("%d.go", worker))
	if err := os.WriteFile(changed, m.apply(text), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(r.dir, fmt.Sprintf("%d.json", worker))
	return path, os.WriteFile(path, overlay, 0o600)
}

// inFunction reports whether a mutant is in the body of a function, by gofmt's
// indentation: it looks at the last line before the mutant that begins a
// declaration.
func inFunction(m *mutant, text []byte) bool {
	before := text[:m.start]
	begin := 1 + bytes.LastIndexByte(before, '\n')
	for {
		line := text[begin:]
		switch {
		case bytes.HasPrefix(line, []byte("func ")):
			return true
		case bytes.HasPrefix(line, []byte("var ")), bytes.HasPrefix(line, []byte("const ")), bytes.HasPrefix(line, []byte("type ")):
			return false
		case begin == 0:
			return false
		}
		begin = 1 + bytes.LastIndexByte(text[:begin-1], '\n')
	}
}
