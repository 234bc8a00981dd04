package sesame_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// installWordPress makes a WordPress with the plugin of the guide, and returns its
// directory.
func installWordPress(t *testing.T, db *database, addr string) (dir string) {
	t.Helper()
	db.mustExec(t, "DROP DATABASE IF EXISTS wordpress")
	db.mustExec(t, "CREATE DATABASE wordpress CHARACTER SET utf8mb4")
	t.Cleanup(func() { db.mustExec(t, "DROP DATABASE IF EXISTS wordpress") })
	cfg, err := mysql.ParseDSN(db.dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DBName = "wordpress"
	plugin := codeBlocks(section(t, readFile(t, "docs/applications/wordpress.md"), "## The plugin"), "php")[0]
	dir = t.TempDir()
	testprogram.WordPress(t, dir, cfg.FormatDSN(), "http://"+addr, plugin, "alice", "zoe", "bob")
	return dir
}

// TestWordPressLogsInOnlyTheExactName has a real WordPress behind the gateway, with
// the plugin of the guide.
func TestWordPressLogsInOnlyTheExactName(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		addr := freeAddr(t)
		dir := installWordPress(t, db, addr)
		fpm := testprogram.PHP(t)
		g := &gateway{addr: addr, logs: filepath.Join(t.TempDir(), "caddy.log")}
		loadCaddyfile(t, g.caddyfile(db, nil, site{logLevel: "ERROR", after: fmt.Sprintf("root * %s\nphp_fastcgi %s", dir, fpm)}))

		t.Run("an account of the very name is logged in, and its forms work", func(t *testing.T) {
			b := newWordPressBrowser(t, addr, tokenFor(t, alice))
			status, page, set := b.do(t, http.MethodGet, "/wp-admin/profile.php", nil)
			if status != http.StatusOK || !strings.Contains(page, "alice@example.com") || len(set) == 0 {
				t.Fatalf("the profile is answered %d with the cookies %v: %.300s", status, set, page)
			}
			nonce := regexp.MustCompile(`name="_wpnonce" value="([0-9a-f]+)"`).FindStringSubmatch(page)
			user := regexp.MustCompile(`name="user_id" id="user_id" value="(\d+)"`).FindStringSubmatch(page)
			if nonce == nil || user == nil {
				t.Fatalf("the profile has no form: %.300s", page)
			}
			status, page, set = b.do(t, http.MethodPost, "/wp-admin/profile.php", url.Values{
				"_wpnonce": {nonce[1]}, "user_id": {user[1]}, "action": {"update"}, "email": {"alice@example.com"},
				"nickname": {"settled"}, "from": {"profile"}, "checkuser_id": {user[1]},
			})
			if status != http.StatusFound || len(set) > 0 {
				t.Fatalf("the form is answered %d with the cookies %v: %.300s", status, set, page)
			}
			if _, page, set = b.do(t, http.MethodGet, "/wp-admin/profile.php", nil); !strings.Contains(page, "settled") || len(set) > 0 {
				t.Errorf("after the form, the profile has the cookies %v", set)
			}
		})
		u := testUser{200, "other", "p", "x@example.com", "", true}
		db.insert(t, u)
		for _, name := range []string{"ŵpàdmin", "wpádmin", "WPADMIN", "Zoe", "zoë", "ZOE", "wpadmin<b>", "wp%admin", "nobody"} {
			t.Run(name+" has no account", func(t *testing.T) {
				db.mustExec(t, "UPDATE auth_user SET username = ? WHERE id = 200", name)
				b := newWordPressBrowser(t, addr, tokenFor(t, alice))
				b.do(t, http.MethodGet, "/wp-admin/profile.php", nil) // another user was logged in before
				b.token = tokenFor(t, u)
				for range 2 {
					status, page, set := b.do(t, http.MethodGet, "/wp-admin/profile.php", nil)
					if status != http.StatusForbidden || len(set) > 0 || strings.Contains(page, "@example.com") {
						t.Errorf("%d with the cookies %v: %.300s", status, set, page)
					}
				}
			})
		}
	})
}

// wordPressBrowser is a browser with WordPress's cookies, whose requests have a
// token.
type wordPressBrowser struct {
	client      *http.Client
	addr, token string
}

func newWordPressBrowser(t *testing.T, addr, token string) *wordPressBrowser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &wordPressBrowser{addr: addr, token: token, client: &http.Client{
		Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do sends a request, with a form if it has one. It returns the names of the
// cookies of a login that are set.
func (b *wordPressBrowser) do(t *testing.T, method, path string, form url.Values) (status int, page string, set []string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.addr+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+b.token)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for _, cookie := range answer.Cookies() {
		if strings.HasPrefix(cookie.Name, "wordpress_") && cookie.Value != " " {
			set = append(set, cookie.Name)
		}
	}
	return answer.StatusCode, readAll(t, answer.Body), set
}

// readAll reads a body to its end.
func readAll(t *testing.T, body io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
