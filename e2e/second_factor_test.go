package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
)

// appKey is the key of alice's app for codes, in hexadecimal as django-otp has it.
const appKey = "3132333435363738393031323334353637383930"

// appCode is the code that the app shows now.
func appCode(t *testing.T) string {
	t.Helper()
	device := otp.TOTPDevice{Key: appKey, Step: 30, Digits: 6, LastT: -1}
	for code := range 1_000_000 {
		if _, err := device.Verify(fmt.Sprint(code), otp.TOTPSettings{}, time.Now()); err == nil {
			return fmt.Sprintf("%06d", code)
		}
	}
	t.Fatal("no code is right")
	return ""
}

// giveApp gives alice an app for codes, until the test ends.
func giveApp(t *testing.T) {
	t.Helper()
	db.exec(t, "CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, confirmed bool NOT NULL, `key` varchar(80) NOT NULL, step smallint unsigned NOT NULL, "+
		"t0 bigint NOT NULL, digits smallint unsigned NOT NULL, tolerance smallint unsigned NOT NULL, drift smallint NOT NULL, last_t bigint NOT NULL, "+
		"user_id int NOT NULL, throttling_failure_count int unsigned NOT NULL, throttling_failure_timestamp datetime(6))")
	t.Cleanup(func() { db.exec(t, "DROP TABLE otp_totp_totpdevice") })
	db.exec(t, "INSERT INTO otp_totp_totpdevice (confirmed, `key`, step, t0, digits, tolerance, drift, last_t, user_id, throttling_failure_count) VALUES (1, ?, 30, 0, 6, 1, 0, -1, ?, 0)", appKey, alice.id)
}

// forgetCodes has the app's code be right that was used or locked the app.
func forgetCodes(t *testing.T) {
	t.Helper()
	db.exec(t, "UPDATE otp_totp_totpdevice SET throttling_failure_timestamp = NULL, throttling_failure_count = 0, last_t = -1")
}

// TestPasswordAndCodeLogIn asks for the code of an app after the password: a wrong
// code is an error beside its field, and the right one leads to the page that was
// asked for.
func TestPasswordAndCodeLogIn(t *testing.T) {
	giveApp(t)
	g := startLoginPage(t, "password {\n hashers md5\n second_factor ask\n second_factor_tables otp_totp_totpdevice\n}\nlogin {\n password\n}")
	b := newTab(t)
	b.open(g.origin + "/reports/7")
	b.enterPassword("alice", "secret")
	if got := b.text(`document.activeElement.name`); got != "code" {
		t.Errorf("the cursor is in %q", got)
	}
	b.look("second-factor")
	b.open(g.origin + "/reports/7")
	if got := b.text(`document.querySelector("#user")?.textContent`); got == "alice" {
		t.Fatal("the password alone has logged in")
	}
	b.enterPassword("alice", "secret")
	b.do(chromedp.KeyEvent("abcdef"))
	b.load(chromedp.KeyEvent(kb.Enter))
	b.wantError("[name=code]")
	b.look("second-factor-wrong")
	b.completeLogin(g.origin + "/reports/7")
}

// completeLogin enters the code of alice's app, which leads to a page.
func (b *tab) completeLogin(want string) {
	b.t.Helper()
	forgetCodes(b.t)
	b.enter("[name=code]", appCode(b.t))
	b.submit("[name=code]")
	b.wantUser("alice")
	if got := b.url(); got != want {
		b.t.Errorf("the address bar shows %s, want %s", got, want)
	}
}

// TestMailedLinkAndCodeLogIn asks for the code of an app after the link, where it was
// asked for and in another browser, and after the code of the mail. The page can be
// loaded again meanwhile. Scripts are off.
func TestMailedLinkAndCodeLogIn(t *testing.T) {
	giveApp(t)
	g, server := startMailedLinks(t, "password {\n second_factor ask\n second_factor_tables otp_totp_totpdevice\n}")
	for name, first := range map[string]func(b *tab, link, code string) *tab{
		"the link where it was asked for": func(b *tab, link, _ string) *tab {
			b.open(startMail(t, link))
			b.click("#link")
			return b
		},
		"the link in another browser": func(_ *tab, link, _ string) *tab {
			b := newTab(t)
			b.withoutScripts()
			b.open(startMail(t, link))
			b.click("#link")
			b.pressButton()
			return b
		},
		"the code of the mail": func(b *tab, _, code string) *tab {
			b.enter("[name=code]", code)
			b.submit("[name=code]")
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			forgetCodes(t)
			b := newTab(t)
			b.withoutScripts()
			b.askForLink(g.origin+"/reports/7?x=1", "alice@example.com")
			link, code := receive(t, server)
			b = first(b, link, code)
			b.wantTitle("One more step – Example archive")
			b.load(chromedp.Reload())
			b.wantTitle("One more step – Example archive")
			b.enter("[name=code]", "abcdef")
			b.submit("[name=code]")
			b.wantError("[name=code]")
			b.completeLogin(g.origin + "/reports/7?x=1")
		})
	}
}
