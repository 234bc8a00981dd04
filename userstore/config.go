package userstore

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// The defaults of Config.
const (
	DefaultTable           = "auth_user"
	DefaultPrimaryKeyField = "pk"
	DefaultQueryTimeout    = 2 * time.Second
	DefaultClusterTimeout  = 5 * time.Second // instead, with several DSNs
	DefaultMaxOpenConns    = 20
	DefaultConnMaxLifetime = 5 * time.Minute
	DefaultConnMaxIdleTime = 90 * time.Second
)

// NoColumn in place of a column's name says that the table has no such column.
const NoColumn = "-"

// Config says where the users are.
type Config struct {
	// The MySQL or MariaDB server and database, as go-sql-driver/mysql writes
	// it: `user:password@tcp(host:3306)/database` or
	// `user:password@unix(/path/to/socket)/database`. Parameters may follow,
	// for example `?tls=true`. It holds a password, so keep it in the
	// environment or a file: `{env.SESAME_DSN}`. Required, unless there is a
	// `dsn_file`.
	DSN string `json:"dsn,omitempty"`

	// The DSNs of further servers of the same cluster, which are used if the one in
	// `dsn` can't be: tried in order, for lookups and writes. They must be nodes of one
	// Galera cluster, or members of one group of MySQL Group Replication. Default: none.
	MoreDSNs []string `json:"more_dsns,omitempty"`

	// A file with the DSN, in its place. It is read again when it changes, and when
	// the server refuses the password, so that a password can be changed without a
	// reload: new connections use the new DSN, and replace the old ones.
	DSNFile string `json:"dsn_file,omitempty"`

	// Files with the DSNs of further servers, as `more_dsns`. Default: none.
	MoreDSNFiles []string `json:"more_dsn_files,omitempty"`

	// A file with the certificates, in PEM, of the authorities that the server's
	// certificate may be from. This and the options below have connections
	// encrypted, and the server's certificate checked, as `?tls=true` does.
	// Default: the authorities that this system trusts.
	TLSCA string `json:"tls_ca,omitempty"`

	// Files with the certificate of this gateway, for servers that ask for one
	// (`REQUIRE X509`), and with its key, in PEM. They are read for each
	// connection. Default: none.
	TLSCert string `json:"tls_cert,omitempty"`
	TLSKey  string `json:"tls_key,omitempty"`

	// The name that the server's certificate must be for. Default: the host in
	// the DSN.
	TLSServerName string `json:"tls_server_name,omitempty"`

	// Whether rows are kept, and used until the server's binlog says that they have
	// changed, so that most requests need no query. It takes the Go module
	// `follow` in the build, and excludes `cache`. Default: rows aren't kept.
	Follow *FollowConfig `json:"follow,omitempty"`

	// Whether lookups see what other gateways and applications have written over other
	// nodes of a Galera cluster (`wsrep_sync_wait`) or of Group Replication
	// (`group_replication_consistency`). Otherwise a former password is accepted for
	// as long as the node is behind. Default: false.
	ReadAfterWrite bool `json:"read_after_write,omitempty"`

	// The DSNs of replicas of that server, which answer lookups for tokens and
	// sessions. Logins by a link or with a one-time token ask the primary server,
	// which also confirms each rejection. But while a replica is behind, it may
	// accept a revoked token, an inactive user, or a token from before a new
	// password. A replica that doesn't answer is left out. Default: none.
	Replicas []string `json:"replicas,omitempty"`

	// Files with the DSNs of replicas, as `dsn_file`. Default: none.
	ReplicaFiles []string `json:"replica_files,omitempty"`

	// The table or view with the users, in the DSN's database or as
	// `database.table`. A name with a dot in it is written in backticks.
	// Default: `auth_user`.
	Table string `json:"table,omitempty"`

	// What the table's columns are called. Default: as in Django's `auth_user`.
	Columns Columns `json:"columns,omitzero"`

	// The table of revoked tokens, which `caddy sesame revoke` writes. Default:
	// none.
	Revocations string `json:"revocations,omitempty"`

	// Where the groups of users are; they are read with the user. Default: they
	// aren't read.
	Groups *GroupsConfig `json:"groups,omitempty"`

	// Where the permissions of users are; they are read with the user, and need
	// `columns.is_superuser`. Default: they aren't read.
	Permissions *PermissionsConfig `json:"permissions,omitempty"`

	// Whether something else than groups and permissions needs the column in
	// columns.relation_key. Default: what the Needs that Open gets say.
	HasRelations bool `json:"-"`

	// django-sesame's setting SESAME_PRIMARY_KEY_FIELD: the unique field that
	// tokens hold. Unless `columns.primary_key` is given, it is also the name of
	// the column. Default: `pk`, which is the table's primary key.
	PrimaryKeyField string `json:"-"`

	// How long to wait for MySQL, for a free connection and the answer
	// together. Longer means that the user store is unavailable. Default: 2s, or 5s
	// with several DSNs, since a cluster answers no write for 2 to 3 seconds while it
	// takes a node in.
	QueryTimeout caddy.Duration `json:"query_timeout,omitempty"`

	// The most connections to open to the server. Sites with the same DSN,
	// limits and time limit share them. Default: 20.
	MaxOpenConns int `json:"max_open_conns,omitempty"`

	// The most connections to keep open without work. Default: as many as may
	// be open.
	MaxIdleConns int `json:"max_idle_conns,omitempty"`

	// How long a connection is used before a new one replaces it; shorter than
	// the server's `wait_timeout` and those of proxies on the way. Default: 5m.
	ConnMaxLifetime caddy.Duration `json:"conn_max_lifetime,omitempty"`

	// How long a connection may be without work. Default: 90s.
	ConnMaxIdleTime caddy.Duration `json:"conn_max_idle_time,omitempty"`

	// Let Caddy start while MySQL can't be reached. Until then, requests are
	// answered 503. A server that answers but refuses the DSN's user, or that lacks
	// the table or a column, still prevents the start. Default: false.
	StartWithout bool `json:"start_without,omitempty"`

	// Django's setting USE_TZ: whether `last_login` is in UTC. It matters only
	// for writing it, so for one-time tokens. Default: true.
	UseTZ *bool `json:"-"`

	// Django's setting TIME_ZONE, which `last_login` is written in if `use_tz` is
	// false. Default: this host's zone; Django's default is `America/Chicago`.
	TimeZone string `json:"-"`
}

// Columns names the columns of the table. `-` means that the table has no such
// column.
type Columns struct {
	// The column that tokens hold. Default: the table's primary key if it is
	// one column, else `id`; or the name in `primary_key_field`.
	PrimaryKey string `json:"primary_key,omitempty"`

	// The hashed password. With `-`, every user counts as one with a NULL
	// password, and tokens need a `max_age`, since no new password ends
	// them. Default: `password`.
	Password string `json:"password,omitempty"`

	// The time of the last login, which only one-time tokens need: DATETIME,
	// TIMESTAMP, or text. Default: `last_login`.
	LastLogin string `json:"last_login,omitempty"`

	// Whether the user may log in: a number or a boolean; NULL means no. If the
	// table lacks the default column, every user may, and a warning says so.
	// Default: `is_active`.
	IsActive string `json:"is_active,omitempty"`

	// The e-mail address. The default column may be absent, unless tokens depend
	// on the address. Default: `email`.
	Email string `json:"email,omitempty"`

	// The user name. The default column may be absent. Default: `username`.
	Username string `json:"username,omitempty"`

	// Whether the user may log in to Django's admin: a number or a boolean. It is
	// read if it is named here, or if another option needs it; the name is then
	// `is_staff` by default.
	IsStaff string `json:"is_staff,omitempty"`

	// Whether the user has all permissions: a number or a boolean. It is read if it
	// is named here, with `permissions`, or if another option needs it; the name is
	// then `is_superuser` by default. With `-`, no user has all permissions.
	IsSuperuser string `json:"is_superuser,omitempty"`

	// The column that other tables refer to, such as those of groups, permissions,
	// sessions and API tokens. Default: the table's primary key if it is one
	// column, else the column that tokens hold.
	RelationKey string `json:"relation_key,omitempty"`

	// Further columns to read. Each becomes `{http.auth.user.<column>}`.
	Extra []string `json:"extra,omitempty"`
}

// Needs are the columns and tables that the other options need.
type Needs struct {
	// Email: tokens depend on the e-mail address.
	Email bool

	// LastLogin: tokens are one-time.
	LastLogin bool

	// Staff and Superuser: another option depends on these columns.
	Staff, Superuser bool

	// Vias are other ways to users' rows, each once, with a distinct name.
	Vias []*Via `json:"-"`

	// SecondFactors: read User.HasSecondFactor. It is read from SecondFactorTables,
	// or else from all tables of django-otp, of well-known packages with devices
	// for it, and of allauth that exist when the table of users is checked.
	SecondFactors      bool
	SecondFactorTables []string

	// SecondFactorsOf are the blocks of the configuration whose second_factor has them
	// read, for errors.
	SecondFactorsOf []string

	// AskSecondFactors: codes of second factors are checked, by MySQL.UseFactors.
	AskSecondFactors bool

	// SessionTable is the table of Django's sessions, if the store writes to it.
	SessionTable string

	// SessionList is the table of the gateway's own sessions, if there is one.
	SessionList string

	// UpgradePassword: hashes of passwords are replaced by others.
	UpgradePassword bool

	// Blacklists are asked by MySQL.IsBlacklisted.
	Blacklists []*Blacklist

	// Kind is what the operator's packer encodes, or 0 if none is named and it
	// follows from the column.
	Kind token.Kind

	// HexKeys: keys of token.KindString are hexadecimal digits, whose letter case
	// the packer doesn't keep.
	HexKeys bool
}

// KeysOf notes the kind of keys that a packer makes.
func (n *Needs) KeysOf(packer token.Packer) {
	n.Kind, n.HexKeys = packer.Kind(), strings.HasPrefix(packer.Name(), "hex:")
}

// ReadSecondFactors notes that the option second_factor of a block has second factors
// read. The block is named by its path, such as "login: email_link".
func (n *Needs) ReadSecondFactors(block string) {
	n.SecondFactors, n.SecondFactorsOf = true, append(n.SecondFactorsOf, block)
}

// secondFactorOption is the path of the option that second factors are read for.
func (n *Needs) secondFactorOption() string {
	if len(n.SecondFactorsOf) == 0 || slices.Contains(n.SecondFactorsOf, "password") {
		return "password: second_factor_tables"
	}
	return n.SecondFactorsOf[0] + ": second_factor"
}

// insteadOfFactors is what to write where the rights for second factors are missing.
func (n *Needs) insteadOfFactors(value string) string {
	var blocks []string
	for _, block := range n.SecondFactorsOf {
		blocks = append(blocks, block[strings.LastIndexByte(block, ' ')+1:])
	}
	return "write second_factor " + value + " into " + cmp.Or(strings.Join(blocks, " and "), "password")
}

// refer reports whether a table that refers to users is needed.
func (n *Needs) refer() bool { return len(n.Vias) > 0 || n.SecondFactors }

// Validate returns the first error in the configuration.
func (c *Config) Validate() error {
	if err := c.validateDSN(); err != nil {
		return err
	}
	if err := c.validateNames(); err != nil {
		return err
	}
	if err := c.validateTLS(); err != nil {
		return err
	}
	if err := c.validateLimits(); err != nil {
		return err
	}
	if c.Follow != nil {
		if err := c.Follow.Validate(); err != nil {
			return setting.In("follow", err)
		}
	}
	_, err := c.location()
	return err
}

// validateDSN checks the options for servers, but not the contents of files.
func (c *Config) validateDSN() error {
	switch {
	case c.DSN == "" && c.DSNFile == "":
		return setting.Errorf("dsn", "dsn is missing: give it as user:password@tcp(host:3306)/database")
	case (c.DSN != "" || len(c.MoreDSNs) > 0) && (c.DSNFile != "" || len(c.MoreDSNFiles) > 0):
		return setting.Errorf("dsn_file", "dsn_file is set beside dsn: there can be one of them")
	}
	if err := c.validateMore(); err != nil {
		return err
	}
	for i, replica := range c.Replicas {
		dsn, err := parseDSN(replica)
		if err == nil {
			err = c.checkDatabase(dsn)
		}
		if err != nil {
			return setting.Errorf("replica", "replica: the DSN number %d: %w", i+1, err)
		}
	}
	for _, file := range c.ReplicaFiles {
		if file == "" {
			return setting.Errorf("replica_file", "replica_file has an empty name")
		}
	}
	if c.DSN == "" {
		return nil
	}
	dsn, err := parseDSN(c.DSN)
	if err == nil {
		err = c.checkDatabase(dsn)
	}
	return setting.Of("dsn", err)
}

// validateMore checks the DSNs of further servers.
func (c *Config) validateMore() error {
	for _, file := range c.MoreDSNFiles {
		if file == "" || file == c.DSNFile {
			return setting.Errorf("dsn_file", "dsn_file has an empty name, or one twice: name a file for each server")
		}
	}
	seen := make(map[string]bool)
	for i, more := range append([]string{c.DSN}, c.MoreDSNs...) {
		if i == 0 && len(c.MoreDSNs) == 0 {
			return nil
		}
		dsn, err := parseDSN(more)
		if err != nil {
			return setting.Errorf("dsn", "dsn number %d of %d: %w; quote a DSN that has spaces in it", i+1, len(c.MoreDSNs)+1, err)
		}
		if err := c.checkDatabase(dsn); err != nil {
			return setting.Errorf("dsn", "dsn number %d: %w", i+1, err)
		}
		address := dsn.Net + " " + dsn.Addr
		if seen[address] {
			return setting.Errorf("dsn", "dsn number %d: the server %s is named twice: name each server of the cluster once", i+1, dsn.Addr)
		}
		seen[address] = true
	}
	return nil
}

// checkDatabase makes sure that the table's database is known.
func (c *Config) checkDatabase(dsn *mysql.Config) error {
	table, err := parseTable(c.table())
	if err != nil {
		return setting.Of("table", err)
	}
	if table.schema == "" && dsn.DBName == "" {
		return errors.New("no database: append its name to the dsn, as in tcp(host:3306)/database, " +
			"or give the table as database.table")
	}
	return nil
}

// sources are where the DSNs come from.
func (c *Config) sources() ([]source, error) {
	files, err := c.tlsFiles()
	all := []source{{dsn: c.DSN, file: c.DSNFile, tls: files}}
	for _, dsn := range c.MoreDSNs {
		all = append(all, source{dsn: dsn, tls: files})
	}
	for _, file := range c.MoreDSNFiles {
		all = append(all, source{file: file, tls: files})
	}
	return all, setting.Of("tls_ca", err)
}

// databases are those that files with DSNs name now.
func (c *Config) databases() (names []string) {
	for _, file := range slices.Concat([]string{c.DSNFile}, c.MoreDSNFiles, c.ReplicaFiles) {
		names = append(names, databaseIn(file))
	}
	return names
}

func (c *Config) validateLimits() error {
	limits := []struct {
		option string
		value  int64
	}{
		{"query_timeout", int64(c.QueryTimeout)},
		{"max_open_conns", int64(c.MaxOpenConns)},
		{"max_idle_conns", int64(c.MaxIdleConns)},
		{"conn_max_lifetime", int64(c.ConnMaxLifetime)},
		{"conn_max_idle_time", int64(c.ConnMaxIdleTime)},
	}
	for _, limit := range limits {
		if limit.value < 0 {
			return setting.Errorf(limit.option, "%s is negative; leave it out for the default", limit.option)
		}
	}
	if c.MaxIdleConns > c.limits().maxOpen {
		return setting.Errorf("max_idle_conns", "max_idle_conns is %d, but max_open_conns allows no more than %d",
			c.MaxIdleConns, c.limits().maxOpen)
	}
	return nil
}

func (c *Config) table() string { return orDefault(c.Table, DefaultTable) }

func (c *Config) primaryKeyField() string {
	return orDefault(c.PrimaryKeyField, DefaultPrimaryKeyField)
}

// TimeLimit is how long a request waits for MySQL: QueryTimeout, or its default.
func (c *Config) TimeLimit() time.Duration {
	if len(c.MoreDSNs)+len(c.MoreDSNFiles) > 0 {
		return orDefault(time.Duration(c.QueryTimeout), DefaultClusterTimeout)
	}
	return orDefault(time.Duration(c.QueryTimeout), DefaultQueryTimeout)
}

// limits returns the limits of the pool, with the defaults filled in.
func (c *Config) limits() poolLimits {
	maxOpen := orDefault(c.MaxOpenConns, DefaultMaxOpenConns)
	return poolLimits{
		maxOpen:     maxOpen,
		maxIdle:     orDefault(c.MaxIdleConns, maxOpen),
		maxLifetime: orDefault(time.Duration(c.ConnMaxLifetime), DefaultConnMaxLifetime),
		maxIdleTime: orDefault(time.Duration(c.ConnMaxIdleTime), DefaultConnMaxIdleTime),
		query:       c.TimeLimit(),

		readAfterWrite: c.ReadAfterWrite,
		identifies:     c.Follow != nil,
	}
}

// Location is the time zone of times in the database, by USE_TZ and TIME_ZONE.
func (c *Config) Location() (*time.Location, error) { return c.location() }

// location is the time zone in which last_login is written.
func (c *Config) location() (*time.Location, error) {
	// TIME_ZONE may be set without effect, as in Django's settings.
	if c.UseTZ == nil || *c.UseTZ {
		return time.UTC, nil
	}
	if c.TimeZone == "" {
		return time.Local, nil
	}
	location, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return nil, setting.Errorf("time_zone", "time_zone: %w; give a name such as Europe/Paris, "+
			"and see that this host has the time zone database (tzdata)", err)
	}
	return location, nil
}

func orDefault[T comparable](value, fallback T) T {
	var unset T
	if value == unset {
		return fallback
	}
	return value
}
