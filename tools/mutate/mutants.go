package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
)

// mutant is a change of one place of a file.
type mutant struct {
	path       string
	line       int
	start, end int    // of the replaced text, in bytes
	kind       string // of the change, in words
	from, to   string
}

// apply makes the change in the file's text.
func (m *mutant) apply(text []byte) []byte {
	return bytes.Join([][]byte{text[:m.start], []byte(m.to), text[m.end:]}, nil)
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d: %s: %s -> %s", m.path, m.line, m.kind, oneLine(m.from), oneLine(m.to))
}

func oneLine(text string) string {
	const enough = 100
	line := string(bytes.Join(bytes.Fields([]byte(text)), []byte(" ")))
	if len(line) > enough {
		line = line[:enough] + "..."
	}
	return line
}

// mutantsOf returns all changes of a file, in the order of its text. Most compile;
// the others are found when they are built.
func mutantsOf(path string) ([]*mutant, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the command line names the file
	if err != nil {
		return nil, err
	}
	return mutantsIn(path, text)
}

func mutantsIn(path string, text []byte) ([]*mutant, error) {
	f := &file{path: path, text: text, fset: token.NewFileSet(), known: make(map[string]bool)}
	tree, err := parser.ParseFile(f.fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f.walk(tree, nil)
	return f.mutants, nil
}

// file collects the mutants of a file.
type file struct {
	path    string
	text    []byte
	fset    *token.FileSet
	mutants []*mutant
	known   map[string]bool
}

// walk visits a node and its children. results belongs to the function around it.
func (f *file) walk(node ast.Node, results *ast.FieldList) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Body != nil {
				f.walk(n.Body, n.Type.Results)
			}
			return false
		case *ast.FuncLit:
			f.walk(n.Body, n.Type.Results)
			return false
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			return false // types, and tags of structs
		case *ast.CallExpr:
			if isMessage(n) {
				return false
			}
		case *ast.ReturnStmt:
			f.withoutError(n, results)
		}
		f.visit(n)
		return true
	})
}

// visit adds the changes of one node.
func (f *file) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil { // one that is always true would never end
			f.around(n.Cond, "condition false", "(", ") && false")
		}
	case *ast.SwitchStmt:
		if n.Tag == nil {
			f.cases(n.Body)
		}
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			f.replace(n, "not negated", f.source(n.X))
		}
	case *ast.BasicLit:
		f.literal(n)
	case *ast.Ident:
		switch n.Name {
		case "true":
			f.replace(n, "constant", "false")
		case "false":
			f.replace(n, "constant", "true")
		}
	case *ast.ExprStmt, *ast.IncDecStmt, *ast.DeferStmt, *ast.SendStmt, *ast.BranchStmt, *ast.GoStmt:
		f.without(n, "statement left out")
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			f.without(n, "assignment left out")
		}
	case *ast.ReturnStmt:
		f.without(n, "return left out")
	}
}

func (f *file) cases(body *ast.BlockStmt) {
	for _, statement := range body.List {
		for _, condition := range statement.(*ast.CaseClause).List {
			f.condition(condition)
		}
	}
}

// condition changes the condition of a branch. The original is still evaluated, so
// that no variable is unused.
func (f *file) condition(cond ast.Expr) {
	f.around(cond, "condition negated", "!(", ")")
	f.around(cond, "condition true", "(", ") || true")
	f.around(cond, "condition false", "(", ") && false")
}

// boundaries and operators are the replacements of operators.
var (
	boundaries = map[token.Token]string{
		token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">",
	}
	operators = map[token.Token]string{
		token.EQL: "!=", token.NEQ: "==",
		token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*", token.REM: "*",
		token.AND: "|", token.OR: "&", token.XOR: "&", token.AND_NOT: "&", token.SHL: ">>", token.SHR: "<<",
		token.LAND: "||", token.LOR: "&&",
	}
)

func (f *file) binary(n *ast.BinaryExpr) {
	start := f.fset.Position(n.OpPos).Offset
	end := start + len(n.Op.String())
	if to, ok := boundaries[n.Op]; ok {
		f.add(start, end, "boundary", to)
	}
	if to, ok := operators[n.Op]; ok {
		f.add(start, end, "operator", to)
	}
	switch n.Op {
	case token.LAND:
		f.around(n.X, "part of a condition true", "((", ") || true)")
		f.around(n.Y, "part of a condition true", "((", ") || true)")
	case token.LOR:
		f.around(n.X, "part of a condition false", "((", ") && false)")
		f.around(n.Y, "part of a condition false", "((", ") && false)")
	}
}

func (f *file) literal(n *ast.BasicLit) {
	switch n.Kind {
	case token.INT:
		f.replace(n, "constant", "("+n.Value+" + 1)")
	case token.CHAR:
		f.replace(n, "constant", "("+n.Value+" + 1)")
	case token.STRING:
		if text, err := strconv.Unquote(n.Value); err == nil && text != "" {
			f.replace(n, "constant", `""`)
		} else {
			f.replace(n, "constant", `"mutant"`)
		}
	}
}

// without leaves a statement out, but keeps the variables in it used for the
// compiler.
func (f *file) without(n ast.Node, kind string) { f.around(n, kind, "if false { ", " }") }

// withoutError has a function return nil for its error, which is still made.
func (f *file) withoutError(n *ast.ReturnStmt, results *ast.FieldList) {
	if results == nil || len(results.List) == 0 || len(n.Results) == 0 {
		return
	}
	last, isName := results.List[len(results.List)-1].Type.(*ast.Ident)
	if !isName || last.Name != "error" {
		return
	}
	returned := n.Results[len(n.Results)-1]
	if len(n.Results) < results.NumFields() || f.source(returned) == "nil" {
		return
	}
	f.around(returned, "error nil", "func(error) error { return nil }(", ")")
}

// isMessage reports whether a call makes an error's text or a line of a log: tests
// needn't repeat its words.
func isMessage(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		name, ok := call.Fun.(*ast.Ident)
		return ok && name.Name == "panic"
	}
	of, _ := selector.X.(*ast.Ident)
	switch {
	case of == nil:
		return false
	case of.Name == "errors":
		return selector.Sel.Name == "New"
	case of.Name == "fmt":
		return selector.Sel.Name == "Errorf"
	}
	return of.Name == "zap" || of.Name == "setting"
}

func (f *file) source(n ast.Node) string { return string(f.text[f.offset(n.Pos()):f.offset(n.End())]) }

func (f *file) offset(pos token.Pos) int { return f.fset.Position(pos).Offset }

func (f *file) around(n ast.Node, kind, before, after string) {
	f.replace(n, kind, before+f.source(n)+after)
}

func (f *file) replace(n ast.Node, kind, to string) {
	f.add(f.offset(n.Pos()), f.offset(n.End()), kind, to)
}

func (f *file) add(start, end int, kind, to string) {
	key := fmt.Sprint(start, end, to)
	if f.known[key] {
		return
	}
	f.known[key] = true
	f.mutants = append(f.mutants, &mutant{
		path: f.path, line: 1 + bytes.Count(f.text[:start], []byte("\n")), start: start, end: end,
		kind: kind, from: string(f.text[start:end]), to: to,
	})
}
