package sesame_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// decodingApps show what they read in header fields, by the expressions of the
// guide. A program gets its port as its argument.
var decodingApps = map[string]string{
	"Node": `
const decode = {
	plain: (value) => %s,
	percent: (value) => %s,
	base64: (value) => %s,
};
require("http").createServer((request, response) => {
	const read = {};
	for (const [name, value] of Object.entries(request.headers)) {
		const [kind, how] = name.split("-");
		if (kind === "user" && decode[how]) read[name] = decode[how](value);
		if (kind === "groups" && decode[how]) read[name] = value.split(/[,;|] ?/).map(decode[how]).join("\n");
	}
	response.end(JSON.stringify(read));
}).listen(Number(process.argv[2]), "127.0.0.1");
`,
	"Python": `
import base64, json, re, sys, urllib.parse
from email.header import decode_header, make_header
from wsgiref.simple_server import make_server

decode = {
    "plain": lambda value: %s,
    "percent": lambda value: %s,
    "base64": lambda value: %s,
    "rfc2047": lambda value: %s,
}

def app(environ, start_response):
    read = {}
    for key, value in environ.items():
        kind, _, how = key.removeprefix("HTTP_").lower().partition("_")
        if key.startswith("HTTP_USER_") and how in decode:
            read[f"user-{how}"] = decode[how](value)
        if key.startswith("HTTP_GROUPS_") and how in decode:
            read[f"groups-{how}"] = "\n".join(decode[how](part) for part in re.split("[,;|]", value))
    start_response("200 OK", [])
    return [json.dumps(read).encode()]

make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
`,
	"PHP": `<?php
$decode = [
	'plain' => fn ($value) => %s,
	'percent' => fn ($value) => %s,
	'base64' => fn ($value) => %s,
	'rfc2047' => fn ($value) => %s,
];
$read = [];
foreach ($_SERVER as $key => $value) {
	if (preg_match('/^HTTP_(USER|GROUPS)_(\w+)$/', $key, $found) && isset($decode[strtolower($found[2])])) {
		$parts = $found[1] === 'GROUPS' ? preg_split('/[,;|] ?/', $value) : [$value];
		$read[strtolower("$found[1]-$found[2]")] = implode("\n", array_map($decode[strtolower($found[2])], $parts));
	}
}
echo json_encode($read);
`,
}

// decodingExpressions are those of the guide for a language, by its column.
func decodingExpressions(t *testing.T, language string) (all []any) {
	t.Helper()
	for _, row := range rows(section(t, readFile(t, "docs/identity.md"), "### How your application reads it")) {
		cell := row[map[string]int{"PHP": 2, "Python": 3, "Node": 4}[language]]
		if expressions := codes(cell); len(expressions) > 0 {
			all = append(all, expressions[0])
		}
	}
	return all
}

// writeDecodingApp writes the program for a language.
func writeDecodingApp(t *testing.T, language, name string) string {
	t.Helper()
	expressions := decodingExpressions(t, language)
	if want := strings.Count(decodingApps[language], "=> %s,") + strings.Count(decodingApps[language], "value: %s,"); len(expressions) != want {
		t.Fatalf("the guide has %d expressions for %s, and the program takes %d", len(expressions), language, want)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, fmt.Appendf(nil, decodingApps[language], expressions...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// encodedFields have the user name and the groups in each encoding.
func encodedFields() string {
	fields := "identity {\n"
	for name, encoding := range map[string]string{"Plain": "", "Percent": "encoding percent", "Base64": "encoding base64", "Rfc2047": "encoding rfc2047"} {
		separator := map[string]string{"Plain": "|", "Percent": ",", "Base64": ";", "Rfc2047": "fields"}[name]
		fields += fmt.Sprintf("User-%s {http.auth.user.username} {\n%s\n}\nGroups-%[1]s {http.auth.user.groups} {\n%s\nseparator %s\n}\n", name, encoding, separator)
	}
	return fields + "}"
}

// TestApplicationsReadEveryEncoding has real servers decode the fields as the guide
// says: none reads another name, or another group, than the database has.
func TestApplicationsReadEveryEncoding(t *testing.T) {
	db := anyDatabase(t)
	db.addRights(t)
	addrs := make(map[string]string)
	for language, run := range map[string]func(path, port string) *exec.Cmd{
		"Node": func(path, port string) *exec.Cmd { return exec.Command(nodeProgram(t), path, port) },
		"Python": func(path, port string) *exec.Cmd {
			return exec.Command(testprogram.Python(t, "wsgiref"), "-B", path, port)
		},
	} {
		addrs[language] = unboundAddr(t)
		testprogram.Listen(t, run(writeDecodingApp(t, language, language), portOf(addrs[language])), addrs[language], os.Kill)
	}
	root := filepath.Dir(writeDecodingApp(t, "PHP", "index.php"))
	g := startGateway(t, db, nil, site{
		options: encodedFields(), store: "groups",
		after: fmt.Sprintf("reverse_proxy /Node %s\nreverse_proxy /Python %s\nroot * %s\nphp_fastcgi /PHP %s {\n\tindex index.php\n}",
			addrs["Node"], addrs["Python"], root, testprogram.PHP(t)),
	})
	hers := bearer(tokenFor(t, alice))
	for _, name := range []string{"alice", "Zoë 🙂 <a@b>, \"x\"; y|z_w", "=?utf-8?Q?root?=", "100%41+1", "Ã«", "日本語"} {
		db.mustExec(t, "UPDATE auth_user SET username = ? WHERE id = 1", name)
		db.mustExec(t, "UPDATE auth_group SET name = ? WHERE id = 1", "g "+strings.NewReplacer("|", "/", ",", "-").Replace(name))
		for language := range decodingApps {
			answer := g.get(t, "/"+language, hers...)
			answer.wantStatus(t, http.StatusOK)
			var read map[string]string
			if err := json.Unmarshal([]byte(answer.body), &read); err != nil {
				t.Fatalf("%s: %v: %s", language, err, answer.body)
			}
			if want := 2 * len(decodingExpressions(t, language)); len(read) != want {
				t.Errorf("%s read %d fields of %d: %q", language, len(read), want, read)
			}
			for field, got := range read {
				want := name
				if strings.HasPrefix(field, "groups") {
					want = "admins\ng " + strings.NewReplacer("|", "/", ",", "-").Replace(name)
				}
				if strings.HasSuffix(field, "plain") && strings.HasPrefix(field, "groups") && strings.Contains(want, ";") {
					continue // the program splits at any separator
				}
				if got != want {
					t.Errorf("%s reads %q in %s, want %q", language, got, field, want)
				}
			}
		}
	}
}

// nodeProgram is Node, or the end of the test.
func nodeProgram(t *testing.T) string {
	t.Helper()
	program, lack := lookFor("-e", "process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)", "there is no node of version 18 or later (Debian: apt-get install nodejs)", "node")
	switch {
	case lack != "" && os.Getenv("CI") != "":
		t.Fatal(lack)
	case lack != "":
		t.Skip(lack)
	}
	return program
}

// djangoApp logs in the user whom the gateway names, with the backend of the guide.
const djangoApp = `
import sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware", __name__ + ".Middleware"],
    AUTHENTICATION_BACKENDS=[__name__ + ".GatewayBackend"],
)
django.setup()

from django.contrib.auth.middleware import RemoteUserMiddleware
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from wsgiref.simple_server import make_server
%s

class Middleware(RemoteUserMiddleware):
    header = "HTTP_REMOTE_USER"

urlpatterns = [path("", lambda request: HttpResponse(request.user.get_username()))]
call_command("migrate", verbosity=0)
make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application()).serve_forever()
`

// TestDjangoLogsInTheUserWhomTheGatewayNames by RemoteUserMiddleware, and the backend
// of the guide.
func TestDjangoLogsInTheUserWhomTheGatewayNames(t *testing.T) {
	db := anyDatabase(t)
	dir, addr := t.TempDir(), unboundAddr(t)
	guide := codeBlocks(section(t, readFile(t, "docs/identity.md"), "### How your application reads it"), "python")
	if len(guide) != 1 {
		t.Fatalf("the guide has %d pieces of Python", len(guide))
	}
	path := filepath.Join(dir, "app.py")
	if err := os.WriteFile(path, fmt.Appendf(nil, djangoApp, guide[0]), 0o644); err != nil {
		t.Fatal(err)
	}
	testprogram.Listen(t, exec.Command(testprogram.Python(t, "django"), "-B", path, portOf(addr), filepath.Join(dir, "db")), addr, os.Kill)
	g := startGateway(t, db, &upstream{addr: addr}, site{options: "identity {\nRemote-User {http.auth.user.username} {\nencoding percent\n}\n}"})
	for _, name := range []string{"alice", "Zoë", "日本語 ", "100%41"} {
		db.mustExec(t, "UPDATE auth_user SET username = ? WHERE id = 1", name)
		if answer := g.get(t, "/", bearer(tokenFor(t, alice))...); answer.status != http.StatusOK || answer.body != name {
			t.Errorf("Django logs in %q (%d), want %q", answer.body, answer.status, name)
		}
	}
}

// TestServersAcceptValuesUpToTheBound: a value of the default bound, and not one that
// is longer than Node takes.
func TestServersAcceptValuesUpToTheBound(t *testing.T) {
	db := anyDatabase(t)
	db.mustExec(t, "ALTER TABLE auth_user ADD COLUMN note mediumtext")
	addr := unboundAddr(t)
	path := filepath.Join(t.TempDir(), "app.js")
	program := `require("http").createServer((q, a) => a.end(String((q.headers["x-note"] || "").length))).listen(Number(process.argv[2]), "127.0.0.1")`
	if err := os.WriteFile(path, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	testprogram.Listen(t, exec.Command(nodeProgram(t), path, portOf(addr)), addr, os.Kill)
	load := func(options string) *gateway {
		return startGateway(t, db, &upstream{addr: addr}, site{options: "identity {\nX-Note {http.auth.user.note} {\n" + options + "\n}\n}", store: "columns note"})
	}
	for _, test := range []struct {
		options string
		size    int
		want    string
	}{
		{"", 8000, "200 8000"},
		{"", 8001, "200 0"},
		{"max_size 20kB", 19700, "431 "},
	} {
		g := load(test.options)
		db.mustExec(t, "UPDATE auth_user SET note = REPEAT('x', ?) WHERE id = 1", test.size)
		answer := g.get(t, "/", bearer(tokenFor(t, alice))...)
		if got := fmt.Sprintf("%d %s", answer.status, answer.body); got != test.want {
			t.Errorf("%d bytes with %q: %s, want %s", test.size, test.options, got, test.want)
		}
		if isWarned := regexp.MustCompile(`over max_size.*"size":8001`).Match(g.log(t)); isWarned != (test.want == "200 0") {
			t.Errorf("%d bytes with %q: a warning: %t", test.size, test.options, isWarned)
		}
	}
}

// TestServersAcceptAssertionsUpToTheBound: 400 groups are more than Node accepts in a
// header. The assertion is without them then, and not missing.
func TestServersAcceptAssertionsUpToTheBound(t *testing.T) {
	db := anyDatabase(t).asAdministrator()
	db.addRights(t)
	db.mustExec(t, "DELETE FROM auth_user_groups")
	for i := range 400 {
		db.mustExec(t, "INSERT INTO auth_group (id, name) VALUES (?, ?)", 1000+i, fmt.Sprintf("a group with a name of thirty %d", i))
		db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, ?)", 1000+i)
	}
	addr := unboundAddr(t)
	path := filepath.Join(t.TempDir(), "app.js")
	program := `require("http").createServer((q, a) => {
		const claims = JSON.parse(Buffer.from(q.headers.authorization.split(".")[1], "base64url"));
		a.end([claims.preferred_username, (claims.groups || "no").length, claims.roles].join(" "));
	}).listen(Number(process.argv[2]), "127.0.0.1")`
	if err := os.WriteFile(path, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	testprogram.Listen(t, exec.Command(nodeProgram(t), path, portOf(addr)), addr, os.Kill)
	claims := "claim preferred_username {http.auth.user.username}\nclaim groups {http.auth.user.groups}\nclaim roles {http.auth.user.groups} {\nmap \"a group with a name of thirty 7\" authors\n}\n"
	for maxSize, want := range map[string]string{"": "200 alice 2 authors", "max_size 64kB": "431 "} {
		g := startGateway(t, db, &upstream{addr: addr}, site{options: "identity {\nX-Id {http.auth.user.id}\n}\nassertion {\naudience app\n" + claims + maxSize + "\n}", store: "groups"})
		answer := g.get(t, "/", bearer(tokenFor(t, alice))...)
		if got := fmt.Sprintf("%d %s", answer.status, answer.body); got != want {
			t.Errorf("with %q: %s, want %s", maxSize, got, want)
		}
		if isWarned := regexp.MustCompile(`claim left out of an assertion: with it, .*"claim":"groups"`).Match(g.log(t)); isWarned != (maxSize == "") {
			t.Errorf("with %q: a warning: %t", maxSize, isWarned)
		}
	}
}
