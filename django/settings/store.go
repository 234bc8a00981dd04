package settings

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// store writes where the users are.
func (b *block) store() error {
	dsn, err := b.dsn()
	if err != nil {
		return err
	}
	b.option("userstore mysql", "{")
	b.lines = append(b.lines, "\t\tdsn "+dsn)
	if err := b.table(); err != nil {
		return err
	}
	b.option("}")
	return nil
}

// storeWord writes an option of the store.
func (b *block) storeWord(option, value string) error {
	quoted, err := quote(value)
	if err != nil {
		return problem("AUTH_USER_MODEL", "%s %q: %w: make a view with other names", option, value, err)
	}
	b.lines = append(b.lines, "\t\t"+option+" "+quoted)
	return nil
}

// table writes what the table and its columns are called.
func (b *block) table() error {
	const setting = "AUTH_USER_MODEL"
	if routers, ok := b.settings["DATABASE_ROUTERS"].([]any); ok && len(routers) > 0 && b.user == nil {
		b.note("DATABASE_ROUTERS", "the users may be in another database than the default one, which was assumed")
	}
	if b.user != nil {
		return b.userModel()
	}
	model, err := b.text(setting)
	if err != nil {
		return err
	}
	if model == "" || model == "auth.User" {
		return nil
	}
	app, class, ok := strings.Cut(model, ".")
	if !ok || app == "" || class == "" {
		return problem(setting, "it must be written as app.Model")
	}
	table := strings.ToLower(app + "_" + class)
	b.note(setting, "that the table is called %q, and its columns as in auth_user, was assumed: compare db_table and db_column of the model, or give the JSON that the script prints", table)
	return b.storeWord("table", table)
}

// userModel writes what Script has told of the model.
func (b *block) userModel() error {
	const setting = "AUTH_USER_MODEL"
	if b.user.Table == "" {
		return problem(setting, "the JSON has no table of users")
	}
	if b.user.Table != "auth_user" {
		if err := b.storeWord("table", tableName(b.user.Table)); err != nil {
			return err
		}
	}
	if err := b.columns(); err != nil {
		return err
	}
	switch b.user.Manager {
	case "", "UserManager", "BaseUserManager", "Manager":
	default:
		b.note(setting, "Django finds users by %s. If that hides some rows, such as those of deleted users, the gateway would let them in: make a view without them, and name it as the table", strconv.Quote(b.user.Manager))
	}
	return nil
}

// tableName writes a name that may have a dot in it.
func tableName(name string) string {
	if strings.ContainsAny(name, ".`") {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return name
}

// columns writes the columns that are called differently, or missing.
func (b *block) columns() error {
	const setting = "AUTH_USER_MODEL"
	field, err := b.text("SESAME_PRIMARY_KEY_FIELD")
	if err != nil {
		return err
	}
	key := b.user.Columns["primary_key"]
	if key == nil {
		return problem("SESAME_PRIMARY_KEY_FIELD", "the user model has no such field")
	}
	elsewhere := false
	if isPK := field == "" || field == "pk"; !isPK && key.Column != field {
		if err := b.storeWord("primary_key", key.Column); err != nil {
			return err
		}
	}
	for _, name := range []string{"primary_key", "password", "last_login", "is_active", "email", "username"} {
		column := b.user.Columns[name]
		if column != nil && column.Table != "" && column.Table != b.user.Table {
			elsewhere = true
		}
		switch {
		case name == "primary_key":
		case column == nil:
			b.lines = append(b.lines, "\t\t"+name+" -")
		case column.Column != name:
			if err := b.storeWord(name, column.Column); err != nil {
				return err
			}
		}
	}
	if elsewhere {
		b.note(setting, "the model inherits from another one with a table of its own: its columns are in several tables. Make a view that joins them, and name that as the table")
	}
	if b.user.Columns["is_active"] == nil {
		b.note(setting, "the model has no field is_active: every user may log in")
	}
	if key.Type != "" && !knownFields[key.Type] && b.settings["SESAME_PACKER"] == nil {
		b.note("SESAME_PRIMARY_KEY_FIELD", "django-sesame has no packer for a %s, and makes no tokens", strconv.Quote(key.Type))
	}
	return nil
}

// knownFields are those for which django-sesame has a packer.
var knownFields = map[string]bool{
	"SmallAutoField": true, "SmallIntegerField": true, "PositiveSmallIntegerField": true,
	"AutoField": true, "IntegerField": true, "PositiveIntegerField": true,
	"BigAutoField": true, "BigIntegerField": true, "PositiveBigIntegerField": true,
	"UUIDField": true, "BinaryField": true, "CharField": true, "TextField": true,
}

// database is what DATABASES says of the default one.
type database struct {
	settings, options pyDict
}

// get returns a setting, or the option that overrides it.
func (d database) get(name string, options ...string) any {
	for _, option := range options {
		if value := d.options[option]; value != nil {
			return value
		}
	}
	return d.settings[name]
}

// text returns a setting that is a string or a number.
func (d database) text(name string, options ...string) (string, error) {
	switch value := d.get(name, options...).(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case int64:
		return strconv.FormatInt(value, 10), nil
	case pyCall:
		// PosixPath('/run/mysqld/mysqld.sock')
		if len(value.args) == 1 {
			if path, ok := value.args[0].(string); ok {
				return path, nil
			}
		}
	}
	return "", problem("DATABASES['default']['"+name+"']", "it must be a string")
}

// dsn writes the default database as Go's driver for MySQL does, quoted.
func (b *block) dsn() (string, error) {
	databases, ok := b.settings["DATABASES"].(pyDict)
	if !ok {
		return "", problem("DATABASES", "it isn't there, or can't be read; give the output of diffsettings --all")
	}
	settings, ok := databases["default"].(pyDict)
	if !ok {
		return "", problem("DATABASES", "there is no default database in it")
	}
	d := database{settings: settings}
	d.options, _ = settings["OPTIONS"].(pyDict)
	engine, err := d.text("ENGINE")
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(engine, ".mysql") && engine != "mysql.connector.django" {
		return "", problem("DATABASES['default']['ENGINE']", "the users are in %q, and the gateway reads them from MySQL or MariaDB only", engine)
	}
	b.noteOptions(d)
	return b.formatDSN(d)
}

func (b *block) formatDSN(d database) (string, error) {
	user, err := d.text("USER", "user")
	if err != nil {
		return "", err
	}
	name, err := d.text("NAME", "db", "database")
	if err != nil {
		return "", err
	}
	address, err := b.address(d)
	if err != nil {
		return "", err
	}
	password, _ := d.get("PASSWORD", "passwd", "password").(secret)
	hasPassword := password.kind != "" && password.kind != "NoneType"
	if hasPassword && password.kind != "str" {
		b.note("DATABASES['default']['PASSWORD']", "it isn't a plain string: set %s to what the server takes", envDBPassword)
	}
	if name == "" {
		return "", problem("DATABASES['default']['NAME']", "it is empty")
	}
	var parameters []string
	if tls := b.tls(d); tls != "" {
		parameters = append(parameters, "tls="+tls)
	}
	rest := "@" + address + "/" + url.PathEscape(name)
	if len(parameters) > 0 {
		rest += "?" + strings.Join(parameters, "&")
	}
	quoted, err := quote(user + rest)
	if isMisread := err != nil || strings.Contains(user, ":"); isMisread {
		// The driver, or Caddy, would take a part of it for something else.
		b.note("DATABASES", "its parts can't be written in a Caddyfile as they are: set %s to the whole of it, user:password@%s/database", envDSN, networkOf(address))
		return b.secret(envDSN, "DATABASES['default']"), nil
	}
	if !hasPassword {
		return quoted, nil
	}
	return quoteWord(user + ":" + b.secret(envDBPassword, "DATABASES['default']['PASSWORD']") + rest)
}

// networkOf is the form of an address.
func networkOf(address string) string {
	if strings.HasPrefix(address, "unix") {
		return "unix(/path/to/socket)"
	}
	return "tcp(host:3306)"
}

// defaultSocket is where MySQL's client library looks for a server on this
// machine, on Debian and most others.
const defaultSocket = "/run/mysqld/mysqld.sock"

// address writes the server's address.
func (b *block) address(d database) (string, error) {
	host, err := d.text("HOST", "host")
	if err != nil {
		return "", err
	}
	port, err := d.text("PORT", "port")
	if err != nil {
		return "", err
	}
	socket, err := d.text("OPTIONS", "unix_socket")
	if err != nil || d.options["unix_socket"] == nil {
		socket = ""
	}
	if strings.HasPrefix(host, "/") {
		socket = host
	}
	if socket != "" {
		return "unix(" + socket + ")", nil
	}
	if port == "" || port == "0" {
		port = "3306"
	}
	if isElsewhere := host != "" && host != "localhost" && !strings.HasPrefix(host, "127.") && host != "::1"; isElsewhere && b.tls(d) == "" {
		b.note("DATABASES['default']['OPTIONS']", "the connection isn't encrypted, and password hashes travel on it: add ?tls=true to the dsn if the server can do TLS")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", problem("DATABASES['default']['PORT']", "%q is no port", port)
	}
	if host == "" || host == "localhost" {
		b.note("DATABASES['default']['HOST']", "Django reaches the server on its own machine, through a Unix socket where it can. tcp(127.0.0.1:%s) was written; if the user may come by the socket only, write unix(%s), and if Caddy runs on another machine, that of the server", port, defaultSocket)
		host = "127.0.0.1"
	}
	return "tcp(" + net.JoinHostPort(strings.Trim(host, "[]"), port) + ")", nil
}

// tls is the parameter for what OPTIONS says of TLS, or empty.
func (b *block) tls(d database) string {
	const setting = "DATABASES['default']['OPTIONS']"
	mode, _ := d.options["ssl_mode"].(string)
	ssl, hasSSL := d.options["ssl"]
	if disabled, _ := d.options["ssl_disabled"].(bool); disabled {
		return ""
	}
	if on, isBool := ssl.(bool); isBool && !on || ssl == nil {
		hasSSL = false
	}
	files, _ := ssl.(pyDict)
	_, hasCA := files["ca"]
	for _, option := range []string{"ssl_ca", "ssl_capath"} {
		hasCA = hasCA || d.options[option] != nil
	}
	hasClientCertificate := files["cert"] != nil || d.options["ssl_cert"] != nil
	if hasClientCertificate {
		b.note(setting, "Django shows the server a certificate of its own, which the gateway can't: create a database user that needs none")
	}
	if hasCA {
		b.note(setting, "Django checks the server's certificate against a file. With tls=true the system's authorities count: add that file's to them")
	}
	switch strings.ToUpper(mode) {
	case "DISABLED":
		return ""
	case "PREFERRED":
		return "preferred"
	case "REQUIRED":
		if !hasCA {
			b.note(setting, "ssl_mode is REQUIRED, which encrypts, but for any server that answers: so does tls=skip-verify. tls=true is better")
			return "skip-verify"
		}
	case "VERIFY_CA":
		b.note(setting, "ssl_mode is VERIFY_CA; tls=true checks the server's name as well")
	}
	if hasSSL || hasCA || hasClientCertificate || mode != "" {
		return "true"
	}
	return ""
}

// noteOptions is about options that change what Django reads.
func (b *block) noteOptions(d database) {
	if d.options["read_default_file"] != nil || d.options["read_default_group"] != nil {
		b.note("DATABASES['default']['OPTIONS']", "read_default_file: what isn't in DATABASES is read from that file. Complete the dsn from it: user, password, host, port and database")
	}
	if zone, ok := d.settings["TIME_ZONE"].(string); ok && zone != "UTC" {
		b.note("DATABASES['default']['TIME_ZONE']", "the database holds times of the zone %s, which the gateway would take for UTC: tokens with one_time won't be accepted, and last_login is written in UTC", strconv.Quote(zone))
	}
}

// String keeps a secret from being shown by accident.
func (s secret) String() string { return fmt.Sprintf("secret of type %q", s.kind) }
