// Command mutate changes Go files in one place at a time, and runs tests to see
// whether they notice. It is run in the folder of the module:
//
//	mutate [-test ./session] [-run regexp] [-sample 100] [-seed 1] [-budget 10m] [-again output] session/session.go...
//
// These parts are changed: conditions are negated, always true or always false;
// boundaries move by one; operators, numbers, strings and booleans become others;
// statements and returns are left out; errors become nil. The texts of errors and
// lines of logs stay.
//
// The files themselves stay unchanged: the mutants replace them by go's -overlay.
// All changes of functions are built into one test binary, which is run with each
// of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the options of the command line.
type options struct {
	packages []string // packages with the tests
	run      string   // pattern of test names; empty for all
	timeout  time.Duration
	parallel int
	sample   int // how many mutants; 0 for all
	seed     uint64
	budget   time.Duration // for all mutants; 0 means no limit
	again    string        // a file with the output of another run
	files    []string
}

func main() {
	var o options
	var packages string
	flag.StringVar(&packages, "test", "", "the packages whose tests are run, with commas between them (default: those of the files)")
	flag.StringVar(&o.run, "run", "", "which of their tests, as in go test -run")
	flag.DurationVar(&o.timeout, "timeout", 0, "how long the tests of a mutant may take (default: 3 times as long as without one, and 20s)")
	flag.IntVar(&o.parallel, "parallel", 2, "how many mutants are tested at the same time")
	flag.IntVar(&o.sample, "sample", 0, "how many mutants to draw (default: all)")
	flag.Uint64Var(&o.seed, "seed", 1, "which ones are drawn; the same seed draws the same")
	flag.DurationVar(&o.budget, "budget", 0, "begin no other mutant after this time (default: no limit)")
	flag.StringVar(&o.again, "again", "", "a file with the output of another run: test only what survived then, for new tests of the same code")
	flag.Parse()
	o.files = flag.Args()
	if packages != "" {
		o.packages = strings.Split(packages, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := mutate(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func mutate(ctx context.Context, o options) error {
	if len(o.files) == 0 {
		return errors.New("name the files to change")
	}
	var mutants []*mutant
	for _, path := range o.files {
		of, err := mutantsOf(path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		mutants = append(mutants, of...)
	}
	if len(o.packages) == 0 {
		o.packages = packagesOf(o.files)
	}
	total := len(mutants)
	if o.again != "" {
		output, err := os.ReadFile(o.again)
		if err != nil {
			return fmt.Errorf("reading the output of another run: %w", err)
		}
		mutants = survivorsOf(mutants, string(output))
	}
	mutants = draw(mutants, o.sample, o.seed)
	fmt.Printf("%d of %d mutants of %d files, seed %d\n", len(mutants), total, len(o.files), o.seed)

	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &runner{options: o, dir: dir}
	if err := r.baseline(ctx); err != nil {
		return err
	}
	if err := r.together(ctx, mutants); err != nil {
		return err
	}
	results := r.all(ctx, mutants)
	report(results)
	return ctx.Err()
}

func packagesOf(files []string) []string {
	var packages []string
	for _, path := range files {
		packages = append(packages, "./"+filepath.ToSlash(filepath.Dir(path)))
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// survivorsOf returns the mutants that the output of another run names, as surviving
// or not reached.
func survivorsOf(mutants []*mutant, output string) []*mutant {
	named := make(map[string]bool)
	for line := range strings.Lines(output) {
		if v, text, _ := strings.Cut(strings.TrimSpace(line), " "); v == string(survived) || v == string(unreached) {
			named[text] = true
		}
	}
	return slices.DeleteFunc(mutants, func(m *mutant) bool { return !named[m.String()] })
}

// draw takes some of the mutants, in an order by chance, so that a budget ends
// with a fair part of each file.
func draw(mutants []*mutant, n int, seed uint64) []*mutant {
	chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the sample must be repeatable
	chance.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
	if n > 0 && n < len(mutants) {
		mutants = mutants[:n]
	}
	return mutants
}

// report prints the surviving mutants, and the counts by file.
func report(results []result) {
	slices.SortFunc(results, func(a, b result) int {
		if by := strings.Compare(a.path, b.path); by != 0 {
			return by
		}
		return a.start - b.start
	})
	type counts struct{ killed, survived, unreached int }
	byFile := make(map[string]*counts)
	var sum counts
	for _, r := range results {
		if byFile[r.path] == nil {
			byFile[r.path] = new(counts)
		}
		of := byFile[r.path]
		switch r.verdict {
		case killed:
			of.killed++
			sum.killed++
			continue
		case survived:
			of.survived++
			sum.survived++
		case unreached:
			of.unreached++
			sum.unreached++
		default: // it doesn't compile
			continue
		}
	}
	line := func(name string, c counts) {
		all := c.killed + c.survived + c.unreached
		if all == 0 {
			return
		}
		fmt.Printf("%-40s %4d mutants, %4d killed (%d %%), %d survived, %d that no test reaches\n",
			name, all, c.killed, c.killed*100/all, c.survived, c.unreached)
	}
	names := make([]string, 0, len(byFile))
	for name := range byFile {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line(name, *byFile[name])
	}
	line("all", sum)
}
