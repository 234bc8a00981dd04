package userstore_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// grantsOfPage returns the statements of docs/mysql.md for tables with a text in
// the name, for this database and account.
func (d *database) grantsOfPage(account, table, holding string) []string {
	d.t.Helper()
	page, err := os.ReadFile("../docs/mysql.md")
	if err != nil {
		d.t.Fatal(err)
	}
	var grants []string
	for _, line := range regexp.MustCompile("(?m)^GRANT .* ON app\\."+table+" TO .*$").FindAllString(string(page), -1) {
		if strings.Contains(line, holding) {
			grants = append(grants, strings.NewReplacer("app.", d.name+".", "'gateway'@'10.0.0.%'", "'"+account+"'@'%'", ";", "").Replace(line))
		}
	}
	if len(grants) == 0 {
		d.t.Fatalf("the page grants nothing with %q on %s", holding, table)
	}
	return grants
}

// TestGrantsOfThePage grants exactly what docs/mysql.md lists for each need.
func TestGrantsOfThePage(t *testing.T) {
	t.Parallel()
	sessions := userstore.Via{Name: "django_session", Table: "django_session", Column: "session_key", Until: "expire_date", Reads: []string{"session_data"}, Extends: true}
	keys := userstore.Via{Name: "drf", Table: "authtoken_token", Column: "key", User: "user_id", Reads: []string{"key", "created"}}
	for _, test := range []struct {
		name   string
		needs  userstore.Needs
		grants [][2]string // table, and a part of its GRANT statement
	}{
		{"last_login", userstore.Needs{LastLogin: true}, [][2]string{{"auth_user", "last_login"}}},
		{"upgraded passwords", userstore.Needs{UpgradePassword: true}, [][2]string{{"auth_user", "UPDATE (password)"}}},
		{"sessions", writesSessions, [][2]string{{"django_session", "SELECT"}, {"django_session", "INSERT"}}},
		{"extended sessions", userstore.Needs{Vias: []*userstore.Via{&sessions}}, [][2]string{{"django_session", "SELECT"}, {"django_session", "GRANT UPDATE (expire_date)"}}},
		{"extended tokens", userstore.Needs{Vias: []*userstore.Via{knoxVia()}}, [][2]string{{"knox_authtoken", "SELECT"}}},
		{"keys of DRF", userstore.Needs{Vias: []*userstore.Via{&keys}}, [][2]string{{"authtoken_token", "SELECT"}}},
		{"a blacklist", userstore.Needs{Blacklists: []*userstore.Blacklist{new(userstore.Blacklist)}}, [][2]string{
			{"token_blacklist_outstandingtoken", "jti"},
			{"token_blacklist_blacklistedtoken", "token_id"},
		}},
		{"second factors", userstore.Needs{SecondFactors: true}, [][2]string{
			{"django_content_type", "app_label, model"},
			{"otp_totp_totpdevice", "confirmed"},
			{"mfa_authenticator", "type"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers, djangoSession, knoxTokens, contentTypes, totpDevices, authenticators,
				"CREATE TABLE authtoken_token (`key` varchar(40) NOT NULL PRIMARY KEY, created datetime(6) NOT NULL, user_id int NOT NULL UNIQUE)",
				"CREATE TABLE token_blacklist_outstandingtoken (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, jti varchar(255) NOT NULL UNIQUE)",
				"CREATE TABLE token_blacklist_blacklistedtoken (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, token_id bigint NOT NULL UNIQUE)",
				"INSERT INTO django_content_type (app_label, model) VALUES ('otp_totp', 'totpdevice'), ('mfa', 'authenticator')")
			cfg := d.account()
			account := d.name + "_gw"
			d.exec(d.grantsOfPage(account, "auth_user", "email, password")...)
			for i, grant := range test.grants {
				// Without the last one, it isn't enough.
				if i == len(test.grants)-1 {
					_ = openError(t, cfg, test.needs)
				}
				d.exec(d.grantsOfPage(account, grant[0], grant[1])...)
			}
			openStore(t, cfg, test.needs)
		})
	}
}
