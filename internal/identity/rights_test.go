package identity

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	_ "github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// members are Django's tables with two users. Alice is an editor and an admin, and
// may change posts; a group of hers has a comma in its name. Bob has a last name
// that isn't UTF-8.
var members = []string{
	`CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150), password varchar(128), email varchar(254), last_name varbinary(150),
		is_active bool NOT NULL, is_staff bool NOT NULL, is_superuser bool NOT NULL, last_login datetime(6))`,
	`INSERT INTO auth_user VALUES (1, 'alice', 'p', 'alice@example.com', 'Liddell', 1, 1, 0, NULL), (2, 'bob', 'p', NULL, X'ff', 1, 0, 0, NULL)`,
	`CREATE TABLE auth_group (id int PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)`,
	`CREATE TABLE django_content_type (id int PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)`,
	`CREATE TABLE auth_permission (id int PRIMARY KEY, name varchar(255) NOT NULL, content_type_id int NOT NULL, codename varchar(100) NOT NULL)`,
	`CREATE TABLE auth_group_permissions (id int AUTO_INCREMENT PRIMARY KEY, group_id int NOT NULL, permission_id int NOT NULL, UNIQUE (group_id, permission_id))`,
	`CREATE TABLE auth_user_groups (id int AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, group_id int NOT NULL, UNIQUE (user_id, group_id))`,
	`CREATE TABLE auth_user_user_permissions (id int AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, permission_id int NOT NULL, UNIQUE (user_id, permission_id))`,
	`INSERT INTO auth_group VALUES (1, 'editors'), (2, 'admins'), (3, 'sales, marketing')`,
	`INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1), (1, 2), (1, 3)`,
	`INSERT INTO django_content_type VALUES (1, 'blog', 'post')`,
	`INSERT INTO auth_permission VALUES (1, 'x', 1, 'add_post'), (2, 'x', 1, 'change_post')`,
	`INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (1, 2)`,
}

// rows are users that were read with their rights.
type rows struct {
	store      userstore.Config
	alice, bob *userstore.User
	aliceLater *userstore.User // with another name, and without groups and permissions
}

// readMembers reads the users from MariaDB.
func readMembers(t *testing.T) (read rows) {
	t.Helper()
	server, err := testmariadb.Start(t.TempDir())
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if err := server.CreateDatabase("django"); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", server.DSN("django"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute := func(statements ...string) {
		for _, statement := range statements {
			if _, err := db.Exec(statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	execute(members...)
	read.store = userstore.Config{
		DSN: server.DSN("django"), QueryTimeout: caddy.Duration(time.Minute), Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig),
		Columns: userstore.Columns{Extra: []string{"last_name"}},
	}
	store, err := userstore.Open(t.Context(), read.store, userstore.Needs{Email: true, Staff: true}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	user := func(id int64) *userstore.User {
		row, err := store.Lookup(t.Context(), token.IntKey(id))
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	read.alice, read.bob = user(1), user(2)
	execute("UPDATE auth_user SET username = 'alicia' WHERE id = 1", "DELETE FROM auth_user_groups", "DELETE FROM auth_user_user_permissions")
	read.aliceLater = user(1)
	return read
}

// TestRightsOfAUserArePassedOn to an upstream, in header fields and in claims.
func TestRightsOfAUserArePassedOn(t *testing.T) {
	t.Parallel()
	read := readMembers(t)
	alice, bob := read.alice, read.bob
	columns := Columns{Store: read.store, Needs: userstore.Needs{Email: true, Staff: true}}
	t.Run("in the default fields", func(t *testing.T) {
		t.Parallel()
		fields, err := New(nil, columns)
		if err != nil {
			t.Fatal(err)
		}
		logs, seen := observer.New(zapcore.WarnLevel)
		for range 2 {
			r, _ := newHandled(t, nil)
			fields.Set(r, alice, zap.New(logs))
			if r.Header.Get("Remote-User") != "alice" || r.Header.Get("Remote-Groups") != "admins,editors" || r.Header.Get("Remote-Email") != "alice@example.com" {
				t.Errorf("%q", r.Header)
			}
			r, _ = newHandled(t, nil)
			fields.Set(r, bob, zap.New(logs))
			if r.Header.Get("Remote-User") != "bob" || r.Header["Remote-Groups"] != nil || r.Header["Remote-Email"] != nil {
				t.Errorf("%q", r.Header)
			}
		}
		if lines := seen.All(); len(lines) != 1 || lines[0].ContextMap()["user"] != "1" || lines[0].ContextMap()["omitted"] != int64(1) {
			t.Errorf("warned of %+v, want the group of alice that is left out, once", lines)
		}
	})
	t.Run("in fields of other names", func(t *testing.T) {
		t.Parallel()
		fields, err := New([]Header{
			{Name: "X-Groups", Value: "{http.auth.user.groups}"},
			{Name: "X-Rights", Value: "in {http.auth.user.groups} may {http.auth.user.permissions}"},
			{Name: "X-Staff", Value: "{http.auth.user.is_staff}"},
			{Name: "X-Last", Value: "{http.auth.user.last_name}"},
		}, columns)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := newHandled(t, nil)
		fields.Set(r, alice, zap.NewNop())
		for name, want := range map[string]string{"X-Groups": "admins,editors", "X-Rights": "in admins,editors may blog.change_post", "X-Staff": "1", "X-Last": "Liddell"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	})
	t.Run("in lists of other forms", func(t *testing.T) {
		t.Parallel()
		testListsOfOtherForms(t, columns, alice, bob)
	})
	t.Run("in claims", func(t *testing.T) {
		t.Parallel()
		public, key := newEd25519(t)
		cfg := AssertionConfig{Audience: []string{"app"}, Keys: []string{key}, Claims: []AssertionClaim{
			{Name: "groups", Value: "{http.auth.user.groups}"}, {Name: "rights", Value: "{http.auth.user.permissions}"}, {Name: "last", Value: "{http.auth.user.last_name}"}, {Name: "mail", Value: "{http.auth.user.email}"},
		}}
		a := newRightsAssertions(t, cfg, columns.Store)
		logs, seen := observer.New(zapcore.WarnLevel)
		for user, want := range map[*userstore.User]map[string]string{
			alice: {"groups": `["admins","editors","sales, marketing"]`, "rights": `["blog.change_post"]`, "last": `"Liddell"`, "mail": `"alice@example.com"`},
			bob:   {"groups": `[]`, "rights": `[]`},
		} {
			for range 2 {
				text, err := a.of(user, zap.New(logs))
				if err != nil {
					t.Fatal(err)
				}
				claims := signedClaims(t, text, public)
				for _, name := range []string{"groups", "rights", "last", "mail"} {
					if got := string(claims[name]); got != want[name] {
						t.Errorf("%s of %s is %s, want %s", name, user.Username, got, want[name])
					}
				}
				a.kept.InvalidateAll() // so that the next one is signed anew
			}
		}
		if lines := seen.All(); len(lines) != 1 || lines[0].ContextMap()["claim"] != "last" || lines[0].ContextMap()["user"] != "2" {
			t.Errorf("warned of %+v, want bob's last name, once", lines)
		}
	})
	t.Run("in a new assertion after a change", func(t *testing.T) {
		t.Parallel()
		_, key := newEd25519(t)
		for _, claim := range []string{"{http.auth.user.groups}", "{http.auth.user.permissions}", "{http.auth.user.username}"} {
			a := newRightsAssertions(t, AssertionConfig{Audience: []string{"app"}, Keys: []string{key}, Claims: []AssertionClaim{{Name: "x", Value: claim}}}, columns.Store)
			first, err := a.of(alice, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			if again, err := a.of(alice, zap.NewNop()); err != nil || again != first {
				t.Errorf("%s: the same row has another assertion, %v", claim, err)
			}
			if other, err := a.of(read.aliceLater, zap.NewNop()); err != nil || other == first {
				t.Errorf("%s: another row of the user has the same assertion, %v", claim, err)
			}
		}
	})
}

func newRightsAssertions(t *testing.T, cfg AssertionConfig, store userstore.Config) *Assertions {
	t.Helper()
	a, err := NewAssertions(&cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Resolve(&cfg, token.Settings{SecretKey: "secret"}, asItIs); err != nil {
		t.Fatal(err)
	}
	return a
}

func signedClaims(t *testing.T, text string, public any) (claims map[string]json.RawMessage) {
	t.Helper()
	signed, err := jose.ParseSigned(strings.TrimPrefix(text, "Bearer "), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// newGroups has groups read.
func newGroups() *userstore.GroupsConfig { return new(userstore.GroupsConfig) }

// testListsOfOtherForms passes on lists with separators, encodings, a bound and names of
// the application's.
func testListsOfOtherForms(t *testing.T, columns Columns, alice, bob *userstore.User) {
	t.Helper()
	fields, err := New([]Header{
		{Name: "X-Bars", Value: "{http.auth.user.groups}", Separator: "|"},
		{Name: "X-Each", Value: "{http.auth.user.groups}", Separator: "fields"},
		{Name: "X-Coded", Value: "{http.auth.user.groups}", Encoding: "percent"},
		{Name: "X-Short", Value: "{http.auth.user.groups}", Encoding: "percent", MaxSize: 20},
		{Name: "X-Mapped", Value: "{http.auth.user.permissions}", Map: []GroupMapping{{"blog.change_post", "write"}}},
	}, columns)
	if err != nil {
		t.Fatal(err)
	}
	logs, seen := observer.New(zapcore.WarnLevel)
	r, _ := newHandled(t, nil)
	fields.Set(r, alice, zap.New(logs))
	want := http.Header{
		"X-Bars": {"admins|editors|sales, marketing"}, "X-Each": {"admins", "editors"}, "X-Coded": {"admins,editors,sales%2C%20marketing"},
		"X-Mapped": {"write"}, "X-Other": {"stays"},
	}
	if !equalHeader(r.Header, want) {
		t.Errorf("%q, want %q", r.Header, want)
	}
	if lines := seen.All(); len(lines) != 2 || lines[0].ContextMap()["header"] != "X-Each" || lines[0].ContextMap()["omitted"] != int64(1) || lines[1].ContextMap()["size"] != int64(35) {
		t.Errorf("warned of %+v, want the group that is left out of X-Each, and X-Short", lines)
	}
	r, _ = newHandled(t, nil)
	if fields.Set(r, bob, zap.NewNop()); len(r.Header) != 1 {
		t.Errorf("without groups: %q", r.Header)
	}
}
