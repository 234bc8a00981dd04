package userstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

// Option is the userstore option with its block.
func Option(cfg *Config) directive.Option {
	return directive.Values(1, 1, "the kind of store, mysql", func(args []string) error {
		if args[0] != "mysql" {
			switch {
			case strings.Contains(args[0], "@"):
				return errors.New("the dsn belongs in its block: write userstore mysql, and dsn with it in a line of its own")
			case strings.EqualFold(args[0], "mariadb"):
				return fmt.Errorf("%q: write mysql, which is for MariaDB as well", args[0])
			}
			return fmt.Errorf("%q: the only kind of store is mysql", args[0])
		}
		return nil
	}).With(options(cfg)).HoldingSecrets()
}

// options are the options of a userstore block.
func options(cfg *Config) directive.Options {
	const column = "the name of a column, or -"
	return directive.Options{
		"dsn":                severalOption(&cfg.DSN, &cfg.MoreDSNs, "a DSN, as {env.SESAME_DSN}, or several of one cluster").Secret(),
		"dsn_file":           severalOption(&cfg.DSNFile, &cfg.MoreDSNFiles, "a path, or several"),
		"follow":             followOption(&cfg.Follow),
		"read_after_write":   directive.Switch(&cfg.ReadAfterWrite),
		"replica":            directive.Texts(&cfg.Replicas, "one DSN or more").Secret(),
		"replica_file":       directive.Texts(&cfg.ReplicaFiles, "one path or more"),
		"tls_ca":             directive.Text(&cfg.TLSCA, "a path"),
		"tls_cert":           directive.Text(&cfg.TLSCert, "a path"),
		"tls_key":            directive.Text(&cfg.TLSKey, "a path"),
		"tls_server_name":    directive.Text(&cfg.TLSServerName, "the name in the server's certificate"),
		"table":              directive.Text(&cfg.Table, "the name of a table"),
		"primary_key":        directive.Text(&cfg.Columns.PrimaryKey, "the name of a column"),
		"password":           directive.Text(&cfg.Columns.Password, column),
		"last_login":         directive.Text(&cfg.Columns.LastLogin, column),
		"is_active":          directive.Text(&cfg.Columns.IsActive, column),
		"email":              directive.Text(&cfg.Columns.Email, column),
		"username":           directive.Text(&cfg.Columns.Username, column),
		"is_staff":           columnOption(&cfg.Columns.IsStaff, "is_staff"),
		"is_superuser":       columnOption(&cfg.Columns.IsSuperuser, "is_superuser"),
		"relation_key":       directive.Text(&cfg.Columns.RelationKey, "the name of a column"),
		"groups":             groupsOption(cfg),
		"permissions":        permissionsOption(cfg),
		"columns":            directive.Texts(&cfg.Columns.Extra, "the name of a column, or several"),
		"revocations":        directive.Text(&cfg.Revocations, "the name of a table"),
		"query_timeout":      directive.Duration(&cfg.QueryTimeout),
		"max_open_conns":     directive.Positive(&cfg.MaxOpenConns),
		"max_idle_conns":     directive.Positive(&cfg.MaxIdleConns),
		"conn_max_lifetime":  directive.Duration(&cfg.ConnMaxLifetime),
		"conn_max_idle_time": directive.Duration(&cfg.ConnMaxIdleTime),
		"start_without":      directive.Switch(&cfg.StartWithout),
	}
}

// severalOption configures one value, and further ones.
func severalOption(to *string, more *[]string, form string) directive.Option {
	return directive.Any(1, form, func(args []string) error {
		*to, *more = args[0], args[1:]
		return nil
	})
}

// columnOption configures the name of a column. The default name is the option's.
func columnOption(to *string, option string) directive.Option {
	return directive.Values(0, 1, "the name of a column, or -", func(args []string) error {
		*to = option
		if len(args) == 1 {
			*to = args[0]
		}
		return nil
	})
}

// groupsOption configures where groups are: in Django's tables, or in a table of
// memberships, with its columns and the names' place.
func groupsOption(cfg *Config) directive.Option {
	const form = "nothing, a table, that and its column with the user, those and its column with the group, " +
		"or those and a table of groups with its columns for key and name"
	return directive.Values(0, 6, form, func(args []string) error {
		cfg.Groups = new(GroupsConfig)
		switch len(args) {
		case 6:
			cfg.Groups.Names = &GroupNames{Table: args[3], Key: args[4], Name: args[5]}
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
func permissionsOption(cfg *Config) directive.Option {
	return directive.Values(0, 2, "nothing, a table, or that and its column with the user", func(args []string) error {
		cfg.Permissions = new(PermissionsConfig)
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

// CacheOption is the cache option, whose block may be missing.
func CacheOption(to **CacheConfig) directive.Option {
	cfg := new(CacheConfig)
	duration := directive.Duration(&cfg.For)
	return duration.Then(func() { *to = cfg }).With(directive.Options{
		"max_users": directive.Positive(&cfg.MaxUsers),
		"max_size":  directive.Size(&cfg.MaxSize),
	})
}
