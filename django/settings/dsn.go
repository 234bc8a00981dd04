package settings

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// database is what DATABASES says of one of them.
type database struct {
	alias             string
	settings, options pyDict
}

func newDatabase(alias string, settings pyDict) *database {
	d := &database{alias: alias, settings: settings}
	d.options, _ = settings["OPTIONS"].(pyDict)
	return d
}

// label is how messages call a setting of the database.
func (d *database) label(names ...string) string {
	label := "DATABASES['" + d.alias + "']"
	for _, name := range names {
		label += "['" + name + "']"
	}
	return label
}

// get returns a setting, or the option that overrides it, and where it is.
func (d *database) get(name string, options ...string) (value any, label string) {
	for _, option := range options {
		if value := d.options[option]; value != nil {
			return value, d.label("OPTIONS", option)
		}
	}
	return d.settings[name], d.label(name)
}

// text returns a setting that is a string or a number.
func (d *database) text(name string, options ...string) (string, error) {
	value, label := d.get(name, options...)
	switch value := value.(type) {
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
	return "", problem(label, "it must be a string")
}

// option returns an option that is text, or empty.
func (d *database) option(name string) string {
	if d.options[name] == nil {
		return ""
	}
	text, _ := d.text("", name)
	return text
}

// checkEngine reports a database that isn't MySQL.
func (d *database) checkEngine() error {
	engine, err := d.text("ENGINE")
	if err != nil {
		return err
	}
	if !strings.HasSuffix(engine, ".mysql") && engine != "mysql.connector.django" {
		return problem(d.label("ENGINE"), "the users are in %q, and the gateway reads them from MySQL or MariaDB only", engine)
	}
	return nil
}

// isPassword reports whether a database has a password, and tells where.
func (d *database) password() (password secret, label string, isSet bool) {
	value, label := d.get("PASSWORD", "passwd", "password")
	password, _ = value.(secret)
	if d.options["read_default_file"] != nil {
		label += ", or the file of read_default_file"
	}
	return password, label, password.kind != "" && password.kind != "NoneType"
}

// dsnNames are the environment variables for the secrets of a database.
type dsnNames struct{ password, dsn string }

// dsn writes the address of a database as Go's driver for MySQL does, quoted.
func (b *block) dsn(d *database, names dsnNames, tls *tlsOptions) (string, error) {
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
	if isElsewhere := d.options["read_default_file"] != nil && d.options["read_default_file_read"] == nil; isElsewhere || name == "" {
		if !isElsewhere {
			return "", problem(d.label("NAME"), "it is empty")
		}
		b.note(d.label("OPTIONS", "read_default_file"), "what isn't in DATABASES is read from that file: set %s to user:password@%s/database, completed from it", names.dsn, networkOf(address))
		return b.secret(names.dsn, d.label()), nil
	}
	password, label, hasPassword := d.password()
	if hasPassword && password.kind != "str" {
		b.note(label, "it isn't a plain string: set %s to what the server takes", names.password)
	}
	rest := "@" + address + "/" + url.PathEscape(name)
	if tls.parameter != "" {
		rest += "?tls=" + tls.parameter
	}
	quoted, err := quote(user + rest)
	if isMisread := err != nil || strings.Contains(user, ":"); isMisread {
		// The driver, or Caddy, would take a part of it for something else.
		b.note(d.label(), "its parts can't be written in a Caddyfile as they are: set %s to the whole of it, user:password@%s/database", names.dsn, networkOf(address))
		return b.secret(names.dsn, d.label()), nil
	}
	if !hasPassword {
		return quoted, nil
	}
	return quoteWord(user + ":" + b.secret(names.password, label) + rest)
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

// socket is the Unix socket of a database, or empty.
func (d *database) socket() string {
	if host, _ := d.text("HOST", "host"); strings.HasPrefix(host, "/") {
		return host
	}
	return d.option("unix_socket")
}

// address writes the server's address.
func (b *block) address(d *database) (string, error) {
	host, err := d.text("HOST", "host")
	if err != nil {
		return "", err
	}
	port, err := d.text("PORT", "port")
	if err != nil {
		return "", err
	}
	if socket := d.socket(); socket != "" {
		return "unix(" + socket + ")", nil
	}
	if port == "" || port == "0" {
		port = "3306"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", problem(d.label("PORT"), "%q is no port", port)
	}
	if host == "" || host == "localhost" {
		b.note(d.label("HOST"), "Django reaches the server on its own machine, through a Unix socket where it can. tcp(127.0.0.1:%s) was written; if the user may connect through the socket only, write unix(%s), and if Caddy runs on another machine, that of the server", port, defaultSocket)
		host = "127.0.0.1"
	}
	return "tcp(" + net.JoinHostPort(strings.Trim(host, "[]"), port) + ")", nil
}

// isLocal reports whether connections stay on this machine.
func (d *database) isLocal() bool {
	host, _ := d.text("HOST", "host")
	return d.socket() != "" || host == "" || host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// tlsOptions are what connections with TLS need.
type tlsOptions struct {
	parameter     string // of the DSN
	ca, cert, key string // names of files
}

// tls is what OPTIONS says of TLS.
func (b *block) tls(d *database) *tlsOptions {
	files, _ := d.options["ssl"].(pyDict)
	file := func(name string) string {
		text, _ := files[name].(string)
		return text
	}
	found := &tlsOptions{}
	for _, of := range []struct {
		to   *string
		name string
	}{{&found.ca, "ca"}, {&found.cert, "cert"}, {&found.key, "key"}} {
		if *of.to = file(of.name); *of.to == "" {
			*of.to = d.option("ssl_" + of.name)
		}
	}
	mode := strings.ToUpper(d.option("ssl_mode"))
	if disabled, _ := d.options["ssl_disabled"].(bool); disabled || mode == "DISABLED" {
		return b.checkPlain(d, new(tlsOptions))
	}
	if d.socket() != "" {
		return new(tlsOptions) // it doesn't leave this machine
	}
	directory := file("capath") + d.option("ssl_capath")
	if found.ca == "" && directory != "" {
		b.note(d.label("OPTIONS"), "Django reads certificates of authorities from the directory %q. The gateway reads them from one file: name it with tls_ca in userstore", directory)
	}
	if found.cert != "" && found.key == "" {
		found.key = found.cert
	}
	b.noteKey(d, files)
	if found.ca != "" || found.cert != "" {
		b.note(d.label("OPTIONS"), "the gateway also checks that the server's certificate is for the host in the dsn; if it is for another name, write that in tls_server_name")
		b.checkPaths(d, found)
		return found
	}
	_, isDict := d.options["ssl"].(pyDict)
	isOn, _ := d.options["ssl"].(bool)
	switch {
	case mode == "PREFERRED":
		found.parameter = "preferred"
	case mode == "REQUIRED" && directory == "":
		b.note(d.label("OPTIONS", "ssl_mode"), "REQUIRED encrypts without a check of the server's certificate, and so does tls=skip-verify. tls=true is better")
		found.parameter = "skip-verify"
	case mode == "VERIFY_CA":
		b.note(d.label("OPTIONS", "ssl_mode"), "it is VERIFY_CA; tls=true checks the server's name as well")
		found.parameter = "true"
	case mode != "" || isDict || isOn || directory != "":
		found.parameter = "true"
	}
	return b.checkPlain(d, found)
}

// checkPlain warns of a connection that isn't encrypted.
func (b *block) checkPlain(d *database, found *tlsOptions) *tlsOptions {
	if found.parameter == "" && !d.isLocal() {
		b.note(d.label("OPTIONS"), "the connection isn't encrypted, and password hashes travel on it: add ?tls=true to the dsn if the server can do TLS")
	}
	return found
}

// noteKey is about keys that are encrypted.
func (b *block) noteKey(d *database, files pyDict) {
	hasPassphrase := func(of pyDict) bool {
		return slices.ContainsFunc([]string{"passphrase", "password", "ssl_key_password", "ssl_passphrase"}, func(name string) bool {
			value, ok := of[name].(secret)
			return ok && value.kind != "" && value.kind != "NoneType"
		})
	}
	options := pyDict{"ssl_key_password": d.options["ssl_key_password"], "ssl_passphrase": d.options["ssl_passphrase"]}
	if hasPassphrase(files) || hasPassphrase(options) {
		b.note(d.label("OPTIONS"), "the key of the client certificate is encrypted, and the gateway can't decrypt it: write it to a file without a passphrase that only Caddy can read, and name that in tls_key")
	}
}

// checkPaths is about files that Caddy would look for elsewhere.
func (b *block) checkPaths(d *database, files *tlsOptions) {
	for _, path := range []string{files.ca, files.cert, files.key} {
		if path != "" && !strings.HasPrefix(path, "/") {
			b.note(d.label("OPTIONS"), "%q is looked for in the directory that Caddy is started in: write the whole path", path)
		}
	}
}
