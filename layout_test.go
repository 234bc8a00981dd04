package sesame_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modulePath is that of this module.
const modulePath = "github.com/caddy-sesame/caddy-sesame"

// layers are the packages in the order in which they may import each other: a
// package imports none of its own layer or of one above, but for siblings.
var layers = [][]string{
	{""}, // the root
	{"internal/operator"},
	{"internal/login", "internal/sessionlist"},
	{"internal/secondfactor"},
	{"internal/authn", "internal/authservice", "internal/emaillink", "internal/loginurl", "internal/repost"},
	{"internal/accesslog", "internal/claim", "internal/cookie", "internal/hashing", "internal/health", "internal/identity", "internal/limit", "internal/mail", "internal/page", "internal/place", "internal/require", "internal/scope", "internal/watch", "django/settings"},
	{"session", "userstore", "internal/claim/rawuri", "internal/origin", "internal/seal"},
	{"token", "internal/base64url", "internal/directive", "internal/placeholders", "internal/secret", "internal/strictjson"},
	{"internal/device", "internal/kept", "internal/loglimit", "internal/nearest", "internal/setting", "internal/version"},
}

// siblings are the imports within a layer that are allowed.
var siblings = map[string]string{
	"internal/require":   "internal/identity",
	"internal/accesslog": "internal/claim",
	"internal/page":      "internal/claim",
}

// imports are those of each package's code, without tests, as paths below the
// module's.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipped(path)
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if below, ours := strings.CutPrefix(name, modulePath); ours {
				found[dir] = append(found[dir], strings.TrimPrefix(below, "/"))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// skipped is fs.SkipDir for directories of other modules, and of no package.
func skipped(path string) error {
	if path != "." && strings.HasPrefix(filepath.Base(path), ".") {
		return fs.SkipDir
	}
	if mod, _ := filepath.Glob(filepath.Join(path, "go.mod")); path != "." && len(mod) > 0 {
		return fs.SkipDir
	}
	return nil
}

func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, pkg) })
}

func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	all := imports(t)
	if len(all[""]) == 0 {
		t.Fatal("the root imports nothing: the packages weren't found")
	}
	for pkg, imported := range all {
		for _, other := range imported {
			if other == "" {
				t.Errorf("%s imports the root", pkg)
				continue
			}
			from, to := layerOf(pkg), layerOf(other)
			switch {
			case from < 0 || to < 0: // of tests and servers, which no layer names
			case from < to:
			case from == to && siblings[pkg] == other:
			default:
				t.Errorf("%s imports %s, which is not below it", pkg, other)
			}
		}
	}
	for _, layer := range layers {
		for _, pkg := range layer {
			if files, _ := filepath.Glob(filepath.Join(".", pkg, "*.go")); len(files) == 0 {
				t.Errorf("there is no package %s any more", pkg)
			}
		}
	}
}

func TestPackagesAreInALayer(t *testing.T) {
	t.Parallel()
	for pkg := range imports(t) {
		isForTests := slices.ContainsFunc([]string{"internal/child", "internal/faultproxy", "internal/test", "tools/", "examples/"}, func(prefix string) bool {
			return strings.HasPrefix(pkg, prefix)
		})
		if !isForTests && !strings.HasPrefix(pkg, "django/") && layerOf(pkg) < 0 {
			t.Errorf("%s is in no layer: say in layers what it may import", pkg)
		}
	}
}

func TestFilesOfTheRootAreFewAndShort(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	if len(names) > 20 {
		t.Errorf("the root has %d files of code; a subject of its own belongs in a package", len(names))
	}
	methods := make(map[string]int)
	for _, name := range names {
		if lines := strings.Count(readFile(t, name), "\n"); lines > 500 {
			t.Errorf("%s has %d lines", name, lines)
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				methods[receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	for of, n := range methods {
		if n > 25 {
			t.Errorf("%s has %d methods", of, n)
		}
	}
}

// receiver is the name of a method's type.
func receiver(expression ast.Expr) string {
	if pointer, ok := expression.(*ast.StarExpr); ok {
		expression = pointer.X
	}
	if name, ok := expression.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// TestTestFunctionsAreShort checks the tests of all modules.
func TestTestFunctionsAreShort(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		positions := gotoken.NewFileSet()
		file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := positions.Position(f.End()).Line - positions.Position(f.Pos()).Line + 1; lines > 100 {
				t.Errorf("%s: %s has %d lines, and may have 100", positions.Position(f.Pos()), f.Name.Name, lines)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no tests were found")
	}
}
