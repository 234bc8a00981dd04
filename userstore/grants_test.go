package userstore

import (
	"strings"
	"testing"
)

func TestParseGrant(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want string // surplus beyond reading id and Email, and writing last_login, of app.auth_user, and reading id and name of app.auth_group; "-" for what isn't looked into
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
		{"GRANT EXECUTE ON FUNCTION `app`.`f` TO `gateway`@`%`", "EXECUTE on FUNCTION.app.f as a whole"},
		{"GRANT SELECT (`i``d`, `email`) ON `app`.`auth_user` TO `gateway`@`%`", "SELECT (i`d) on app.auth_user"},
		{"GRANT SELECT ON `a.p`.`t` TO `gateway`@`%`", "SELECT on a.p.t as a whole"},
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
	for _, test := range tests {
		got := "-"
		if g, ok := parseGrant(test.line); ok {
			read := []relatedColumns{{tableName{"app", "auth_user"}, []string{"id", "Email"}}, {tableName{"app", "auth_group"}, []string{"id", "name"}}}
			got = strings.Join(g.beyond(read, []string{"last_login"}), "|")
		}
		if got != test.want {
			t.Errorf("%s\n\tgives %q, want %q", test.line, got, test.want)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	f.Add("GRANT SELECT (`id`, `email`), UPDATE (`last_login`) ON `app`.`auth_user` TO `gateway`@`%` WITH GRANT OPTION")
	f.Add("GRANT `r`@`%` TO `u`@`%`")
	f.Fuzz(func(t *testing.T, line string) {
		if g, ok := parseGrant(line); ok && (len(g.privileges) == 0 || len(g.object) == 0) {
			t.Errorf("%q gives %+v", line, g)
		}
	})
}
