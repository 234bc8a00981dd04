package sesame_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestTokenCommand names one user in different ways.
func TestTokenCommand(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		// One user has another user's number as name, and one another user's
		// address.
		db.insert(t, testUser{4, "3", "!4", "four@example.com", "", true})
		db.insert(t, testUser{5, "alice@example.com", "!5", "five@example.com", "", true})
		db.insert(t, testUser{6, "six", "!6", "shared@example.com", "", true})
		db.insert(t, testUser{7, "seven", "!7", "shared@example.com", "", true})
		db.insert(t, testUser{8, "mike", "!8", "mike@example.com", "", true})
		o := newOperator(t, oneSite("max_age 10m", ""), db.dsn)
		tests := []struct {
			name string
			args []string
			user int64    // the user of the token, or 0 for none
			want []string // of stderr
		}{
			{"primary key", []string{"1"}, 1, nil},
			{"user name", []string{"alice"}, 1, nil},
			{"user name in another case", []string{"Alice"}, 1, nil},
			{"e-mail address", []string{"mike@example.com"}, 8, nil},
			{"e-mail address in another case", []string{"Mike@Example.com"}, 8, nil},
			{"e-mail address of another letter that the collation takes for i", []string{"mıke@example.com"}, 0, []string{"no such user"}},
			{"user name with another letter", []string{"mïke"}, 0, []string{"no such user"}},
			{"number that is a primary key and a user name", []string{"3"}, 0, []string{"isn't clear who is meant", "primary key of 3", "user name of 4"}},
			{"the same as a primary key", []string{"3", "--by", "pk"}, 3, nil},
			{"the same as a user name", []string{"3", "--by", "username"}, 4, nil},
			{"address that is also a user name", []string{"alice@example.com"}, 0, []string{"isn't clear", "e-mail address of 1", "user name of 5"}},
			{"the same as an address", []string{"alice@example.com", "--by", "email"}, 1, nil},
			{"address of two", []string{"shared@example.com"}, 0, []string{"isn't clear", "6, 7", "name the user by the primary key"}},
			{"nobody", []string{"nobody"}, 0, []string{`"nobody": no such user`}},
			{"no number", []string{"alice", "--by", "pk"}, 0, []string{"no such user", "whole number"}},
			{"empty", []string{""}, 0, []string{"no such user"}},
			{"empty address", []string{"", "--by", "email"}, 0, []string{"no such user"}},
			{"inactive", []string{"bob"}, 0, []string{"inactive"}},
			{"inactive, all the same", []string{"bob", "--force"}, 2, nil},
			{"unknown kind of name", []string{"alice", "--by", "id"}, 0, []string{`"id"`, "pk, username or email"}},
			{"nobody named", nil, 0, []string{"name a user"}},
			{"unknown format", []string{"alice", "--format", "xml"}, 0, []string{"csv or json"}},
			{"time that is none", []string{"alice", "--at", "soon"}, 0, []string{"--at", `"soon"`}},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				r := o.run(t, append([]string{"token"}, test.args...)...)
				wantText(t, r.stderr, test.want...)
				if test.user == 0 {
					r.wantStatus(t, 1)
					if r.stdout != "" {
						t.Errorf("stdout: %s", r.stdout)
					}
					return
				}
				r.wantStatus(t, 0)
				if got := userOf(t, r.stdout, withMaxAge(10*time.Minute)); got != test.user {
					t.Errorf("a token of user %d, want %d", got, test.user)
				}
			})
		}
	})
}

// userOf returns the user whom a token names. The token must stand alone in a line.
func userOf(t *testing.T, line string, changes ...func(*token.Settings)) int64 {
	t.Helper()
	made, isLine := strings.CutSuffix(line, "\n")
	if !isLine {
		t.Fatalf("%q isn't a line", line)
	}
	settings := token.Settings{SecretKey: secretKey, Encoding: token.LongPacker}
	for _, change := range changes {
		change(&settings)
	}
	tokens, err := token.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := tokens.Parse(made, token.Expectation{Now: time.Now()})
	if err != nil {
		t.Fatalf("%q: %v", made, err)
	}
	return parsed.PrimaryKey().Int()
}

// TestTokenCommandIsAccepted has a gateway accept what the command makes.
func TestTokenCommandIsAccepted(t *testing.T) {
	tests := []struct {
		name, options, store string
		args                 []string
		path                 string
	}{
		{name: "defaults"},
		{name: "max age", options: "max_age 10m"},
		{name: "one-time", options: "one_time\nconfirm off"},
		{name: "e-mail address", options: "invalidate_on_email_change"},
		{name: "v1", options: "tokens v1"},
		{name: "v1 with a time", options: "tokens v1 v2\nmax_age 10m"},
		{name: "fixed scope", options: "scope report"},
		{name: "scope given", options: "scope report", args: []string{"--scope", "report"}},
		{name: "scope of the URL", options: "scope report:{http.request.uri.path.1}", path: "/reports/7"},
		{name: "other name", options: "token_name a+b"},
		{name: "key and signature", options: "key k\nsignature_size 32"},
		{name: "user name as the key", options: "primary_key_field username"},
		{name: "naive times", options: "one_time\nconfirm off\nuse_tz off"},
		{name: "old time", options: "max_age 10m", args: []string{"--at", "-9m"}},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				db.reset(t)
				up := startUpstream(t)
				g := startGateway(t, db, up, site{options: test.options, store: test.store})
				o := newOperator(t, oneSite(test.options, test.store), db.dsn)
				path := test.path
				if path == "" {
					path = "/x"
				}
				r := o.run(t, append([]string{"token", "alice", "--url", "https://app.example.com" + path + "?a=%20b&c#d"}, test.args...)...)
				r.wantStatus(t, 0)
				link, err := url.Parse(strings.TrimSpace(r.stdout))
				if err != nil {
					t.Fatal(err)
				}
				if link.Fragment != "d" || !strings.HasPrefix(link.RawQuery, "a=%20b&c&") {
					t.Errorf("link: %s", r.stdout)
				}
				g.get(t, link.RequestURI()).wantStatus(t, 200)
				if got := up.takeOne(t); got.header.Get("Remote-User") != "alice" || got.uri != path+"?a=%20b&c" {
					t.Errorf("the upstream got %s for %q", got.uri, got.header.Get("Remote-User"))
				}
			})
		}
	})
}

func TestTokenCommandRefuses(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		tests := []struct {
			name, options string
			args          []string
			want          []string
		}{
			{"scope that isn't known", "scope report:{http.request.uri.path.1}", nil, []string{"report:{http.request.uri.path.1}", "name the scope"}},
			{"scope that a matcher makes", "scope report:{re.report.1}", []string{"--url", "https://app.example.com/7"}, []string{"name the scope"}},
			{"URL with two readings", "scope report:{http.request.uri.path.1}", []string{"--url", "https://app.example.com/reports/7/../8"}, []string{"the path has a dot segment"}},
			{"scope with v1", "tokens v1", []string{"--scope", "x"}, []string{"v1 tokens don't support a scope"}},
			{"link where none is read", "token_from bearer", []string{"--url", "https://app.example.com/"}, []string{"token_from"}},
			{"no URL", "", []string{"--url", "mailto:alice@example.com"}, []string{"not a URL"}},
			{"no URL either", "", []string{"--url", "https://a b/"}, []string{"not a URL"}},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				o := newOperator(t, oneSite(test.options, ""), db.dsn)
				r := o.run(t, append([]string{"token", "alice"}, test.args...)...)
				r.wantStatus(t, 1)
				wantText(t, r.stderr, test.want...)
			})
		}
	})
}

// TestTokenCommandLinks adds a token to URLs of every form.
func TestTokenCommandLinks(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("", ""), db.dsn)
		made := strings.TrimSpace(o.run(t, "token", "alice").stdout)
		tests := []struct{ url, want string }{
			{"https://app.example.com", "https://app.example.com?sesame=T"},
			{"https://app.example.com/", "https://app.example.com/?sesame=T"},
			{"https://app.example.com/?", "https://app.example.com/?sesame=T"},
			{"https://app.example.com/?a=1&", "https://app.example.com/?a=1&sesame=T"},
			{"https://app.example.com/?a=1#b?c", "https://app.example.com/?a=1&sesame=T#b?c"},
			{"https://app.example.com/#b", "https://app.example.com/?sesame=T#b"},
			{"https://app.example.com/#", "https://app.example.com/?sesame=T#"},
			{"https://app.example.com/?sesame=old&a=%C3%BC+x", "https://app.example.com/?a=%C3%BC+x&sesame=T"},
			{"https://app.example.com/?sesame=old", "https://app.example.com/?sesame=T"},
		}
		for _, test := range tests {
			r := o.run(t, "token", "alice", "--url", test.url)
			r.wantStatus(t, 0)
			if got, want := strings.TrimSpace(r.stdout), strings.ReplaceAll(test.want, "T", made); got != want {
				t.Errorf("%s becomes %s, want %s", test.url, got, want)
			}
		}
	})
}

// TestTokenCommandFormats checks the output for one user and for many.
func TestTokenCommandFormats(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("max_age 10m", ""), db.dsn)
		r := o.run(t, "token", "alice", "--format", "json", "--at", "2026-01-02T03:04:05Z")
		r.wantStatus(t, 0)
		var one map[string]string
		if err := json.Unmarshal([]byte(r.stdout), &one); err != nil {
			t.Fatal(err)
		}
		if one["user"] != "alice" || one["id"] != "1" || one["token"] == "" || one["expires"] != "2026-01-02T03:14:05Z" {
			t.Errorf("%v", one)
		}

		o.stdin = "alice\r\n\n  3 \nbob\nno,\"body\nalice@example.com"
		r = o.run(t, "token", "--stdin", "--url", "https://app.example.com/?a=1")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "2 of the users got no token")
		records, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var users []string
		for i, record := range records {
			users = append(users, record[0])
			if i > 0 && (record[1] == "") != (record[2] != "") {
				t.Errorf("%q", record)
			}
		}
		if got := strings.Join(users, "|"); got != `user|alice|3|bob|no,"body|alice@example.com` {
			t.Errorf("users: %s", got)
		}
		if records[0][1] != "link" || !strings.HasPrefix(records[1][1], "https://app.example.com/?a=1&sesame=") || records[1][1] != records[5][1] {
			t.Errorf("%q", records)
		}

		o.stdin = "alice\nnobody\n"
		r = o.run(t, "token", "--stdin", "--format", "json")
		r.wantStatus(t, 1)
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"token":"`) || !strings.Contains(lines[1], `"error":"no such user"`) {
			t.Errorf("%q", lines)
		}

		o.stdin = ""
		r = o.run(t, "token", "--stdin")
		r.wantStatus(t, 0)
	})
}

// TestTokenCommandMany makes a hundred thousand links.
func TestTokenCommandMany(t *testing.T) {
	const users = 100_000
	withMariaDB(t, func(t *testing.T, db *database) {
		t.Cleanup(func() { db.reset(t) })
		db.mustExec(t, `INSERT INTO auth_user SELECT seq + 1000, CONCAT('!', seq), NULL, 0, CONCAT('user', seq), '', '',
CONCAT('user', seq, '@example.com'), 0, 1, '2020-01-01' FROM seq_1_to_`+strconv.Itoa(users))
		o := newOperator(t, oneSite("max_age 1d", ""), db.dsn)
		for _, by := range []struct {
			args []string
			name string // with the number
			key  int    // of the first
		}{
			{[]string{"--by", "pk"}, "%d", 1001},
			{[]string{"--by", "username"}, "user%d", 1},
			{[]string{"--by", "email"}, "user%d@example.com", 1},
			{nil, "user%d@example.com", 1},
		} {
			var stdin strings.Builder
			for i := range users {
				fmt.Fprintf(&stdin, by.name+"\n", by.key+i)
			}
			o.stdin = stdin.String()
			began := time.Now()
			r := o.run(t, append([]string{"token", "--stdin", "--url", "https://app.example.com/"}, by.args...)...)
			took := time.Since(began)
			r.wantStatus(t, 0)
			links := make(map[string]bool, users)
			for i, line := range strings.Split(strings.TrimSpace(r.stdout), "\n") {
				if i == 0 {
					continue
				}
				user, rest, _ := strings.Cut(line, ",")
				if want := fmt.Sprintf(by.name, by.key+i-1); user != want {
					t.Fatalf("line %d is of %q, want %q", i, user, want)
				}
				links[rest] = true
			}
			if len(links) != users {
				t.Errorf("%v: %d different links, want %d", by.args, len(links), users)
			}
			t.Logf("%v: %d links in %s", by.args, len(links), took)
		}
	})
}

// TestTokenCommandOutput checks what scripts rely on: the process writes a token and
// nothing else to stdout, and errors to stderr with an exit status.
func TestTokenCommandOutput(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("", ""), db.dsn)
		r := o.exec(t, "token", "alice") // finds the Caddyfile in its directory
		r.wantStatus(t, 0)
		if got := userOf(t, r.stdout); got != alice.id {
			t.Errorf("a token of user %d", got)
		}
		r = o.exec(t, "token", "nobody")
		r.wantStatus(t, 1)
		if r.stdout != "" {
			t.Errorf("stdout: %s", r.stdout)
		}
		wantText(t, r.stderr, "caddy sesame token: ", "no such user")
	})
}
