package sesame_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestWrongJSONBeginsWithSiteServerAndRoute starts handlers of a configuration
// without a Caddyfile, of which the second is wrong.
func TestWrongJSONBeginsWithSiteServerAndRoute(t *testing.T) {
	const config = `{"admin": {"disabled": true}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}}, "apps": {"http": {"servers": {"front": {
		"listen": ["127.0.0.1:0"], "routes": [
			{"match": [{"host": ["a.example.com"]}], "handle": [{"handler": "static_response"}]},
			{"match": [{"host": ["b.example.com"]}], "handle": [{"handler": "subroute", "routes": [
				{"handle": [{"handler": "sesame", "secret_key": "x", "max_age": 600, "userstore": {"dsn": "u@tcp(127.0.0.1:1)/x"}}]}]}]}]}}}}}`
	var cfg caddy.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		t.Fatal(err)
	}
	const want = "provision http.handlers.sesame: b.example.com (server front, route 1): max_age: 600ns is too short"
	if err := caddy.Validate(&cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v\nwant %s", err, want)
	}
}

// wrongStore is a configuration that only the database shows to be wrong.
type wrongStore struct {
	name  string
	store string // lines of userstore, from line 11 on; DSN stands for a right one
	line  int
	want  string
}

// TestWrongStoresNameTheLineOfTheOption starts what only a database shows to be
// wrong.
func TestWrongStoresNameTheLineOfTheOption(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		limited := db
		db = db.asAdministrator()
		db.mustExec(t, "CREATE TABLE IF NOT EXISTS wrong_columns (foo int)")
		t.Cleanup(func() { db.mustExec(t, "DROP TABLE wrong_columns") })
		dir := t.TempDir()
		empty := filepath.Join(dir, "empty")
		if err := os.WriteFile(empty, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, test := range []wrongStore{
			{"a table that isn't there", "dsn DSN\ntable nowhere", 12, "the table doesn't exist: name it with the table option"},
			{"a table that an account doesn't see", "dsn " + strconv.Quote(limited.dsn) + "\ntable nowhere", 12, "lacks a privilege on the table, or the table doesn't exist: correct the table option, or grant SELECT"},
			{"a column with a typo", "dsn DSN\nemail mial", 12, `has no column "mial"; name it with the email option, or remove that option`},
			{"a column that is near", "dsn DSN\nlast_login lastlogin", 12, "Did you mean last_login? Its columns are: "},
			{"an extra column", "dsn DSN\ncolumns first_nam", 12, `has no column "first_nam"; correct or remove that extra column`},
			{"a key that isn't unique", "dsn DSN\nprimary_key password", 12, "isn't unique, so that a token could be good for several users"},
			{"a switch of text", "dsn DSN\nis_active username", 12, "is_active must be a number or a boolean; a view can make one of it"},
			{"a table of groups that isn't there", "dsn DSN\ngroups nowhere", 12, `groups: table "nowhere" doesn't exist`},
			{"no table of revocations", "dsn DSN\nrevocations nowhere", 12, "make it with the statement that caddy sesame check --create prints"},
			{"another table for revocations", "dsn DSN\nrevocations wrong_columns", 12, "it is a table with other columns"},
			{"a wrong account", "dsn " + strconv.Quote(withAccount(db.dsn, "nobody-here:pw")), 11, "check user and password, from which hosts that user may connect, and whether the account asks for TLS"},
			{"a variable of no server", "dsn " + strconv.Quote(withParameter(db.dsn, "nosuchvar=1")), 11, `the dsn has the parameter "nosuchvar", which is none of go-sql-driver/mysql`},
			{"an authority that isn't there", "dsn DSN\ntls_ca " + dir + "/none.pem", 12, "no such file or directory: name a file that Caddy's system user can read"},
			{"an empty authority", "dsn DSN\ntls_ca " + empty, 12, "has no certificate in PEM: name the file with the certificate of the authority"},
			{"an empty dsn_file", "dsn_file " + empty, 11, "is empty: write user:password@tcp(host:3306)/database into it"},
			{"a replica with a wrong account", "dsn DSN\nreplica " + strconv.Quote(withAccount(db.dsn, "nobody-here:pw")), 12, "replica 1: looking at the table: MySQL refuses the dsn's user"},
		} {
			t.Run(test.name, func(t *testing.T) { test.check(t, db, "") })
		}
	})
}

// TestWrongTablesNameTheLineOfTheirOption starts what names tables outside of the block
// userstore, which only a database shows to be wrong.
func TestWrongTablesNameTheLineOfTheirOption(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		for _, test := range []struct {
			options string // from line 13 on
			line    int
			want    string
		}{
			{"django_session {\ntable nowhere\n}", 14, `django_session: table: table "nowhere" doesn't exist`},
			{"django_session {\ntable auth_user\n}", 14, `django_session: table: table "auth_user"`},
			{"django_session {\nwrite on\ntable a.b.c\n}", 15, `django_session: table: table "a.b.c" has more parts than database.table`},
			{"api_token drf {\ntable nowhere\n}", 14, `api_token: drf: table: table "nowhere" doesn't exist`},
			{"api_token knox {\nauto_refresh on\ntable nowhere\n}", 15, `api_token: knox: table: table "nowhere" doesn't exist`},
			{"api_token simplejwt {\nuser_id_field uid\n}", 14, `api_token: simplejwt: user_id_field: table "auth_user"`},
			{"api_token simplejwt {\nblacklist x y\n}", 14, `api_token: simplejwt: blacklist: table "x" doesn't exist`},
			{"session {\ntable nowhere\n}", 14, `session: table: the table nowhere for sessions doesn't exist`},
			{"password {\nsecond_factor_tables nowhere\n}", 14, `password: second_factor_tables: table "nowhere" doesn't exist`},
		} {
			t.Run(test.options, func(t *testing.T) {
				wrongStore{store: "dsn DSN", line: test.line, want: test.want}.check(t, db, test.options)
			})
		}
		t.Run("identifier email without the column", func(t *testing.T) {
			wrongStore{store: "dsn DSN\nemail -", line: 15, want: `password: identifier: users are to be found by email, but table "auth_user"`}.
				check(t, db, "password {\nidentifier email\n}")
		})
	})
}

// check starts the configuration, with more lines of sesame behind userstore.
func (w wrongStore) check(t *testing.T, db *database, more string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	config := adapted(t, file, fmt.Sprintf("{\nadmin off\nlog default {\noutput discard\n}\n}\napp.example.com {\nsesame {\nsecret_key 0123456789\nuserstore mysql {\n%s\n}\n%s\n}\n}\n",
		strings.ReplaceAll(w.store, "DSN", strconv.Quote(db.dsn)), more))
	var cfg caddy.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		t.Fatal(err)
	}
	err := caddy.Validate(&cfg)

	place := fmt.Sprintf("app.example.com (%s:%d): userstore: ", file, w.line)
	if err == nil || !strings.Contains(err.Error(), place) || !strings.Contains(err.Error(), w.want) {
		t.Errorf("error %v\nwant  %s … %s", err, place, w.want)
	}
}

// withAccount is a DSN for another user.
func withAccount(dsn, account string) string { return account + dsn[strings.LastIndex(dsn, "@"):] }

// withParameter is a DSN with one more parameter.
func withParameter(dsn, parameter string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + parameter
	}
	return dsn + "?" + parameter
}
