package sesame_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	sesame "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// pages are the texts for people, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, name := range append(names, "README.md", "CHANGELOG.md", "SECURITY.md") {
		texts[name] = readFile(t, name)
	}
	return texts
}

// guides are the pages of docs/ and SECURITY.md.
func guides(t *testing.T) map[string]string {
	t.Helper()
	texts := pages(t)
	delete(texts, "README.md")
	delete(texts, "CHANGELOG.md")
	return texts
}

// TestDocsCaddyfiles loads every Caddyfile of the guides: the database answers
// as the text says it does, and the handlers are provisioned.
func TestDocsCaddyfiles(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		// The view that docs/mysql.md makes.
		db.mustExec(t, "CREATE VIEW gateway_user AS SELECT id, username, email, password, is_active FROM auth_user")
		t.Cleanup(func() { db.mustExec(t, "DROP VIEW gateway_user") })
		// The other table and the other key that docs/tables.md reads.
		db.mustExec(t, "CREATE TABLE accounts_customer (id int PRIMARY KEY, email varchar(254) NOT NULL, password varchar(128) NOT NULL, last_login datetime(6), enabled tinyint NOT NULL, display_name varchar(50) NOT NULL)")
		db.mustExec(t, "ALTER TABLE auth_user ADD COLUMN object_id char(24) NULL UNIQUE")
		t.Cleanup(func() {
			db.mustExec(t, "DROP TABLE accounts_customer")
			db.mustExec(t, "ALTER TABLE auth_user DROP COLUMN object_id")
		})
		for name, value := range map[string]string{
			"SESAME_DSN": db.dsn, "DJANGO_SECRET_KEY": secretKey, "DJANGO_SECRET_KEY_OLD": "old " + secretKey,
			"ASSERTION_KEY": newAssertionKey(t), "ASSERTION_KEY_NEXT": newAssertionKey(t),
			"DJANGO_SECRET_KEY_NEW": "new " + secretKey, "SESAME_KEY": "key",
		} {
			t.Setenv(name, value)
		}
		for page, text := range guides(t) {
			for _, caddyfile := range codeBlocks(text, "caddyfile") {
				caddyfile = onThisMachine(t, caddyfile)
				if err := tryCaddyfile(caddyfile); err != nil {
					t.Errorf("%s: %v in\n%s", page, err, caddyfile)
					continue
				}
				if err := caddy.Stop(); err != nil {
					t.Errorf("%s: stopping Caddy: %v", page, err)
				}
			}
		}
	})
}

// onThisMachine has a Caddyfile listen where tests may, and write there.
func onThisMachine(t *testing.T, caddyfile string) string {
	t.Helper()
	dir := t.TempDir()
	caddyfile = strings.ReplaceAll(caddyfile, "/var/log/caddy/", dir+"/")
	caddyfile = strings.ReplaceAll(caddyfile, "/run/caddy/", dir+"/")
	global := "\tdefault_bind 127.0.0.1\n\thttp_port " + portOf(freeAddr(t)) + "\n\thttps_port " + portOf(freeAddr(t)) + "\n" +
		"\tpersist_config off\n\tauto_https off\n" + discardedLog
	if !strings.Contains(caddyfile, "\tadmin ") {
		global += "\tadmin off\n"
	}
	if strings.Contains(caddyfile, "\tlog {") && strings.HasPrefix(caddyfile, "{\n") {
		global = strings.Replace(global, discardedLog, "", 1)
	}
	if rest, ok := strings.CutPrefix(caddyfile, "{\n"); ok {
		return "{\n" + global + rest
	}
	return "{\n" + global + "}\n\n" + caddyfile
}

// discardedLog keeps Caddy's own log out of the tests' output.
const discardedLog = "\tlog default {\n\t\toutput discard\n\t}\n"

// TestDocsLinks follows the links between the texts.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for page, text := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(match[1], ":") {
				continue // elsewhere
			}
			name, anchor, hasAnchor := strings.Cut(match[1], "#")
			target := page
			if name != "" {
				target = filepath.Join(filepath.Dir(page), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, match[1])
				continue
			}
			if hasAnchor && !slices.Contains(anchors(readFile(t, target)), anchor) {
				t.Errorf("%s: %s has no heading for the link to #%s", page, target, anchor)
			}
		}
	}
}

// withoutCode is a text without its code blocks and code in lines.
func withoutCode(text string) string {
	var b strings.Builder
	inCode := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
			continue
		}
		if !inCode {
			b.WriteString(line)
		}
	}
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllStringFunc(b.String(), func(code string) string {
		// A heading with code in it keeps the code's letters, and no code has a link.
		return strings.NewReplacer("`", "", "](", "").Replace(code)
	})
}

// anchors are those of a text's headings, as GitHub makes them.
func anchors(text string) []string {
	var names []string
	for line := range strings.Lines(withoutCode(text)) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return names
}

// sesameCommands are the commands below `caddy sesame`, by name.
func sesameCommands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	registered, ok := caddycmd.Commands()["sesame"]
	if !ok {
		t.Fatal("caddy has no command sesame")
	}
	parent := new(cobra.Command)
	registered.CobraFunc(parent)
	commands := make(map[string]*cobra.Command)
	for _, command := range parent.Commands() {
		commands[command.Name()] = command
	}
	return commands
}

// TestDocsCommands looks for commands and flags that don't exist.
func TestDocsCommands(t *testing.T) {
	commands := sesameCommands(t)
	named := regexp.MustCompile("caddy sesame ([a-z][a-z-]*)([^`\n|;]*)")
	flag := regexp.MustCompile(`(?:^| )--([a-z-]+)`)
	for page, text := range guides(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			command, ok := commands[match[1]]
			if !ok {
				t.Errorf("%s: there is no command %q", page, match[0])
				continue
			}
			for _, flag := range flag.FindAllStringSubmatch(match[2], -1) {
				if command.Flags().Lookup(flag[1]) == nil {
					t.Errorf("%s: %s has no flag --%s", page, match[1], flag[1])
				}
			}
		}
	}
}

// TestSecurityTests looks for the tests that SECURITY.md names.
func TestSecurityTests(t *testing.T) {
	written := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(readFile(t, path), -1) {
			written[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z0-9]\\w*)`").FindAllStringSubmatch(readFile(t, "SECURITY.md"), -1)
	if len(named) == 0 {
		t.Error("SECURITY.md names no test")
	}
	for _, match := range named {
		if !written[match[1]] {
			t.Errorf("SECURITY.md names %s, which doesn't exist", match[1])
		}
	}
}

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
			if row[3] == "at start" {
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
	for _, pattern := range []string{"*.go", "internal/identity/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, match := range regexp.MustCompile(`resolve\("(?:\w+: )?(\w+)"|\{"(\w+)", &cfg\.`).FindAllStringSubmatch(readFile(t, file), -1) {
				names = append(names, match[1]+match[2])
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
		startGateway(t, db, startUpstream(t), site{store: fmt.Sprintf("replica %q", db.dsn)})
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
					if label.GetName() != "server" { // it can be any
						collected = append(collected, name+" "+label.GetName()+"="+label.GetValue())
					}
				}
			}
		}
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
		return slices.Contains([]string{"accesslog", "child", "devmysql", "faultproxy", "procfs", "rawquic"}, filepath.Base(dir)) ||
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
	at := map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "Check": 1, "note": 2}
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
		{"### What explain finds", "token/explain.go internal/operator/question.go internal/operator/recognize.go", `(?m)^(?:\t|const )[Cc]ause\w+ +(?:token\.)?Cause = "([^"]+)"`},
		{"### What check looks at", "internal/operator/check.go internal/operator/checkdatabase.go internal/operator/checkroutes.go", `(?:check = |c\.(?:ok|warn|fail|failWith)\()"([a-z_]+)"`},
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

// TestGrants follows docs/mysql.md: an account with exactly these privileges is
// enough to start, serve, log in and use tokens up, and less isn't.
func TestGrants(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		text := readFile(t, "docs/mysql.md")
		readOnly, writing := grantsOf(t, text, "## The account", "auth_user")
		viewOnly, viewWriting := grantsOf(t, text, "## A view for another table", "gateway_user")
		if len(readOnly) != 1 || len(writing) != 1 || len(viewOnly) != 1 || len(viewWriting) != 1 {
			t.Fatalf("the page grants %q, %q, %q and %q", readOnly, writing, viewOnly, viewWriting)
		}
		create := codeBlocks(section(t, text, "## A view for another table"), "sql")[0]
		db.mustExec(t, strings.NewReplacer("app.", "django.", " AND is_staff", "").Replace(create))
		db.mustExec(t, revocationsTable)
		t.Cleanup(func() {
			db.mustExec(t, "DROP VIEW gateway_user")
			db.mustExec(t, "DROP TABLE sesame_revocations")
		})
		revocations, _ := grantsOf(t, text, "## The account", "sesame_revocations")
		groups := slices.Concat(readOnly, rightsGrantsOf(t, text, "auth_group "))
		permissions := slices.Concat(groups, rightsGrantsOf(t, text, "auth_permission "))

		for _, test := range []struct {
			name    string
			grants  []string
			options string
			store   string
			refused string // what the error says, or empty
		}{
			{"read only", readOnly, "max_age 10m", "", ""},
			{"a session that writes nothing", readOnly, "max_age 10m\nsession {\n\tupdate_last_login off\n}", "", ""},
			{"one-time tokens", slices.Concat(readOnly, writing), "max_age 10m\none_time", "", ""},
			{"sessions", slices.Concat(readOnly, writing), "max_age 10m\nsession", "", ""},
			{"one-time tokens without the right to write", readOnly, "max_age 10m\none_time", "", "last_login"},
			{"sessions without the right to write", readOnly, "max_age 10m\nsession", "", "last_login"},
			{"revoked tokens", slices.Concat(readOnly, revocations), "max_age 10m", "revocations sesame_revocations", ""},
			{"revoked tokens without the right to read them", readOnly, "max_age 10m", "revocations sesame_revocations", "revoked tokens"},
			{"groups", groups, "max_age 10m", "groups", ""},
			{"groups without the right to read them", readOnly, "max_age 10m", "groups", "groups: the dsn's user may not read table \"auth_user_groups\""},
			{"groups without the right to read their names", groups[:len(groups)-1], "max_age 10m", "groups", "\"auth_group\""},
			{"permissions", permissions, "max_age 10m", "groups\npermissions", ""},
			{"permissions, of groups that aren't told", permissions, "max_age 10m", "permissions", ""},
			{"permissions without the right to read all of it", permissions[:len(permissions)-1], "max_age 10m", "permissions", "\"django_content_type\""},
			{"without is_active", []string{strings.Replace(readOnly[0], ", is_active", "", 1)}, "max_age 10m", "", "is_active"},
			{"without password", []string{strings.Replace(readOnly[0], ", password", "", 1)}, "max_age 10m", "", "password"},
			{"without names", []string{strings.Replace(readOnly[0], "username, email, ", "", 1)}, "max_age 10m", "", ""},
			{"a view", viewOnly, "max_age 10m", "table gateway_user\nprimary_key id", ""},
			{"one-time tokens in a view", slices.Concat(viewOnly, viewWriting), "max_age 10m\none_time", "table gateway_user\nprimary_key id", ""},
			{"sessions in a view", slices.Concat(viewOnly, viewWriting), "max_age 10m\nsession", "table gateway_user\nprimary_key id", ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				db.reset(t)
				db.addRights(t)
				db.mustExec(t, "CREATE USER 'gateway'@'127.0.0.1' IDENTIFIED BY 'only for tests'")
				t.Cleanup(func() { db.mustExec(t, "DROP USER 'gateway'@'127.0.0.1'") })
				for _, grant := range test.grants {
					db.mustExec(t, grant)
				}
				limited := &database{name: db.name, dsn: mariadb.UserDSN("gateway", "only for tests", "django"), DB: db.DB}
				g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
				caddyfile := g.caddyfile(limited, up, site{options: test.options, store: test.store})
				if test.refused != "" {
					if err := tryCaddyfile(caddyfile); err == nil || !strings.Contains(err.Error(), test.refused) {
						t.Errorf("the error is %v, and doesn't name %s", err, test.refused)
					}
					return
				}
				loadCaddyfile(t, caddyfile)
				serveOnce(t, g, up, test.options)
			})
		}
	})
}

// grantsOf are the statements of a section for reading a table and for writing
// to it, for the tests' account and database. Those for more columns aren't
// among them.
func grantsOf(t testing.TB, text, heading, table string) (reading, writing []string) {
	t.Helper()
	replacer := strings.NewReplacer("app.", "django.", "10.0.0.%", "127.0.0.1")
	for _, block := range codeBlocks(section(t, text, heading), "sql") {
		switch {
		case !strings.HasPrefix(block, "GRANT ") || !strings.Contains(block, "app."+table):
		case strings.Contains(block, "UPDATE"):
			writing = append(writing, replacer.Replace(block))
		case strings.Contains(block, "password") || !strings.Contains(block, "("):
			reading = append(reading, replacer.Replace(block))
		}
	}
	return reading, writing
}

// rightsGrantsOf are the statements for the tables of groups or permissions, of
// which one is named.
func rightsGrantsOf(t testing.TB, text, table string) []string {
	t.Helper()
	for _, block := range codeBlocks(section(t, text, "## The account"), "sql") {
		if strings.Contains(block, " ON app."+table) {
			return strings.Split(strings.TrimSpace(strings.NewReplacer("app.", "django.", "10.0.0.%", "127.0.0.1").Replace(block)), "\n")
		}
	}
	t.Fatalf("the page grants nothing on %s", table)
	return nil
}

// revocationsTable makes the table of revoked tokens.
const revocationsTable = `CREATE TABLE sesame_revocations (
	user_key varbinary(255) NOT NULL,
	fingerprint varbinary(10) NOT NULL,
	revoked datetime NOT NULL,
	expires datetime NULL,
	PRIMARY KEY (user_key, fingerprint)
)`

// serveOnce sends a token twice: a second time is one too many if it is for one
// use.
func serveOnce(t *testing.T, g *gateway, up *upstream, options string) {
	t.Helper()
	changes := []func(*token.Settings){withMaxAge(10 * time.Minute)}
	once := strings.Contains(options, "one_time")
	if once {
		changes = append(changes, oneTime)
	}
	link := "/?sesame=" + tokenFor(t, alice, changes...)
	want := http.StatusOK
	if strings.Contains(options, "session") {
		want = http.StatusSeeOther
	}
	answer := g.get(t, link)
	answer.wantStatus(t, want)
	if want == http.StatusSeeOther {
		g.get(t, "/", "Cookie", sessionCookie(t, answer)).wantStatus(t, http.StatusOK)
	}
	if user := up.takeOne(t).header.Get("Remote-User"); user == "" {
		t.Error("the upstream isn't told the user")
	}
	if once {
		g.get(t, link).wantStatus(t, http.StatusUnauthorized)
	}
	if strings.Contains(string(g.log(t)), "could not be written") {
		t.Error("last_login could not be written")
	}
}

// TestMonitoring looks for metrics, labels and values that don't exist in the
// dashboard and in the alert rules, and has Prometheus's own tool read both.
func TestMonitoring(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		startGateway(t, db, startUpstream(t), site{})
		ctx := caddy.ActiveContext()
		families, err := ctx.GetMetricsRegistry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		known := make(map[string]map[string][]string) // labels and values by metric
		for _, family := range families {
			names := []string{family.GetName()}
			if family.GetType().String() == "HISTOGRAM" {
				names = []string{family.GetName() + "_bucket", family.GetName() + "_sum", family.GetName() + "_count"}
			}
			labels := map[string][]string{"job": nil, "instance": nil, "le": nil}
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					labels[label.GetName()] = append(labels[label.GetName()], label.GetValue())
				}
			}
			if _, ok := labels["server"]; ok {
				labels["server"] = nil // it can be any
			}
			for _, name := range names {
				known[name] = labels
			}
		}
		expressions := dashboardExpressions(t)
		rules := readFile(t, "monitoring/alerts.yml")
		series := regexp.MustCompile(`series: '([^']+)'`).FindAllStringSubmatch(readFile(t, "monitoring/alerts_test.yml"), -1)
		texts := slices.Concat(expressions, []string{rules})
		for _, match := range series {
			texts = append(texts, match[1])
		}
		seen := make(map[string]bool)
		for _, text := range texts {
			wantKnown(t, known, seen, text)
		}
		for name := range known {
			if strings.HasPrefix(name, "caddy_sesame_") && !seen[name] {
				t.Errorf("neither the dashboard nor the rules use %s", name)
			}
		}
		if len(series) == 0 {
			t.Error("the rules' tests have no series")
		}
		promtool(t, "check", "rules", "monitoring/alerts.yml")
		promtool(t, "test", "rules", "monitoring/alerts_test.yml")
		promtool(t, "check", "rules", asRules(t, expressions))
	})
}

// dashboardExpressions are the queries of the dashboard's panels and variables.
func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "monitoring/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var expressions []string
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	if len(expressions) == 0 || len(dashboard.Templating.List) == 0 {
		t.Fatal("the dashboard has no panels, or no variables")
	}
	return expressions
}

// wantKnown fails the test for metrics, labels or values in a text that aren't
// known.
func wantKnown(t *testing.T, known map[string]map[string][]string, seen map[string]bool, text string) {
	t.Helper()
	labels := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(caddy_sesame_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
		has, ok := known[match[1]]
		if !ok {
			t.Errorf("there is no metric %s, as in %s", match[1], text)
			continue
		}
		seen[match[1]] = true
		for label := range has {
			labels[label] = true
		}
		for _, matcher := range regexp.MustCompile(`(\w+)(?:=~|!=|=)"([^"]*)"`).FindAllStringSubmatch(match[2], -1) {
			values, ok := has[matcher[1]]
			if !ok {
				t.Errorf("%s has no label %s", match[1], matcher[1])
			}
			for value := range strings.SplitSeq(matcher[2], "|") {
				if values != nil && !slices.Contains(values, value) {
					t.Errorf("%s has no %s %q", match[1], matcher[1], value)
				}
			}
		}
	}
	for _, match := range regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		for label := range strings.SplitSeq(match[1], ", ") {
			if !labels[label] {
				t.Errorf("there is no label %s for %s", label, text)
			}
		}
	}
}

// asRules writes the dashboard's queries as rules, since there is a tool that
// checks those. Grafana's variables are filled in.
func asRules(t *testing.T, expressions []string) string {
	t.Helper()
	text := "groups:\n  - name: dashboard\n    rules:\n"
	for i, expression := range expressions {
		expression = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*").Replace(expression)
		text += fmt.Sprintf("      - record: dashboard:query:%d\n        expr: %s\n", i, strconv.Quote(expression))
	}
	name := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// promtool runs Prometheus's tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		const lack = "promtool is not on PATH (Debian: apt-get install prometheus)"
		if os.Getenv("CI") != "" {
			t.Fatal(lack)
		}
		t.Log(lack)
		return
	}
	if output, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}
