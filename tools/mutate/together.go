package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mutantVariable selects a mutant of a test binary, by number. 0, or no value,
// selects the unchanged code.
const mutantVariable = "MUTATE_MUTANT"

// together builds the tests with many mutants in one binary, which takes as long as
// with one: it has a copy of each function for each change, and the function calls
// the copy that mutantVariable names.
//
// Mutants outside functions, and mutants that don't compile, aren't in a binary.
func (r *runner) together(ctx context.Context, mutants []*mutant) error {
	r.numbers, r.invalid = make(map[*mutant]int), make(map[*mutant]bool)
	byFile := make(map[string][]*mutant)
	for i, m := range mutants {
		r.numbers[m] = i + 1
		byFile[m.path] = append(byFile[m.path], m)
	}
	for {
		overlay, err := r.overlayTogether(byFile)
		if err != nil {
			return err
		}
		output, err := r.build(ctx, overlay)
		if err == nil {
			return nil
		}
		before := len(r.numbers)
		wrong := wrongMutants(output)
		for m, number := range r.numbers {
			if wrong[number] {
				delete(r.numbers, m)
				r.invalid[m] = true
			}
		}
		if len(r.numbers) == before {
			return fmt.Errorf("building the tests with all mutants: %w\n%s", err, output)
		}
	}
}

// binary is a test binary, and the directory that it is run in.
type binary struct{ path, dir string }

// build builds the binaries. It returns the compiler's output.
func (r *runner) build(ctx context.Context, overlay string) (output []byte, err error) {
	r.binaries = nil
	for i, pattern := range r.packages {
		b := binary{path: filepath.Join(r.dir, fmt.Sprintf("%d.test", i)), dir: filepath.FromSlash(pattern)}
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-gcflags=-e", "-overlay="+overlay, "-o", b.path, pattern) //nolint:gosec // the command line names the packages
		if output, err := cmd.CombinedOutput(); err != nil {
			return output, err
		}
		r.binaries = append(r.binaries, b)
	}
	return nil, nil
}

var inMutant = regexp.MustCompile(`mutant_(\d+)\.go:\d+`)

// wrongMutants returns the mutants that have errors in the compiler's output.
func wrongMutants(output []byte) map[int]bool {
	wrong := make(map[int]bool)
	for _, match := range inMutant.FindAllSubmatch(output, -1) {
		number, _ := strconv.Atoi(string(match[1]))
		wrong[number] = true
	}
	return wrong
}

// overlayTogether writes the files with the copies, and the file for go's -overlay.
func (r *runner) overlayTogether(byFile map[string][]*mutant) (string, error) {
	replace := make(map[string]string)
	add := func(original string, text []byte) error {
		original, err := filepath.Abs(original)
		if err != nil {
			return err
		}
		changed := filepath.Join(r.dir, fmt.Sprintf("together%d.go", len(replace)))
		replace[original] = changed
		return os.WriteFile(changed, text, 0o600) //nolint:gosec // in a directory of its own
	}
	for path, mutants := range byFile {
		text, err := os.ReadFile(path) //nolint:gosec // the code to mutate
		if err != nil {
			return "", err
		}
		changed, packageName, err := withCopies(path, text, mutants, r.numbers)
		if err != nil {
			return "", err
		}
		chooser := fmt.Sprintf("package %s\n\nimport (\n\tmutantos \"os\"\n\tmutantstrconv \"strconv\"\n)\n\nvar mutantNumber, _ = mutantstrconv.Atoi(mutantos.Getenv(%q))\n", packageName, mutantVariable)
		if err := add(path, changed); err != nil {
			return "", err
		}
		if err := add(filepath.Join(filepath.Dir(path), "mutant_number.go"), []byte(chooser)); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(r.dir, "together.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// withCopies is a file with a copy of the function of each mutant. Mutants that
// are in no function lose their number.
func withCopies(path string, text []byte, mutants []*mutant, numbers map[*mutant]int) (changed []byte, packageName string, err error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, "", err
	}
	offset := func(pos token.Pos) int { return fset.Position(pos).Offset }
	left := slices.Clone(mutants)
	var edits []mutant
	var copies bytes.Buffer
	for _, declaration := range tree.Decls {
		f, isFunction := declaration.(*ast.FuncDecl)
		if !isFunction || f.Body == nil {
			continue
		}
		var its []*mutant
		left = slices.DeleteFunc(left, func(m *mutant) bool {
			isIn := offset(f.Body.Pos()) <= m.start && m.end <= offset(f.Body.End())
			if isIn && numbers[m] != 0 {
				its = append(its, m)
			}
			return isIn
		})
		if len(its) == 0 {
			continue
		}
		nameStart, nameEnd := offset(f.Name.Pos()), offset(f.Name.End())
		edits = append(edits, mutant{start: nameStart, end: nameEnd, to: copyName(f, 0)})
		start, end := offset(f.Pos()), offset(f.End())
		for _, m := range its {
			one := m.apply(text[:end])[start:]
			one = (&mutant{start: nameStart - start, end: nameEnd - start, to: copyName(f, numbers[m])}).apply(one)
			fmt.Fprintf(&copies, "\n//line mutant_%d.go:1\n%s\n", numbers[m], one)
		}
		fmt.Fprintf(&copies, "\n//line mutant_chooser.go:1\n%s\n", chooserOf(f, func(n ast.Node) string { return string(text[offset(n.Pos()):offset(n.End())]) }, its, numbers))
	}
	for _, m := range left {
		delete(numbers, m)
	}
	slices.Reverse(edits) // from the end, so that offsets stay right
	changed = text
	for i := range edits {
		changed = edits[i].apply(changed)
	}
	return append(changed, copies.Bytes()...), tree.Name.Name, nil
}

// copyName is the name of a copy of a function.
func copyName(f *ast.FuncDecl, number int) string {
	return "mutant" + strconv.Itoa(number) + "_" + f.Name.Name
}

// chooserOf is the function that calls the right copy.
func chooserOf(f *ast.FuncDecl, source func(ast.Node) string, its []*mutant, numbers map[*mutant]int) string {
	var head strings.Builder
	head.WriteString("func ")
	call := ""
	if f.Recv != nil {
		of := f.Recv.List[0]
		name := "mutantReceiver"
		if len(of.Names) > 0 && of.Names[0].Name != "_" {
			name = of.Names[0].Name
		}
		fmt.Fprintf(&head, "(%s %s) ", name, source(of.Type))
		call = name + "."
	}
	head.WriteString(f.Name.Name)
	parameters, arguments := namedParameters(f.Type.Params, source)
	typeArguments := ""
	if f.Type.TypeParams != nil {
		var names []string
		for _, of := range f.Type.TypeParams.List {
			for _, name := range of.Names {
				names = append(names, name.Name)
			}
		}
		head.WriteString(source(f.Type.TypeParams))
		typeArguments = "[" + strings.Join(names, ", ") + "]"
	}
	fmt.Fprintf(&head, "(%s)", parameters)
	before, after := "", "; return"
	if f.Type.Results != nil && len(f.Type.Results.List) > 0 {
		head.WriteString(" " + source(f.Type.Results))
		before, after = "return ", ""
	}
	head.WriteString(" {\n\tswitch mutantNumber {\n")
	for _, m := range its {
		fmt.Fprintf(&head, "\tcase %d:\n\t\t%s%s%s%s(%s)%s\n", numbers[m], before, call, copyName(f, numbers[m]), typeArguments, arguments, after)
	}
	fmt.Fprintf(&head, "\t}\n\t%s%s%s%s(%s)\n}", before, call, copyName(f, 0), typeArguments, arguments)
	return head.String()
}

// namedParameters names each parameter, and passes all of them on.
func namedParameters(list *ast.FieldList, source func(ast.Node) string) (parameters, arguments string) {
	var declared, passed []string
	for _, of := range list.List {
		names := of.Names
		if len(names) == 0 {
			names = []*ast.Ident{{Name: "_"}}
		}
		for _, name := range names {
			as := name.Name
			if as == "_" {
				as = fmt.Sprintf("mutantParameter%d", len(declared))
			}
			declared = append(declared, as+" "+source(of.Type))
			if _, isVariadic := of.Type.(*ast.Ellipsis); isVariadic {
				as += "..."
			}
			passed = append(passed, as)
		}
	}
	return strings.Join(declared, ", "), strings.Join(passed, ", ")
}

// tryBuilt runs the tests of binaries with one mutant.
func (r *runner) tryBuilt(ctx context.Context, number int) verdict {
	for _, b := range r.binaries {
		limited, stop := context.WithTimeout(ctx, r.timeout+grace)
		arguments := []string{"-test.failfast", "-test.timeout=" + r.timeout.String()}
		if r.run != "" {
			arguments = append(arguments, "-test.run="+r.run)
		}
		cmd := exec.CommandContext(limited, b.path, arguments...) //nolint:gosec // the tool built the file
		cmd.Dir = b.dir
		cmd.Env = append(os.Environ(), mutantVariable+"="+strconv.Itoa(number))
		cmd.WaitDelay = waitDelay
		_, err := cmd.CombinedOutput()
		stop()
		if err != nil {
			return killed
		}
	}
	return survived
}
