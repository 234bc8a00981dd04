package sesame_test

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemLog is a socket that takes what commands write to the system's log.
func systemLog(t *testing.T) *net.UnixConn {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "log"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("SESAME_SYSLOG_SOCKET", address.Name)
	return socket
}

// wantAuditLine reads the next line of a system's log.
func wantAuditLine(t *testing.T, socket *net.UnixConn, want map[string]string) {
	t.Helper()
	_ = socket.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 64<<10)
	n, err := socket.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	header, object, _ := strings.Cut(string(buffer[:n]), "{")
	if !strings.HasPrefix(header, "<85>") || !strings.Contains(header, "caddy-sesame[") { // authpriv.notice
		t.Errorf("the header is %q", header)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte("{"+object), &line); err != nil {
		t.Fatalf("%v: %s", err, buffer[:n])
	}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s is %v, want %q: %s", key, line[key], value, object)
		}
	}
	if account, _ := line["account"].(string); account == "" {
		t.Errorf("no account: %s", object)
	}
}

// TestMintingAndRevokingByCommandIsLogged has minting and revoking noted in the
// system's log.
func TestMintingAndRevokingByCommandIsLogged(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		socket := systemLog(t)
		o := newOperator(t, oneSite("max_age 1h\nscope reports", "revocations sesame_audited"), db.dsn)
		db.mustExec(t, "DROP TABLE IF EXISTS sesame_audited")
		db.mustExec(t, o.run(t, "check", "--create").stdout)
		t.Cleanup(func() { db.mustExec(t, "DROP TABLE sesame_audited") })

		r := o.run(t, "token", "alice", "--url", "https://app.example.com/reports/7")
		r.wantStatus(t, 0)
		wantAuditLine(t, socket, map[string]string{
			"msg": "token minted", "logger": "http.handlers.sesame.audit", "user": "1", "host": "app.example.com", "scope": "reports", "by": "sesame token",
		})
		link := strings.TrimSpace(r.stdout)
		o.run(t, "revoke", link).wantStatus(t, 0)
		wantAuditLine(t, socket, map[string]string{"msg": "token revoked", "user": "1", "host": "app.example.com", "by": "sesame revoke"})
		o.run(t, "revoke", "--user", "alice").wantStatus(t, 0)
		wantAuditLine(t, socket, map[string]string{"msg": "tokens and sessions revoked", "user": "1"})

		o.stdin = "alice\nnobody\ncarol\n"
		o.run(t, "token", "--stdin").wantStatus(t, 1)
		wantAuditLine(t, socket, map[string]string{"msg": "token minted", "user": "1"})
		wantAuditLine(t, socket, map[string]string{"msg": "token minted", "user": "3"})
		if made := strings.TrimPrefix(link, "https://app.example.com/reports/7?sesame="); strings.Contains(r.stderr, made) {
			t.Errorf("a token is on stderr: %s", r.stderr)
		}
	})
}

// TestCommandAuditWithoutSystemLog shows the line behind the answer.
func TestCommandAuditWithoutSystemLog(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		t.Setenv("SESAME_SYSLOG_SOCKET", filepath.Join(t.TempDir(), "nothing"))
		o := newOperator(t, oneSite("", ""), db.dsn)
		r := o.run(t, "token", "alice")
		r.wantStatus(t, 0)
		wantText(t, r.stderr, "The system's log couldn't be reached, so the audit line is only here", `"msg":"token minted"`, `"user":"1"`)
		if strings.Contains(r.stderr, strings.TrimSpace(r.stdout)) {
			t.Errorf("the token is on stderr: %s", r.stderr)
		}
	})
}

// TestMintingByTheAdminEndpointIsAudited has what the admin endpoint mints noted in
// the audit log.
func TestMintingByTheAdminEndpointIsAudited(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "scope reports"))
		status, answer := a.post(t, "/sesame/token", `{"user": "alice", "url": "http://app.example.com/reports"}`)
		if status != 200 {
			t.Fatalf("%d: %v", status, answer)
		}
		a.awaitLines(t, "http.handlers.sesame.audit", 1)
		log := string(a.log(t))
		wantText(t, log, `"token minted"`, `"by":"admin endpoint"`, `"remote_ip":"127.0.0.1"`, `"user":"1"`, `"host":"app.example.com"`, `"scope":"reports"`)
		if made, _ := answer["token"].(string); made == "" || strings.Contains(log, made) {
			t.Error("the token is in the log")
		}
	})
}
