package sesame_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// startRadicale runs Radicale, a server for calendars over WebDAV, which takes
// its users from X-Remote-User and gives each their own collections. It returns
// where it listens.
func startRadicale(t *testing.T) (addr string) {
	t.Helper()
	program, err := exec.LookPath("radicale")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("radicale is not on PATH, and CI must test with it: apt-get install radicale")
		}
		t.Skip("radicale is not on PATH (Debian: apt-get install radicale)")
	}
	dir, addr := t.TempDir(), unboundAddr(t)
	config := filepath.Join(dir, "config")
	text := fmt.Sprintf("[server]\nhosts = %s\n[auth]\ntype = http_x_remote_user\n[rights]\ntype = owner_only\n[storage]\nfilesystem_folder = %s/collections\n", addr, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "--config", config)
	server.Env = testprogram.PythonEnv()
	testprogram.Listen(t, server, addr, os.Interrupt)
	return addr
}

// appointment is an entry of a calendar (RFC 5545).
var appointment = strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//caddy-sesame//tests//EN
BEGIN:VEVENT
UID:apples
DTSTAMP:20200101T000000Z
DTSTART:20200102T100000Z
SUMMARY:Seven apples
END:VEVENT
END:VCALENDAR
`, "\n", "\r\n")

// TestCalendarOverWebDAVTakesBasic makes a calendar and an entry in it, lists and
// reads them, as calendar programs do: they send Basic once a challenge has asked
// for it.
func TestCalendarOverWebDAVTakesBasic(t *testing.T) {
	radicale := startRadicale(t)
	withMariaDB(t, func(t *testing.T, db *database) {
		db.setPassword(t, carol, hashOf(t, password.MD5, "a:b c"))
		s := passwordSite(10)
		s.options += "\nidentity {\nX-Remote-User {http.auth.user.username}\n}"
		s.after = "reverse_proxy " + radicale
		g := startGateway(t, db, startUpstream(t), s)

		unasked := g.do(t, "PROPFIND", "/carol/", "Depth", "1")
		unasked.wantStatus(t, http.StatusUnauthorized)
		if got := strings.Join(unasked.header["Www-Authenticate"], ", "); !strings.Contains(got, "Basic realm=") {
			t.Errorf("the challenge is %q", got)
		}
		basic := basicAuth("carol:a:b c")
		dav := func(method, uri, body string, want int, header ...string) string {
			t.Helper()
			answer := g.doWithBody(t, method, uri, body, append(header, basic...)...)
			answer.wantStatus(t, want)
			return answer.body
		}
		wantHashed(t, 1, func() {
			dav("MKCALENDAR", "/carol/diary/", "", http.StatusCreated)
			dav(http.MethodPut, "/carol/diary/apples.ics", appointment, http.StatusCreated, "Content-Type", "text/calendar", "If-None-Match", "*")
			if list := dav("PROPFIND", "/carol/diary/", "", http.StatusMultiStatus, "Depth", "1"); !strings.Contains(list, "/carol/diary/apples.ics") {
				t.Errorf("the calendar has %s", list)
			}
			if entry := dav(http.MethodGet, "/carol/diary/apples.ics", "", http.StatusOK); !strings.Contains(entry, "SUMMARY:Seven apples") {
				t.Errorf("the entry is %s", entry)
			}
			// Radicale believes its header field, which only the gateway sets.
			dav("PROPFIND", "/alice/", "", http.StatusForbidden, "X-Remote-User", "alice", "Remote-User", "alice")
			dav(http.MethodDelete, "/carol/diary/apples.ics", "", http.StatusOK)
		})
		wrong := g.doWithBody(t, http.MethodPut, "/carol/diary/pears.ics", appointment, basicAuth("carol:wrong")...)
		wrong.wantStatus(t, http.StatusUnauthorized)
		dav(http.MethodGet, "/carol/diary/pears.ics", "", http.StatusNotFound)
	})
}
