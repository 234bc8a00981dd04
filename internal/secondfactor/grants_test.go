package secondfactor_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// grantsOf returns the statements by which docs/mysql.md grants privileges on a table,
// for an account that owns nothing else.
func (d *database) grantsOf(account, table string) []string {
	d.Helper()
	page, err := os.ReadFile("../../docs/mysql.md")
	if err != nil {
		d.Fatal(err)
	}
	grants := regexp.MustCompile("(?m)^GRANT .* ON app\\."+table+" TO .*;$").FindAllString(string(page), -1)
	if len(grants) == 0 {
		d.Fatalf("the page grants nothing on %s", table)
	}
	for i, grant := range grants {
		grants[i] = strings.NewReplacer("app.", d.name+".", "'gateway'@'10.0.0.%'", account, ";", "").Replace(grant)
	}
	return grants
}

// TestGrantsOfThePageAreEnoughForCodes: the account can use each kind of code up, and
// a store isn't opened by one that couldn't.
func TestGrantsOfThePageAreEnoughForCodes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for _, row := range []string{
		appDevice, paperDevice, paperTokens, allauthApp, allauthCodes,
		"CREATE TABLE django_content_type (id int PRIMARY KEY AUTO_INCREMENT, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)",
		"INSERT INTO django_content_type (app_label, model) VALUES ('otp_totp', 'totpdevice'), ('otp_static', 'staticdevice'), ('mfa', 'authenticator')",
	} {
		d.exec(row)
	}
	account := "'" + d.name + "'@'%'"
	d.exec("CREATE USER " + account + " IDENTIFIED BY 's3cret'")
	t.Cleanup(func() { d.exec("DROP USER " + account) })
	dsn, err := mysql.ParseDSN(server.DSN(d.name))
	if err != nil {
		t.Fatal(err)
	}
	dsn.User, dsn.Passwd = d.name, "s3cret"
	cfg := userstore.Config{DSN: dsn.FormatDSN(), QueryTimeout: patient}
	d.exec(d.grantsOf(account, "auth_user")[0])
	for _, statement := range d.grantsOf(account, "django_content_type") {
		if strings.Contains(statement, "(app_label, model)") {
			d.exec(statement)
		}
	}
	var forCodes []string
	for _, table := range []string{"otp_totp_totpdevice", "otp_static_staticdevice", "otp_static_statictoken", "mfa_authenticator"} {
		for _, statement := range d.grantsOf(account, table) {
			if strings.Contains(statement, "UPDATE") || strings.Contains(statement, "DELETE") {
				forCodes = append(forCodes, statement)
			} else {
				d.exec(statement)
			}
		}
	}
	if len(forCodes) != 4 {
		t.Fatalf("for codes, the page grants %q", forCodes)
	}
	for _, statement := range forCodes {
		needs := userstore.Needs{SecondFactors: true, AskSecondFactors: true}
		if s, err := userstore.Open(context.Background(), cfg, needs, nil); err == nil {
			_ = s.Close()
			t.Errorf("the store is opened without %s", statement)
		} else if !strings.Contains(err.Error(), "second_factor reject") {
			t.Errorf("the error doesn't say what to do: %v", err)
		}
		d.exec(statement)
	}
	s := d.store(cfg)
	for _, code := range []string{"wrong", codeAt59, "aaaaaaaa", secondRecovery} {
		d.exec("UPDATE otp_totp_totpdevice SET throttling_failure_timestamp = NULL")
		d.exec("UPDATE otp_static_staticdevice SET throttling_failure_timestamp = NULL")
		accepted := ""
		if err := s.UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
			accepted = secondfactor.Accepts(factors, code, at59)
		}); err != nil || accepted == "" && code != "wrong" {
			t.Errorf("%s is accepted by %q, %v", code, accepted, err)
		}
	}
}
