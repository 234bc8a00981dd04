package sesame

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The events that the handler emits. Their data are the fields of the audit
// log's lines, or those of a refusal.
const (
	eventLogin    = "sesame.login"
	eventLogout   = "sesame.logout"
	eventConsumed = "sesame.consumed"
	eventMailed   = "sesame.link_mailed"
	eventRejected = "sesame.rejected"
	eventLimited  = "sesame.limited"
)

// audit records logins, logouts and the use of one-time tokens: each as a line of
// the audit log and as an event.
type audit struct {
	logger *zap.Logger
	ctx    caddy.Context
	events *caddyevents.App // nil if no events app is configured
}

func newAudit(ctx caddy.Context) audit {
	a := audit{logger: ctx.Logger().Named("audit"), ctx: ctx}
	// An error means that no events app is configured, so nothing listens.
	if app, err := ctx.AppIfConfigured("events"); err == nil {
		a.events, _ = app.(*caddyevents.App)
	}
	return a
}

// login notes that a session began.
func (a *audit) login(r *http.Request, user *userstore.User, scheme, fingerprint string) {
	a.note(r, eventLogin, "login", user.PrimaryKey, scheme, fingerprint)
}

// logout notes that a session was ended by its user.
func (a *audit) logout(r *http.Request, user token.PrimaryKey, scheme string) {
	a.note(r, eventLogout, "logout", user, scheme, "")
}

// consumed notes that a one-time token was used up.
func (a *audit) consumed(r *http.Request, user *userstore.User, scheme, fingerprint string) {
	a.note(r, eventConsumed, "one-time token used", user.PrimaryKey, scheme, fingerprint)
}

// mailed returns a function that notes that a link was sent to a user. The function
// may be called after the request for the link has ended.
func (a *audit) mailed(r *http.Request) func(*userstore.User) {
	seen := seenOf(r)
	return func(user *userstore.User) {
		a.noteSeen(seen, eventMailed, "link mailed", user.PrimaryKey, "email_link", "")
	}
}

// seen is what the audit log says of a request.
type seen struct {
	id     string
	fields []zap.Field
}

func seenOf(r *http.Request) seen { return seen{requestID(r), requestFields(r)} }

func (a *audit) note(r *http.Request, event, message string, user token.PrimaryKey, scheme, fingerprint string) {
	a.noteSeen(seenOf(r), event, message, user, scheme, fingerprint)
}

func (a *audit) noteSeen(r seen, event, message string, user token.PrimaryKey, scheme, fingerprint string) {
	if c := a.logger.Check(zap.InfoLevel, message); c != nil {
		fields := append([]zap.Field{zap.Stringer("user", user)}, r.fields...)
		fields = append(fields, zap.String("request_id", r.id), zap.String("scheme", scheme))
		if fingerprint != "" {
			fields = append(fields, zap.String("token", fingerprint))
		}
		c.Write(fields...)
	}
	if a.events == nil {
		return
	}
	data := r.data()
	data["user"], data["scheme"] = user.String(), scheme
	if fingerprint != "" {
		data["token"] = fingerprint
	}
	a.events.Emit(a.ctx, event, data)
}

// rejected emits the event of credentials that were refused. The audit log gets no
// line for it, since any client could fill the log.
func (a *audit) rejected(r *http.Request, scheme string, reason error) {
	if a.events == nil {
		return
	}
	data := requestData(r)
	data["scheme"], data["reason"] = scheme, authn.ReasonOf(reason)
	a.events.Emit(a.ctx, eventRejected, data)
}

// limited emits the event of a client that is over limit_failures. It replaces the
// events of the client's rejected tokens.
func (a *audit) limited(r *http.Request) {
	if a.events != nil {
		a.events.Emit(a.ctx, eventLimited, requestData(r))
	}
}

// forbidden emits the event of a user who doesn't meet the requirements.
func (a *audit) forbidden(r *http.Request, user *userstore.User) {
	if a.events == nil {
		return
	}
	data := requestData(r)
	data["reason"] = string(page.Forbidden)
	data["user"] = user.PrimaryKey.String()
	a.events.Emit(a.ctx, eventRejected, data)
}

// requestData are requestFields for an event.
func requestData(r *http.Request) map[string]any { return seenOf(r).data() }

func (s seen) data() map[string]any {
	data := map[string]any{"request_id": s.id}
	for _, field := range s.fields {
		data[field.Key] = field.String
	}
	return data
}

// requestID returns the value of {http.request.uuid}.
func requestID(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	id, _ := repl.GetString("http.request.uuid")
	return id
}
