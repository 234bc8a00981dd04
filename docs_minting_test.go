package sesame_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMintingPrograms runs the programs of docs/minting.md as they stand there,
// besides the address of the admin endpoint, and opens the links that they
// print.
func TestMintingPrograms(t *testing.T) {
	guide := readFile(t, "docs/minting.md")
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "max_age 10m"))
		for _, program := range []struct {
			heading, language string
			file              string
			command           []string // the file's path is appended
		}{
			{"### PHP", "php", "link.php", []string{"php"}},
			{"### Node", "js", "link.mjs", []string{"node"}},
			{"### Python", "python", "link.py", []string{"python3"}},
			{"## In Go", "go", "main.go", []string{"go", "run"}},
		} {
			t.Run(program.language, func(t *testing.T) {
				command := findProgram(t, program.command[0])
				blocks := codeBlocks(section(t, guide, program.heading), program.language)
				if len(blocks) == 0 {
					t.Fatalf("%s has no program", program.heading)
				}
				text := blocks[len(blocks)-1] // Django's own way comes before
				path := filepath.Join(t.TempDir(), program.file)
				if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "localhost:2019", a.admin)), 0o600); err != nil {
					t.Fatal(err)
				}
				a.wantLink(t, output(t, db, command, append(program.command[1:], path)...))
			})
		}
		t.Run("curl", func(t *testing.T) {
			block := codeBlocks(section(t, guide, "## Over Caddy's admin endpoint"), "console")[0]
			line, _, _ := strings.Cut(strings.TrimPrefix(block, "$ "), "\n{")
			answer := output(t, db, findProgram(t, "sh"), "-c", strings.ReplaceAll(line, "localhost:2019", a.admin))
			_, link, _ := strings.Cut(answer, `"link":"`)
			link, _, _ = strings.Cut(link, `"`)
			a.wantLink(t, link)
		})
	})
}

// wantLink opens a link of the guide's to see that it is alice's.
func (a *adminGateway) wantLink(t *testing.T, text string) {
	t.Helper()
	link, err := url.Parse(strings.TrimSpace(text))
	if err != nil || link.Host != "app.example.com" || link.Path != "/reports/7" {
		t.Fatalf("the program printed %q, which isn't the link (%v)", text, err)
	}
	answer := a.get(t, link.RequestURI(), "Host", link.Host)
	answer.wantStatus(t, http.StatusOK)
	wantText(t, answer.body, "alice")
}

// findProgram is the path of a program. Where tests must not be left out, it
// has to be there.
func findProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return ""
}

// output is what a program prints that knows the database and the key.
func output(t *testing.T, db *database, command string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // go run may have to compile
	defer cancel()
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Env = append(os.Environ(), "SESAME_DSN="+db.dsn, "DJANGO_SECRET_KEY="+secretKey)
	var errors strings.Builder
	cmd.Stderr = &errors
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, errors.String())
	}
	return string(text)
}
