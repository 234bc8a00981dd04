package sesame_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestReadmeOptions compares the README's reference with the syntax in the
// code.
func TestReadmeOptions(t *testing.T) {
	syntax := caddyfileSyntax(t)
	reference := section(t, readFile(t, "README.md"), "## Caddyfile reference")
	blocks := codeBlocks(reference, "text")
	if len(blocks) == 0 || strings.TrimSpace(blocks[0]) != syntax {
		t.Errorf("the reference's syntax isn't that of UnmarshalCaddyfile:\n%s", syntax)
	}

	documented := tableNames(reference)
	options := optionsOf(syntax)
	for _, option := range options {
		if !slices.Contains(documented, option) {
			t.Errorf("the reference has no row for the option %s", option)
		}
	}
	for i, name := range documented {
		if !slices.Contains(options, name) {
			t.Errorf("the reference has a row for %s, which is no option", name)
		}
		if slices.Contains(documented[:i], name) {
			t.Errorf("the reference has two rows for %s", name)
		}
	}
}

// TestReadmeReasons compares the README's table of reasons with the reasons.
func TestReadmeReasons(t *testing.T) {
	table := section(t, readFile(t, "README.md"), "### Why was a token refused?")
	documented := tableNames(table)
	for _, reason := range token.Reasons() {
		if !strings.Contains(table, "\n| `"+reason.String()+"` | `"+reason.Public()+"` |") {
			t.Errorf("the table has no row for %s with the code %s", reason.String(), reason.Public())
		}
	}
	documented = slices.DeleteFunc(documented, func(name string) bool { return name == "reason" })
	if len(documented) != len(token.Reasons()) {
		t.Errorf("the table has %d rows for %d reasons", len(documented), len(token.Reasons()))
	}
}

// TestReadmeCaddyfiles adapts the README's Caddyfiles and the example.
func TestReadmeCaddyfiles(t *testing.T) {
	caddyfiles := append(codeBlocks(readFile(t, "README.md"), "caddyfile"), readFile(t, "Caddyfile.example"))
	for _, caddyfile := range caddyfiles {
		_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
		if err != nil {
			t.Errorf("%v in\n%s", err, caddyfile)
		}
		for _, warning := range warnings {
			if !strings.Contains(warning.Message, "caddy fmt") {
				t.Errorf("line %d: %s in\n%s", warning.Line, warning.Message, caddyfile)
			}
		}
	}
}

// caddyfileSyntax is the syntax in the doc comment of UnmarshalCaddyfile.
func caddyfileSyntax(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "caddyfile.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "UnmarshalCaddyfile" {
			_, syntax, _ := strings.Cut(f.Doc.Text(), "Syntax:")
			return strings.TrimSpace(strings.ReplaceAll(syntax, "\n\t", "\n"))
		}
	}
	t.Fatal("caddyfile.go has no UnmarshalCaddyfile")
	return ""
}

// optionsOf lists the options that begin the lines of a syntax.
func optionsOf(syntax string) []string {
	var options []string
	for line := range strings.Lines(syntax) {
		if words := strings.Fields(line); words[0] != "sesame" && words[0] != "}" && words[0][0] != '<' {
			options = append(options, strings.Split(words[0], "|")...)
		}
	}
	return options
}

// tableNames lists the names in the first column of a text's tables.
func tableNames(text string) []string {
	var names []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

// section is the text from a heading up to the next of any level.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %s", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n#")
	return rest
}

// codeBlocks lists the fenced blocks of a language.
func codeBlocks(text, language string) []string {
	var blocks []string
	for i, rest := range strings.Split(text, "\n```"+language+"\n") {
		if block, _, closed := strings.Cut(rest, "\n```\n"); i > 0 && closed {
			blocks = append(blocks, block+"\n")
		}
	}
	return blocks
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
