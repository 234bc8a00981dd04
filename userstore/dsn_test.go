package userstore

import (
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// FuzzDSN reads any DSN. No error may repeat its password, and no parameter may
// change what this package relies on.
func FuzzDSN(f *testing.F) {
	for _, seed := range []string{
		"root:hush-hush@tcp(127.0.0.1:3306)/app", "root:hush-hush@unix(/run/mysqld/mysqld.sock)/app?tls=skip-verify", "root:hush-hush@/app", "root:hush:hush@nowhere", "/?:hush@", "root:x?hush-hush@tcp(db)/app",
		"root:hush-hush@udp(x)/y", "root:hush-hush@tcp(db/app", "root:hush-hush/app", "root:hush-hush@tcp(db)/a%zz", "hush-hush", "/", "", "@/",
		"root:hush-hush@tcp([::1]:3306)/app?multiStatements=true&interpolateParams=true&clientFoundRows=true&allowAllFiles=true&parseTime=true&columnsWithAlias=true",
		"root:hush-hush@tcp(db)/app?timeout=30s&readTimeout=1ms&charset=latin1&collation=latin1_swedish_ci&loc=Europe%2FParis&sql_mode=ANSI&autocommit=0",
		"\ufeffroot:hush-hush@tcp(db)/app", "jdbc:mysql://root:hush-hush@db/app", "mysql://root:hush-hush@db/app", "root:hush-hush@tcp(db)/a\nb", "root:hush-hush\x00@tcp(db)/app", "DSN=root:hush-hush@tcp(db)/app",
		`"root:hush-hush@tcp(db)/app"`, " root:hush-hush@tcp(db)/app", "root:hush-hush@db/app", "root:hush-hush@tcp(db)/app/users", "root:hush-hush@unix(app)/app", "root:hush-hush@tcp(db)/app&a=b", "tcp(db)/app",
		"root:hush-hush@tcp(http://db)/app", "root:hush-hush@tcp(/run/mysqld.sock)/app", "root:hush-hush@tcp(a,b)/app", "root:hush-hush@tcp(d b)/app", "root:hush-hush@tcp(d\x01b)/app", "root:hush-hush@tcp(::1:3306)/app",
		"root:hush-hush@tcp(2001:db8::1)/app", "root:hush-hush@tcp(a:b:c)/app", "root:hush-hush@tcp([::1)/app", "root:hush-hush@tcp(db:+1)/app", "root:hush-hush@tcp(:1)/app", "root:hush-hush@tcp([fe80::1%eth0]:1)/app",
		"root:hush-hush@tcp([fe80::1%%]:1)/app", "root:hush-hush@tcp([::1%eth0]:1)/app", "root:hush-hush@tcp(a%b:1)/app", "root:hush-hush@tcp(db)/app?&tls", "root:hush-hush@tcp(db)/app?tls=", "root:hush-hush@tcp(db)/app?loc=Nowhere",
		"root:hush-hush@tcp(db)/app?maxAllowedPacket=x", "root:hush-hush@tcp(db)/app?parseTime=maybe", "root:hush-hush@tcp(db)/app?sslmode=require", "root:hush-hush@tcp(db)/app?TLS=true", "root:hush-hush@tcp(db)/app?a-b=c",
		"root:hush-hush@tcp(db)/app?connectionAttributes=a:b", "root:hush-hush@tcp(db)/app?tls=custom", "root:hush-hush@tcp(db)/app?timeout=hush-hush-2", "root:hush-hush@tcp(db)/app?serverPubKey=x&connectionAttributes=a:b",
	} {
		f.Add(seed)
	}
	limits := poolLimits{query: 2 * time.Second, maxOpen: 1}
	f.Fuzz(func(t *testing.T, dsn string) {
		account := dsn[:max(strings.LastIndexByte(dsn, '@'), 0)]
		_, password, _ := strings.Cut(account, ":")
		wantNoPassword := func(err error) {
			t.Helper()
			// A marked password that doesn't occur in the rest of the DSN.
			if err != nil && strings.Contains(password, "hush") && strings.Count(dsn, password) == 1 && strings.Contains(err.Error(), password) {
				t.Errorf("the error repeats the password: %v", err)
			}
		}
		wantNoPassword((&Config{DSN: dsn}).Validate())
		cfg, err := parseDSN(dsn)
		if err != nil {
			wantNoPassword(err)
			return
		}
		if err := force(cfg, limits, &driverLog{}); err != nil {
			wantNoPassword(err)
			return
		}
		if _, err := mysql.NewConnector(cfg); err != nil {
			return // newPool doesn't check that again
		}
		if cfg.ParseTime || cfg.MultiStatements || cfg.InterpolateParams || cfg.AllowAllFiles || cfg.ClientFoundRows || cfg.ColumnsWithAlias || cfg.Loc != time.UTC {
			t.Errorf("%q changes what must not change", dsn)
		}
		for _, timeout := range []time.Duration{cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout} {
			if timeout <= 0 || timeout > limits.query {
				t.Errorf("%q makes a timeout %v", dsn, timeout)
			}
		}
	})
}
