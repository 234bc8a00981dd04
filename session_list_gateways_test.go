package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// logOut presses the button for logging out.
func (b *browser) logOut(t *testing.T) *response {
	t.Helper()
	return b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://"+b.gateway.addr)
}

// TestLogoutEndsTheSessionOnAllGateways at once, though both have a cache, and a
// replica that still has the row of the session.
func TestLogoutEndsTheSessionOnAllGateways(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addSessionList(t)
		behind := strings.Replace(db.dsn, "/django", "/behind", 1)
		if behind == db.dsn {
			t.Fatal("the DSN names another database than django")
		}
		db.mustExec(t, "DROP DATABASE IF EXISTS behind")
		db.mustExec(t, "CREATE DATABASE behind")
		t.Cleanup(func() { db.mustExec(t, "DROP DATABASE behind") })
		for _, table := range []string{"auth_user", "sesame_session"} {
			db.mustExec(t, "CREATE TABLE behind."+table+" LIKE django."+table)
		}
		db.mustExec(t, "INSERT INTO behind.auth_user SELECT * FROM auth_user")
		db.mustExec(t, "UPDATE behind.auth_user SET username = 'replicated' WHERE id = 3")

		up := startUpstream(t)
		s := site{options: listing + "\ncache 5m", store: fmt.Sprintf("replica %q", behind)}
		gateways := []*gateway{startGateway(t, db, up, s), startGatewayProcess(t, db, up, s)}
		b := newBrowser(gateways[0]).logInAs(t, alice, firefoxOnLinux)
		copied := b.session()
		db.mustExec(t, "INSERT INTO behind.sesame_session SELECT * FROM sesame_session")
		for _, g := range gateways {
			g.get(t, "/", copied...).wantStatus(t, http.StatusOK)
			up.take()
			g.get(t, "/", "Authorization", "Bearer "+tokenFor(t, carol)).wantStatus(t, http.StatusOK)
			if name := up.takeOne(t).header.Get("Remote-User"); name != "replicated" {
				t.Errorf("a token was looked up as %q, not on the replica", name)
			}
		}
		b.logOut(t).wantStatus(t, http.StatusOK)
		for _, g := range gateways {
			g.get(t, "/", copied...).wantStatus(t, http.StatusUnauthorized)
		}
		up.takeNone(t)
	})
}

// TestSessionListOutlivesAReload: so do its sessions, and the end of one.
func TestSessionListOutlivesAReload(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		laptop, phone := newBrowser(g).logInAs(t, alice, firefoxOnLinux), newBrowser(g).logInAs(t, alice, safariOnPhone)
		gone := newBrowser(g).logInAs(t, carol, "")
		ended := gone.session()
		gone.logOut(t).wantStatus(t, http.StatusOK)
		if err := tryCaddyfile(g.caddyfile(db, up, site{options: listing + "\nrealm again"})); err != nil {
			t.Fatal(err)
		}
		g.get(t, "/", ended...).wantStatus(t, http.StatusUnauthorized)
		phone.get(t, "/").wantStatus(t, http.StatusOK)
		list := laptop.listed(t)
		if len(list) != 2 {
			t.Fatalf("the page lists %q", list)
		}
		laptop.end(t, list[1][0]).wantStatus(t, http.StatusOK)
		phone.get(t, "/").wantStatus(t, http.StatusUnauthorized)
	})
}

// TestSessionEndsWithItsRowOrItsUser, which may be deleted by hand.
func TestSessionEndsWithItsRowOrItsUser(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		for _, statement := range []string{
			"DELETE FROM sesame_session WHERE user_id = 1",
			"UPDATE sesame_session SET user_id = 3 WHERE user_id = 1",
			"DELETE FROM auth_user WHERE id = 1",
		} {
			b, other := newBrowser(g).logInAs(t, alice, firefoxOnLinux), newBrowser(g).logInAs(t, carol, "")
			b.get(t, "/").wantStatus(t, http.StatusOK)
			up.take()
			db.mustExec(t, statement)
			if b.get(t, "/").status != http.StatusUnauthorized || b.cookies["sesame"] != "" {
				t.Errorf("%s: status %d, the cookie is %q", statement, b.last.status, b.cookies["sesame"])
			}
			up.takeNone(t)
			other.get(t, "/").wantStatus(t, http.StatusOK)
			up.take()
			db.mustExec(t, "DELETE FROM sesame_session")
		}
	})
}

// TestSessionListDuringAnOutage: no request is forwarded, and no button deletes the
// cookie while a copy of it may go on. The session is valid again afterwards.
func TestSessionListDuringAnOutage(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addSessionList(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing + "\ncache 5m", store: "query_timeout 2500ms"})
		b := newBrowser(g).logInAs(t, alice, firefoxOnLinux)
		id := b.listed(t)[0][0]
		b.get(t, "/").wantStatus(t, http.StatusOK)
		up.take()

		if err := mariadb.Freeze(); err != nil {
			t.Fatal(err)
		}
		defer mariadb.Thaw()
		b.get(t, "/").wantStatus(t, http.StatusServiceUnavailable)
		b.get(t, "/_sesame/sessions").wantStatus(t, http.StatusServiceUnavailable)
		b.end(t, id).wantStatus(t, http.StatusServiceUnavailable)
		b.end(t, "others").wantStatus(t, http.StatusServiceUnavailable)
		b.logOut(t).wantStatus(t, http.StatusServiceUnavailable)
		newBrowser(g).get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusServiceUnavailable)
		up.takeNone(t)
		if b.cookies["sesame"] == "" {
			t.Error("the cookie was deleted, and a copy of it may go on")
		}
		mariadb.Thaw()

		poll(t, "MySQL's return", func() bool { return b.get(t, "/").status == http.StatusOK })
		copied := b.session()
		b.logOut(t).wantStatus(t, http.StatusOK)
		g.get(t, "/", copied...).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestSessionListStartsWithoutMySQL: sessions of the table are valid once MySQL
// answers.
func TestSessionListStartsWithoutMySQL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addSessionList(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		b := newBrowser(g).logInAs(t, alice, firefoxOnLinux)
		killMariaDB(t, db)
		defer func() { _ = mariadb.Restart() }()
		g = startGateway(t, db, up, site{options: listing, store: "start_without"})
		b.gateway = g
		up.take()
		b.get(t, "/").wantStatus(t, http.StatusServiceUnavailable)
		b.logOut(t).wantStatus(t, http.StatusServiceUnavailable)
		up.takeNone(t)
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		poll(t, "MySQL's return", func() bool { return b.get(t, "/").status == http.StatusOK })
		if list := b.listed(t); len(list) != 1 {
			t.Errorf("the page lists %q", list)
		}
		copied := b.session()
		b.logOut(t).wantStatus(t, http.StatusOK)
		g.get(t, "/", copied...).wantStatus(t, http.StatusUnauthorized)
	})
}
