package sesame

import (
	"errors"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// columnOption is the name of a column, which is by default that of the option.
func columnOption(to *string, option string) directive.Option {
	return directive.Values(0, 1, "the name of a column, or -", func(args []string) error {
		*to = option
		if len(args) == 1 {
			*to = args[0]
		}
		return nil
	})
}

// groupsOption says where groups are: in Django's tables, or the table that
// says who is in which, its columns, and where the names are.
func groupsOption(cfg *userstore.Config) directive.Option {
	const form = "nothing, a table, that and its column with the user, those and its column with the group, " +
		"or those and a table of groups with its columns for key and name"
	return directive.Values(0, 6, form, func(args []string) error {
		cfg.Groups = new(userstore.GroupsConfig)
		switch len(args) {
		case 6:
			cfg.Groups.Names = &userstore.GroupNames{Table: args[3], Key: args[4], Name: args[5]}
			fallthrough
		case 3:
			cfg.Groups.Group = args[2]
			fallthrough
		case 2:
			cfg.Groups.User = args[1]
			fallthrough
		case 1:
			cfg.Groups.Table = args[0]
		case 0:
		default:
			return errors.New("it takes " + form)
		}
		return nil
	})
}

// permissionsOption says where the permissions of users are.
func permissionsOption(cfg *userstore.Config) directive.Option {
	return directive.Values(0, 2, "nothing, a table, or that and its column with the user", func(args []string) error {
		cfg.Permissions = new(userstore.PermissionsConfig)
		switch len(args) {
		case 2:
			cfg.Permissions.User = args[1]
			fallthrough
		case 1:
			cfg.Permissions.Table = args[0]
		}
		return nil
	})
}
