package sesame_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestExpiredLinkIsReplacedByOnePress: the new link goes to the stored address of the
// link's user, and leads to the requested page. Another browser, another site and a
// forged link get nothing.
func TestExpiredLinkIsReplacedByOnePress(t *testing.T) {
	db := anyDatabase(t)
	t.Cleanup(func() { db.reset(t) })
	up, smtp := startUpstream(t), startMailServer(t)
	g := mailingGateway(t, db, up, smtp, "max_age 1h\nsession", "")
	hour := withMaxAge(time.Hour)
	old := tokenAt(t, alice, "", time.Now().Add(-2*time.Hour), hour)
	const way = "Send me a new link"

	b := newBrowser(g)
	b.get(t, "/reports/7?x=1&sesame="+old).wantStatus(t, http.StatusUnauthorized)
	target, ok := b.last.ways()[way]
	if !ok || strings.Contains(target, old) || strings.Contains(b.last.body, alice.email) || strings.Contains(b.last.body, old) {
		t.Fatalf("the ways on are %v: %s", b.last.ways(), b.last.body)
	}
	newBrowser(g).do(t, http.MethodPost, target, "Origin", "http://"+g.addr).wantStatus(t, http.StatusForbidden)
	b.do(t, http.MethodPost, target, "Origin", "https://evil.example").wantStatus(t, http.StatusForbidden)
	b.do(t, http.MethodPost, target[:len(target)-4]+"AAAA", "Origin", "http://"+g.addr).wantStatus(t, http.StatusForbidden)
	b.do(t, http.MethodPost, target, "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
	got := readMail(t, smtp.WaitMail(t))
	if got.to != alice.email {
		t.Errorf("the mail went to %s", got.to)
	}
	b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusSeeOther)
	b.follow(t).wantStatus(t, http.StatusOK)
	if request := up.takeOne(t); request.uri != "/reports/7?x=1" || request.header.Get("Remote-User") != "alice" {
		t.Errorf("the upstream got %s of %q", request.uri, request.header.Get("Remote-User"))
	}

	for name, token := range map[string]string{
		"forged":             old[:len(old)-1] + "A",
		"of an inactive one": tokenAt(t, bob, "", time.Now().Add(-2*time.Hour), hour),
		"without an address": tokenAt(t, carol, "", time.Now().Add(-2*time.Hour), hour),
	} {
		page := newBrowser(g).get(t, "/reports/7?sesame="+token)
		if _, ok := page.ways()[way]; ok {
			t.Errorf("%s: a link is offered", name)
		}
	}
	if mails := smtp.Mails(t); len(mails) != 1 {
		t.Errorf("%d mails were sent", len(mails))
	}
}
