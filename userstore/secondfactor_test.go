package userstore_test

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The tables of second factors, with the columns that count.
const (
	totpDevices    = "CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, confirmed bool NOT NULL, `key` varchar(80), KEY (user_id))"
	staticDevices  = "CREATE TABLE otp_static_staticdevice (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, confirmed bool NOT NULL)"
	authenticators = "CREATE TABLE mfa_authenticator (id bigint PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, type varchar(20) NOT NULL, data longtext)"
	contentTypes   = "CREATE TABLE django_content_type (id int PRIMARY KEY AUTO_INCREMENT, app_label varchar(100), model varchar(100))"
)

// account makes an account of the test server with the given privileges only.
func (d *database) account(grants ...string) userstore.Config {
	d.t.Helper()
	name := d.name + "_gw"
	d.exec("CREATE USER '" + name + "'@'%' IDENTIFIED BY 's3cret'")
	d.t.Cleanup(func() { d.exec("DROP USER '" + name + "'@'%'") })
	for _, grant := range grants {
		d.exec("GRANT " + grant + " TO '" + name + "'@'%'")
	}
	return userstore.Config{DSN: withAccount(d.t, d.name, name, "s3cret")}
}

const readsUsers = "SELECT (id, password, last_login, username, email, is_active) ON auth_user"

func TestHasSecondFactor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		tables []string
		rows   []string
		needs  userstore.Needs
		want   string // the users with a second factor, from 1 to 3
	}{
		{"no tables", nil, nil, userstore.Needs{SecondFactors: true}, ""},
		{"tables without rows", []string{totpDevices, staticDevices, authenticators}, nil, userstore.Needs{SecondFactors: true}, ""},
		{
			"a confirmed device, and one that isn't",
			[]string{totpDevices, staticDevices},
			[]string{"INSERT INTO otp_totp_totpdevice (user_id, confirmed) VALUES (1, 1), (2, 0)"},
			userstore.Needs{SecondFactors: true},
			"1",
		},
		{
			"several devices",
			[]string{totpDevices},
			[]string{"INSERT INTO otp_totp_totpdevice (user_id, confirmed) VALUES (1, 0), (1, 1), (1, 1), (3, 1)"},
			userstore.Needs{SecondFactors: true},
			"13",
		},
		{
			"codes on paper, which count for django-otp",
			[]string{totpDevices, staticDevices},
			[]string{"INSERT INTO otp_static_staticdevice (user_id, confirmed) VALUES (2, 1)"},
			userstore.Needs{SecondFactors: true},
			"2",
		},
		{
			"codes on paper, which don't count for allauth",
			[]string{authenticators},
			[]string{"INSERT INTO mfa_authenticator (user_id, type) VALUES (1, 'recovery_codes'), (2, 'totp'), (2, 'recovery_codes'), (3, 'webauthn')"},
			userstore.Needs{SecondFactors: true},
			"23",
		},
		{
			"both packages",
			[]string{authenticators, staticDevices},
			[]string{"INSERT INTO mfa_authenticator (user_id, type) VALUES (1, 'totp')", "INSERT INTO otp_static_staticdevice (user_id, confirmed) VALUES (2, 1)"},
			userstore.Needs{SecondFactors: true},
			"12",
		},
		{
			"a table of one's own",
			[]string{totpDevices, "CREATE TABLE app_sms (user_id int, confirmed bool)"},
			[]string{"INSERT INTO app_sms VALUES (2, 1)", "INSERT INTO otp_totp_totpdevice (user_id, confirmed) VALUES (1, 1)"},
			userstore.Needs{SecondFactors: true, SecondFactorTables: []string{"app_sms"}},
			"2",
		},
		{
			"nothing that asks for it",
			[]string{totpDevices},
			[]string{"INSERT INTO otp_totp_totpdevice (user_id, confirmed) VALUES (1, 1)"},
			userstore.Needs{},
			"",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			d.exec(test.tables...)
			d.exec(test.rows...)
			s := openStore(t, userstore.Config{DSN: d.dsn()}, test.needs)
			keys := []token.PrimaryKey{token.IntKey(1), token.IntKey(2), token.IntKey(3)}
			many, err := s.LookupMany(t.Context(), keys)
			if err != nil {
				t.Fatal(err)
			}
			var alone, together string
			for _, key := range keys {
				u, err := s.Lookup(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if u.HasSecondFactor() {
					alone += u.ID()
				}
				if many[key].HasSecondFactor() {
					together += u.ID()
				}
			}
			if alone != test.want || together != test.want {
				t.Errorf("users %q have one, and %q when they are read together; want %q", alone, together, test.want)
			}
		})
	}
}

// TestSecondFactorsWithLeastRights: a table that may not be read may exist. It must
// not count as empty.
func TestSecondFactorsWithLeastRights(t *testing.T) {
	t.Parallel()
	const types = "SELECT (app_label, model) ON django_content_type"
	tests := []struct {
		name   string
		tables []string
		grants []string
		named  []string
		want   []string // what the error says; none for no error
	}{
		{"nothing but the users", nil, nil, nil, []string{
			"second_factor", "otp_totp_totpdevice", "it can't be told", "GRANT SELECT (`app_label`, `model`) ON ", ".`django_content_type` TO '", "second_factor ignore",
		}},
		{"devices that may not be read", []string{totpDevices}, nil, nil, []string{"it can't be told", "second_factor ignore"}},
		{"one table of two", []string{totpDevices, staticDevices}, []string{"SELECT (user_id, confirmed) ON otp_totp_totpdevice"}, nil, []string{
			"it can't be told", "otp_static_staticdevice",
		}},
		{"Django's models, of which none is a device", nil, []string{types}, nil, nil},
		{"Django's models, of which one is a device", []string{
			totpDevices, "INSERT INTO django_content_type (app_label, model) VALUES ('otp_totp', 'totpdevice')",
		}, []string{types}, nil, []string{"may not read the second factors in table \"otp_totp_totpdevice\"", "GRANT SELECT (`user_id`, `confirmed`) ON "}},
		{"Django's models, and a device that may be read", []string{
			totpDevices, "INSERT INTO django_content_type (app_label, model) VALUES ('otp_totp', 'totpdevice'), ('mfa', 'other')",
		}, []string{types, "SELECT (user_id, confirmed) ON otp_totp_totpdevice"}, nil, nil},
		{"Django's models, and an authenticator", []string{
			authenticators, "INSERT INTO django_content_type (app_label, model) VALUES ('mfa', 'authenticator')",
		}, []string{types}, nil, []string{"GRANT SELECT (`user_id`, `type`) ON "}},
		{"half of the columns", []string{totpDevices}, []string{types, "SELECT (user_id) ON otp_totp_totpdevice"}, nil, []string{
			"confirmed", "GRANT SELECT (`user_id`, `confirmed`) ON ",
		}},
		{"tables that are named", []string{totpDevices, staticDevices}, []string{"SELECT (user_id, confirmed) ON otp_totp_totpdevice"}, []string{"otp_totp_totpdevice"}, nil},
		{"a named table that isn't there", nil, []string{types}, []string{"otp_totp_totpdevice"}, []string{"second_factor", "otp_totp_totpdevice"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers, contentTypes)
			d.exec(test.tables...)
			cfg := d.account(append(test.grants, readsUsers)...)
			cfg.StartWithout = true // which doesn't forgive it
			s, err := userstore.Open(context.Background(), cfg,
				userstore.Needs{SecondFactors: true, SecondFactorTables: test.named}, zaptest.NewLogger(t))
			if s != nil {
				defer s.Close()
			}
			if len(test.want) > 0 {
				wantError(t, err, test.want...)
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGrantsThatCheckPrintsAreEnough grants an account what an administrator's
// check prints: that is enough, and not too much.
func TestGrantsThatCheckPrintsAreEnough(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, contentTypes, totpDevices, authenticators, djangoSession, knoxTokens)
	sessions := &userstore.Via{
		Name: "django_session", Table: "django_session", Column: "session_key", Until: "expire_date", Extends: true,
		Reads: []string{"session_data", "expire_date"}, Whose: func(*userstore.ViaRow) (string, error) { return "1", nil },
	}
	needs := userstore.Needs{
		LastLogin: true, SecondFactors: true, UpgradePassword: true, SessionTable: "django_session",
		Vias: []*userstore.Via{sessions, knoxVia(), {Name: "simplejwt", Column: "username"}, {Name: "password", Fields: []userstore.Field{userstore.Email}}},
	}
	least := d.least(userstore.Config{DSN: d.dsn()}, needs)
	cfg := d.account()
	for _, statement := range least {
		d.exec(strings.ReplaceAll(statement, "'somebody'@'%'", "'"+d.name+"_gw'@'%'"))
	}
	openStore(t, cfg, needs)
	inspector, err := userstore.NewInspector(cfg, needs)
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	if _, err := inspector.Table(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := inspector.Needed(t.Context()); err != nil {
		t.Error(err)
	}
	found, err := inspector.Privileges(t.Context(), "somebody@%")
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Surplus) > 0 {
		t.Errorf("%q of %q isn't needed", found.Surplus, least)
	}
}

// least returns the statements that grant 'somebody'@'%' the needed privileges.
func (d *database) least(cfg userstore.Config, needs userstore.Needs) []string {
	d.t.Helper()
	inspector, err := userstore.NewInspector(cfg, needs)
	if err != nil {
		d.t.Fatal(err)
	}
	defer inspector.Close()
	if _, err := inspector.Table(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	found, err := inspector.Privileges(context.Background(), "somebody@%")
	if err != nil {
		d.t.Fatal(err)
	}
	return found.Least
}
