package sesame_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestReadmeReasons compares the README's table of reasons with the reasons.
func TestReadmeReasons(t *testing.T) {
	table := section(t, readFile(t, "docs/operating.md"), "### Why was a token refused?")
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

// TestReadmeSessionReasons compares the README's table of why sessions are
// refused with the reasons, which are there in their order.
func TestReadmeSessionReasons(t *testing.T) {
	table := section(t, readFile(t, "docs/operating.md"), "### Why was a session refused?")
	var want []string
	for _, reason := range session.Reasons() {
		want = append(want, reason.String())
	}
	if got := tableNames(table)[1:]; !slices.Equal(got, want) {
		t.Errorf("the table has rows for %q, the reasons are %q", got, want)
	}
}

// TestReadmeMetrics compares the README's table of metrics with what is
// collected, and its labels.
func TestReadmeMetrics(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, startUpstream(t), site{})
		g.get(t, "/?sesame=bad").wantStatus(t, http.StatusUnauthorized) // a count of rejections is there from the first one on
		want := make(map[string]bool)
		ctx := caddy.ActiveContext()
		families, err := ctx.GetMetricsRegistry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if !strings.HasPrefix(family.GetName(), "caddy_sesame_") {
				continue
			}
			var names []string
			for _, label := range family.GetMetric()[0].GetLabel() {
				names = append(names, "`"+label.GetName()+"`")
			}
			want["| `"+family.GetName()+"` | "+strings.Join(append(names, "|"), ", ")] = true
		}
		table := section(t, readFile(t, "docs/operating.md"), "### Metrics")
		rows := strings.Count(table, "\n| `caddy_sesame_")
		if rows == 0 || rows != len(want) {
			t.Errorf("the table has %d rows for %d metrics", rows, len(want))
		}
		for row := range want {
			if row = strings.Replace(row, ", |", " |", 1); !strings.Contains(table, row) {
				t.Errorf("the table has no row that begins with %s", row)
			}
		}
	})
}

// TestReadmePages compares the documented table of pages with those in the code.
func TestReadmePages(t *testing.T) {
	var documented, want []string
	table := section(t, readFile(t, "docs/pages.md"), "## Texts")
	for line := range strings.Lines(table) {
		if first, _, found := strings.Cut(strings.TrimPrefix(line, "| "), " | "); found && first[0] == '`' {
			for name := range strings.SplitSeq(first, ", ") {
				documented = append(documented, strings.Trim(name, "`"))
			}
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^\t\w+ +Kind = "(\w+)"$`).FindAllStringSubmatch(readFile(t, "internal/page/page.go"), -1) {
		want = append(want, match[1])
	}
	if len(want) == 0 || !slices.Equal(documented, want) {
		t.Errorf("the table has rows for %q, the pages are %q", documented, want)
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

// optionsOf lists the options that begin the lines of a syntax, each behind the
// block that it stands in: "session max_age", or " scope" outside of any.
func optionsOf(syntax string) []string {
	var options []string
	blocks := []string{""} // around the line
	for line := range strings.Lines(syntax) {
		block := blocks[len(blocks)-1]
		words := strings.Fields(line)
		switch {
		case len(words) == 0, words[0] == "#", words[0] == "sesame":
		case words[0] == "}":
			blocks = blocks[:max(len(blocks)-1, 1)]
		default:
			for name := range strings.SplitSeq(words[0], "|") {
				options = append(options, block+" "+name)
			}
			if words[len(words)-1] == "{" {
				blocks = append(blocks, strings.Trim(words[0], "<>"))
			}
		}
	}
	return options
}

// tableNames lists the names in the first column of a text's tables.
func tableNames(text string) []string {
	var names []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(<?[a-z0-9_]+>?)` \\|").FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

// section is the text from a heading up to the next of any level.
func section(t testing.TB, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %s", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n#")
	return rest
}

// chapter is the text from a heading of the second level up to the next such.
func chapter(t testing.TB, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %s", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
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

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTroubleshootingPages looks for each page that users see, by its title and
// its code, in the table of what to do about it.
func TestTroubleshootingPages(t *testing.T) {
	var documented, want []string
	for _, row := range rows(section(t, readFile(t, "docs/troubleshooting.md"), "## What a page says")) {
		if len(row) != 4 || row[2] == "" || row[3] == "" {
			t.Fatalf("the row %q hasn't a title, a code, a cause and a remedy", row)
		}
		documented = append(documented, codes(row[1])[0]+": "+row[0])
	}
	kinds := make(map[string]string) // codes by the names of constants
	for _, match := range regexp.MustCompile(`(?m)^\t(\w+) +Kind = "(\w+)"$`).FindAllStringSubmatch(readFile(t, "internal/page/page.go"), -1) {
		kinds[match[1]] = match[2]
	}
	for _, code := range kinds {
		title := regexp.MustCompile(`(?m)^\t"` + code + `\.title": (?:\{\s*"links": )?"([^"]+)"`).FindStringSubmatch(readFile(t, "internal/page/texts/en.json"))
		if title == nil {
			t.Fatalf("the page %s has no title", code)
		}
		want = append(want, code+": "+title[1])
	}
	wantSame(t, "pages", documented, want)
}
