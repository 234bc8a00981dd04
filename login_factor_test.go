package sesame_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// The tables of django-otp, as its migrations make them.
var factorTables = []string{
	"CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, confirmed bool NOT NULL, `key` varchar(80) NOT NULL, step smallint unsigned NOT NULL, " +
		"t0 bigint NOT NULL, digits smallint unsigned NOT NULL, tolerance smallint unsigned NOT NULL, drift smallint NOT NULL, last_t bigint NOT NULL, " +
		"user_id int NOT NULL, throttling_failure_count int unsigned NOT NULL, throttling_failure_timestamp datetime(6), last_used_at datetime(6), KEY (user_id))",
	"CREATE TABLE otp_static_staticdevice (id int PRIMARY KEY AUTO_INCREMENT, confirmed bool NOT NULL, user_id int NOT NULL, " +
		"throttling_failure_count int unsigned NOT NULL, throttling_failure_timestamp datetime(6), last_used_at datetime(6), KEY (user_id))",
	"CREATE TABLE otp_static_statictoken (id int PRIMARY KEY AUTO_INCREMENT, token varchar(16) NOT NULL, device_id int NOT NULL, KEY (device_id))",
	"CREATE TABLE mfa_authenticator (id bigint PRIMARY KEY AUTO_INCREMENT, type varchar(20) NOT NULL, data longtext NOT NULL, user_id int NOT NULL, last_used_at datetime(6), KEY (user_id))",
}

// factorKey is the key of the tests' app.
const factorKey = "3132333435363738393031323334353637383930"

// codeOf is the code that the app shows at a time.
func codeOf(t testing.TB, at time.Time) string {
	t.Helper()
	device := otp.TOTPDevice{Key: factorKey, Step: 30, Digits: 6, LastT: -1}
	for code := range 1_000_000 {
		if _, err := device.Verify(fmt.Sprint(code), otp.TOTPSettings{}, at); err == nil {
			return fmt.Sprintf("%06d", code)
		}
	}
	t.Fatal("no code is right")
	return ""
}

// withFactorTables runs a test with the tables of second factors, and alice with a
// password and an app.
func withFactorTables(t *testing.T, run func(t *testing.T, db *database)) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, table := range factorTables {
			db.mustExec(t, table)
		}
		t.Cleanup(func() {
			db.mustExec(t, "DROP TABLE otp_totp_totpdevice, otp_static_staticdevice, otp_static_statictoken, mfa_authenticator")
		})
		db.mustExec(t, "INSERT INTO otp_totp_totpdevice (confirmed, `key`, step, t0, digits, tolerance, drift, last_t, user_id, throttling_failure_count) VALUES (1, ?, 30, 0, 6, 1, 0, -1, 1, 0)", factorKey)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		run(t, db)
	})
}

// withFactors runs a test for a gateway with the login page, and alice with a
// password and an app.
func withFactors(t *testing.T, site site, run func(t *testing.T, db *database, g *gateway, up *upstream)) {
	withFactorTables(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		site.options += "\nlogin {\npassword\nremember 30d\n}"
		run(t, db, startGateway(t, db.asAdministrator(), up, site), up)
	})
}

// fillCode sends a code by the form that the browser shows.
func (b *browser) fillCode(t *testing.T, code string) *response {
	t.Helper()
	pending := formPending.FindStringSubmatch(b.last.body)
	if pending == nil {
		t.Fatalf("the page doesn't ask for a code: %s", b.last.body)
	}
	return b.fill(t, url.Values{"method": {"second_factor"}, "pending": {html.UnescapeString(pending[1])}, "code": {code}})
}

// fillPassword sends alice's password by the form that the browser shows.
func (b *browser) fillPassword(t *testing.T) *response {
	t.Helper()
	return b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}})
}

// TestLoginByPasswordAndCode: neither alone is enough, and each code is good once.
func TestLoginByPasswordAndCode(t *testing.T) {
	withFactors(t, passwordSite(21, "second_factor ask"), func(t *testing.T, db *database, g *gateway, up *upstream) {
		b := newBrowser(g)
		b.get(t, "/reports/7?x=1").wantStatus(t, http.StatusUnauthorized)
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		b.wantNoSession(t)
		atCode := b.last
		b.fillCode(t, "000000x").wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		db.mustExec(t, "UPDATE otp_totp_totpdevice SET throttling_failure_timestamp = NULL")
		code := codeOf(t, time.Now())
		b.fillCode(t, code).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/reports/7?x=1")
		up.takeNone(t)
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")

		other := newBrowser(g)
		other.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		other.fillPassword(t).wantStatus(t, http.StatusOK)
		other.fillCode(t, code).wantStatus(t, http.StatusUnauthorized)
		other.wantNoSession(t)

		// The first browser's form is no other browser's.
		other.last = atCode
		other.fillCode(t, "1").wantStatus(t, http.StatusForbidden)
		log := string(g.log(t))
		for _, secret := range []string{code, factorKey, "secret"} {
			if strings.Contains(log, secret) {
				t.Errorf("the log has %q", secret)
			}
		}
	})
}

// wantNoSession fails the test if the browser is logged in.
func (b *browser) wantNoSession(t *testing.T) {
	t.Helper()
	if _, ok := b.cookies["sesame"]; ok {
		t.Error("the browser is logged in")
	}
}

// TestNewPasswordEndsALoginWithoutACode, as does a user who is deactivated.
func TestNewPasswordEndsALoginWithoutACode(t *testing.T) {
	withFactors(t, passwordSite(22, "second_factor ask"), func(t *testing.T, db *database, g *gateway, _ *upstream) {
		hash := db.passwordOf(t, 1)
		for _, change := range []string{"password = 'md5$a$b'", "is_active = 0"} {
			b := newBrowser(g)
			b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
			b.fillPassword(t).wantStatus(t, http.StatusOK)
			db.mustExec(t, "UPDATE auth_user SET "+change+" WHERE id = 1")
			b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusUnauthorized)
			b.wantNoSession(t)
			if formPending.MatchString(b.last.body) {
				t.Errorf("%s: the page asks for another code", change)
			}
			db.mustExec(t, "UPDATE auth_user SET password = ?, is_active = 1 WHERE id = 1", hash)
		}
	})
}

// TestWrongCodesAreTriedSlowly: the device is locked in its row, and the page says
// how long to wait.
func TestWrongCodesAreTriedSlowly(t *testing.T) {
	withFactors(t, passwordSite(23, "second_factor ask"), func(t *testing.T, db *database, g *gateway, _ *upstream) {
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		db.mustExec(t, "UPDATE otp_totp_totpdevice SET throttling_failure_count = 6, throttling_failure_timestamp = UTC_TIMESTAMP(6)")
		b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusTooManyRequests)
		if wait, err := strconv.Atoi(b.last.header.Get("Retry-After")); err != nil || wait < 1 || wait > 32 {
			t.Errorf("Retry-After %q", b.last.header.Get("Retry-After"))
		}
		db.mustExec(t, "UPDATE otp_totp_totpdevice SET throttling_failure_count = 0, throttling_failure_timestamp = NULL")
		b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusSeeOther)
	})
}

// TestUserWhoseFactorCannotBeAskedFor is told so, and not let in.
func TestUserWhoseFactorCannotBeAskedFor(t *testing.T) {
	withFactors(t, passwordSite(24, "second_factor ask"), func(t *testing.T, db *database, g *gateway, _ *upstream) {
		db.mustExec(t, "DELETE FROM otp_totp_totpdevice")
		db.mustExec(t, "INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('webauthn', '{}', 1)")
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.fillPassword(t).wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		wantText(t, b.last.body, "second factor")
		db.mustExec(t, "INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('recovery_codes', '{\"seed\": \"seed\", \"used_mask\": 0}', 1)")
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		b.fillCode(t, "06091088").wantStatus(t, http.StatusSeeOther)
	})
}

// TestFormInEarlyDataIsSentAgain: an attacker could have recorded it, and send it
// to another gateway.
func TestFormInEarlyDataIsSentAgain(t *testing.T) {
	withFactors(t, passwordSite(25, "second_factor ask"), func(t *testing.T, _ *database, g *gateway, _ *upstream) {
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		shown := b.last
		form := url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}}
		b.fill(t, form, "Origin", "http://"+g.addr, "Early-Data", "1").wantStatus(t, http.StatusTooEarly)
		b.last = shown
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		code := b.last
		b.get(t, "/_sesame/login", "Early-Data", "1").wantStatus(t, http.StatusOK)
		b.last = code
		b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusSeeOther)
	})
}

// TestPageTellsWhoseSessionEnds: a form that was shown before another user logged in
// counts no more.
func TestPageTellsWhoseSessionEnds(t *testing.T) {
	withFactors(t, passwordSite(26, "second_factor ask"), func(t *testing.T, _ *database, g *gateway, up *upstream) {
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		before := b.last
		carols := tokenFor(t, carol)
		b.get(t, "/?sesame="+carols).wantStatus(t, http.StatusSeeOther)
		former := b.cookies["sesame"]
		b.last = before
		b.fillPassword(t).wantStatus(t, http.StatusConflict)
		wantText(t, b.last.body, "You are logged in as carol")
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusSeeOther)
		if b.cookies["sesame"] == former {
			t.Error("the session is the former one")
		}
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	})
}

// TestUpgradeHashAfterTheSecondFactor: the better hash is written once the code was
// right, and the session that begins then goes on. The password alone ends nothing.
func TestUpgradeHashAfterTheSecondFactor(t *testing.T) {
	withFactors(t, passwordSite(27, "upgrade_hash on", "second_factor ask"), func(t *testing.T, db *database, g *gateway, up *upstream) {
		old := hashOf(t, password.PBKDF2SHA256, "secret")
		db.setPassword(t, alice, old)
		link := tokenFor(t, testUser{id: 1, password: old})
		earlier := newBrowser(g)
		earlier.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		for range 2 { // the second time, the password is known to be right
			b := newBrowser(g)
			b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
			b.fillPassword(t).wantStatus(t, http.StatusOK)
			b.fillCode(t, "000000x").wantStatus(t, http.StatusUnauthorized)
			b.wantNoSession(t)
			db.mustExec(t, "UPDATE otp_totp_totpdevice SET throttling_failure_timestamp = NULL")
		}
		g.get(t, "/", "Authorization", "Bearer "+link).wantStatus(t, http.StatusOK)
		if hash := db.passwordOf(t, 1); hash != old {
			t.Errorf("without a code, the hash is %s", hash)
		}

		earlier.fillPassword(t).wantStatus(t, http.StatusOK)
		earlier.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusSeeOther)
		if hash := db.passwordOf(t, 1); !strings.HasPrefix(hash, "md5$") {
			t.Errorf("the hash is %s", hash)
		}
		for range 3 {
			earlier.get(t, "/").wantStatus(t, http.StatusOK)
		}
		g.get(t, "/", "Authorization", "Bearer "+link).wantStatus(t, http.StatusUnauthorized)

		// The upgraded hash is no reason to hash again.
		db.mustExec(t, "UPDATE otp_totp_totpdevice SET last_t = -1")
		wantHashed(t, 1, func() {
			for range 2 {
				again := newBrowser(g)
				again.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
				again.fillPassword(t).wantStatus(t, http.StatusOK)
			}
		})
	})
}

// TestNewPasswordEndsALoginWithABetterHash: the hash of the former password isn't
// written over that of the new one.
func TestNewPasswordEndsALoginWithABetterHash(t *testing.T) {
	withFactors(t, passwordSite(28, "upgrade_hash on", "second_factor ask"), func(t *testing.T, db *database, g *gateway, up *upstream) {
		db.setPassword(t, alice, hashOf(t, password.PBKDF2SHA256, "secret"))
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		changed := hashOf(t, password.PBKDF2SHA256, "another")
		db.setPassword(t, alice, changed)
		b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		if hash := db.passwordOf(t, 1); hash != changed {
			t.Errorf("the hash is %s", hash)
		}
	})
}
