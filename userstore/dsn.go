package userstore

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// dsnForm is how a DSN is written.
const dsnForm = "user:password@tcp(host:3306)/database"

// errDSN replaces errors of the driver that may quote the DSN.
var errDSN = errors.New("the dsn is not one that go-sql-driver/mysql understands: " +
	"write " + dsnForm + ", " +
	"and a tls parameter only as true, false, skip-verify or preferred")

// parseDSN is mysql.ParseDSN with other errors: the driver's quote text that
// it can't read, which may be the password. These quote only the names of
// parameters.
func parseDSN(dsn string) (*mysql.Config, error) {
	if err := checkForm(dsn); err != nil {
		return nil, err
	}
	if strings.TrimSpace(dsn) != dsn {
		return nil, errors.New("the dsn begins or ends with white space: remove it")
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		if err := checkValues(dsn); err != nil {
			return nil, err
		}
		if hasSlash(dsn) {
			return nil, errors.New("the dsn has a slash in the name of the database, or in a parameter: write " + dsnForm +
				", name the table with the option table, and write a slash in a parameter as %2F")
		}
		if host := withoutParentheses.FindString(dsn); host != "" {
			return nil, errors.New("the dsn has a host without tcp(): write " + dsnForm)
		}
		// These errors of the driver are constant texts.
		if strings.HasPrefix(err.Error(), "invalid DSN: ") {
			return nil, fmt.Errorf("the dsn can't be read: %w; write %s", err, dsnForm)
		}
		return nil, errDSN
	}
	// Without an @, the driver takes user and password for the network, and
	// would print them when it can't connect.
	if err := checkValues(dsn); err != nil {
		return nil, err
	}
	switch cfg.Net {
	case "tcp", "tcp4", "tcp6":
		if err := checkAddress(cfg.Addr, strings.Contains(dsn, "([")); err != nil {
			return nil, err
		}
	case "unix":
		if !strings.HasPrefix(cfg.Addr, "/") && !strings.HasPrefix(cfg.Addr, "@") && !strings.HasPrefix(cfg.Addr, ".") {
			return nil, errors.New("the dsn has no path of a socket in unix(): write user:password@unix(/path/to/socket)/database, " +
				"or for a host " + dsnForm)
		}
	default:
		return nil, errors.New("the dsn's network must be tcp or unix: " +
			"write " + dsnForm + ", or user:password@unix(/path/to/socket)/database")
	}
	if strings.ContainsAny(cfg.DBName, "&=#") {
		return nil, errors.New("the dsn has parameters without a question mark: begin them with one, as in /database?tls=true")
	}
	if cfg.User == "" && !strings.HasPrefix(dsn, "@") { // which asks for the account without a name
		return nil, errNoUser
	}
	for name := range cfg.Params {
		if err := checkParameter(name); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// checkForm finds texts in other forms that are mistaken for a DSN.
func checkForm(dsn string) error {
	scheme, _, isURL := strings.Cut(dsn, "://")
	switch {
	case strings.HasPrefix(dsn, "\ufeff"), strings.HasPrefix(dsn, "\xff\xfe"), strings.HasPrefix(dsn, "\xfe\xff"):
		return errors.New("the dsn begins with a byte order mark (BOM): remove it, or save the file as UTF-8 without a BOM")
	case isURL && strings.HasPrefix(dsn, "jdbc:"):
		return errors.New("the dsn is a JDBC URL: write it as " + dsnForm)
	case strings.ContainsAny(strings.TrimSpace(dsn), "\r\n"):
		return errors.New("the dsn has several lines: it must be one, written as " + dsnForm)
	case strings.ContainsRune(dsn, 0):
		return errors.New("the dsn has zero bytes in it: save the file as UTF-8, not as UTF-16")
	case isAssignment.MatchString(dsn):
		return errors.New("the dsn begins with the name of a variable and an equals sign: leave them out, and write " + dsnForm)
	case isURL && !strings.ContainsAny(scheme, ":@/("):
		return errors.New("the dsn is written as a URL: write it as " + dsnForm + ", " +
			"with tcp() around host and port, and without percent-encoding in the password")
	case len(dsn) > 1 && (dsn[0] == '"' || dsn[0] == '\'') && dsn[len(dsn)-1] == dsn[0]:
		return errors.New("the dsn is in quotes, which are taken for a part of it: remove them")
	}
	return nil
}

// checkAddress finds addresses to which no connection is possible. The driver
// has already added missing brackets and ports.
func checkAddress(addr string, inBrackets bool) error {
	host, port, err := net.SplitHostPort(addr)
	switch {
	case strings.Contains(addr, "://"):
		return errors.New("the dsn has a URL in tcp(): write host and port alone, as in tcp(host:3306)")
	case strings.HasPrefix(addr, "/"):
		return errors.New("the dsn has the path of a socket in tcp(): write user:password@unix(/path/to/socket)/database")
	case strings.Contains(addr, ","):
		return errors.New("the dsn has a comma in its address: write one host and port, as in tcp(host:3306), " +
			"and name further servers with the option replica")
	case strings.ContainsFunc(addr, unicode.IsSpace):
		return errors.New("the dsn has a space in its address: write host and port as in tcp(host:3306)")
	case strings.ContainsFunc(addr, unicode.IsControl):
		return errors.New("the dsn has a control character in its address: write host and port as in tcp(host:3306)")
	}
	if err == nil && strings.Contains(host, ":") && !inBrackets && mayHavePort(host) {
		return errors.New("the dsn has an IPv6 address without brackets: write it as in tcp([2001:db8::1]:3306)")
	}
	if err != nil {
		return errors.New("the dsn's address can't be read: write host and port as in tcp(host:3306)")
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 { // it takes no sign
		return errors.New("the dsn's port isn't a number from 1 to 65535: write host and port as in tcp(host:3306)")
	}
	if host == "" {
		return errors.New("the dsn's host is missing: write host and port as in tcp(host:3306)")
	}
	if strings.Contains(host, "%") && !hasZone(host) {
		return errors.New("the dsn's host has a % in it that isn't followed by the name of a network interface: " +
			"write a link-local address as in tcp([fe80::1%eth0]:3306), and any other without it")
	}
	return nil
}

// hasZone reports whether a host is a link-local address of IPv6 with the interface
// that it is reached through. netip takes any text for the name of one.
func hasZone(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.Zone() != "" && address.IsLinkLocalUnicast() && !strings.ContainsAny(address.Zone(), "%/[]():@?")
}

// mayHavePort reports whether a text that the driver read as an IPv6 address
// may end with a port: its last group has only decimal digits, as 3306, or it
// isn't an address.
func mayHavePort(host string) bool {
	if _, err := netip.ParseAddr(host); err != nil {
		return true
	}
	last := host[strings.LastIndexByte(host, ':')+1:]
	return len(last) > 2 && strings.Trim(last, "0123456789") == ""
}

// driverParameters are the parameters of go-sql-driver/mysql, which are
// case-sensitive. The driver treats others as variables of the server.
var driverParameters = []string{
	"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords",
	"charset", "checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias", "compress", "connectionAttributes",
	"interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout", "rejectReadOnly",
	"serverPubKey", "timeTruncate", "timeout", "tls", "writeTimeout",
}

// foreignParameters are parameters of other programs, in lower case and
// without - and _, and what to write instead.
var foreignParameters = map[string]string{
	"ssl": tlsRemedy, "sslmode": tlsRemedy, "usessl": tlsRemedy, "requiressl": tlsRemedy, "sslaccept": tlsRemedy,
	"sslca": tlsRemedy, "sslcert": tlsRemedy, "sslkey": tlsRemedy, "sslcapath": tlsRemedy, "sslverifyservercert": tlsRemedy,
	"sslidentity": tlsRemedy, "verifyservercertificate": tlsRemedy, "tlsca": tlsRemedy, "tlsversion": tlsRemedy,
	"tlsmode": tlsRemedy, "skipverify": tlsRemedy,

	"characterencoding": charsetRemedy, "useunicode": charsetRemedy, "defaultcharacterset": charsetRemedy,
	"servertimezone": "remove it; the options use_tz and time_zone say how last_login is written",

	"connecttimeout": timeoutRemedy, "connectiontimeout": timeoutRemedy, "sockettimeout": timeoutRemedy,

	"allowpublickeyretrieval": "remove it; the driver asks for the key where it needs it",

	"connectionlimit": poolRemedy, "pooltimeout": poolRemedy, "maxopenconns": poolRemedy, "poolsize": poolRemedy,

	"user": accountRemedy, "username": accountRemedy, "password": accountRemedy, "passwd": accountRemedy, "pwd": accountRemedy,
	"host": accountRemedy, "hostname": accountRemedy, "port": accountRemedy, "database": accountRemedy, "db": accountRemedy, "dbname": accountRemedy,
	"socket": socketRemedy, "unixsocket": socketRemedy, "protocol": socketRemedy,
}

const (
	tlsRemedy     = "write tls=true to encrypt connections and check the server's certificate; the options tls_ca, tls_cert and tls_key name files"
	charsetRemedy = "remove it; connections always use utf8mb4"
	timeoutRemedy = "remove it; the option query_timeout limits connecting, too"
	poolRemedy    = "remove it; the options max_open_conns, max_idle_conns and query_timeout limit connections"
	accountRemedy = "write " + dsnForm
	socketRemedy  = "write user:password@unix(/path/to/socket)/database"
)

// variableName matches a name that a session variable can have, with or
// without its scope.
var variableName = regexp.MustCompile(`^(@@)?([Ss][Ee][Ss][Ss][Ii][Oo][Nn]\.)?[A-Za-z][A-Za-z0-9_]*$`)

// isNoNameByte reports whether no parameter's name has a character. Such a name may
// have a part of the password in it.
func isNoNameByte(c rune) bool {
	return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("_-.", c)
}

// checkParameter rejects a parameter that obviously isn't a variable of the
// server.
func checkParameter(name string) error {
	plain := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
	if remedy, ok := foreignParameters[plain]; ok {
		return fmt.Errorf("the dsn has the parameter %q, which is another program's: %s", name, remedy)
	}
	i := slices.IndexFunc(driverParameters, func(known string) bool { return strings.ToLower(known) == plain })
	if i >= 0 {
		return fmt.Errorf("the dsn has the parameter %q: write it as %s", name, driverParameters[i])
	}
	if variableName.MatchString(name) {
		return nil
	}
	if strings.ContainsFunc(name, isNoNameByte) {
		return errors.New("the dsn has a parameter whose name isn't one: a password with ?, & or = in front of the server's address is read so; " +
			"write " + dsnForm + ", and parameters as in ?tls=true")
	}
	return fmt.Errorf("the dsn has the parameter %q, which is neither one of go-sql-driver/mysql nor a variable of the server: "+
		"correct or remove it", name)
}

// rejectedParameter returns the error for a parameter that the server rejects.
// It doesn't quote the server's message, which repeats parts of the DSN.
func rejectedParameter(name string, number uint16) error {
	return setting.Of("dsn", misfitf("the dsn has the parameter %q, which is none of go-sql-driver/mysql, and which the server doesn't set as a session variable "+
		"(error %d): correct its name or value, with quotes around text, or remove it", name, number))
}

// force overrides settings that this package relies on, and sets limits that
// the DSN doesn't set.
func force(cfg *mysql.Config, limits poolLimits, log mysql.Logger) error {
	cfg.Logger = log
	cfg.DialFunc = dial

	// last_login is read as text and never converted.
	cfg.ParseTime = false
	cfg.Loc = time.UTC

	// Values are sent separately from statements, and each query is one
	// statement.
	cfg.MultiStatements = false
	cfg.InterpolateParams = false
	cfg.AllowAllFiles = false

	// The number of rows that an UPDATE changed, not that it matched, tells
	// whether a token was consumed.
	cfg.ClientFoundRows = false

	// Errors use the column names of the table.
	cfg.ColumnsWithAlias = false

	// They limit each piece of an answer; the deadline of wire limits the
	// whole answer.
	for _, timeout := range []*time.Duration{&cfg.Timeout, &cfg.ReadTimeout, &cfg.WriteTimeout} {
		if *timeout <= 0 || *timeout > limits.query {
			*timeout = limits.query
		}
	}

	attributes := "program_name:caddy-sesame"
	if cfg.ConnectionAttributes != "" {
		attributes += "," + cfg.ConnectionAttributes
	}
	cfg.ConnectionAttributes = attributes

	// Go strings are UTF-8, so the connection must be, too. It uses the
	// server's default collation for utf8mb4, since the DSN's collation could
	// belong to another charset.
	if err := cfg.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return fmt.Errorf("setting the connection's charset: %w", err)
	}
	return nil
}
