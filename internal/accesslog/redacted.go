package accesslog

import (
	"net/http"
	"reflect"
	"sync"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
)

// Handlers in front of sesame, such as redir or respond, answer without it,
// and the server logs the request as it came. No Caddy module can change that,
// so the loggers of the app's servers themselves get a core that redacts.

// redacting contains the HTTP apps whose loggers redact.
var redacting sync.Map

// RedactLogs makes the servers of an app redact credentials in their logs,
// whichever handler answers, until the app is stopped. It returns false if the
// servers' loggers aren't of the known type, as in another version of Caddy.
func RedactLogs(app *caddyhttp.App, sources *claim.Sources) (ok bool, forget func()) {
	forget = func() { redacting.Delete(app) }
	if _, isDone := redacting.LoadOrStore(app, true); isDone {
		return true, forget
	}
	ok = redactLogger(app, "logger", sources) // of servers that are provisioned later
	for _, server := range app.Servers {
		for _, name := range []string{"logger", "accessLogger", "errorLogger"} {
			ok = redactLogger(server, name, sources) && ok
		}
	}
	return ok, forget
}

// redactLogger wraps the logger in an unexported field of the struct that
// owner points to.
func redactLogger(owner any, name string, sources *claim.Sources) bool {
	field := reflect.ValueOf(owner).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[*zap.Logger]() {
		return false
	}
	logger := (**zap.Logger)(unsafe.Pointer(field.UnsafeAddr())) //nolint:gosec // the type is checked
	if *logger == nil {
		return true // not provisioned yet, or without access logs
	}
	*logger = (*logger).WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		if _, isDone := core.(*redactingCore); isDone {
			return core
		}
		return &redactingCore{Core: core, sources: sources}
	}))
	return true
}

// redactingCore redacts requests, responses and other texts in log lines.
type redactingCore struct {
	zapcore.Core
	sources *claim.Sources
	request *http.Request // the request of the log lines; nil if it has no credentials
}

// With implements zapcore.Core.
func (c *redactingCore) With(fields []zapcore.Field) zapcore.Core {
	l := line{sources: c.sources, request: c.request}
	redacted := l.redact(fields)
	return &redactingCore{c.Core.With(redacted), c.sources, l.request}
}

// Check implements zapcore.Core.
func (c *redactingCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Core.Check(entry, nil) == nil {
		return checked
	}
	return checked.AddCore(entry, c)
}

// Write implements zapcore.Core. With several cores, Check decides which of
// them get a line.
func (c *redactingCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	l := line{sources: c.sources, request: c.request}
	fields = l.redact(fields)
	if entry.Message != accessMessage {
		entry.Message = l.text(entry.Message)
	}
	if checked := c.Core.Check(entry, nil); checked != nil {
		checked.Write(fields...)
	}
	return nil
}
