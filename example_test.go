package sesame_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestExampleHasEveryOption compares the options of Caddyfile.example, those
// behind a hash included, with the syntax in the code.
func TestExampleHasEveryOption(t *testing.T) {
	t.Parallel()
	var options []string
	for _, option := range optionsOf(sesameBlock(t, uncommented(readFile(t, "Caddyfile.example")))) {
		if block, name, _ := strings.Cut(option, " "); block == "identity" && strings.HasPrefix(name, "Remote-") {
			option = "identity <header>"
		} else if strings.HasPrefix(block, "Remote-") {
			option = "header " + name
		}
		options = append(options, option)
	}
	wantEach(t, "options of Caddyfile.example", options, optionsOf(caddyfileSyntax(t)))
}

// TestExampleExplainsOptions looks for options that no text stands above.
func TestExampleExplainsOptions(t *testing.T) {
	t.Parallel()
	explained := false // whether a text stands above the current lines
	for line := range strings.Lines(sesameBlock(t, uncommented(readFile(t, "Caddyfile.example")))) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			explained = false
		case words[0] == "#":
			explained = true
		case words[0] != "sesame" && words[0] != "}" && !explained:
			t.Errorf("no text explains the option %s", words[0])
		}
	}
}

// TestExampleLoadsWithAllOptions adapts Caddyfile.example with all options in
// use, as an operator has it who removes their hashes: each has a form that
// can be right.
func TestExampleLoadsWithAllOptions(t *testing.T) {
	t.Parallel()
	caddyfile := uncommented(readFile(t, "Caddyfile.example"))
	// dsn is there already, undecided can't be loaded, and the files don't exist.
	caddyfile = regexp.MustCompile(`(?m)^\s*(dsn_file|undecided|template|logo|favicon|tls_\w+) .*\n`).ReplaceAllString(caddyfile, "")
	// Beside follow, there can be no cache.
	caddyfile = regexp.MustCompile(`(?m)^\t\tcache 5s \{\n(?:\t\t\t.*\n)+\t\t\}\n`).ReplaceAllString(caddyfile, "")
	if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil); err != nil {
		t.Errorf("%v in\n%s", err, caddyfile)
	}
}

// uncommented is the text of Caddyfile.example with its options in use: those
// behind a hash that no space follows.
func uncommented(text string) string {
	return regexp.MustCompile(`(?m)^(\t*)#([^ \n])`).ReplaceAllString(text, "$1$2")
}

// sesameBlock is the directive sesame of a Caddyfile.
func sesameBlock(t *testing.T, text string) string {
	t.Helper()
	block := regexp.MustCompile(`(?s)\n\tsesame \{\n.*?\n\t\}\n`).FindString(text)
	if block == "" {
		t.Fatal("there is no directive sesame")
	}
	return block
}

// wantEach compares names that may stand there several times.
func wantEach(t *testing.T, what string, names, want []string) {
	t.Helper()
	wantSame(t, what, unique(names), unique(want))
}

// unique are the names, each once.
func unique(names []string) []string {
	var once []string
	seen := make(map[string]bool)
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			once = append(once, name)
		}
	}
	return once
}
