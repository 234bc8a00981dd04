package sesame_test

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// TestProgramsSendBasic: curl, and git with a real repository behind the gateway.
func TestProgramsSendBasic(t *testing.T) {
	backend := filepath.Join(strings.TrimSpace(command(t, "git", "--exec-path")), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skipf("git-http-backend: %v", err)
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		db.setPassword(t, carol, hashOf(t, password.MD5, "a:b c"))
		root := t.TempDir()
		repository := filepath.Join(root, "project.git")
		command(t, "git", "init", "-q", "--bare", repository)
		command(t, "git", "-C", repository, "config", "http.receivepack", "true")
		var users sync.Map
		served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			users.Store(r.Header.Get("Remote-User"), true)
			handler := cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=" + r.Header.Get("Remote-User")}}
			handler.ServeHTTP(w, r)
		}))
		t.Cleanup(served.Close)
		s := passwordSite(9)
		s.after = "reverse_proxy " + strings.TrimPrefix(served.URL, "http://")
		g := startGateway(t, db, startUpstream(t), s)

		url := "http://carol:a%3Ab%20c@" + g.addr + "/project.git"
		clone := filepath.Join(root, "clone")
		wantHashed(t, 1, func() {
			command(t, "git", "clone", "-q", url, clone)
			command(t, "git", "-C", clone, "-c", "user.name=c", "-c", "user.email=c@example.com", "commit", "-q", "--allow-empty", "-m", "one")
			command(t, "git", "-C", clone, "push", "-q", "origin", "HEAD")
			command(t, "git", "clone", "-q", url, filepath.Join(root, "again"))
		})
		if got := command(t, "git", "-C", filepath.Join(root, "again"), "log", "--format=%s"); strings.TrimSpace(got) != "one" {
			t.Errorf("the second clone has %q", got)
		}
		users.Range(func(user, _ any) bool {
			if user != "carol" {
				t.Errorf("git-http-backend saw %q", user)
			}
			return true
		})
		if got := command(t, "curl", "-s", "-o", os.DevNull, "-w", "%{http_code}", "--user", "carol:a:b c", "http://"+g.addr+"/project.git/info/refs?service=git-upload-pack"); got != "200" {
			t.Errorf("curl got %s", got)
		}
		if got := command(t, "curl", "-s", "-o", os.DevNull, "-w", "%{http_code}", "--user", "carol:wrong", "http://"+g.addr+"/"); got != "401" {
			t.Errorf("curl with a wrong password got %s", got)
		}
	})
}

// command runs a program and returns its output.
func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "HOME="+os.TempDir())
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
	return string(output)
}
