package userstore

import (
	"strings"
	"testing"
)

// grantLines are lines of SHOW GRANTS.
var grantLines = []struct {
	line string
	want string // privileges that aren't needed; "-" for grants that aren't checked
}{
	{"GRANT USAGE ON *.* TO `gateway`@`%` IDENTIFIED BY PASSWORD '*0123'", ""},
	{"GRANT USAGE ON *.* TO `gateway`@`%`", ""},
	{"GRANT SELECT (`id`, `email`), UPDATE (`last_login`) ON `app`.`auth_user` TO `gateway`@`%`", ""},
	{"GRANT SELECT (id, Email), UPDATE (LAST_LOGIN) ON `app`.`auth_user` TO 'gateway'@'%'", ""},
	{"GRANT SELECT (`id`,`password`) ON `app`.`auth_user` TO `gateway`@`%`", "SELECT (password) on app.auth_user"},
	{"GRANT UPDATE (`last_login`, `password`) ON `app`.`auth_user` TO `gateway`@`%`", "UPDATE (password) on app.auth_user"},
	{"GRANT SELECT, INSERT ON `app`.`auth_user` TO `gateway`@`%`", "SELECT on app.auth_user as a whole|INSERT on app.auth_user as a whole"},
	{"GRANT INSERT (`id`) ON `app`.`auth_user` TO `gateway`@`%`", "INSERT (id) on app.auth_user"},
	{"GRANT SELECT (`id`, `name`) ON `app`.`auth_group` TO `gateway`@`%`", ""},
	{"GRANT SELECT (`id`, `x`), UPDATE (`name`) ON `app`.`auth_group` TO `gateway`@`%`", "SELECT (x) on app.auth_group|UPDATE (name) on app.auth_group"},
	{"GRANT SELECT ON `app`.`auth_group` TO `gateway`@`%`", "SELECT on app.auth_group as a whole"},
	{"GRANT SELECT (`id`) ON `app`.`other` TO `gateway`@`%`", "SELECT (id) on app.other"},
	{"GRANT SELECT (`id`) ON `other`.`auth_user` TO `gateway`@`%`", "SELECT (id) on other.auth_user"},
	{"GRANT SELECT, CREATE TEMPORARY TABLES ON `app`.* TO `gateway`@`%`", "SELECT on all of app|CREATE TEMPORARY TABLES on all of app"},
	{"GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", "ALL PRIVILEGES on everything|GRANT OPTION on everything"},
	{"GRANT BACKUP_ADMIN,BINLOG_ADMIN ON *.* TO `root`@`localhost`", "BACKUP_ADMIN on everything|BINLOG_ADMIN on everything"},
	{
		"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, CREATE TABLESPACE ON *.* TO `root`@`localhost` WITH GRANT OPTION",
		"SELECT, INSERT, UPDATE and 4 others on everything|GRANT OPTION on everything",
	},
	{"GRANT EXECUTE ON FUNCTION `app`.`f` TO `gateway`@`%`", "EXECUTE on FUNCTION.app.f as a whole"},
	{"GRANT SELECT (`i``d`, `email`) ON `app`.`auth_user` TO `gateway`@`%`", "SELECT (i`d) on app.auth_user"},
	{"GRANT SELECT ON `a.p`.`t` TO `gateway`@`%`", "SELECT on a.p.t as a whole"},
	{"GRANT SELECT (`session_key`), INSERT (`session_key`), DELETE ON `app`.`django_session` TO `gateway`@`%`", ""},
	{"GRANT INSERT (`session_key`, `x`), UPDATE (`x`) ON `app`.`django_session` TO `gateway`@`%`", "INSERT (x) on app.django_session|UPDATE (x) on app.django_session"},
	{"GRANT INSERT, DELETE ON `app`.`django_session` TO `gateway`@`%`", "INSERT on app.django_session as a whole"},
	{"GRANT DELETE ON `app`.`auth_user` TO `gateway`@`%`", "DELETE on app.auth_user as a whole"},
	{"GRANT `reader`@`%` TO `gateway`@`%`", "-"},
	{"GRANT reader TO `gateway`@`%`", "-"},
	{"GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION", "-"},
	{"SET DEFAULT ROLE `reader` FOR `gateway`@`%`", "-"},
	{"REVOKE UPDATE ON `app`.* FROM `gateway`@`%`", "-"},
	{"GRANT SELECT (`id", "-"},
	{"GRANT SELECT ON", "-"},
	{"GRANT", "-"},
	{"", "-"},
}

func TestParseGrant(t *testing.T) {
	t.Parallel()
	for _, test := range grantLines {
		got := "-"
		if g, ok := parseGrant(test.line); ok {
			got = strings.Join(g.beyond([]relatedColumns{
				{tableName: tableName{"app", "auth_user"}, columns: []string{"id", "Email"}, updated: []string{"last_login"}},
				{tableName: tableName{"app", "auth_group"}, columns: []string{"id", "name"}},
				{tableName: tableName{"app", "django_session"}, columns: []string{"session_key"}, inserted: []string{"session_key"}, deletes: true},
			}), "|")
		}
		if got != test.want {
			t.Errorf("%s\n\tgives %q, want %q", test.line, got, test.want)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	f.Add("GRANT SELECT (`id`, `email`), UPDATE (`last_login`) ON `app`.`auth_user` TO `gateway`@`%` WITH GRANT OPTION")
	f.Add("GRANT `r`@`%` TO `u`@`%`")
	for _, line := range grantLines {
		f.Add(line.line)
	}
	for _, line := range []string{"GRANT SELECT (`a``b`) ON `a` TO", "GRANT SELECT (a;", "GRANT SELECT (a b", "GRANT SELECT ON ;", "GRANT SELECT ON a.;", "GRANT SELECT, ON a.b TO c", "GRANT `"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		g, ok := parseGrant(line)
		if !ok {
			return
		}
		if len(g.privileges) == 0 || len(g.object) == 0 {
			t.Errorf("%q gives %+v", line, g)
		}
		for _, surplus := range append(g.beyondList(), g.beyond(nil)...) {
			if surplus == "" {
				t.Errorf("%q allows something without a name", line)
			}
		}
	})
}
