package operator

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// The messages of audit lines.
const (
	auditMinted     = "token minted"
	auditRevoked    = "token revoked"
	auditRevokedAll = "tokens and sessions revoked"
	auditEnded      = "session revoked"
)

// auditLine tells which credentials an operator made or revoked.
type auditLine struct {
	message string
	user    string // the primary key
	host    string // of the link, or of the handler's site
	scope   string
	token   string // the fingerprint
	session string // the ID
}

// auditor takes the line.
type auditor interface{ note(line auditLine) }

// line returns the audit line of a token that was made.
func (m *mint) line(id, made string) auditLine {
	line := auditLine{message: auditMinted, user: id, host: m.host(), scope: m.scope}
	if parsed, err := m.issuer.tokens.Parse(made, token.Expectation{Scope: m.scope, Now: m.at}); err == nil {
		line.token = parsed.Fingerprint()
	}
	return line
}

// host returns the host that the tokens are for.
func (m *mint) host() string {
	if u := parseWhole(m.url); u != nil {
		return u.Host
	}
	return strings.Join(m.site.chosen.hosts, ",")
}

// endpointAudit is for the admin endpoint: the handler's audit log.
type endpointAudit struct {
	logger *zap.Logger
	remote string
}

func newEndpointAudit(c *configured, r *http.Request) endpointAudit {
	remote := r.RemoteAddr
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	if remote == "" || remote == "@" {
		remote = "unix socket"
	}
	return endpointAudit{logger: c.Live.Logger.Named("audit"), remote: remote}
}

func (a endpointAudit) note(line auditLine) {
	fields := []zap.Field{
		zap.String("user", line.user), zap.String("by", "admin endpoint"), zap.String("remote_ip", a.remote),
		zap.String("host", line.host), zap.String("scope", line.scope),
	}
	if line.token != "" {
		fields = append(fields, zap.String("token", line.token))
	}
	if line.session != "" {
		fields = append(fields, zap.String("session", line.session))
	}
	switch line.message { // written out, so that a search for a line of the log leads here
	case auditMinted:
		a.logger.Info("token minted", fields...)
	case auditRevoked:
		a.logger.Info("token revoked", fields...)
	case auditRevokedAll:
		a.logger.Info("tokens and sessions revoked", fields...)
	case auditEnded:
		a.logger.Info("session revoked", fields...)
	}
}

// commandAudit writes the audit lines of commands to the system's log, because the
// user who runs a command can't remove lines from it. Without a system log, the
// lines are shown.
type commandAudit struct {
	system  io.WriteCloser // nil without a system log
	stderr  io.Writer
	command string
	account string
	lost    int // lines that no log took
	first   []byte
}

func newCommandAudit(cmd *command) *commandAudit {
	system, _ := dialSystemLog() // without one, the lines are shown
	return &commandAudit{system: system, stderr: cmd.ErrOrStderr(), command: cmd.CommandPath(), account: account()}
}

// account returns the operating system's account that runs a command, and the
// account that called sudo.
func account() string {
	name := "unknown"
	if current, err := user.Current(); err == nil {
		name = current.Username
	}
	if before := os.Getenv("SUDO_USER"); before != "" && before != name {
		name += " (sudo from " + before + ")"
	}
	return name
}

func (a *commandAudit) note(line auditLine) {
	text, err := json.Marshal(struct {
		Level   string  `json:"level"`
		TS      float64 `json:"ts"`
		Logger  string  `json:"logger"`
		Msg     string  `json:"msg"`
		User    string  `json:"user"`
		By      string  `json:"by"`
		Account string  `json:"account"`
		Host    string  `json:"host"`
		Scope   string  `json:"scope"`
		Token   string  `json:"token,omitempty"`
		Session string  `json:"session,omitempty"`
	}{
		"info", float64(time.Now().UnixMilli()) / 1000, "http.handlers.sesame.audit", line.message,
		line.user, a.command, a.account, line.host, line.scope, line.token, line.session,
	})
	if err == nil && a.system != nil {
		if _, err = a.system.Write(text); err == nil {
			return
		}
	}
	if a.lost++; a.first == nil {
		a.first = text
	}
}

// end shows the lines that no log took, after the command's answer.
func (a *commandAudit) end() {
	if a.system != nil {
		_ = a.system.Close() // nothing depends on it any more
	}
	switch {
	case a.lost == 1:
		fmt.Fprintf(a.stderr, "The system's log couldn't be reached, so the audit line is only here: %s\n", a.first)
	case a.lost > 1:
		fmt.Fprintf(a.stderr, "The system's log couldn't be reached, so %d audit lines are lost. The first of them: %s\n", a.lost, a.first)
	}
}
