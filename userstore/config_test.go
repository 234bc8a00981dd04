package userstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	const dsn = "u:s3cret@tcp(localhost)/app"
	no := false
	tests := []struct {
		name string
		cfg  userstore.Config
		want string // "" is valid
	}{
		{"minimal", userstore.Config{DSN: dsn}, ""},
		{"socket", userstore.Config{DSN: "u:s3cret@unix(/run/mysqld/mysqld.sock)/app"}, ""},
		{"no DSN", userstore.Config{}, "dsn is missing"},
		{"DSN without slash", userstore.Config{DSN: "u:s3cret@tcp(localhost)"}, "missing the slash"},
		{"DSN as a URL", userstore.Config{DSN: "mysql://u:s3cret@localhost/app"}, "user:password@tcp(host:3306)"},
		{"DSN without parentheses", userstore.Config{DSN: "u:s3cret@localhost/app"}, "user:password@tcp(host:3306)"},
		{"DSN without at sign", userstore.Config{DSN: "u:s3cret/app"}, "user:password@tcp(host:3306)"},
		{"DSN without at sign but an address", userstore.Config{DSN: "u:s3cret(localhost)/app"}, "network must be tcp or unix"},
		{"DSN with a bad parameter", userstore.Config{DSN: dsn + "?tls=s3cret"}, "tls parameter"},
		{"DSN with a bad escape", userstore.Config{DSN: "u@tcp(localhost)/s3cret%zz"}, "user:password@tcp"},
		{"no database", userstore.Config{DSN: "u:s3cret@tcp(localhost)/"}, "no database"},
		{"database in table", userstore.Config{DSN: "u:s3cret@tcp(localhost)/", Table: "app.people"}, ""},
		{"three parts", userstore.Config{DSN: dsn, Table: "a.b.c"}, "more parts"},
		{"empty part", userstore.Config{DSN: dsn, Table: "a."}, "a name is missing"},
		{"open backtick", userstore.Config{DSN: dsn, Table: "`a"}, "closing backtick"},
		{"after the backtick", userstore.Config{DSN: dsn, Table: "`a`b"}, "a dot or nothing"},
		{"long name", userstore.Config{DSN: dsn, Table: strings.Repeat("é", 65)}, "at most 64"},
		{"longest name", userstore.Config{DSN: dsn, Table: strings.Repeat("é", 64)}, ""},
		{"zero byte", userstore.Config{DSN: dsn, Columns: userstore.Columns{Email: "a\x00"}}, "email: a name can't hold a zero byte"},
		{"not UTF-8", userstore.Config{DSN: dsn, PrimaryKeyField: "\xff"}, "primary_key_field: a name must be UTF-8"},
		{"no primary key", userstore.Config{DSN: dsn, Columns: userstore.Columns{PrimaryKey: "-"}}, "primary_key can't be -"},
		{"extra twice", userstore.Config{DSN: dsn, Columns: userstore.Columns{Extra: []string{"a", "A"}}}, "named twice"},
		{"extra without a name", userstore.Config{DSN: dsn, Columns: userstore.Columns{Extra: []string{""}}}, "has no name"},
		{"extra password", userstore.Config{DSN: dsn, Columns: userstore.Columns{Extra: []string{"Password"}}}, "holds the password"},
		{"extra renamed password", userstore.Config{DSN: dsn, Columns: userstore.Columns{Password: "pw", Extra: []string{"PW"}}}, "holds the password"},
		{"negative", userstore.Config{DSN: dsn, QueryTimeout: -1}, "query_timeout is negative"},
		{"idle over open", userstore.Config{DSN: dsn, MaxIdleConns: 30}, "max_idle_conns is 30"},
		{"time zone without a use", userstore.Config{DSN: dsn, TimeZone: "Europe/Paris"}, ""},
		{"time zone", userstore.Config{DSN: dsn, UseTZ: &no, TimeZone: "Europe/Paris"}, ""},
		{"unknown time zone", userstore.Config{DSN: dsn, UseTZ: &no, TimeZone: "Europe/Atlantis"}, "tzdata"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.cfg.Validate()
			if test.want != "" {
				wantError(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTimeLimit: a cluster that takes a node in answers no write for longer than a
// single server may take.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  userstore.Config
		want time.Duration
	}{
		{userstore.Config{DSN: "a"}, 2 * time.Second},
		{userstore.Config{DSN: "a", Replicas: []string{"b", "c"}}, 2 * time.Second},
		{userstore.Config{DSN: "a", MoreDSNs: []string{"b"}}, 5 * time.Second},
		{userstore.Config{DSNFile: "a", MoreDSNFiles: []string{"b"}}, 5 * time.Second},
		{userstore.Config{DSN: "a", MoreDSNs: []string{"b"}, QueryTimeout: caddy.Duration(time.Second)}, time.Second},
	} {
		if got := test.cfg.TimeLimit(); got != test.want {
			t.Errorf("%+v: %s, want %s", test.cfg, got, test.want)
		}
	}
}
