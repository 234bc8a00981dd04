package main

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = `package sample

import "errors"

var limit = 3

func first(a, b int) (int, error) {
	if a < b && b != limit {
		return a, errors.New("a is too small")
	}
	for a > 0 {
		a--
	}
	return a + b, nil
}
`

func TestOnlyMutantsThatSurvivedAreTestedAgain(t *testing.T) {
	t.Parallel()
	mutants, err := mutantsIn("sample.go", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"sample.go:5: constant: 3 -> (3 + 1)", "sample.go:8: boundary: < -> <="}
	output := "30 of 30 mutants of 1 files, seed 1\nSURVIVED " + want[1] + "\nUNREACHED " + want[0] +
		"\nSURVIVED other.go:8: boundary: < -> <=\nsample.go   2 mutants,    0 killed (0 %)\n"
	var got []string
	for _, m := range survivorsOf(mutants, output) {
		got = append(got, m.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("tested again are %q, want %q", got, want)
	}
}

func TestMutantsChangeEachPlaceInOneWayAtATime(t *testing.T) {
	t.Parallel()
	mutants, err := mutantsIn("sample.go", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range mutants {
		got = append(got, m.String())
		changed := m.apply([]byte(sample))
		if _, err := parser.ParseFile(token.NewFileSet(), "", changed, 0); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
	for _, want := range []string{
		"sample.go:5: constant: 3 -> (3 + 1)",
		"sample.go:8: condition negated: a < b && b != limit -> !(a < b && b != limit)",
		"sample.go:8: condition true: a < b && b != limit -> (a < b && b != limit) || true",
		"sample.go:8: condition false: a < b && b != limit -> (a < b && b != limit) && false",
		"sample.go:8: operator: && -> ||",
		"sample.go:8: part of a condition true: b != limit -> ((b != limit) || true)",
		"sample.go:8: boundary: < -> <=",
		"sample.go:8: operator: != -> ==",
		`sample.go:9: error nil: errors.New("a is too small") -> func(error) error { return nil }(errors.New("a is too small"))`,
		`sample.go:9: return left out: return a, errors.New("a is too small") -> if false { return a, errors.New("a is too small") }`,
		"sample.go:11: condition false: a > 0 -> (a > 0) && false",
		"sample.go:12: statement left out: a-- -> if false { a-- }",
		"sample.go:14: operator: + -> -",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, strings.Join(got, "\n"))
		}
	}
	for _, line := range got {
		if strings.Contains(line, `"mutant"`) || strings.Contains(line, `-> ""`) {
			t.Errorf("the text of an error is changed: %s", line)
		}
	}
}

func TestRunTellsKilledMutantsFromSurvivors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module sample\n\ngo 1.26.0\n",
		"sample.go": `package sample

const step = 3

type list[T any] []T

func (list[T]) twice(_ int, by ...int) int { return 2 * len(by) }

func first[T any, U comparable](of []T, _ U) T { return of[0] }

func isSmall(n int) bool { return n < 10 }

func unused() int { return 1 }

func count(numbers map[string]int) {
	for range step {
		numbers["n"]++
	}
}

func init() { started = true }

var started bool
`,
		"sample_test.go": `package sample

import "testing"

func TestIsSmall(t *testing.T) {
	if !isSmall(9) || isSmall(12) {
		t.Fatal("wrong")
	}
	numbers := make(map[string]int)
	if count(numbers); numbers["n"] != 3 || !started {
		t.Fatal("wrong")
	}
	if (list[int]{}).twice(1, 2, 3, 4) < 6 || first([]int{7, 8}, "") > 7 {
		t.Fatal("wrong")
	}
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "mutate")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	cmd := exec.Command(program, "sample.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, want := range []string{
		"SURVIVED sample.go:11: boundary: < -> <=\n",
		"SURVIVED sample.go:11: constant: 10 -> (10 + 1)\n",
		"SURVIVED sample.go:7: constant: 2 -> (2 + 1)\n",
		"UNREACHED sample.go:13: constant: 1 -> (1 + 1)\n",
		"11 mutants,    7 killed (63 %), 3 survived, 1 that no test reaches\n", // mutants that don't compile aren't counted
	} {
		if !strings.Contains(string(output), want) {
			t.Errorf("%q is missing in\n%s", want, output)
		}
	}
}
