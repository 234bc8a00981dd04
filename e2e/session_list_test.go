package e2e_test

import (
	"testing"
)

// sessionTable is what `caddy sesame check --create` prints for these users.
const sessionTable = `CREATE TABLE sesame_session (
  id char(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  user_id int NOT NULL,
  created datetime NOT NULL,
  seen datetime NOT NULL,
  expires datetime NOT NULL,
  browser varchar(40) CHARACTER SET ascii NOT NULL,
  platform varchar(40) CHARACTER SET ascii NOT NULL,
  address varchar(49) CHARACTER SET ascii NOT NULL,
  site varchar(255) CHARACTER SET ascii NOT NULL,
  KEY (user_id, expires),
  KEY (expires)
)`

// wantLoggedOut fails the test unless the site asks the browser to log in.
func (b *tab) wantLoggedOut(g *gateway) {
	b.t.Helper()
	b.open(g.origin + "/reports/7")
	if got := b.text(`document.querySelector("[name=password]") !== null`); got != "true" {
		b.t.Errorf("the browser isn't asked to log in: %s", b.text(`document.body.innerText`))
	}
}

// TestUserLogsOutOtherDevices has a user see two logins, end the other one, and log
// out everywhere.
func TestUserLogsOutOtherDevices(t *testing.T) {
	db.exec(t, sessionTable)
	t.Cleanup(func() { db.exec(t, "DROP TABLE sesame_session") })
	g := startLoginPage(t, loginPage+"\nsession {\n table sesame_session\n}")
	logIn := func(b *tab) {
		t.Helper()
		b.open(g.origin + "/reports/7")
		b.enterPassword("alice", "secret")
		b.wantUser("alice")
	}
	laptop, phone := newTab(t), newTab(t)
	logIn(laptop)
	logIn(phone)
	wantLogins := func(b *tab, want string) {
		t.Helper()
		if got := b.text(`document.querySelectorAll(".sessions li").length`); got != want {
			t.Errorf("the page lists %s logins, want %s: %s", got, want, b.text(`document.body.innerText`))
		}
	}
	laptop.open(g.origin + "/_sesame/sessions")
	laptop.wantTitle("Your logins – Example archive")
	wantLogins(laptop, "2")
	if got := laptop.text(`document.querySelector(".sessions li em").textContent`); got != "This device" {
		t.Errorf("of the first login, the page says %q", got)
	}
	laptop.look("sessions")

	laptop.click(".sessions li:nth-child(2) button")
	wantLogins(laptop, "1")
	if got := laptop.text(`document.querySelector("[role=status]").textContent`); got != "1 other device was logged out." {
		t.Errorf("the page says %q", got)
	}
	laptop.look("sessions-ended")
	phone.wantLoggedOut(g)
	laptop.open(g.origin + "/reports/7")
	laptop.wantUser("alice")

	logIn(phone)
	phone.withoutScripts()
	phone.open(g.origin + "/_sesame/sessions")
	phone.click("button[value=others]")
	wantLogins(phone, "1")
	laptop.wantLoggedOut(g)
	phone.click(".sessions li button")
	phone.wantTitle("You are logged out – Example archive")
	phone.wantLoggedOut(g)
}
