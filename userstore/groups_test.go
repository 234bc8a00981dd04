package userstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// djangoRights are the tables that Django 5 makes for groups and permissions on
// MySQL.
var djangoRights = []string{
	`CREATE TABLE auth_group (id int AUTO_INCREMENT PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)`,
	`CREATE TABLE django_content_type (id int AUTO_INCREMENT PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL,
		UNIQUE (app_label, model))`,
	`CREATE TABLE auth_permission (id int AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL, content_type_id int NOT NULL,
		codename varchar(100) NOT NULL, UNIQUE (content_type_id, codename), FOREIGN KEY (content_type_id) REFERENCES django_content_type (id))`,
	`CREATE TABLE auth_group_permissions (id bigint AUTO_INCREMENT PRIMARY KEY, group_id int NOT NULL, permission_id int NOT NULL,
		UNIQUE (group_id, permission_id), FOREIGN KEY (group_id) REFERENCES auth_group (id), FOREIGN KEY (permission_id) REFERENCES auth_permission (id))`,
	`CREATE TABLE auth_user_groups (id bigint AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, group_id int NOT NULL,
		UNIQUE (user_id, group_id), FOREIGN KEY (user_id) REFERENCES auth_user (id), FOREIGN KEY (group_id) REFERENCES auth_group (id))`,
	`CREATE TABLE auth_user_user_permissions (id bigint AUTO_INCREMENT PRIMARY KEY, user_id int NOT NULL, permission_id int NOT NULL,
		UNIQUE (user_id, permission_id), FOREIGN KEY (user_id) REFERENCES auth_user (id), FOREIGN KEY (permission_id) REFERENCES auth_permission (id))`,
	`INSERT INTO auth_group VALUES (1, 'editors'), (2, 'admins'), (3, 'nobody''s')`,
	`INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1), (1, 2), (2, 1)`,
	`INSERT INTO django_content_type VALUES (1, 'blog', 'post'), (2, 'auth', 'user')`,
	`INSERT INTO auth_permission VALUES (1, 'x', 1, 'add_post'), (2, 'x', 1, 'change_post'), (3, 'x', 2, 'view_user'), (4, 'x', 2, 'delete_user')`,
	`INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (1, 1), (1, 2), (2, 2)`,
	`INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (2, 3), (2, 1)`,
}

// lookup reads a user who must exist.
func lookup(t *testing.T, s *userstore.MySQL, key token.PrimaryKey) *userstore.User {
	t.Helper()
	u, err := s.Lookup(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}

func TestDjangosGroupsAndPermissions(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, append([]string{authUser, threeUsers}, djangoRights...)...)
	s := openStore(t, userstore.Config{
		DSN: d.dsn(), Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig),
		Columns: userstore.Columns{IsStaff: "is_staff"},
	}, userstore.Needs{})

	many, err := s.LookupMany(t.Context(), []token.PrimaryKey{token.IntKey(1), token.IntKey(2), token.IntKey(3)})
	if err != nil {
		t.Fatal(err)
	}
	byName, err := s.FindMany(t.Context(), userstore.Username, []string{"alice", "bob", "Zoë"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		id           int64
		name         string
		groups       []string
		list         string
		permissions  []string
		staff, super bool
	}{
		{1, "alice", []string{"admins", "editors"}, "admins,editors", []string{"blog.add_post", "blog.change_post"}, true, true},
		{2, "bob", []string{"editors"}, "editors", []string{"auth.view_user", "blog.add_post", "blog.change_post"}, false, false},
		{3, "Zoë", nil, "", nil, false, false},
	} {
		for way, u := range map[string]*userstore.User{"alone": lookup(t, s, token.IntKey(test.id)), "of many": many[token.IntKey(test.id)], "by name": byName[test.name][0]} {
			t.Run(test.name+" "+way, func(t *testing.T) {
				wantNames(t, "groups", u.Groups(), test.groups...)
				wantNames(t, "permissions", u.Permissions(), test.permissions...)
				if list, leftOut := u.GroupList(); list != test.list || leftOut != 0 {
					t.Errorf("the list is %q, without %d", list, leftOut)
				}
				for name, want := range map[string]string{
					"groups": test.list, "permissions": strings.Join(test.permissions, ","),
					"is_staff": fmt.Sprint(map[bool]int{true: 1}[test.staff]), "is_superuser": fmt.Sprint(map[bool]int{true: 1}[test.super]),
				} {
					if got, ok := u.Column(name); !ok || got != want {
						t.Errorf("column %s is %q, %t, want %q", name, got, ok, want)
					}
				}
				if u.IsStaff != test.staff || u.IsSuperuser != test.super {
					t.Errorf("staff %t, superuser %t", u.IsStaff, u.IsSuperuser)
				}
				for _, name := range []string{"blog.add_post", "blog.change_post", "auth.view_user", "auth.delete_user", "", "blog", "blog.add_pos", "Blog.add_post"} {
					want := u.IsActive && (test.super || slices.Contains(test.permissions, name))
					if got := u.HasPermission(name); got != want {
						t.Errorf("permission %q: %t, want %t", name, got, want)
					}
				}
				for _, name := range []string{"admins", "editors", "Editors", "editor", "editors ", "", "nobody's"} {
					if got, want := u.InGroup(name), slices.Contains(test.groups, name); got != want {
						t.Errorf("group %q: %t, want %t", name, got, want)
					}
				}
				if want := (userstore.Reads{Groups: true, Permissions: true, Staff: true, Superuser: true}); u.Reads() != want {
					t.Errorf("reads %+v", u.Reads())
				}
			})
		}
	}

	t.Run("each lookup reads them as they are", func(t *testing.T) {
		d.exec("DELETE FROM auth_user_groups WHERE user_id = 2")
		u := lookup(t, s, token.IntKey(2))
		wantNames(t, "groups", u.Groups())
		wantNames(t, "permissions", u.Permissions(), "auth.view_user", "blog.add_post")
		d.exec("INSERT INTO auth_user_groups (user_id, group_id) VALUES (2, 3)", "UPDATE auth_user SET is_superuser = 1 WHERE id = 2")
		u = lookup(t, s, token.IntKey(2))
		wantNames(t, "groups", u.Groups(), "nobody's")
		if !u.HasPermission("auth.delete_user") {
			t.Error("a superuser has a permission not")
		}
	})
}

// TestNamesOfGroups has names with all separators, and names that a collation takes
// for equal.
func TestNamesOfGroups(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	names := []string{"a,b", `quote"'\`, "a", "b", "a:b", "x.y", "Ünïcode 🙂", "tab\there", "line\r\nRemote-User: root", " space", "space ", "4E", "nul\x00", "A", "ä", "%", ""}
	d.exec("CREATE TABLE members (member int NOT NULL, name varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NULL)")
	for _, name := range names {
		if _, err := d.db.Exec("INSERT INTO members VALUES (1, ?), (1, ?)", name, name); err != nil {
			t.Fatal(err)
		}
	}
	d.exec("INSERT INTO members VALUES (1, NULL), (2, NULL)")
	s := openStore(t, userstore.Config{DSN: d.dsn(), Groups: &userstore.GroupsConfig{Table: "members", User: "member", Group: "name"}}, userstore.Needs{})
	u := lookup(t, s, token.IntKey(1))
	slices.Sort(names)
	wantNames(t, "groups", u.Groups(), names...)
	for _, name := range names {
		if !u.InGroup(name) {
			t.Errorf("the user isn't in %q", name)
		}
	}
	for _, other := range []string{"B", "\u00e4\u0308", "a ", "Ä", "4e"} {
		if u.InGroup(other) {
			t.Errorf("the user is in %q", other)
		}
	}
	list, leftOut := u.GroupList()
	if want := `%,4E,A,a,a:b,b,quote"'\,x.y,Ünïcode 🙂,ä`; list != want || leftOut != 7 {
		t.Errorf("the list is %q, without %d, want %q", list, leftOut, want)
	}
	wantNames(t, "groups of NULL", lookup(t, s, token.IntKey(2)).Groups())
}

// djangosTables are all tables that Django makes for its users.
var djangosTables = append([]string{authUser, threeUsers}, djangoRights...)

// tablesOfGroups are ways to store groups, with the members that each should have.
var tablesOfGroups = []struct {
	name       string
	statements []string
	cfg        userstore.Config
	key        token.PrimaryKey
	want       []string
}{
	{
		"a custom model",
		[]string{
			"CREATE TABLE accounts_person (id bigint PRIMARY KEY, password text)", "INSERT INTO accounts_person VALUES (1, 'x'), (7, 'x')",
			"CREATE TABLE accounts_person_groups (id bigint PRIMARY KEY, person_id bigint NOT NULL, group_id int NOT NULL)",
			djangoRights[0], "INSERT INTO auth_group VALUES (1, 'a'), (2, 'b')", "INSERT INTO accounts_person_groups VALUES (1, 7, 2), (2, 7, 1), (3, 1, 1)",
		},
		userstore.Config{Table: "accounts_person", Groups: new(userstore.GroupsConfig)},
		token.IntKey(7),
		[]string{"a", "b"},
	},
	{
		"a table that isn't called after the model",
		[]string{
			"CREATE TABLE people (id int PRIMARY KEY, password text)", "INSERT INTO people VALUES (7, 'x')",
			"CREATE TABLE people_groups (id bigint PRIMARY KEY, user_id int NOT NULL, group_id int NOT NULL)",
			djangoRights[0], "INSERT INTO auth_group VALUES (1, 'a')", "INSERT INTO people_groups VALUES (1, 7, 1)",
		},
		userstore.Config{Table: "people", Groups: new(userstore.GroupsConfig)},
		token.IntKey(7),
		[]string{"a"},
	},
	{
		"another table with Django's columns", djangosTables,
		userstore.Config{Groups: &userstore.GroupsConfig{Table: "auth_user_groups"}},
		token.IntKey(1),
		[]string{"admins", "editors"},
	},
	{
		"a key that the tables don't refer to", djangosTables,
		userstore.Config{PrimaryKeyField: "username", Groups: new(userstore.GroupsConfig)},
		token.StringKey("alice"),
		[]string{"admins", "editors"},
	},
	{
		"a view", append(slices.Clone(djangosTables), "CREATE VIEW gateway_user AS SELECT * FROM auth_user"),
		userstore.Config{Table: "gateway_user", Groups: &userstore.GroupsConfig{Table: "auth_user_groups"}},
		token.IntKey(1),
		[]string{"admins", "editors"},
	},
	{
		"a view with another key", append(slices.Clone(djangosTables), "CREATE VIEW gateway_user AS SELECT * FROM auth_user"),
		userstore.Config{
			Table: "gateway_user", Columns: userstore.Columns{PrimaryKey: "username", RelationKey: "ID"},
			Groups: &userstore.GroupsConfig{Table: "auth_user_groups"},
		},
		token.StringKey("bob"),
		[]string{"editors"},
	},
	{
		"a view as the table of groups", append(slices.Clone(djangosTables), "CREATE VIEW memberships AS SELECT user_id AS member, UPPER(name) AS role FROM auth_user_groups m JOIN auth_group g ON g.id = m.group_id"),
		userstore.Config{Groups: &userstore.GroupsConfig{Table: "memberships", User: "member", Group: "role"}},
		token.IntKey(1),
		[]string{"ADMINS", "EDITORS"},
	},
	{
		"integers", append(slices.Clone(djangosTables), "CREATE TABLE levels (`who is` int, `level` smallint)", "INSERT INTO levels VALUES (1, 10), (1, -2), (2, 3)"),
		userstore.Config{Groups: &userstore.GroupsConfig{Table: "`levels`", User: "who is", Group: "level"}},
		token.IntKey(1),
		[]string{"-2", "10"},
	},
	{
		"all named", append(slices.Clone(djangosTables),
			"CREATE TABLE roles (code varchar(8) CHARACTER SET latin1 PRIMARY KEY, title varchar(50) CHARACTER SET latin1)", "INSERT INTO roles VALUES ('e', 'Éditeur'), ('z', NULL), ('a', 'Admin')",
			"CREATE TABLE grants (who int, what varchar(8) COLLATE utf8mb4_bin)", "INSERT INTO grants VALUES (1, 'e'), (1, 'A'), (1, 'x'), (1, 'z')"),
		userstore.Config{Groups: &userstore.GroupsConfig{Table: "grants", User: "who", Group: "what", Names: &userstore.GroupNames{Table: "roles", Key: "code", Name: "title"}}},
		token.IntKey(1),
		[]string{"Éditeur"},
	},
	{
		"text that refers to users",
		[]string{
			"CREATE TABLE users (login varchar(30) COLLATE utf8mb4_general_ci PRIMARY KEY, password text)", "INSERT INTO users VALUES ('Alice', 'x')",
			"CREATE TABLE memberships (login varchar(30) COLLATE utf8mb4_general_ci, team varbinary(30))", "INSERT INTO memberships VALUES ('Alice', 'a'), ('alice', 'b'), ('Alice ', 'c'), ('Alice', X'FF')",
		},
		userstore.Config{Table: "users", Groups: &userstore.GroupsConfig{Table: "memberships", User: "login", Group: "team"}},
		token.StringKey("Alice"),
		[]string{"a", "\xff"},
	},
	{
		"texts of other collations and character sets", // as of tables from before and after an upgrade of MySQL
		[]string{
			"CREATE TABLE users (login varchar(30) COLLATE utf8mb4_unicode_ci PRIMARY KEY, password text)", "INSERT INTO users VALUES ('Zoë', 'x')",
			"CREATE TABLE memberships (login varchar(30) COLLATE utf8mb4_general_ci, team varchar(9) CHARACTER SET latin1, KEY (login))",
			"INSERT INTO memberships VALUES ('Zoë', 'é'), ('zoë', 'b'), ('Zoe', 'c'), ('Zoë ', 'd'), ('Zoë', 'f')",
			"CREATE TABLE teams (code varchar(9) COLLATE utf8mb4_bin PRIMARY KEY, title varchar(9))", "INSERT INTO teams VALUES ('é', 'admins'), ('É', 'x'), ('e', 'y'), ('f', 'editors')",
		},
		userstore.Config{Table: "users", Groups: &userstore.GroupsConfig{Table: "memberships", User: "login", Group: "team", Names: &userstore.GroupNames{Table: "teams", Key: "code", Name: "title"}}},
		token.StringKey("Zoë"),
		[]string{"admins", "editors"},
	},
	{
		"UUIDs",
		[]string{
			"CREATE TABLE users (id char(32) PRIMARY KEY, password text)", "INSERT INTO users VALUES ('00000000000000000000000000000001', 'x')",
			"CREATE TABLE users_groups (id int PRIMARY KEY, user_id char(32) NOT NULL, group_id int NOT NULL)", "INSERT INTO users_groups VALUES (1, '00000000000000000000000000000001', 1)",
			djangoRights[0], "INSERT INTO auth_group VALUES (1, 'a')",
		},
		userstore.Config{Table: "users", Groups: new(userstore.GroupsConfig)},
		token.UUIDKey([16]byte{15: 1}),
		[]string{"a"},
	},
	{
		"a composite primary key",
		[]string{
			"CREATE TABLE users (site int, id int, password text, PRIMARY KEY (site, id), UNIQUE (id))", "INSERT INTO users VALUES (1, 7, 'x')",
			"CREATE TABLE users_groups (site int, user_id int NOT NULL, group_id int NOT NULL, PRIMARY KEY (site, user_id, group_id))", "INSERT INTO users_groups VALUES (1, 7, 1)",
			djangoRights[0], "INSERT INTO auth_group VALUES (1, 'a')",
		},
		userstore.Config{Table: "users", Groups: new(userstore.GroupsConfig)},
		token.IntKey(7),
		[]string{"a"},
	},
	{
		"permissions beside other groups", append(slices.Clone(djangosTables), "CREATE TABLE levels (who int, level smallint)", "INSERT INTO levels VALUES (2, 3)"),
		userstore.Config{
			Groups: &userstore.GroupsConfig{Table: "levels", User: "who", Group: "level"}, Permissions: &userstore.PermissionsConfig{Table: "auth_user_user_permissions", User: "user_id"},
		},
		token.IntKey(2),
		[]string{"3", "auth.view_user", "blog.add_post", "blog.change_post"},
	},
}

// TestTablesOfGroups names all kinds of tables.
func TestTablesOfGroups(t *testing.T) {
	t.Parallel()
	for _, test := range tablesOfGroups {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, test.statements...)
			cfg := test.cfg
			cfg.DSN = d.dsn()
			s := openStore(t, cfg, userstore.Needs{})
			u := lookup(t, s, test.key)
			wantNames(t, "groups and permissions", append(slices.Clone(u.Groups()), u.Permissions()...), test.want...)

			// The same from another database.
			cfg.DSN, cfg.Table = dsnOf(t, ""), d.name+"."+orDefault(cfg.Table, "auth_user")
			other := lookup(t, openStore(t, cfg, userstore.Needs{}), test.key)
			wantNames(t, "groups and permissions from outside", append(slices.Clone(other.Groups()), other.Permissions()...), test.want...)
		})
	}
}

func orDefault(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func TestGroupsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, append([]string{
		authUser, threeUsers,
		"CREATE TABLE plain (id int PRIMARY KEY, password text)",
		"CREATE TABLE plain_groups (id int, group_id int, member int)",
		"CREATE TABLE texts (who varchar(10), what varchar(10))",
		"CREATE TABLE `Weird` (user_id int, group_id varchar(10))",
		"CREATE VIEW nokey AS SELECT password, username FROM auth_user",
		"CREATE TABLE enums (id int PRIMARY KEY, password text, is_superuser enum('yes', 'no'))",
	}, djangoRights...)...)
	groups := func(table, user, group string) userstore.Config {
		return userstore.Config{Groups: &userstore.GroupsConfig{Table: table, User: user, Group: group}}
	}
	plain := userstore.Config{Table: "plain", Groups: new(userstore.GroupsConfig)}
	plainPermissions := userstore.Config{Table: "plain", Permissions: new(userstore.PermissionsConfig), Columns: userstore.Columns{IsSuperuser: "-"}}
	for name, test := range map[string]struct {
		cfg   userstore.Config
		needs userstore.Needs
		want  []string
	}{
		"no such table":          {groups("nothing", "a", "b"), userstore.Needs{}, []string{`groups: table "nothing" doesn't exist in database "` + d.name + `"`, "migrate"}},
		"no such database":       {groups("nowhere.nothing", "a", "b"), userstore.Needs{}, []string{`groups: table "nothing"`, `"nowhere"`}},
		"no user column":         {plain, userstore.Needs{}, []string{`groups: table "plain_groups"`, `has no column "user_id"`, "Its columns are: id, group_id, member"}},
		"no such user column":    {groups("auth_user_groups", "member", "group_id"), userstore.Needs{}, []string{`has no column "member"`}},
		"no such group column":   {groups("auth_user_groups", "user_id", "gruppe"), userstore.Needs{}, []string{`has no column "gruppe"`}},
		"of another type":        {groups("texts", "who", "what"), userstore.Needs{}, []string{`groups: column "who"`, "varchar(10)", `refer to column "id"`, "same type"}},
		"groups of another type": {groups("Weird", "", ""), userstore.Needs{}, []string{`column "id"`, `"group_id"`, "same type"}},
		"no table of names": {
			userstore.Config{Groups: &userstore.GroupsConfig{Table: "texts", User: "who", Group: "what", Names: &userstore.GroupNames{Table: "roles", Key: "a", Name: "b"}}},
			userstore.Needs{},
			[]string{`table "roles" doesn't exist`},
		},
		"no key of names": {
			userstore.Config{Groups: &userstore.GroupsConfig{Table: "texts", User: "who", Group: "what", Names: &userstore.GroupNames{Table: "auth_group", Key: "key", Name: "name"}}},
			userstore.Needs{},
			[]string{`has no column "key"`},
		},
		"no relation key":                {userstore.Config{Columns: userstore.Columns{RelationKey: "uuid"}, Groups: new(userstore.GroupsConfig)}, userstore.Needs{}, []string{`no column "uuid"`, "relation_key option"}},
		"staff that isn't there":         {plain, userstore.Needs{Staff: true}, []string{`no column "is_staff"`, "is_staff option", "required of users"}},
		"superusers that aren't there":   {plain, userstore.Needs{Superuser: true}, []string{`no column "is_superuser"`}},
		"staff, though needed, is -":     {userstore.Config{Columns: userstore.Columns{IsStaff: "-"}}, userstore.Needs{Staff: true}, []string{"is_staff is -"}},
		"superuser of a type":            {userstore.Config{Table: "enums"}, userstore.Needs{Superuser: true}, []string{"is_superuser must be a number or a boolean"}},
		"permissions without superusers": {userstore.Config{Table: "plain", Permissions: new(userstore.PermissionsConfig)}, userstore.Needs{}, []string{`no column "is_superuser"`, "is_superuser -"}},
		"no permissions":                 {plainPermissions, userstore.Needs{}, []string{`permissions: table "plain_user_permissions" doesn't exist`}},
		"columns without a table":        {groups("", "a", "b"), userstore.Needs{}, []string{"groups: ", "but not the table"}},
		"names by half":                  {userstore.Config{Groups: &userstore.GroupsConfig{Names: &userstore.GroupNames{Table: "a"}}}, userstore.Needs{}, []string{"groups: ", "name column"}},
		"a name that can't be":           {groups("a.b.c", "a", "b"), userstore.Needs{}, []string{"groups: ", "more parts"}},
		"a column that can't be":         {groups("a", "a\x00", "b"), userstore.Needs{}, []string{"groups: ", "zero byte"}},
		"relation key, -":                {userstore.Config{Columns: userstore.Columns{RelationKey: "-"}}, userstore.Needs{}, []string{"relation_key can't be -"}},
		"an extra column of that name":   {userstore.Config{Columns: userstore.Columns{Extra: []string{"Groups"}}, Groups: new(userstore.GroupsConfig)}, userstore.Needs{}, []string{`"Groups"`, "another name"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := test.cfg
			cfg.DSN = d.dsn()
			cfg.StartWithout = true // start_without forgives none of these errors
			_, err := userstore.Open(t.Context(), patient(cfg), test.needs, nil)
			wantError(t, err, test.want...)
		})
	}
}

// TestGroupsAreReadWhole has more groups than MySQL puts in one list.
func TestGroupsAreReadWhole(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, "CREATE TABLE members (member int, name varchar(100))")
	cfg := userstore.Config{DSN: d.dsn(), Groups: &userstore.GroupsConfig{Table: "members", User: "member", Group: "name"}}
	var want []string
	for i := range 3000 {
		want = append(want, fmt.Sprintf("group number %04d", i))
	}
	d.exec("INSERT INTO members VALUES (1, '" + strings.Join(want, "'), (1, '") + "')")
	if d.text("SELECT @@group_concat_max_len") == "NULL" {
		t.Fatal("no limit")
	}
	u := lookup(t, openStore(t, cfg, userstore.Needs{}), token.IntKey(1))
	wantNames(t, "groups", u.Groups(), want...)

	for limit := 1030; limit < 1066; limit++ { // each place within a name
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			cfg := cfg
			cfg.DSN += fmt.Sprintf("?group_concat_max_len=%d", limit)
			_, err := openStore(t, cfg, userstore.Needs{}).Lookup(t.Context(), token.IntKey(1))
			wantError(t, err, "group_concat_max_len")
			if !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("%v is not ErrUnavailable", err)
			}
		})
	}
}

// TestGroupsStayBatched: a batch with groups and permissions is still one query.
func TestGroupsStayBatched(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	d.exec(append([]string{authUser, threeUsers}, djangoRights...)...)
	cfg := userstore.Config{
		DSN: server.DSN("django"), Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig),
	}
	s := openStore(t, cfg, userstore.Needs{})
	var keys []token.PrimaryKey
	for i := range 64 {
		keys = append(keys, token.IntKey(int64(i)))
	}
	if _, err := s.LookupMany(t.Context(), keys); err != nil { // prepares
		t.Fatal(err)
	}
	before := d.status("Com_stmt_execute")
	users, err := s.LookupMany(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.status("Com_stmt_execute") - before; got != 1 {
		t.Errorf("%d queries, want 1", got)
	}
	wantNames(t, "groups", users[token.IntKey(2)].Groups(), "editors")
	if len(users) != 3 {
		t.Errorf("%d users", len(users))
	}
}
