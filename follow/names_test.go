package follow_test

import (
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestNamesOfTables follows tables whose names are unusual, or have other letter case in
// the configuration than on the server.
func TestNamesOfTables(t *testing.T) {
	t.Parallel()
	asIs, folding := startServer(t), startServer(t, "--lower-case-table-names=1")
	for _, test := range []struct {
		name                     string
		server                   *testmariadb.Server
		schema, table            string // as they are made
		dsn, users, members, all string // as they are configured
	}{
		{"plain", asIs, "plain", "people", "plain", "people", "people_groups", "groups"},
		{"capitals", asIs, "Django", "People", "Django", "People", "People_groups", "groups"},
		{"beside one of other letter case", asIs, "django", "people", "django", "people", "people_groups", "groups"},
		{"a dot", asIs, "a.b", "c.d", "a.b", "`c.d`", "`c.d_groups`", "groups"},
		{"another database", asIs, "e.f", "g.h", "mysql", "`e.f`.`g.h`", "`e.f`.`g.h_groups`", "`e.f`.groups"},
		{"quotation marks", asIs, "q`'\"q", "t`'\"t", "q`'\"q", "`t``'\"t`", "`t``'\"t_groups`", "groups"},
		{"a backslash", asIs, `b\'s`, `t\n`, `b\'s`, "`t\\n`", "`t\\n_groups`", "groups"},
		{"white space and signs", asIs, "w s/?%23", "t -- t /* t", "w s/?%23", "t -- t /* t", "t -- t /* t_groups", "groups"},
		{"other letters", asIs, "Größe€", "Łódź人々", "Größe€", "Łódź人々", "Łódź人々_groups", "groups"},
		{"long", asIs, strings.Repeat("d", 64), strings.Repeat("ü", 57), strings.Repeat("d", 64), strings.Repeat("ü", 57), strings.Repeat("ü", 57) + "_groups", "groups"},
		{"capitals that the server doesn't keep", folding, "Django", "People", "DJANGO", "PEOPLE", "People_Groups", "Groups"},
		{"other capitals that it doesn't keep", folding, "Größe", "ŁÓDŹ", "GRÖßE", "Łódź", "größe.łóDź_GROUPS", "GROUPS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			quoted := func(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
			members := quoted(test.table + "_groups")
			name := database(t, test.server, test.schema,
				strings.Replace(djangoUsers, "auth_user", quoted(test.table), 1),
				"INSERT INTO "+quoted(test.table)+" (id, username, password) VALUES (1, 'ann', 'p')",
				"CREATE TABLE "+members+" (id int PRIMARY KEY AUTO_INCREMENT, person int NOT NULL, `group` int NOT NULL)",
				"CREATE TABLE `groups` (id int PRIMARY KEY, name varchar(150) NOT NULL)", "INSERT INTO `groups` VALUES (1, 'staff')")
			s := followStore(t, userstore.Config{
				DSN: test.server.DSN(test.dsn), Table: test.users, Follow: &userstore.FollowConfig{Strict: true},
				Groups: &userstore.GroupsConfig{Table: test.members, User: "person", Group: "group", Names: &userstore.GroupNames{Table: test.all, Key: "id", Name: "name"}},
			}, userstore.Needs{})
			for _, format := range []string{"binlog_format = 'ROW'", "binlog_format = 'STATEMENT'"} {
				writer := writeAs(t, test.server, name, format)
				for _, change := range []string{
					"UPDATE " + quoted(test.table) + " SET password = 'q'", "UPDATE " + quoted(test.table) + " SET password = 'p'",
					"INSERT INTO " + members + " (person, `group`) VALUES (1, 1)", "UPDATE `groups` SET name = 'admins'", "UPDATE `groups` SET name = 'staff'", "DELETE FROM " + members,
				} {
					s.seesChange(t, userKey(1), func() { write(t, writer, change) }, format+": "+change)
				}
			}
			// A table that takes its place.
			whole, next := quoted(test.schema)+"."+quoted(test.table), quoted(test.schema)+".next"
			s.seesChange(t, userKey(1), func() {
				exec(t, test.server, "", "CREATE TABLE "+next+" LIKE "+whole, "INSERT INTO "+next+" (id, username, password) VALUES (1, 'ann', 'r')",
					"RENAME TABLE "+whole+" TO "+quoted(test.schema)+".former, "+next+" TO "+whole)
			}, "RENAME TABLE")
		})
	}
}
