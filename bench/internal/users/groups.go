package users

import (
	"context"
	"fmt"
	"strings"
)

// groupTables are Django's, as "manage.py migrate" makes them on MariaDB.
var groupTables = []string{
	"CREATE TABLE IF NOT EXISTS auth_group (id integer AUTO_INCREMENT NOT NULL PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)",
	`CREATE TABLE IF NOT EXISTS auth_user_groups (id bigint AUTO_INCREMENT NOT NULL PRIMARY KEY, user_id integer NOT NULL, group_id integer NOT NULL,
		UNIQUE (user_id, group_id), FOREIGN KEY (user_id) REFERENCES auth_user (id), FOREIGN KEY (group_id) REFERENCES auth_group (id))`,
}

// The groups that there are, and of which each user is in some.
const (
	groups       = 20
	groupsOfUser = 3
)

// CreateGroups makes tables of groups for users in auth_user, each of whom is in
// three. Where they are there already, nothing is changed.
func (d *Database) CreateGroups(ctx context.Context, all []User) error {
	var names, members []string
	for i := range groups {
		names = append(names, fmt.Sprintf("(%d, 'group %02d')", i+1, i+1))
	}
	for i, u := range all {
		for j := range groupsOfUser {
			members = append(members, fmt.Sprintf("(%d, %d)", u.ID, (i+j*7)%groups+1))
		}
	}
	for _, statement := range append(groupTables[:len(groupTables):len(groupTables)],
		"INSERT IGNORE INTO auth_group (id, name) VALUES "+strings.Join(names, ", "),
		"INSERT IGNORE INTO auth_user_groups (user_id, group_id) VALUES "+strings.Join(members, ", "),
		"ANALYZE TABLE auth_user_groups",
	) {
		if _, err := d.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("making groups: %w", err)
		}
	}
	return nil
}
