package sesame_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	sesame "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// reference is a section of docs/reference.md.
func reference(t *testing.T, heading string) string {
	t.Helper()
	return section(t, readFile(t, "docs/reference.md"), heading)
}

// rows are the cells of a text's tables, by rows, without headings.
func rows(text string) [][]string {
	var all [][]string
	inTable := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case strings.HasPrefix(line, "| ---"):
			inTable = true
		case inTable:
			cells := strings.Split(strings.Trim(line, "|"), " |")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all = append(all, cells)
		}
	}
	return all
}

// codes are the pieces of code in a text.
func codes(text string) []string {
	var all []string
	for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

// wantSame compares what a table documents with what is in the code.
func wantSame(t *testing.T, what string, documented, inCode []string) {
	t.Helper()
	for _, name := range inCode {
		if !slices.Contains(documented, name) {
			t.Errorf("%s: the code has %q, and the reference doesn't", what, name)
		}
	}
	for i, name := range documented {
		if !slices.Contains(inCode, name) {
			t.Errorf("%s: the reference has %q, and the code doesn't", what, name)
		}
		if slices.Contains(documented[:i], name) {
			t.Errorf("%s: the reference has %q twice", what, name)
		}
	}
	if len(inCode) == 0 {
		t.Errorf("%s: nothing was found in the code", what)
	}
}

// TestReferenceOptions compares the reference of the options with the code: the
// syntax, one row for each option in the table of its block, the names of its
// fields in JSON, and where placeholders are replaced at start.
func TestReferenceOptions(t *testing.T) {
	chapter := chapter(t, readFile(t, "docs/reference.md"), "## Options")
	syntax := caddyfileSyntax(t)
	if blocks := codeBlocks(chapter, "text"); len(blocks) == 0 || strings.TrimSpace(blocks[0]) != syntax {
		t.Errorf("the reference's syntax isn't that of UnmarshalCaddyfile:\n%s", syntax)
	}
	var documented, fields, resolved []string
	for _, part := range strings.Split(chapter, "\n### ")[1:] {
		title, table, _ := strings.Cut(part, "\n")
		block, _, _ := strings.Cut(title, " ")
		if block != strings.ToLower(block) {
			block = "" // a group of options outside of any block
		}
		for _, row := range rows(table) {
			if len(row) != 5 {
				t.Fatalf("the row of %s has %d cells, not an option, fields, a default, placeholders and what it does", row[0], len(row))
			}
			name := codes(row[0])[0]
			documented = append(documented, block+" "+name)
			fields = append(fields, codes(row[1])...)
			if row[3] == "at start" && !slices.Contains(resolved, name) {
				resolved = append(resolved, name)
			}
			if row[4] == "" {
				t.Errorf("the reference doesn't say what %s does", name)
			}
		}
	}
	wantSame(t, "options", documented, optionsOf(syntax))
	wantSame(t, "fields", fields, jsonFields("", reflect.TypeFor[sesame.Handler]()))
	wantSame(t, "options with placeholders", resolved, resolvedOptions(t))
}

// resolvedOptions are the options, without their blocks, whose placeholders the
// code replaces when it loads a configuration.
func resolvedOptions(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.go", "internal/authn/*.go", "internal/identity/*.go", "internal/emaillink/*.go", "internal/mail/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, match := range regexp.MustCompile(`[rR]esolve\("(?:\w+: )?(\w+)"|value\("(\w+)"|\{"(\w+)", &cfg\.`).FindAllStringSubmatch(readFile(t, file), -1) {
				names = append(names, match[1]+match[2]+match[3])
			}
		}
	}
	return names
}

// jsonFields are the paths of a type's fields in JSON.
func jsonFields(path string, of reflect.Type) []string {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		if of.Kind() == reflect.Slice {
			path += "[]"
		}
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return []string{path}
	}
	var fields []string
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" || name == "source" { // which the Caddyfile adapter fills in
			continue
		}
		fields = append(fields, jsonFields(strings.TrimPrefix(path+"."+name, "."), of.Field(i).Type)...)
	}
	return fields
}

// TestReferenceMetrics compares metrics, their types, labels and values with
// what is collected.
func TestReferenceMetrics(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, startUpstream(t), site{store: fmt.Sprintf("replica %q", db.dsn)})
		g.get(t, "/?sesame=bad").wantStatus(t, http.StatusUnauthorized) // a count of rejections is there from the first one on
		var documented, collected []string
		for _, row := range rows(reference(t, "## Metrics")) {
			name := codes(row[0])[0] + " " + row[1]
			documented = append(documented, name)
			for _, label := range strings.Split(row[2], "; ") {
				label, values, _ := strings.Cut(label, ": ")
				for _, code := range codes(values) {
					documented = append(documented, name+" "+codes(label)[0]+"="+code)
				}
				if strings.Contains(values, "empty") {
					documented = append(documented, name+" "+codes(label)[0]+"=")
				}
				for _, reason := range reasonsNamedBy(values) {
					documented = append(documented, name+" "+codes(label)[0]+"="+reason)
				}
			}
		}
		ctx := caddy.ActiveContext()
		families, err := ctx.GetMetricsRegistry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if !strings.HasPrefix(family.GetName(), "caddy_sesame_") {
				continue
			}
			name := family.GetName() + " " + strings.ToLower(family.GetType().String())
			collected = append(collected, name)
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					if !isOpen(family.GetName(), label.GetName()) {
						collected = append(collected, name+" "+label.GetName()+"="+label.GetValue())
					}
				}
			}
		}
		documented = slices.DeleteFunc(documented, isOfScheme)
		collected = slices.DeleteFunc(collected, isOfScheme)
		slices.Sort(collected)
		wantSame(t, "metrics", documented, slices.Compact(collected))
	})
}

// reasonsNamedBy are those that a link to their table stands for.
func reasonsNamedBy(text string) []string {
	var names []string
	if strings.Contains(text, "(#refusals-of-tokens)") {
		for _, reason := range token.Reasons() {
			names = append(names, reason.String())
		}
	}
	if strings.Contains(text, "(#refusals-of-sessions)") {
		for _, reason := range session.Reasons() {
			names = append(names, reason.String())
		}
	}
	return names
}

// TestReferenceReasons compares both tables of reasons with the reasons.
func TestReferenceReasons(t *testing.T) {
	var documented, want []string
	for _, row := range rows(reference(t, "## Refusals of tokens")) {
		documented = append(documented, strings.Join(row, " | "))
	}
	for _, reason := range token.Reasons() {
		want = append(want, fmt.Sprintf("`%s` | `%s` | %s", reason.String(), reason.Public(), reason.Error()))
	}
	wantSame(t, "reasons of tokens", documented, want)

	documented, want = nil, nil
	for _, row := range rows(reference(t, "## Refusals of sessions")) {
		documented = append(documented, strings.Join(row, " | "))
	}
	for _, reason := range session.Reasons() {
		want = append(want, fmt.Sprintf("`%s` | %s", reason.String(), reason.Error()))
	}
	wantSame(t, "reasons of sessions", documented, want)
}

// TestReferenceLogs compares messages and fields with what the code of the
// handler and its store logs. Those of internal/accesslog are Caddy's.
func TestReferenceLogs(t *testing.T) {
	var messages, fields []string
	for _, dir := range append([]string{".", "userstore"}, internalPackages(t)...) {
		for _, file := range parsed(t, dir) {
			ast.Inspect(file, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok {
					return true
				}
				if message, ok := loggedMessage(call); ok {
					messages = append(messages, message)
				}
				if field, ok := zapField(call); ok {
					fields = append(fields, field)
				}
				return true
			})
		}
	}
	slices.Sort(messages)
	slices.Sort(fields)
	var documented []string
	for _, row := range rows(reference(t, "## Log messages")) {
		documented = append(documented, codes(row[0])[0])
	}
	wantSame(t, "log messages", documented, slices.Compact(messages))
	documented = nil
	for _, row := range rows(reference(t, "## Log fields")) {
		documented = append(documented, codes(row[0])[0])
	}
	wantSame(t, "log fields", documented, slices.Compact(fields))
}

// internalPackages are the directories of packages below internal that log.
// The lines of internal/accesslog are Caddy's.
func internalPackages(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("internal/*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return slices.Contains([]string{"accesslog", "child", "devmysql", "devsmtp", "faultproxy", "procfs", "rawquic"}, filepath.Base(dir)) ||
			strings.HasPrefix(filepath.Base(dir), "test")
	})
}

// parsed are the files of a package by name, without tests.
func parsed(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]*ast.File)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file
	}
	return files
}

// loggedMessage is the message of a call that logs, up to … where it goes on
// with what isn't constant.
func loggedMessage(call *ast.CallExpr) (message string, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	at := map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "Check": 1, "note": 2, "noteSeen": 2}
	position, ok := at[method.Sel.Name]
	if !ok || len(call.Args) <= position {
		return "", false
	}
	argument, more := call.Args[position], ""
	for {
		sum, isSum := argument.(*ast.BinaryExpr)
		if !isSum {
			break
		}
		argument, more = sum.X, "…"
	}
	return literal(argument, more)
}

// zapField is the name of a field that a call makes.
func zapField(call *ast.CallExpr) (name string, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	if from, ok := method.X.(*ast.Ident); !ok || from.Name != "zap" {
		return "", false
	}
	if method.Sel.Name == "Error" {
		return "error", true
	}
	return literal(call.Args[0], "")
}

// literal is the value of a string that stands in the code.
func literal(expression ast.Expr, more string) (text string, ok bool) {
	basic, ok := expression.(*ast.BasicLit)
	if !ok || basic.Kind != gotoken.STRING {
		return "", false
	}
	text, err := strconv.Unquote(basic.Value)
	return text + more, err == nil
}

// TestReferenceNames compares events, placeholders, commands, what check looks
// at and what explain finds, and the admin endpoint.
func TestReferenceNames(t *testing.T) {
	for _, test := range []struct {
		heading, file, pattern string
	}{
		{"## Events", "audit.go", `(?m)^\tevent\w+ += "([^"]+)"$`},
		{"### What explain finds", "token/explain.go internal/operator/question.go internal/operator/recognize.go internal/operator/hash.go", `(?m)^(?:\t|const )[Cc]ause\w+ +(?:token\.)?Cause = "([^"]+)"`},
		{"### What check looks at", "internal/operator/check.go internal/operator/checkdatabase.go internal/operator/checkroutes.go internal/operator/checkfront.go internal/operator/checkmail.go", `(?:check = |c\.(?:ok|warn|fail|failWith)\()"([a-z_]+)"`},
		{"## The admin endpoint", "internal/operator/api.go", `Pattern: "([^"]+)"`},
	} {
		var documented, inCode []string
		for _, row := range rows(reference(t, test.heading)) {
			name := codes(row[0])[0]
			documented = append(documented, name[strings.LastIndex(name, " ")+1:])
		}
		for file := range strings.FieldsSeq(test.file) {
			for _, match := range regexp.MustCompile(test.pattern).FindAllStringSubmatch(readFile(t, file), -1) {
				inCode = append(inCode, match[1])
			}
		}
		slices.Sort(inCode)
		wantSame(t, test.heading, documented, slices.Compact(inCode))
	}

	var documented []string
	for _, row := range rows(reference(t, "## Commands")) {
		documented = append(documented, codes(row[0])[0])
	}
	wantSame(t, "commands", documented, slices.Collect(maps.Keys(sesameCommands(t))))

	documented = nil
	for _, row := range rows(reference(t, "## Placeholders")) {
		documented = append(documented, codes(row[0])[0])
	}
	var inCode []string
	for _, match := range regexp.MustCompile("(?m)^// `(\\{http\\.[^`]+\\})` \\|").FindAllStringSubmatch(readFile(t, "module.go"), -1) {
		inCode = append(inCode, match[1])
	}
	wantSame(t, "placeholders", documented, inCode)
}

// isOpen reports whether a label's values aren't known before there are any.
func isOpen(metric, label string) bool {
	return label == "server" || label == "handler" || metric == "caddy_sesame_build_info" || metric == "caddy_sesame_credentials_rejected_total"
}

// isSchemesReason reports whether the page of a scheme has the reason.
func isSchemesReason(reason string) bool {
	if slices.ContainsFunc(token.Reasons(), func(r token.Reason) bool { return r.String() == reason }) {
		return false
	}
	for _, page := range []string{"passwords", "api-tokens", "django-session", "reference", "troubleshooting"} {
		text, err := os.ReadFile("docs/" + page + ".md")
		if err == nil && strings.Contains(string(text), "`"+reason+"`") {
			return true
		}
	}
	return false
}

// isOfScheme reports whether an outcome, or the reason of a refusal, is that of a
// scheme which has a block of the configuration: it is there once a handler of the
// process has had it.
func isOfScheme(outcome string) bool {
	for _, metric := range []string{"requests_total", "login_failures_total"} {
		if reason, ok := strings.CutPrefix(outcome, "caddy_sesame_"+metric+" counter reason="); ok && isSchemesReason(reason) {
			return true
		}
	}
	for _, scheme := range []string{"django_session", "password", "drf", "knox", "simplejwt"} {
		if strings.HasSuffix(outcome, " outcome="+scheme) || strings.HasSuffix(outcome, " method="+scheme) {
			return true
		}
	}
	return false
}
