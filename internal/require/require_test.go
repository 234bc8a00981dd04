package require_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// people are Django's tables with four users: Alice is an editor, an admin and of
// the staff; Carol is an editor and may change posts; Dora is a superuser, and
// nothing else; Eve has no rights.
var people = []string{
	`CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150), password varchar(128), last_login datetime(6),
		is_active bool NOT NULL, is_staff bool NOT NULL, is_superuser bool NOT NULL)`,
	`INSERT INTO auth_user VALUES (1, 'alice', 'p', NULL, 1, 1, 0), (3, 'carol', 'p', NULL, 1, 0, 0), (4, 'dora', 'p', NULL, 1, 0, 1),
		(5, 'eve', 'p', NULL, 1, 0, 0)`,
	`CREATE TABLE auth_group (id int PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)`,
	`CREATE TABLE django_content_type (id int PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)`,
	`CREATE TABLE auth_permission (id int PRIMARY KEY, name varchar(255) NOT NULL, content_type_id int NOT NULL, codename varchar(100) NOT NULL)`,
	`CREATE TABLE auth_group_permissions (id int AUTO_INCREMENT PRIMARY KEY, group_id int NOT NULL, permission_id int NOT NULL, UNIQUE (group_id, permission_id))`,
	`CREATE TABLE auth_user_groups (id int AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, group_id int NOT NULL, UNIQUE (user_id, group_id))`,
	`CREATE TABLE auth_user_user_permissions (id int AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, permission_id int NOT NULL, UNIQUE (user_id, permission_id))`,
	`INSERT INTO auth_group VALUES (1, 'editors'), (2, 'admins')`,
	`INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1), (1, 2), (3, 1)`,
	`INSERT INTO django_content_type VALUES (1, 'blog', 'post')`,
	`INSERT INTO auth_permission VALUES (1, 'x', 1, 'add_post'), (2, 'x', 1, 'change_post'), (3, 'x', 1, 'delete_post')`,
	`INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (2, 1), (2, 2)`,
	`INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (3, 2)`,
}

// startPeople starts a server with these tables and returns its DSN.
func startPeople(t *testing.T) string {
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
	for _, statement := range people {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return server.DSN("django")
}

// read reads users with a store of this configuration.
func read(t *testing.T, cfg userstore.Config) (users map[string]*userstore.User) {
	t.Helper()
	store, err := userstore.Open(context.Background(), cfg, userstore.Needs{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	users = make(map[string]*userstore.User)
	for _, id := range []int64{1, 3, 4, 5} {
		user, err := store.Lookup(t.Context(), token.IntKey(id))
		if err != nil {
			t.Fatal(err)
		}
		users[user.Username] = user
	}
	return users
}

func TestRequirementsAreMetByTheNamedUsersOnly(t *testing.T) {
	t.Parallel()
	dsn := startPeople(t)
	users := read(t, userstore.Config{
		DSN: dsn, Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig),
		Columns: userstore.Columns{IsStaff: "is_staff"},
	})
	for _, test := range []struct {
		lines   string // with semicolons between them
		allowed string // the initials
	}{
		{"group editors", "ac"},
		{"group admins", "a"},
		{"group Editors", ""},
		{"group nobody admins", "a"},
		{"group editors; group admins", "a"},
		{"staff", "a"},
		{"superuser", "d"},
		{"user alice dora", "ad"},
		{"user Alice", ""},
		{"user 1", ""},
		{"permission blog.change_post", "acd"},
		{"permission blog.add_post", "ad"},
		{"permission blog.delete_post", "d"},
		{"permission blog.delete_post blog.change_post; user carol", "c"},
		{"", "acde"},
	} {
		t.Run(test.lines, func(t *testing.T) {
			t.Parallel()
			requirements := parse(t, test.lines)
			for name, user := range users {
				want := strings.Contains(test.allowed, name[:1])
				if met, err := requirements.AreMet(user); err != nil || met != want {
					t.Errorf("%s: %t, %v; want %t", name, met, err, want)
				}
				err := requirements.Check(user)
				if want != (err == nil) || !want && !require.IsForbidden(err) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	t.Run("the reason names the first that isn't met", func(t *testing.T) {
		t.Parallel()
		err := parse(t, "group editors; staff; user alice").Check(users["carol"])
		forbidden, ok := errors.AsType[*require.Forbidden](err)
		if !ok || forbidden.User != users["carol"] || forbidden.Requirement != "staff" {
			t.Errorf("%v of %+v", err, forbidden)
		}
	})
	t.Run("all of one requirement must hold", func(t *testing.T) {
		t.Parallel()
		all := require.Requirements{{Groups: []string{"editors"}, Users: []string{"alice", "carol", "dora"}, Permissions: []string{"blog.change_post"}, Staff: true}}
		for name, user := range users {
			if met, err := all.AreMet(user); err != nil || met != (name == "alice") {
				t.Errorf("%s: %t, %v", name, met, err)
			}
		}
	})
}

// TestRequirementOfWhatWasNotReadIsUndecided checks rows that were read
// without the needed data: the result is an error, neither yes nor no.
func TestRequirementOfWhatWasNotReadIsUndecided(t *testing.T) {
	t.Parallel()
	users := read(t, userstore.Config{DSN: startPeople(t)})
	for line, option := range map[string]string{
		"group editors": "groups", "permission blog.change_post": "permissions", "staff": "is_staff", "superuser": "is_superuser",
	} {
		requirements := parse(t, line)
		err := requirements.Check(users["alice"])
		if !errors.Is(err, require.ErrUnread) || require.IsForbidden(err) || !strings.Contains(err.Error(), "add "+option+" to") {
			t.Errorf("%s: %v", line, err)
		}
		if met, err := requirements.AreMet(users["alice"]); met || !errors.Is(err, require.ErrUnread) {
			t.Errorf("%s: %t, %v", line, met, err)
		}
	}
	if met, err := parse(t, "user alice").AreMet(users["alice"]); !met || err != nil {
		t.Errorf("user alice: %t, %v", met, err)
	}
}

// parse reads lines with semicolons between them.
func parse(t *testing.T, lines string) (requirements require.Requirements) {
	t.Helper()
	for line := range strings.SplitSeq(lines, ";") {
		if line == "" {
			continue
		}
		r, err := require.Parse(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		requirements = append(requirements, r)
	}
	return requirements
}
