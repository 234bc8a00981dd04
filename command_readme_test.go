package sesame_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestReadmeCommands compares the README's commands and flags with those in the
// code.
func TestReadmeCommands(t *testing.T) {
	_, operators, found := strings.Cut(readFile(t, "docs/operating.md"), "\n## For operators\n")
	if !found {
		t.Fatal("the README has no section for operators")
	}
	operators, _, _ = strings.Cut(operators, "\n## ")
	intro, _, _ := strings.Cut(operators, "\n### ")
	shared := documentedFlags(intro)

	root := &cobra.Command{Use: "sesame"}
	caddycmd.Commands()["sesame"].CobraFunc(root)
	var commands []string
	for _, cmd := range root.Commands() {
		commands = append(commands, cmd.Name())
		t.Run(cmd.Name(), func(t *testing.T) {
			documented := documentedFlags(section(t, operators, "### caddy sesame "+cmd.Name()))
			if cmd.Flags().Lookup("config") != nil {
				documented = slices.Concat(documented, shared)
			}
			var flags []string
			cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
				name := "`--" + flag.Name + "`"
				if flag.Shorthand != "" {
					name += ", `-" + flag.Shorthand + "`"
				}
				flags = append(flags, name)
			})
			slices.Sort(flags)
			slices.Sort(documented)
			if !slices.Equal(flags, documented) {
				t.Errorf("the README has the flags\n%s\nand the code\n%s", strings.Join(documented, "\n"), strings.Join(flags, "\n"))
			}
		})
	}

	var listed []string
	for _, match := range regexp.MustCompile("(?m)^\\| \\[`([a-z-]+)`\\]\\(#caddy-sesame-").FindAllStringSubmatch(intro, -1) {
		listed = append(listed, match[1])
	}
	slices.Sort(listed)
	slices.Sort(commands)
	if !slices.Equal(listed, commands) {
		t.Errorf("the README lists the commands %q, there are %q", listed, commands)
	}
}

// documentedFlags are the flags in a text's tables.
func documentedFlags(text string) []string {
	var flags []string
	for _, match := range regexp.MustCompile("(?m)^\\| (`--[a-z-]+`(?:, `-[a-z]`)?) \\|").FindAllStringSubmatch(text, -1) {
		flags = append(flags, match[1])
	}
	return flags
}

// TestReadmeChecks compares the README's table of checks with those in the
// code.
func TestReadmeChecks(t *testing.T) {
	table := section(t, readFile(t, "docs/operating.md"), "### caddy sesame check")
	var documented []string
	for line := range strings.Lines(table) {
		if first, _, found := strings.Cut(strings.TrimPrefix(line, "| "), " | "); found && strings.HasPrefix(first, "`") && !strings.HasPrefix(first, "`--") {
			for name := range strings.SplitSeq(first, ", ") {
				documented = append(documented, strings.Trim(name, "`"))
			}
		}
	}
	var checks []string
	code := readFile(t, "internal/operator/check.go") + readFile(t, "internal/operator/checkdatabase.go") + readFile(t, "internal/operator/checkroutes.go") + readFile(t, "internal/operator/checkfront.go") + readFile(t, "internal/operator/checkmail.go")
	for _, match := range regexp.MustCompile(`(?:c\.(?:ok|warn|fail|failWith)\(|check := |const check = )"([a-z_]+)"`).FindAllStringSubmatch(code, -1) {
		if !slices.Contains(checks, match[1]) {
			checks = append(checks, match[1])
		}
	}
	slices.Sort(documented)
	slices.Sort(checks)
	if !slices.Equal(documented, checks) {
		t.Errorf("the README has the checks %q, the code %q", documented, checks)
	}
}

// TestReadmeAdminAPI compares the README's paths with the routes.
func TestReadmeAdminAPI(t *testing.T) {
	text := section(t, readFile(t, "docs/operating.md"), "### The admin API")
	paths := regexp.MustCompile(`Pattern: "([^"]+)"`).FindAllStringSubmatch(readFile(t, "internal/operator/api.go"), -1)
	if len(paths) == 0 {
		t.Fatal("internal/operator/api.go has no routes")
	}
	for _, path := range paths {
		if !regexp.MustCompile("(?m)^\\| `(GET|POST) " + path[1] + "` \\|").MatchString(text) {
			t.Errorf("the README has no row for %s", path[1])
		}
	}
}

// TestManualPageHasTheCommands looks for them in the manual page of the packages.
func TestManualPageHasTheCommands(t *testing.T) {
	page := readFile(t, "packaging/caddy-sesame.8")
	root := &cobra.Command{Use: "sesame"}
	caddycmd.Commands()["sesame"].CobraFunc(root)
	for _, cmd := range root.Commands() {
		name := strings.ReplaceAll(cmd.Name(), "-", `\-`)
		if !strings.Contains(page, "\n.B sesame "+name+"\n") {
			t.Errorf("the manual page doesn't explain %s", cmd.Name())
		}
		synopsis, _, _ := strings.Cut(page, ".SH DESCRIPTION")
		if !strings.Contains(synopsis, " "+name+" ") && !strings.Contains(synopsis, " "+name+"\n") {
			t.Errorf("the synopsis of the manual page lacks %s", cmd.Name())
		}
	}
}
