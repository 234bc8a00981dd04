package sesame_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// limitedPassword is that of limitedUser's accounts.
const limitedPassword = "pw-of-gateway"

// limitedUser makes an account that has only the given rights on the table of users,
// and returns its DSN.
func limitedUser(t *testing.T, db *database, grants ...string) string {
	t.Helper()
	const user = "gateway"
	db.mustExec(t, "DROP USER IF EXISTS '"+user+"'@'%'")
	db.mustExec(t, "CREATE USER '"+user+"'@'%' IDENTIFIED BY '"+limitedPassword+"'")
	t.Cleanup(func() { db.mustExec(t, "DROP USER IF EXISTS '"+user+"'@'%'") })
	for _, grant := range grants {
		if !strings.Contains(grant, " ON ") {
			grant += " ON django.auth_user"
		}
		db.mustExec(t, "GRANT "+grant+" TO '"+user+"'@'%'")
	}
	cfg, err := mysql.ParseDSN(db.dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.Passwd = user, limitedPassword
	return cfg.FormatDSN()
}

// checkReport is what check prints as JSON.
type checkReport struct {
	OK       bool
	Handlers []struct {
		Number   int
		Route    string
		Hosts    []string
		Findings []struct{ Check, Verdict, Text, Advice string }
	}
}

// verdicts are the verdicts of all checks, joined.
func (r *checkReport) verdict(check string) string {
	var verdicts []string
	for _, handler := range r.Handlers {
		for _, f := range handler.Findings {
			if f.Check == check {
				verdicts = append(verdicts, f.Verdict)
			}
		}
	}
	return strings.Join(verdicts, " ")
}

// checkReads and checkWrites are the rights of accounts.
const (
	checkReads  = "SELECT (id, username, email, password, is_active)"
	checkWrites = "SELECT (last_login), UPDATE (last_login)"
)

// checkCases are what check is to find.
var checkCases = []struct {
	name     string
	sql      []string // changes of the table
	grants   []string // nil for root
	options  string
	store    string
	change   func(*mysql.Config)
	status   int
	verdicts map[string]string
	want     []string // in the text
}{
	{
		name: "as it should be", grants: []string{checkReads}, options: "max_age 10m",
		verdicts: map[string]string{
			"settings": "ok", "access_log": "ok", "connection": "ok", "tls": "ok", "clock": "ok", "table": "ok", "columns": "ok",
			"packer": "ok", "primary_key": "ok", "privileges": "ok", "last_login": "ok", "time_zone": "",
		},
		want: []string{"MariaDB", "django.auth_user", "id int(11)", "LongPacker", "doesn't leave this machine", "no others"},
	},
	{
		name: "one-time, as it should be", grants: []string{checkReads, checkWrites}, options: "one_time",
		verdicts: map[string]string{"privileges": "ok", "last_login": "ok", "time_zone": "ok"},
		want:     []string{"datetime(6)", "2026-01-02T03:04:05Z"},
	},
	{
		name: "session, as it should be", grants: []string{checkReads, checkWrites}, options: "max_age 10m\nsession",
		verdicts: map[string]string{"privileges": "ok", "last_login": "ok"},
	},
	{
		name: "a cookie that isn't sent to the reserved pages", grants: []string{checkReads, checkWrites}, options: "max_age 10m\nsession {\n path /app\n}",
		verdicts: map[string]string{"session": "warn"}, want: []string{"session path /app leaves out /_sesame/", "set reserved_path /app/_sesame/"},
	},
	{
		name: "no right to write", grants: []string{checkReads, "SELECT (last_login)"}, options: "one_time", status: 1,
		verdicts: map[string]string{"privileges": "fail"},
		want:     []string{"UPDATE (`last_login`)", "GRANT SELECT (`id`, `password`, `last_login`, `is_active`, `email`, `username`), UPDATE (`last_login`) ON `django`.`auth_user` TO 'gateway'@'%'"},
	},
	{
		name: "rights that aren't needed", grants: []string{checkReads, "SELECT (last_login, first_name), UPDATE (password), DELETE", "INSERT ON django.*"}, options: "max_age 10m",
		verdicts: map[string]string{"privileges": "warn"},
		want:     []string{"SELECT (first_name)", "SELECT (last_login)", "UPDATE (password)", "DELETE on django.auth_user as a whole", "INSERT on all of django"},
	},
	{
		name: "all rights", options: "max_age 10m",
		verdicts: map[string]string{"privileges": "warn"}, want: []string{"ALL PRIVILEGES on everything", "GRANT OPTION"},
	},
	{
		name: "groups and permissions, as it should be", options: "max_age 10m", store: "groups\npermissions\nis_staff",
		grants: []string{
			checkReads, "SELECT (is_staff, is_superuser)", "SELECT (user_id, group_id) ON django.auth_user_groups", "SELECT (id, name) ON django.auth_group",
			"SELECT (user_id, permission_id) ON django.auth_user_user_permissions", "SELECT (group_id, permission_id) ON django.auth_group_permissions",
			"SELECT (id, content_type_id, codename) ON django.auth_permission", "SELECT (id, app_label) ON django.django_content_type",
		},
		verdicts: map[string]string{"privileges": "ok", "tables": "ok"},
		want:     []string{"no others", "django.auth_user_groups (user_id, group_id)", "django.django_content_type (id, app_label)"},
	},
	{
		name: "groups, with rights that aren't needed", options: "max_age 10m", store: "groups",
		grants:   []string{checkReads, "SELECT (user_id, group_id) ON django.auth_user_groups", "SELECT (id, name), INSERT ON django.auth_group"},
		verdicts: map[string]string{"privileges": "warn", "tables": "ok"},
		want:     []string{"INSERT on django.auth_group as a whole", "GRANT SELECT (`id`, `name`) ON `django`.`auth_group` TO 'gateway'@'%'"},
	},
	{
		name: "groups without rights", options: "max_age 10m", store: "groups", grants: []string{checkReads}, status: 1,
		verdicts: map[string]string{"privileges": "fail"}, want: []string{"groups: the dsn's user may not read table \"auth_user_groups\""},
	},
	{
		name: "groups of a table that refers to another column", options: "max_age 10m\nprimary_key_field username", store: "groups",
		verdicts: map[string]string{"privileges": "warn", "tables": "ok"}, want: []string{"`username`, `password`, `is_active`, `email`, `id`)"},
	},
	{
		name: "no right to the table", sql: []string{"CREATE TABLE IF NOT EXISTS other (id int)"}, grants: []string{"SELECT ON django.other"}, options: "max_age 10m", status: 1,
		verdicts: map[string]string{"privileges": "fail", "table": "", "connection": "ok"}, want: []string{"SELECT"},
	},
	{
		name: "no right to the password", grants: []string{"SELECT (id, username, email, is_active)"}, options: "max_age 10m", status: 1,
		verdicts: map[string]string{"table": "fail"}, want: []string{`"password"`, "columns that it may read"},
	},
	{
		name: "identity without braces", options: "max_age 10m\nidentity {\nX-User username\nX-Name first_name\nX-From gateway\nX-Mail {http.auth.user.email}\n}", store: "columns first_name",
		verdicts: map[string]string{"identity": "warn warn"},
		want: []string{
			"identity X-User has the value username for every user; write {http.auth.user.username} for what is in the user's row",
			"identity X-Name has the value first_name for every user",
		},
	},
	{
		name: "no such table", options: "max_age 10m", store: "table accounts_user", status: 1,
		verdicts: map[string]string{"table": "fail", "connection": "ok", "clock": "ok"}, want: []string{"accounts_user", "table option"},
	},
	{
		name: "no such column", options: "max_age 10m", store: "username login", status: 1,
		verdicts: map[string]string{"table": "fail"}, want: []string{`no column "login"`},
	},
	{
		name: "no is_active", sql: []string{"ALTER TABLE auth_user DROP is_active"}, options: "max_age 10m",
		verdicts: map[string]string{"is_active": "warn"}, want: []string{"every user may log in", "is_active -"},
	},
	{
		name: "no is_active, as configured", sql: []string{"ALTER TABLE auth_user DROP is_active"}, options: "max_age 10m", store: "is_active -",
		verdicts: map[string]string{"is_active": "ok"},
	},
	{
		name: "last_login without a fraction", sql: []string{"ALTER TABLE auth_user MODIFY last_login DATETIME NULL"}, options: "one_time", status: 1,
		verdicts: map[string]string{"last_login": "fail"}, want: []string{"microseconds", "DATETIME(6)"},
	},
	{
		name: "last_login without a fraction, for sessions", sql: []string{"ALTER TABLE auth_user MODIFY last_login DATETIME NULL"}, options: "max_age 10m\nsession",
		verdicts: map[string]string{"last_login": "warn"},
	},
	{
		name: "last_login in the future", sql: []string{"UPDATE auth_user SET last_login = UTC_TIMESTAMP() + INTERVAL 2 HOUR WHERE id = 1"}, options: "one_time",
		verdicts: map[string]string{"time_zone": "warn"}, want: []string{"in the future, by 2h0m0s", "use_tz"},
	},
	{
		name: "last_login in a zone", sql: []string{"UPDATE auth_user SET last_login = UTC_TIMESTAMP() + INTERVAL 2 HOUR WHERE id = 1"},
		options: "one_time\nuse_tz off\ntime_zone Asia/Dubai", verdicts: map[string]string{"time_zone": "ok"},
	},
	{
		name: "nobody has logged in", sql: []string{"UPDATE auth_user SET last_login = NULL"}, options: "one_time",
		verdicts: map[string]string{"time_zone": "ok"},
	},
	{
		name: "clock", options: "max_age 10m", change: func(cfg *mysql.Config) { cfg.Params = map[string]string{"timestamp": "1700000000"} },
		verdicts: map[string]string{"clock": "warn"}, want: []string{"behind the one here", "NTP"},
	},
	{
		name: "key that isn't unique", options: "max_age 10m\nprimary_key_field first_name", status: 1,
		verdicts: map[string]string{"table": "fail"}, want: []string{"isn't unique"},
	},
	{
		name: "text key", options: "max_age 10m\nprimary_key_field username",
		verdicts: map[string]string{"collation": "ok", "packer": "ok"}, want: []string{"utf8mb4_", "StrPacker"},
	},
	{
		name: "packer that is configured", options: "max_age 10m\npacker accounts.Packer\npacker_encoding LongLongPacker",
		verdicts: map[string]string{"packer": "ok"}, want: []string{"accounts.Packer, as configured", "it would be LongPacker"},
	},
	{
		name: "packer that doesn't fit", options: "max_age 10m\npacker_encoding UUIDPacker", status: 1,
		verdicts: map[string]string{"table": "fail"}, want: []string{"UUID"},
	},
	{
		name: "view", sql: []string{"CREATE OR REPLACE VIEW gateway_user AS SELECT * FROM auth_user"}, options: "max_age 10m", store: "table gateway_user",
		verdicts: map[string]string{"table": "ok", "primary_key": "ok"}, want: []string{"view django.gateway_user", "nothing makes it so"},
	},
	{
		name: "view with keys twice", sql: []string{"CREATE OR REPLACE VIEW gateway_user AS SELECT * FROM auth_user UNION ALL SELECT * FROM auth_user"},
		options: "max_age 10m", store: "table gateway_user", status: 1,
		verdicts: map[string]string{"primary_key": "fail"},
	},
	{
		name: "binlog that is off", options: "max_age 10m", store: "follow", status: 1,
		verdicts: map[string]string{"follow": "fail", "table": "ok"}, want: []string{"log_bin is off", "docs/follow.md"},
	},
	{
		name: "binlog that doesn't have changes of a view", sql: []string{"CREATE OR REPLACE VIEW gateway_user AS SELECT * FROM auth_user"},
		options: "max_age 10m", store: "table gateway_user\nfollow {\nstrict on\n}", status: 1,
		verdicts: map[string]string{"follow": "fail fail"}, want: []string{"is a view", "log_bin is off"},
	},
	{
		name: "for ever", verdicts: map[string]string{"settings": "warn"}, want: []string{"never expire", "max_age"},
	},
	{
		name: "assertions", options: "max_age 10m\nsecret_key_fallbacks older\nassertion {\naudience app\n}", verdicts: map[string]string{"assertion": "ok"},
		want: []string{"derived from secret_key; also published: "},
	},
	{
		name: "assertions without a key", options: "max_age 10m\nassertion {\naudience app\nkeys {env.TEST_NO_SUCH_KEY}\n}", status: 1,
		verdicts: map[string]string{"assertion": "fail", "connection": ""}, want: []string{"TEST_NO_SUCH_KEY"},
	},
	{
		name: "settings that can't be", options: "invalidate_on_password_change off\nmax_age 10m\nkey {env.TEST_NO_SUCH_KEY}", status: 1,
		verdicts: map[string]string{"settings": "fail", "connection": ""}, want: []string{"key: the environment variable TEST_NO_SUCH_KEY"},
	},
	{
		name: "no server", options: "max_age 10m", change: func(cfg *mysql.Config) { cfg.Addr = "127.0.0.1:1" }, status: 1,
		verdicts: map[string]string{"connection": "fail", "table": ""},
	},
	{
		name: "wrong password", grants: []string{checkReads}, options: "max_age 10m", change: func(cfg *mysql.Config) { cfg.Passwd = limitedPassword + "x" }, status: 1,
		verdicts: map[string]string{"connection": "fail"}, want: []string{"check user and password"},
	},
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		t.Cleanup(func() {
			db.mustExec(t, "DROP VIEW IF EXISTS gateway_user")
			db.mustExec(t, "DROP TABLE IF EXISTS other")
		})
		for _, test := range checkCases {
			t.Run(test.name, func(t *testing.T) {
				db.reset(t)
				db.addRights(t)
				for _, statement := range test.sql {
					db.mustExec(t, statement)
				}
				dsn := db.dsn
				if test.grants != nil {
					dsn = limitedUser(t, db, test.grants...)
				}
				if test.change != nil {
					cfg, err := mysql.ParseDSN(dsn)
					if err != nil {
						t.Fatal(err)
					}
					test.change(cfg)
					dsn = cfg.FormatDSN()
				}
				o := newOperator(t, oneSite(test.options, test.store), dsn)
				r := o.run(t, "check", "--json")
				r.wantStatus(t, test.status)
				var report checkReport
				if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
					t.Fatalf("%v in %s", err, r.stdout)
				}
				if report.OK != (test.status == 0) {
					t.Errorf("ok is %v", report.OK)
				}
				for check, want := range test.verdicts {
					if got := report.verdict(check); got != want {
						t.Errorf("%s: %q, want %q", check, got, want)
					}
				}
				text := o.run(t, "check")
				text.wantStatus(t, test.status)
				wantText(t, text.stdout, test.want...)
				if got, want := strings.Count(text.stdout, "\n"), len(report.Handlers[0].Findings)+1; got != want { // and the verdict
					t.Errorf("%d lines for %d findings:\n%s", got, want, text.stdout)
				}
				if t.Failed() {
					t.Log(text.stdout)
				}
			})
		}
	})
}

// TestCheckLooksAtTheTablesOfSchemes grants what each scheme needs, and then less.
func TestCheckLooksAtTheTablesOfSchemes(t *testing.T) {
	const (
		readsSessions = "SELECT (session_key, session_data, expire_date) ON django.django_session"
		writes        = "INSERT (session_key, session_data, expire_date), UPDATE (session_data, expire_date), DELETE ON django.django_session"
		readsModels   = "SELECT (app_label, model) ON django.django_content_type"
		readsTokens   = "SELECT (`key`, user_id, created) ON django.authtoken_token"
	)
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.reset(t)
		db.addRights(t)
		db.addSessions(t)
		for _, test := range []struct {
			name, options string
			grants        []string
			status        int
			want          []string
		}{
			{"sessions of Django", "django_session", []string{readsSessions}, 0, []string{"no others", "django.django_session (", "it isn't needed"}},
			{"sessions of Django without rights", "django_session", nil, 1, []string{"fail", "GRANT SELECT ON `django`.`django_session` TO 'gateway'@'%'"}},
			{"logins to Django", "django_session {\nwrite on\n}", []string{readsSessions, writes, checkWrites}, 0, []string{"no others", "rows are inserted, updated and deleted", "microseconds"}},
			{"logins to Django without last_login", "django_session {\nwrite on\n}", []string{readsSessions, writes}, 1, []string{`no column "last_login"`, "sees only columns that it may read"}},
			{"logins to Django that leave last_login alone", "django_session {\nwrite on\n}\nsession {\nupdate_last_login off\n}", []string{readsSessions, writes}, 0, []string{"no others"}},
			{"passwords", "password {\nbasic on\n}", []string{readsModels}, 0, []string{"no others"}},
			{"passwords without rights", "password {\nbasic on\n}", nil, 1, []string{"fail", "django_content_type"}},
			{"new hashes without rights", "password {\nbasic on\nupgrade_hash on\n}", []string{readsModels}, 1, []string{"fail  privileges", "UPDATE (`password`)"}},
			{"API tokens", "api_token drf", []string{readsTokens}, 0, []string{"no others", "django.authtoken_token ("}},
			{"API tokens without rights", "api_token drf", nil, 1, []string{"fail", "authtoken_token"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				dsn := limitedUser(t, db, append([]string{checkReads}, test.grants...)...)
				r := newOperator(t, oneSite("max_age 10m\n"+test.options, ""), dsn).run(t, "check")
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, test.want...)
			})
		}
	})
}

// TestCheckCommandAccessLog checks findings about handlers and options around the
// handler.
func TestCheckCommandAccessLog(t *testing.T) {
	const handler = "sesame {\nsecret_key SECRET\nmax_age 10m\nuserstore mysql {\ndsn DSN\n}\n}\n"
	asserting := strings.Replace(handler, "max_age", "assertion {\naudience app\nheader X-Assertion\n}\nmax_age", 1)
	tests := []struct {
		name, caddyfile string
		verdict         string
		want            string
	}{
		{"plain", "app.example.com {\nlog\n" + handler + "}", "ok", "by the handler itself"},
		{"credentials", "{\nservers {\nlog_credentials\n}\n}\napp.example.com {\nlog\n" + handler + "}", "warn", "cookies of sessions"},
		{"rewrite in front", "{\ndebug\n}\napp.example.com {\nrewrite /a /b\n" + handler + "}", "warn", "rewrite stands in front"},
		{"rewrite in front, at INFO", "app.example.com {\nrewrite /a /b\n" + handler + "}", "ok", ""},
		{"rewrite in front, excluded", "{\nlog {\nlevel DEBUG\nexclude http.handlers.rewrite\n}\n}\napp.example.com {\nrewrite /a /b\n" + handler + "}", "ok", ""},
		{"rewrite of another site", "{\ndebug\n}\napp.example.com {\n" + handler + "}\nother.example.com {\nrewrite /a /b\n}", "ok", ""},
		{"rewrite behind", "{\ndebug\n}\napp.example.com {\nroute {\n" + handler + "rewrite /a /b\n}\n}", "ok", ""},
		{"assertion in a field of its own", "{\ndebug\n}\napp.example.com {\n" + asserting + "}", "warn", "have a filter delete the field"},
		{"assertion in a field of its own, at INFO", "app.example.com {\n" + asserting + "}", "ok", ""},
		{"assertion", "{\ndebug\n}\napp.example.com {\n" + strings.Replace(asserting, "header X-Assertion\n", "", 1) + "}", "ok", ""},
		{"proxy in front", "{\ndebug\n}\napp.example.com {\nroute {\nforward_auth localhost:1 {\nuri /x\n}\n" + handler + "}\n}", "warn", "forward_auth stands in front"},
		{"forward_auth in front, at INFO", "app.example.com {\nroute {\nforward_auth localhost:1 {\nuri /x\n}\n" + handler + "}\n}", "warn", "its server receives tokens"},
		{"uri in front", "{\ndebug\n}\napp.example.com {\nuri replace /a /b\n" + handler + "}", "warn", "uri stands in front"},
		{"method in front", "{\ndebug\n}\napp.example.com {\nmethod GET\n" + handler + "}", "warn", "method stands in front"},
		{"try_files in front", "{\ndebug\n}\napp.example.com {\ntry_files {path} /x\n" + handler + "}", "warn", "try_files stands in front"},
		{"handle_path around", "{\ndebug\n}\napp.example.com {\nhandle_path /a/* {\n" + handler + "}\n}", "warn", "handle_path or uri strip_prefix stands in front"},
		{"php_fastcgi in front", "{\ndebug\n}\napp.example.com {\nroute {\nphp_fastcgi /php/* localhost:1\n" + handler + "}\n}", "warn", "php_fastcgi and try_files stand in front"},
		{"reverse_proxy in front", "{\ndebug\n}\napp.example.com {\nroute {\nreverse_proxy /api/* localhost:1\n" + handler + "}\n}", "warn", "reverse_proxy stands in front"},
		{"what answers in front", "{\ndebug\n}\napp.example.com {\nroute {\nrequest_body {\nmax_size 1MB\n}\nredir /old /new\nrespond /health 200\nerror /gone 410\n" + handler + "}\n}", "ok", ""},
		{"tracing in front", "app.example.com {\ntracing {\nspan app\n}\n" + handler + "}", "ok", ""},
		{"tracing in front that tells the URI", "app.example.com {\ntracing {\nspan app\nspan_attributes {\nasked {uri}\n}\n}\n" + handler + "}", "warn", "tracing stands in front"},
		{"tracing in front that tells the query", "app.example.com {\ntracing {\nspan \"{method} {query}\"\n}\n" + handler + "}", "warn", "tracing stands in front"},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				o := newOperator(t, test.caddyfile, db.dsn)
				r := o.run(t, "check", "--json")
				r.wantStatus(t, 0)
				var report checkReport
				if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
					t.Fatal(err)
				}
				if got := report.verdict("access_log"); got != test.verdict {
					t.Errorf("%s, want %s: %s", got, test.verdict, r.stdout)
				}
				wantText(t, r.stdout, test.want)
			})
		}
	})
}

// TestCheckCommandHandlers checks every handler, and those that are equal once.
func TestCheckCommandHandlers(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		site := oneSite("max_age 10m", "")
		twin := strings.Replace(site, "app.", "twin.", 1)
		other := strings.NewReplacer("app.", "other.", "max_age 10m", "max_age 20m\nrealm x", "\t\t\tdsn DSN", "\t\t\tdsn DSN\ntable nowhere").Replace(site)
		o := newOperator(t, site+twin+other, db.dsn)
		r := o.run(t, "check")
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "  other.example.com  ", "\nhandler ", "fail")
		if got := strings.Count(r.stdout, "handler "+"1  ") + strings.Count(r.stdout, "\nhandler "); got != 2 {
			t.Errorf("%d handlers of 2 that differ are checked:\n%s", got, r.stdout)
		}
		o.run(t, "check", "--route", "app.example.com").wantStatus(t, 0)
		o.run(t, "check", "--route", "twin.example.com").wantStatus(t, 0)
		o.run(t, "check", "--route", "other.example.com").wantStatus(t, 1)
	})
}

// TestCheckCommandWithEachDatabase: check also works with servers that only speak
// MySQL's protocol.
func TestCheckCommandWithEachDatabase(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("max_age 10m", ""), db.dsn)
		r := o.run(t, "check")
		r.wantStatus(t, 0)
		for _, check := range []string{"connection", "tls", "clock", "table", "packer", "privileges"} {
			wantText(t, r.stdout, fmt.Sprintf("  %-12s  ", check))
		}
	})
}

// TestCheckOfServersThatAreNoCluster names two servers that are no nodes of a cluster,
// the second by a placeholder.
func TestCheckOfServersThatAreNoCluster(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		cfg, err := mysql.ParseDSN(db.dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Addr = "localhost:" + portOf(cfg.Addr)
		t.Setenv("TEST_FURTHER_SERVER", cfg.FormatDSN())
		caddyfile := strings.Replace(oneSite("max_age 10m", ""), "dsn DSN", "dsn DSN {env.TEST_FURTHER_SERVER}", 1)
		r := newOperator(t, caddyfile, db.dsn).run(t, "check")
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "no node of a Galera cluster", "give one dsn")
	})
}
