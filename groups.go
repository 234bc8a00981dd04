package sesame

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// columnArg reads the name of a column, which is by default that of the option.
func columnArg(d *caddyfile.Dispenser) (string, error) {
	option := d.Val()
	switch args := d.RemainingArgs(); len(args) {
	case 0:
		return option, nil
	case 1:
		return args[0], nil
	default:
		return "", d.ArgErr()
	}
}

// groupsArgs reads where groups are: in Django's tables, or the table that says
// who is in which, its columns, and where the names are.
func groupsArgs(d *caddyfile.Dispenser) (*userstore.GroupsConfig, error) {
	cfg := new(userstore.GroupsConfig)
	args := d.RemainingArgs()
	switch len(args) {
	case 6:
		cfg.Names = &userstore.GroupNames{Table: args[3], Key: args[4], Name: args[5]}
		fallthrough
	case 3:
		cfg.User, cfg.Group = args[1], args[2]
		fallthrough
	case 1:
		cfg.Table = args[0]
	case 0:
	default:
		return nil, d.Err("groups: it takes nothing, a table, that and its columns with the user and the group, " +
			"or those and a table of groups with its columns for key and name")
	}
	return cfg, nil
}

// permissionsArgs reads where the permissions of users are.
func permissionsArgs(d *caddyfile.Dispenser) (*userstore.PermissionsConfig, error) {
	cfg := new(userstore.PermissionsConfig)
	switch args := d.RemainingArgs(); len(args) {
	case 2:
		cfg.User = args[1]
		fallthrough
	case 1:
		cfg.Table = args[0]
	case 0:
	default:
		return nil, d.ArgErr()
	}
	return cfg, nil
}
