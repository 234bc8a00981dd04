package scope_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/scope"
)

// language is a program of testdata/languages that tells how a language reads
// the parameter id.
type language struct {
	name, program string
	commands      []string // the first program that is installed
	needs         []string // arguments that it must run with
	debian        string   // packages
}

var languages = []language{
	{"PHP", "read.php", []string{"php"}, []string{"-r", ""}, "php-cli"},
	{"Python", "read.py", []string{"/usr/bin/python3", "python3"}, []string{"-c", "import django"}, "python3-django"},
	{"Node", "read.js", []string{"node"}, []string{"-e", "require('qs')"}, "nodejs node-qs"},
	{"Ruby", "read.rb", []string{"ruby"}, []string{"-e", "require 'rack'"}, "ruby-rack"},
}

// read returns, for each query, the value that each of the language's parsers
// reads, in hexadecimal, or "" for none, several, or an error.
func (l language) read(t *testing.T, queries []string) []map[string]string {
	t.Helper()
	run := func(command string, args ...string) *exec.Cmd {
		program := exec.Command(command, args...)
		program.Env = append(os.Environ(), "NODE_PATH=/usr/share/nodejs") // Debian's modules, for any Node
		return program
	}
	command := ""
	for _, candidate := range l.commands {
		if run(candidate, l.needs...).Run() == nil {
			command = candidate
			break
		}
	}
	if command == "" {
		lack := fmt.Sprintf("there is no %s to test with (Debian: apt-get install %s)", l.name, l.debian)
		if os.Getenv("CI") != "" {
			t.Fatal(lack)
		}
		t.Skip(lack)
	}
	var stdin bytes.Buffer
	for _, query := range queries {
		fmt.Fprintln(&stdin, hex.EncodeToString([]byte(query)))
	}
	reader := run(command, "testdata/languages/"+l.program)
	reader.Stdin, reader.Stderr = &stdin, os.Stderr
	output, err := reader.Output()
	if err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	var all []map[string]string
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		var readings map[string]string
		if err := json.Unmarshal(lines.Bytes(), &readings); err != nil {
			t.Fatalf("%s: %v: %s", l.name, err, lines.Text())
		}
		all = append(all, readings)
	}
	if len(all) != len(queries) {
		t.Fatalf("%s answered %d of %d queries", l.name, len(all), len(queries))
	}
	return all
}

// The pieces of random queries. Each random query has one of the usual form in
// front of them or behind.
var (
	queryNames = []string{
		"id", "id", "ID", "Id", "%69d", "i%64", "id[]", "id[0]", "id[x]", "id%5B%5D", "id%5b0%5d", "id[", "id]", "[id]", "[]id", "id.", "id.x", "id_", "id+",
		"+id", "%20id", "id%20", "%09id", "%00id", "id%00", "id%00x", "%2569d", "id%255B%255D", "?id", "#id", "amp;id", "x", "y", "page", "", "%zzid", "id%",
		"%C3%A9", "id%C2%A0", "%EF%BB%BFid", "ids", "xid", "i", "d", "%ff", "id\xff", "__proto__", "constructor", "x[id]", "x.id", "id%3D8",
	}
	queryValues  = []string{"=8", "=8", "=", "", "=8;x", "=8%zz", "=8%", "=%38", "=+8", "=8+", "=8=9", "=8,9", "=%00", "=%26id=9", "=x?id=8", "=a;id=8", "=8#x", "=%C3%A9", "=%ff", "=[8]", "=a%0Ab"}
	querySplices = []string{"&", "&", "&", "&", ";", "&&", "?", "&amp;", "%26", "#", "&;"}
)

// randomQuery is a query with up to four parameters.
func randomQuery(random *rand.Rand) string {
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	query := ""
	for i := range 1 + random.IntN(4) {
		if i > 0 {
			query += pick(querySplices)
		}
		if random.IntN(3) == 0 {
			query += "id=7"
			continue
		}
		query += pick(queryNames) + pick(queryValues)
	}
	return query
}

// TestAllLanguagesReadTheSameParameter parses many random queries, of which
// languages read many in different ways. All languages read the same value
// from each query that has a scope.
func TestAllLanguagesReadTheSameParameter(t *testing.T) {
	t.Parallel()
	template := parse(t, "{http.request.uri.query.id}")
	random := rand.New(rand.NewPCG(1, 2))
	var queries, scopes []string
	for range 60_000 {
		query := randomQuery(random)
		r, ok := receive(t, "/?"+query)
		if !ok {
			continue
		}
		if value, err := template.Of(r); err == nil {
			queries, scopes = append(queries, query), append(scopes, value)
		}
	}
	if len(queries) < 1000 {
		t.Fatalf("only %d queries have a scope: the test shows nothing", len(queries))
	}
	for i, query := range queries {
		if values, err := url.ParseQuery(query); err != nil || len(values["id"]) != 1 || values["id"][0] != scopes[i] {
			t.Errorf("%q has the scope %q, but Go reads %q, %v", query, scopes[i], values["id"], err)
		}
	}
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			for i, readings := range l.read(t, queries) {
				for parser, value := range readings {
					if value != hex.EncodeToString([]byte(scopes[i])) {
						t.Errorf("%q has the scope %q, but %s reads %q", queries[i], scopes[i], parser, value)
					}
				}
			}
		})
	}
}

// TestTheAttacksAreReal: in each language, some parser reads another value
// than Go from some of the rejected queries.
func TestTheAttacksAreReal(t *testing.T) {
	t.Parallel()
	attacks := []string{"id=7&+id=8", "id=7&%20id=8", "id=7&id=8;x", "id=7&id=8%zz", "id=7&id=8%", "id=7&id=8", "id=7&[id]=8"}
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			other := 0
			for _, readings := range l.read(t, attacks) {
				for _, value := range readings {
					if value != hex.EncodeToString([]byte("7")) {
						other++
					}
				}
			}
			if other == 0 {
				t.Error("it reads 7 of all")
			}
		})
	}
}

// TestAcceptedPathsAreNormal: a path that has a scope is not changed by
// anything that servers do to paths: decode, decode again, resolve dot
// segments, merge slashes.
func TestAcceptedPathsAreNormal(t *testing.T) {
	t.Parallel()
	pieces := []string{
		"reports", "7", "8", "/", "/", "/", "/", "..", ".", "%2e", "%2E", "%2f", "%5c", "\\", ";", "%3b", "%00", "%25", "%252e", "%c0%ae", "%zz", "%", "a%20b",
		"%20", "+", "%C3%A9", "%EF%BC%8F", "%EF%BC%8E", "#", "%23", "%3f", "x=1", ":", "~", "*", "%7f", "\xc3\xa9", "\xff", "%e2%80%a5",
	}
	template := parse(t, "{http.request.uri.path}")
	random := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for range 100_000 {
		target := "/"
		for range 1 + random.IntN(8) {
			target += pieces[random.IntN(len(pieces))]
		}
		r, ok := receive(t, target)
		if !ok {
			continue
		}
		decoded, err := template.Of(r)
		if err != nil {
			continue
		}
		accepted++
		again, err := url.PathUnescape(decoded)
		switch {
		case err != nil || again != decoded:
			t.Errorf("%q: decoded twice it is %q", target, again)
		case strings.TrimSuffix(decoded, "/") != strings.TrimSuffix(path.Clean(decoded), "/"):
			t.Errorf("%q: it resolves to %q", target, path.Clean(decoded))
		case strings.ContainsAny(decoded, "\\;?#%\x00\x7f"):
			t.Errorf("%q: it has a separator", target)
		case strings.Count(target, "/") != strings.Count(decoded, "/"):
			t.Errorf("%q: it has another number of segments", target)
		}
		if resolved, err := (&url.URL{Scheme: "http", Host: "h"}).Parse(target); err != nil || resolved.Path != decoded {
			t.Errorf("%q: a client resolves it to %v, %v", target, resolved, err)
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d paths have a scope: the test shows nothing", accepted)
	}
}

// FuzzOf: no target causes a panic, and no error quotes the target.
func FuzzOf(f *testing.F) {
	f.Add("/reports/7?id=7")
	f.Add("/reports/7/..%2f8?id=7&+id=8")
	f.Add("http://app.example.com/reports/7?")
	f.Fuzz(func(t *testing.T, target string) {
		for _, text := range []string{byPath, byQuery, byOther, "{http.request.uri.path}:{http.request.uri.query}"} {
			template, err := scope.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if r, ok := receive(t, target); ok {
				if got, err := template.Of(r); (got == "") == (err == nil) {
					t.Errorf("%q: %q, %v", target, got, err)
				}
			}
			login, _ := receive(t, "/_sesame/login")
			_, _ = template.OfTarget(login, target)
		}
	})
}
