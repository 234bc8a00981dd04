package settings_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-sesame/caddy-sesame/django/settings"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// usersSecret is the SECRET_KEY of testdata/users.
const usersSecret = "django-insecure-of-the-tests"

// How the import treats a model.
const (
	asTable   = "the table is read"
	asView    = "a view is read, which has to be made first"
	undecided = "the operator has to decide"
)

// models are the models of testdata/users.
var models = map[string]string{
	// managers.py
	"Plain": asTable, "WithEmptyManager": asTable, "SoftDeleted": asView, "SoftDeletedByQuerySet": asView,
	"SoftDeletedBySwitch": asView, "EverybodyFirst": asTable, "DefaultByMeta": asView, "ByChoice": asView,
	"ByOffice": asView, "ByBadge": asView, "Distinct": asView, "Annotated": asView, "NothingHidden": asTable,
	"RequiredOffice": asTable, "UncheckedOffice": undecided, "Proxy": asView, "Child": asView, "SoftDeletedChild": asView,
	"ByNow": asView, "Extra": asView, "UUIDs": asView, "Elsewhere": asView, "PlainElsewhere": asTable,
	// states.py
	"ByThread": undecided, "ByContext": undecided, "ByImport": undecided, "ByQuerySet": undecided, "ByConnection": undecided,
	"ByClock": undecided, "ByFixedDate": asView, "NoneOutside": undecided, "Failing": undecided, "ByGet": undecided,
	"ByFilter": undecided, "ByFetch": undecided, "Asking": undecided, "Dicts": undecided, "ByBackend": undecided,
	"ByGetUser": undecided, "ByWrapper": undecided, "ByMail": asTable, "AllowAll": asTable, "StrictAndStock": asTable,
	// attributes.py
	"WithoutActive": asTable, "NobodyActive": undecided, "ActiveProperty": undecided, "MinimalProperty": undecided,
	"ActiveMethod": undecided, "ActiveByDescriptor": undecided, "ActiveOfChild": undecided, "RenamedActive": asTable,
	"NumericActive": asTable, "NullableActive": asTable, "TextActive": undecided, "InvertedActive": undecided,
	"ChangedByInit": undecided, "ChangedByFromDB": undecided, "ChangedBySignal": undecided, "ChangedByAccess": undecided,
	"Remembering": asTable, "HiddenName": undecided, "HiddenPassword": undecided, "HiddenMail": asTable,
	"ComputedMail": asTable, "HiddenKey": undecided, "GeneratedActive": asTable, "GeneratedName": asTable,
	// indirect.py
	"ChangedByHelper": undecided, "ChangedBySetattr": undecided, "ChangedByDict": undecided, "ChangedByArguments": undecided,
	"ChangedBySetter": undecided, "ChangedByReceiver": undecided, "ChangedByClass": undecided, "ByGlobal": undecided,
	"ByDictionary": undecided, "ByAttribute": undecided, "ByModelAttribute": undecided, "ByDefault": undecided, "ByHeld": undecided,
	"ByCached": undecided, "ByLazy": undecided, "ByPartial": undecided, "ByRefusal": undecided,
	"ChangedByMetaclass": undecided, "ByLocalNow": undecided, "ByAccount": undecided, "ByConstants": asView, "ByReading": asTable,
	"ByRouter": undecided, "ByPlainRouter": asTable,
}

// compared is what compare.py prints.
type compared struct {
	Django   string `json:"django"`
	Password string `json:"password"`
	Results  []struct {
		Model   string            `json:"model"`
		Keys    map[string]string `json:"keys"` // by the name of the user
		Project string            `json:"project"`
		Allowed []string          `json:"allowed"`
	} `json:"results"`
}

// interpreter is a Python with Django.
type interpreter struct {
	name, program string
	path          []string // PYTHONPATH
}

// pythons are the versions to test with: the distribution's Django, and checkouts
// of others in SESAME_DJANGO, for the Python in SESAME_PYTHON and the modules in
// PYTHONPATH.
func pythons(t *testing.T) []interpreter {
	t.Helper()
	var found []interpreter
	if distributions, ok := testprogram.FindPython("django", "pymysql"); ok {
		found = append(found, interpreter{name: "the distribution's Django", program: distributions})
	} else if os.Getenv("CI") != "" {
		t.Fatal("there is no Django for /usr/bin/python3: apt-get install python3-django python3-pymysql")
	}
	program := os.Getenv("SESAME_PYTHON")
	if program == "" {
		program = "python3"
	}
	for _, checkout := range filepath.SplitList(os.Getenv("SESAME_DJANGO")) {
		found = append(found, interpreter{filepath.Base(checkout), program, append([]string{checkout}, filepath.SplitList(os.Getenv("PYTHONPATH"))...)})
	}
	if len(found) == 0 {
		t.Skip("there is no Django: apt-get install python3-django python3-pymysql, or name checkouts in SESAME_DJANGO")
	}
	return found
}

// startMariaDB runs a private server for a test.
func startMariaDB(t *testing.T, arguments ...string) *testmariadb.Server {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // MariaDB may run as another user
		t.Fatal(err)
	}
	server, err := testmariadb.Start(dir, arguments...)
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// TestImportAcceptsTheUsersThatDjangoAccepts imports the settings of projects with
// all sorts of user models, follows the import's advice, and compares the accepted
// users with Django's.
func TestImportAcceptsTheUsersThatDjangoAccepts(t *testing.T) {
	installed := pythons(t)
	server := startMariaDB(t)
	t.Setenv("DJANGO_SECRET_KEY", usersSecret)
	for i, with := range installed {
		t.Run(with.name, func(t *testing.T) {
			database := fmt.Sprintf("users%d", i)
			if err := server.Exec("", "CREATE DATABASE "+database+" CHARACTER SET utf8mb4", "CREATE OR REPLACE DATABASE elsewhere CHARACTER SET utf8mb4"); err != nil {
				t.Fatal(err)
			}
			printed := with.compare(t, server, database)
			all := served{server: server, database: database, password: printed.Password, wants: make(map[string]string)}
			for _, result := range printed.Results {
				t.Run(result.Model, func(t *testing.T) {
					want, ok := models[result.Model]
					if !ok {
						t.Fatal("nothing says what the import makes of this model")
					}
					var block strings.Builder
					report, err := read(t, result.Project).Caddyfile(&block)
					if err != nil {
						t.Fatal(err)
					}
					if got := outcome(report); got != want {
						t.Fatalf("%s, but want: %s. The report: %+v", got, want, report)
					}
					if want == undecided {
						wantUndecided(t, block.String(), report)
						return
					}
					all.add(t, strings.ToLower(result.Model), block.String(), report, result.Keys, result.Allowed)
				})
			}
			all.check(t)
		})
	}
}

// compare runs compare.py.
func (p interpreter) compare(t *testing.T, server *testmariadb.Server, database string) *compared {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script.py")
	if err := os.WriteFile(script, []byte(settings.Script), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.program, "compare.py", script)
	cmd.Dir = "testdata/users"
	cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.Join(p.path, string(filepath.ListSeparator)), "PYTHONDONTWRITEBYTECODE=1", "DB_PORT="+port, "DB_NAME="+database)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("compare.py: %v\n%s", err, stderr.Bytes())
	}
	printed := new(compared)
	if err := json.Unmarshal(out, printed); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return printed
}

func outcome(report *settings.Report) string {
	switch {
	case len(report.Undecided) > 0:
		return undecided
	case report.View != "":
		return asView
	default:
		return asTable
	}
}

// wantUndecided wants Caddy to refuse a configuration, and to say why.
func wantUndecided(t *testing.T, block string, report *settings.Report) {
	t.Helper()
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("http://localhost {\n"+block+"}\n"), nil)
	if err == nil {
		t.Fatalf("Caddy takes\n%s", block)
	}
	if text := report.Undecided[0].Setting; !strings.Contains(err.Error(), "undecided: "+text) || !strings.Contains(err.Error(), "remove this line") {
		t.Errorf("the error is %v", err)
	}
}

// served are configurations that were imported, each of a site of its own, with
// the server that they are for.
type served struct {
	server             *testmariadb.Server
	database, password string
	sites              strings.Builder
	views              []string
	wants              map[string]string // the beginnings of answers, by URL without the address
}

// add adds a site, with tokens for its users.
func (s *served) add(t *testing.T, name, block string, report *settings.Report, keys map[string]string, allowed []string) {
	t.Helper()
	fmt.Fprintf(&s.sites, "handle /%s/* {\n%s\n}\n", name, block+"\trespond \"hello {http.auth.user.username}\"")
	for statement := range strings.SplitSeq(strings.TrimSuffix(report.View, ";"), ";\n") {
		if statement != "" {
			s.views = append(s.views, statement)
		}
	}
	for user, key := range keys {
		url := name + "/?sesame=" + s.token(t, block, key)
		s.wants[url] = "401"
		if slices.Contains(allowed, user) {
			s.wants[url] = "200 hello " + user
		}
	}
}

// check makes the views, and sends the tokens to a Caddy with the sites.
func (s *served) check(t *testing.T) {
	t.Helper()
	if err := load(t, s.sites.String(), freeAddress(t)); err == nil || !strings.Contains(err.Error(), "sesame_users_") {
		t.Errorf("without the views, Caddy starts, or says: %v", err)
	}
	for _, view := range s.views {
		if err := s.server.Exec(s.database, view); err != nil {
			t.Fatalf("%v in\n%s", err, view)
		}
	}
	checkAnswers(t, s.sites.String(), s.wants)
}

// token makes a token for the primary key of a user.
func (s *served) token(t *testing.T, block, key string) string {
	t.Helper()
	name := adapted(t, block).PackerEncoding
	if name == "" {
		name = "LongPacker" // django-sesame has no packer, for a OneToOneField
	}
	packer, err := token.PackerByName(name)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(token.Settings{SecretKey: usersSecret, Encoding: packer})
	if err != nil {
		t.Fatal(err)
	}
	var pk token.PrimaryKey
	if id, err := hex.DecodeString(strings.ReplaceAll(key, "-", "")); err == nil && len(id) == 16 {
		pk = token.UUIDKey([16]byte(id))
	} else if n, err := strconv.ParseInt(key, 10, 64); err == nil {
		pk = token.IntKey(n)
	}
	text, err := tokens.Create(pk, token.User{Password: &s.password}, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}
