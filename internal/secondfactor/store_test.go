package secondfactor_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The factors of the tests' user, at the time 59 s: the key is that of RFC 6238.
const (
	appDevice      = "INSERT INTO otp_totp_totpdevice (confirmed, `key`, step, t0, digits, tolerance, drift, last_t, user_id, throttling_failure_count) VALUES (1, '3132333435363738393031323334353637383930', 30, 0, 6, 1, 0, -1, 1, 0)"
	paperDevice    = "INSERT INTO otp_static_staticdevice (id, confirmed, user_id, throttling_failure_count) VALUES (7, 1, 1, 0)"
	paperTokens    = "INSERT INTO otp_static_statictoken (token, device_id) VALUES ('aaaaaaaa', 7), ('287083', 7), ('bbbbbbbb', 8)"
	allauthApp     = `INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('totp', '{"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}', 1)`
	allauthCodes   = `INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('recovery_codes', '{"seed": "seed", "used_mask": 1}', 1)`
	codeAt59       = "287082"
	secondRecovery = "53446901"
)

var at59 = time.Unix(59, 0).UTC()

// TestOneCodeIsAcceptedOnce of any number of requests over two gateways.
func TestOneCodeIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	const requests = 60
	for _, test := range []struct {
		name, code string
		rows       []string
	}{
		{"a code of an app", codeAt59, []string{appDevice}},
		{"a code on paper", "aaaaaaaa", []string{paperDevice, paperTokens}},
		{"a code of an app, in allauth", codeAt59, []string{allauthApp}},
		{"a recovery code of allauth", secondRecovery, []string{allauthApp, allauthCodes}},
		{"with all factors", codeAt59, []string{appDevice, paperDevice, paperTokens, allauthCodes}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			for _, row := range test.rows {
				d.exec(row)
			}
			gateways := []*userstore.MySQL{
				d.store(userstore.Config{QueryTimeout: patient, MaxOpenConns: 8}), d.store(userstore.Config{QueryTimeout: patient, MaxOpenConns: 9}),
			}
			var won atomic.Int32
			var done sync.WaitGroup
			for i := range requests {
				done.Go(func() {
					accepted := ""
					err := gateways[i%2].UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
						accepted = secondfactor.Accepts(factors, test.code, at59)
					})
					if err != nil {
						t.Error(err)
					} else if accepted != "" {
						won.Add(1)
					}
				})
			}
			done.Wait()
			if won.Load() != 1 {
				t.Errorf("the code was accepted %d times", won.Load())
			}
		})
	}
}

// TestRowsAfterACode: what is written, and that nothing else is.
func TestRowsAfterACode(t *testing.T) {
	t.Parallel()
	const (
		app     = "SELECT CONCAT_WS(' ', last_t, drift, throttling_failure_count, IFNULL(throttling_failure_timestamp, '-'), IFNULL(last_used_at, '-')) FROM otp_totp_totpdevice"
		paper   = "SELECT CONCAT_WS(' ', throttling_failure_count, IFNULL(throttling_failure_timestamp, '-'), IFNULL(last_used_at, '-'), (SELECT GROUP_CONCAT(token ORDER BY id) FROM otp_static_statictoken)) FROM otp_static_staticdevice"
		allauth = "SELECT GROUP_CONCAT(CONCAT_WS(' ', data, IFNULL(last_used_at, '-')) ORDER BY id) FROM mfa_authenticator"
		used    = "1970-01-01 00:00:59.000000"
	)
	all := []string{appDevice, paperDevice, paperTokens, allauthApp, allauthCodes}
	const untouchedApp, untouchedPaper = "-1 0 0 - -", "0 - - aaaaaaaa,287083,bbbbbbbb"
	const secret = `{"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}`
	for _, test := range []struct {
		name, code, want          string
		rows                      []string
		wantApp, wantPaper, wants string
	}{
		{"of the app", codeAt59, "totp", all, "1 0 0 - " + used, untouchedPaper, secret + ` -,{"seed": "seed", "used_mask": 1} -`},
		{"with a space in it", " 287 082", "totp", all, "1 0 0 - " + used, untouchedPaper, secret + ` -,{"seed": "seed", "used_mask": 1} -`},
		{"on paper", " aaaaaaaa ", "static", all, untouchedApp, "0 - " + used + " 287083,bbbbbbbb", secret + ` -,{"seed": "seed", "used_mask": 1} -`},
		{"on another user's paper", "bbbbbbbb", "", all, "-1 0 1 " + used + " -", "1 " + used + " - aaaaaaaa,287083,bbbbbbbb", secret + ` -,{"seed": "seed", "used_mask": 1} -`},
		{"of allauth's app", codeAt59, "allauth_totp", []string{paperDevice, paperTokens, allauthApp}, "", untouchedPaper, secret + " " + used},
		{"of allauth's list", secondRecovery, "allauth_recovery", all, untouchedApp, untouchedPaper, secret + ` -,{"seed":"seed","used_mask":3} ` + used},
		{"of allauth's list, used before", "06091088", "", []string{allauthApp, allauthCodes}, "", "", secret + ` -,{"seed": "seed", "used_mask": 1} -`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			for _, row := range test.rows {
				d.exec(row)
			}
			s := d.store(userstore.Config{QueryTimeout: patient})
			accepted := ""
			if err := s.UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
				accepted = secondfactor.Accepts(factors, test.code, at59)
			}); err != nil {
				t.Fatal(err)
			}
			if accepted != test.want {
				t.Errorf("accepted by %q, want %q", accepted, test.want)
			}
			for query, want := range map[string]string{app: test.wantApp, paper: test.wantPaper, allauth: test.wants} {
				if want != "" && strings.ReplaceAll(d.text(query), `": `, `":`) != strings.ReplaceAll(want, `": `, `":`) {
					t.Errorf("the row is %s, want %s", d.text(query), want)
				}
			}
		})
	}
}

// TestNoOtherUsersFactors are read, nor those that aren't confirmed.
func TestNoOtherUsersFactors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(appDevice)
	d.exec(allauthApp)
	s := d.store(userstore.Config{QueryTimeout: patient})
	for _, user := range []int64{2, 3} {
		if factors, err := s.Factors(t.Context(), token.IntKey(user)); err != nil || len(factors) > 0 {
			t.Errorf("user %d: %d factors, %v", user, len(factors), err)
		}
	}
	if factors, err := s.Factors(t.Context(), token.IntKey(1)); err != nil || len(factors) != 2 {
		t.Errorf("%d factors, %v", len(factors), err)
	}
	d.exec("UPDATE otp_totp_totpdevice SET confirmed = 0")
	if factors, err := s.Factors(t.Context(), token.IntKey(1)); err != nil || len(factors) != 1 {
		t.Errorf("%d factors, %v", len(factors), err)
	}
}

// TestLockedRowIsNoWrongCode: no verdict follows if Django holds the lock for longer
// than a query may take, and nothing is written later.
func TestLockedRowIsNoWrongCode(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(appDevice)
	s := d.store(userstore.Config{QueryTimeout: caddy.Duration(2 * time.Second)})
	tx, err := d.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // the test is over
	if _, err := tx.Exec("SELECT * FROM otp_totp_totpdevice WHERE user_id = 1 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	calls := 0
	err = s.UseFactors(t.Context(), token.IntKey(1), func([]*userstore.Factor) { calls++ })
	if !errors.Is(err, userstore.ErrUnavailable) || calls > 0 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := d.text("SELECT last_t FROM otp_totp_totpdevice"); got != "-1" {
		t.Errorf("last_t became %s", got)
	}
}

// TestFactorsWithLeastRights: the error at the start says what to grant, and that is
// enough.
func TestFactorsWithLeastRights(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for _, row := range []string{appDevice, paperDevice, paperTokens, allauthApp, allauthCodes} {
		d.exec(row)
	}
	d.exec("CREATE USER '" + d.name + "'@'%' IDENTIFIED BY 's3cret'")
	t.Cleanup(func() { _ = server.Exec("", "DROP USER '"+d.name+"'@'%'") })
	d.exec(fmt.Sprintf("GRANT SELECT ON %s.auth_user TO '%[1]s'@'%%'", d.name))
	for _, table := range []string{"otp_totp_totpdevice (user_id, confirmed)", "otp_static_staticdevice (user_id, confirmed)", "mfa_authenticator (user_id, type)"} {
		name, columns, _ := strings.Cut(table, " ")
		d.exec(fmt.Sprintf("GRANT SELECT %s ON %s.%s TO '%[2]s'@'%%'", columns, d.name, name))
	}
	d.exec("CREATE TABLE django_content_type (app_label varchar(100), model varchar(100))")
	d.exec(fmt.Sprintf("GRANT SELECT (app_label, model) ON %s.django_content_type TO '%[1]s'@'%%'", d.name))
	cfg := userstore.Config{DSN: server.UserDSN(d.name, "s3cret", d.name), QueryTimeout: patient}
	needs := userstore.Needs{SecondFactors: true, AskSecondFactors: true}
	granted := make(map[string]bool)
	for {
		s, err := userstore.Open(t.Context(), cfg, needs, nil)
		if err == nil {
			defer s.Close()
			for _, code := range []string{codeAt59, "aaaaaaaa", secondRecovery, "wrong"} {
				if err := s.UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
					secondfactor.Accepts(factors, code, at59)
				}); err != nil {
					t.Error(err)
				}
			}
			break
		}
		_, rest, ok := strings.Cut(err.Error(), "execute GRANT ")
		grant, _, _ := strings.Cut(rest, ", or write second_factor ")
		if !ok || granted[grant] || strings.Contains(err.Error(), "s3cret") {
			t.Fatal(err)
		}
		granted[grant] = true
		d.exec("GRANT " + grant)
	}
	if len(granted) < 4 {
		t.Errorf("only these were missing: %v", granted)
	}
}

// TestSettingsOfTheLibrariesChangeTheVerdict: codes that are wrong by the defaults.
func TestSettingsOfTheLibrariesChangeTheVerdict(t *testing.T) {
	t.Parallel()
	zero, no := 0, false
	const lockedApp = "UPDATE otp_totp_totpdevice SET throttling_failure_count = 5, throttling_failure_timestamp = '1970-01-01 00:00:58'"
	const lockedPaper = "UPDATE otp_static_staticdevice SET throttling_failure_count = 5, throttling_failure_timestamp = '1970-01-01 00:00:58'"
	for _, test := range []struct {
		name string
		cfg  authn.PasswordConfig
		rows []string
		code string
	}{
		{"digits of allauth's app", authn.PasswordConfig{MFATOTPDigits: 8}, []string{allauthApp}, "94287082"},
		{"its period", authn.PasswordConfig{MFATOTPPeriod: 60}, []string{allauthApp}, "755224"},
		{"its tolerance", authn.PasswordConfig{MFATOTPTolerance: 1}, []string{allauthApp}, "755224"},
		{"the number of recovery codes", authn.PasswordConfig{MFARecoveryCodeCount: 12}, []string{allauthCodes}, "64402340"},
		{"their digits", authn.PasswordConfig{MFARecoveryCodeDigits: 6}, []string{allauthCodes}, "141973"},
		{"no lock of an app", authn.PasswordConfig{OTPTOTPThrottleFactor: &zero}, []string{appDevice, lockedApp}, codeAt59},
		{"no lock of static tokens", authn.PasswordConfig{OTPStaticThrottleFactor: &zero}, []string{paperDevice, paperTokens, lockedPaper}, "aaaaaaaa"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			for _, row := range test.rows {
				d.exec(row)
			}
			s := d.store(userstore.Config{QueryTimeout: patient})
			for _, verdict := range []struct {
				cfg        authn.PasswordConfig
				isAccepted bool
			}{{authn.PasswordConfig{}, false}, {test.cfg, true}} {
				accepted := ""
				if err := s.UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
					accepted = secondfactor.AcceptsWith(&verdict.cfg, factors, test.code, at59)
				}); err != nil {
					t.Fatal(err)
				}
				if (accepted != "") != verdict.isAccepted {
					t.Errorf("with %+v, the code is accepted by %q", verdict.cfg, accepted)
				}
			}
		})
	}
	d := newDatabase(t)
	d.exec(appDevice)
	s := d.store(userstore.Config{QueryTimeout: patient})
	for _, cfg := range []authn.PasswordConfig{{OTPTOTPSync: &no}, {}} {
		d.exec("UPDATE otp_totp_totpdevice SET last_t = -1, drift = 0")
		if err := s.UseFactors(t.Context(), token.IntKey(1), func(factors []*userstore.Factor) {
			secondfactor.AcceptsWith(&cfg, factors, "755224", at59) // of the period before
		}); err != nil {
			t.Fatal(err)
		}
		want := "-1"
		if cfg.OTPTOTPSync != nil {
			want = "0"
		}
		if drift := d.text("SELECT drift FROM otp_totp_totpdevice"); drift != want {
			t.Errorf("with %+v, the drift is %s, want %s", cfg, drift, want)
		}
	}
}
