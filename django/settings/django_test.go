package settings_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-sesame/caddy-sesame/django/settings"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// project is a Django project on this machine, with its database.
type project struct {
	python   string
	settings string // in Python, besides those in testdata/project
	env      []string
}

const (
	djangoSecret   = "django-insecure-$%5j&w#{tests}-only"
	djangoPassword = `p@ss/w:o"rd{x}?`
)

// djangoProjects are projects for TestDjangoProject.
var djangoProjects = []struct {
	name     string
	settings string
	create   string // the user
	env      map[string]string
	isExact  bool // whether diffsettings says all that the script does
}{
	{
		name:    "auth.User, with defaults",
		create:  "user = User.objects.create_user('alice', 'alice@example.com', 'x')",
		isExact: true,
	},
	{
		name: "auth.User, v2 with every setting",
		settings: `SESAME_MAX_AGE = datetime.timedelta(minutes=10, milliseconds=500)
SESAME_TOKEN_NAME = "url_auth_token"
SESAME_INVALIDATE_ON_EMAIL_CHANGE = True
SESAME_ONE_TIME = True
SESAME_KEY = "k|'\""
SESAME_SIGNATURE_SIZE = 20
SESAME_PACKER = "sesame.packers.LongPacker"
SESAME_PRIMARY_KEY_FIELD = "id"
SESAME_TOKENS = ["sesame.tokens_v2"]
USE_TZ = False
TIME_ZONE = "Asia/Kathmandu"`,
		create:  "user = User.objects.create_user('alice', 'alice@example.com', 'x', last_login='2024-01-02T03:04:05.678901')",
		env:     map[string]string{"SESAME_KEY": `k|'"`},
		isExact: true,
	},
	{
		name: "auth.User, v1 with every setting",
		settings: `SESAME_TOKENS = ["sesame.tokens_v1"]
SESAME_SALT = "pep\"per \\x #"
SESAME_DIGEST = hashlib.sha256
SESAME_ITERATIONS = 100
SESAME_MAX_AGE = 600`,
		create:  "user = User.objects.create_user('alice', 'alice@example.com', 'x')",
		isExact: true,
	},
	{
		name: "a model with a table and columns of other names",
		settings: `AUTH_USER_MODEL = "crew.Member"
SESAME_PRIMARY_KEY_FIELD = "number"
SESAME_INVALIDATE_ON_EMAIL_CHANGE = True
SESAME_ONE_TIME = True`,
		create: "user = User(login='alice', mail='alice@example.com', number=4000000000)\nuser.set_password('x')\nuser.save()",
	},
	{
		name: "a model with a packer of its own",
		settings: `AUTH_USER_MODEL = "crew.Document"
SESAME_PACKER = "crew.packers.ObjectIdPacker"`,
		create: "user = User(username='alice', email='alice@example.com', id='0123456789abcdef01234567')\nuser.set_password('x')\nuser.save()",
	},
	{
		name:     "a model with UUIDs",
		settings: `AUTH_USER_MODEL = "crew.Guest"`,
		create:   "user = User(username='alice', email='alice@example.com')\nuser.set_password('x')\nuser.save()",
	},
}

// TestDjangoProject has real projects print their settings, makes tokens in them,
// and sends the tokens to a Caddy with the imported block.
func TestDjangoProject(t *testing.T) {
	source := os.Getenv("SESAME_SRC")
	if source == "" {
		t.Skip("SESAME_SRC doesn't name a checkout of django-sesame")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // MariaDB may run as another user
		t.Fatal(err)
	}
	server, err := testmariadb.Start(dir)
	if errors.Is(err, testmariadb.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)

	for i, test := range djangoProjects {
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprintf("project%d", i)
			if err := server.Exec("", "CREATE DATABASE "+name,
				"CREATE USER IF NOT EXISTS 'django user'@'%' IDENTIFIED BY '"+djangoPassword+"'",
				"GRANT ALL ON "+name+".* TO 'django user'@'%'"); err != nil {
				t.Fatal(err)
			}
			_, port, err := net.SplitHostPort(server.Addr())
			if err != nil {
				t.Fatal(err)
			}
			p := &project{
				python: testprogram.Python(t, "django", "pymysql"), settings: test.settings,
				env: []string{
					"PYTHONPATH=" + filepath.Join(source, "src"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8",
					"DB_PORT=" + port, "DB_NAME=" + name, "DB_PASSWORD=" + djangoPassword, "SETTINGS=" + test.settings,
				},
			}
			p.manage(t, "", "migrate", "--run-syncdb", "--verbosity=0")
			token := strings.TrimSpace(p.manage(t, "from django.contrib.auth import get_user_model\nfrom sesame.utils import get_query_string\n"+
				"User = get_user_model()\n"+test.create+"\nuser = User.objects.get(pk=user.pk)\nprint(get_query_string(user))\n", "shell"))

			t.Setenv("DJANGO_SECRET_KEY", djangoSecret)
			t.Setenv("DJANGO_DB_PASSWORD", djangoPassword)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			exact := p.block(t, p.manage(t, settings.Script, "shell"))
			for _, arguments := range [][]string{{"--all"}, {"--all", "--output=unified"}} {
				block := p.block(t, p.manage(t, "", append([]string{"diffsettings"}, arguments...)...))
				// diffsettings doesn't print the type of the field.
				isEqual := block == strings.Replace(exact, "\tpacker_encoding LongPacker\n", "", 1)
				if isEqual != test.isExact {
					t.Errorf("diffsettings %s makes\n%s\nthe script\n%s", arguments, block, exact)
				}
				if !strings.Contains(block, "\tundecided ") {
					adapted(t, block)
				}
			}
			if _, err := settings.Read(strings.NewReader(p.manage(t, "", "diffsettings"))); err != nil {
				t.Errorf("without --all: %v", err)
			}
			checkAccepts(t, exact, token)
		})
	}
}

// manage runs manage.py.
func (p *project) manage(t *testing.T, input string, arguments ...string) string {
	t.Helper()
	cmd := exec.Command(p.python, append([]string{"manage.py"}, arguments...)...)
	cmd.Dir = "testdata/project"
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("manage.py %s: %v\n%s", arguments, err, stderr.Bytes())
	}
	return string(out)
}

// block returns the block for a project's output.
func (p *project) block(t *testing.T, printed string) string {
	t.Helper()
	read, err := settings.Read(strings.NewReader(printed))
	if err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	var block strings.Builder
	report, err := read.Caddyfile(&block)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprint(block.String(), *report)
	for _, secret := range []string{djangoSecret, djangoPassword} {
		if strings.Contains(shown, secret) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	return block.String()
}

// checkAccepts sends a token to a Caddy with the block, and one that is wrong.
func checkAccepts(t *testing.T, block, query string) {
	t.Helper()
	checkAnswers(t, block, map[string]string{query: "200 hello alice", query + "x": "401 "})
}

// freeAddress is an address that Caddy can listen on.
func freeAddress(t *testing.T) string {
	t.Helper()
	addr, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// load has Caddy run with a site that has the block, if it can.
func load(t *testing.T, block, addr string) error {
	t.Helper()
	caddyfile := "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n}\nhttp://" + addr + " {\n" + block + "\trespond \"hello {http.auth.user.username}\"\n}\n"
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, caddyfile)
	}
	return caddy.Load(config, true)
}

// checkAnswers sends queries to a Caddy with the block, and compares the
// beginnings of the status and the body.
func checkAnswers(t *testing.T, block string, wants map[string]string) {
	t.Helper()
	addr := freeAddress(t)
	if err := load(t, block, addr); err != nil {
		t.Fatalf("%v in\n%s", err, block)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for query, want := range wants {
		if got := ask(t, "http://"+addr+"/"+query); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s, with\n%s", query, got, want, block)
		}
	}
}

// ask returns the status and the body of an answer.
func ask(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", response.StatusCode, body)
}
