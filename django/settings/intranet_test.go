package settings_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy" // of the imported site

	"github.com/caddy-sesame/caddy-sesame/django/settings"
	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// intranetPassword is the password of the database user of testdata/intranet.
const intranetPassword = `p@ss/w:o"rd{x}?`

// intranetTables are the tables of testdata/intranet and of Django. The key of
// people was widened by hand.
var intranetTables = []string{
	"CREATE TABLE staff.people (id bigint AUTO_INCREMENT PRIMARY KEY, hash varchar(128) NOT NULL, last_login datetime(6), login varchar(150) NOT NULL UNIQUE, enabled tinyint(1) NOT NULL, is_superuser tinyint(1) NOT NULL, deleted_at datetime(6))",
	"CREATE TABLE staff.people_groups (id bigint AUTO_INCREMENT PRIMARY KEY, person_id bigint NOT NULL, group_id int NOT NULL)",
	"CREATE TABLE staff.people_user_permissions (id bigint AUTO_INCREMENT PRIMARY KEY, person_id bigint NOT NULL, permission_id int NOT NULL)",
	"CREATE TABLE intranet.auth_group (id int PRIMARY KEY, name varchar(150) NOT NULL)",
	"CREATE TABLE intranet.django_content_type (id int PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)",
	"CREATE TABLE intranet.auth_permission (id int PRIMARY KEY, name varchar(255) NOT NULL, content_type_id int NOT NULL, codename varchar(100) NOT NULL)",
	"CREATE TABLE intranet.auth_group_permissions (id int PRIMARY KEY, group_id int NOT NULL, permission_id int NOT NULL)",
	"INSERT INTO staff.people VALUES (1, 'hash', NULL, 'alice', 1, 0, NULL), (2, 'hash', NULL, 'mallory', 1, 1, '2024-01-02'), (3, 'hash', NULL, 'ivan', 0, 0, NULL), (4, 'hash', NULL, 'zoë', 1, 0, NULL)",
	"INSERT INTO intranet.auth_group VALUES (7, 'editors')",
	"INSERT INTO intranet.django_content_type VALUES (5, 'press', 'article')",
	"INSERT INTO intranet.auth_permission VALUES (9, 'Can publish', 5, 'publish')",
	"INSERT INTO intranet.auth_group_permissions VALUES (1, 7, 9)",
	"INSERT INTO staff.people_groups VALUES (1, 1, 7)",
}

// TestProjectWithRouterTLSAndSoftDeletion carries a project over: a router with
// a replica, a server that demands TLS by a private authority, a user model in
// another database, and users that its manager hides. Besides making the view
// and setting the variables that the import names, nothing is done by hand.
func TestProjectWithRouterTLSAndSoftDeletion(t *testing.T) {
	for _, with := range pythons(t) {
		t.Run(with.name, func(t *testing.T) {
			project := startIntranet(t, with)
			if got := project.manage(t, "from django.contrib.auth import load_backend\nbackend = load_backend('django.contrib.auth.backends.ModelBackend')\nprint([n for n in range(1, 5) if backend.get_user(n)])\n"); !strings.Contains(got, "[1, 4]") {
				t.Fatalf("Django lets in %s, and the test is about 1 and 4", got)
			}
			var caddyfile strings.Builder
			report, err := read(t, project.manage(t, settings.Script)).Site(&caddyfile)
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Undecided) > 0 {
				t.Fatalf("undecided: %v", report.Undecided)
			}
			addr := freeAddress(t)
			project.setEnvironment(t, report, addr)
			if err := project.load(t, caddyfile.String()); err == nil || !strings.Contains(err.Error(), "sesame_users_") {
				t.Errorf("without the view, Caddy starts, or says: %v", err)
			}
			project.makeView(t, report)
			tokens := served{password: "hash"}
			query := func(key string) string {
				return "http://" + addr + "/?sesame=" + tokens.token(t, "sesame {\nsecret_key x\npacker_encoding LongPacker\nuserstore mysql {\ndsn u@tcp(h)/d\n}\n}\n", key)
			}
			for _, test := range []struct {
				name, caddyfile string
				wants           map[string]string // by the key of the user
			}{
				{"as it was imported", caddyfile.String(), map[string]string{"1": "200 alice", "2": "401", "3": "401", "4": "200 zoë"}},
				{"with a group", project.require(caddyfile.String(), "group editors"), map[string]string{"1": "200 alice", "2": "401", "4": "403"}},
				{"with a permission", project.require(caddyfile.String(), "permission press.publish"), map[string]string{"1": "200 alice", "2": "401", "4": "403"}},
			} {
				if err := project.load(t, test.caddyfile); err != nil {
					t.Fatalf("%s: %v in\n%s", test.name, err, test.caddyfile)
				}
				for key, want := range test.wants {
					if got := ask(t, query(key)); !strings.HasPrefix(got, want) {
						t.Errorf("%s: user %s: got %s, want %s, with\n%s", test.name, key, got, want, test.caddyfile)
					}
				}
			}
		})
	}
}

// intranet is the project in testdata/intranet, with its servers.
type intranet struct {
	python   interpreter
	env      []string
	server   *testmariadb.Server
	upstream string
}

func startIntranet(t *testing.T, with interpreter) *intranet {
	t.Helper()
	authority, err := testmariadb.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	options, err := authority.ServerOptions(time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := startMariaDB(t, options...)
	if err := server.Exec("", append([]string{
		"CREATE DATABASE intranet CHARACTER SET utf8mb4", "CREATE DATABASE staff CHARACTER SET utf8mb4",
		"CREATE USER 'django'@'%' IDENTIFIED BY '" + intranetPassword + "' REQUIRE SSL",
		"GRANT SELECT, UPDATE ON intranet.* TO 'django'@'%'", "GRANT SELECT, UPDATE ON staff.* TO 'django'@'%'",
	}, intranetTables...)...); err != nil {
		t.Fatal(err)
	}
	// A replica, as far as the gateway can see.
	replica, err := faultproxy.Start(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(replica.Close)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Remote-User"))
	}))
	t.Cleanup(upstream.Close)
	return &intranet{
		python: with, server: server, upstream: upstream.Listener.Addr().String(),
		env: []string{
			"DB_PORT=" + portOf(t, server.Addr()), "DB_REPLICA_PORT=" + portOf(t, replica.Addr()), "DB_PASSWORD=" + intranetPassword,
			"DB_CA=" + authority.File(), "PYTHONPATH=" + strings.Join(with.path, string(filepath.ListSeparator)), "PYTHONDONTWRITEBYTECODE=1",
		},
	}
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// manage runs a script in the project's shell.
func (p *intranet) manage(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command(p.python.program, "manage.py", "shell")
	cmd.Dir = "testdata/intranet"
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("manage.py shell: %v\n%s", err, stderr.Bytes())
	}
	return string(out)
}

// setEnvironment sets the variables that the import names.
func (p *intranet) setEnvironment(t *testing.T, report *settings.Report, addr string) {
	t.Helper()
	values := map[string]string{
		"DJANGO_SECRET_KEY": usersSecret, "DJANGO_DB_PASSWORD": intranetPassword, "DJANGO_DB_REPLICA_PASSWORD": intranetPassword,
		"SITE_ADDRESS": "http://" + addr, "UPSTREAM": p.upstream,
	}
	for _, variable := range report.Env {
		value, ok := values[variable.Name]
		if !ok {
			t.Fatalf("the import asks for %s", variable.Name)
		}
		t.Setenv(variable.Name, value)
		delete(values, variable.Name)
	}
	if len(values) > 0 {
		t.Fatalf("the import doesn't ask for all variables: %d are missing, of %+v", len(values), report.Env)
	}
}

// makeView runs the statements that the import has printed.
func (p *intranet) makeView(t *testing.T, report *settings.Report) {
	t.Helper()
	for statement := range strings.SplitSeq(strings.TrimSuffix(report.View, ";"), ";\n") {
		if err := p.server.Exec("intranet", statement); err != nil {
			t.Fatalf("%v in\n%s", err, report.View)
		}
	}
}

// require has a Caddyfile use the comments with groups and permissions.
func (p *intranet) require(caddyfile, requirement string) string {
	caddyfile = strings.ReplaceAll(caddyfile, "# groups", "groups")
	caddyfile = strings.ReplaceAll(caddyfile, "# permissions", "permissions")
	return strings.Replace(caddyfile, "\tsesame {\n", "\tsesame {\n\t\trequire "+requirement+"\n", 1)
}

// load has Caddy run a Caddyfile as it is, but without its admin endpoint,
// which other tests use.
func (p *intranet) load(t *testing.T, caddyfile string) error {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, caddyfile)
	}
	config := make(map[string]any)
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	config["admin"] = map[string]any{"disabled": true, "config": map[string]any{"persist": false}}
	if adapted, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return caddy.Load(adapted, true)
}
