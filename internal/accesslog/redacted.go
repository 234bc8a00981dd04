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

// What stands in front of sesame, such as redir or respond, answers without it,
// and the server logs the request as it came. No module of Caddy's can change
// that, so the loggers of the app's servers themselves are given a core that
// redacts.

// redacting has the HTTP apps whose loggers redact.
var redacting sync.Map

// RedactLogs has the servers of an app log no credentials, whichever handler
// answers, until the app is gone. It reports false where the servers have no
// loggers of the kind that it knows, as may be in another version of Caddy.
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

// redactLogger wraps a logger that is an unexported field, of what owner points
// to.
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

// redactingCore redacts the requests and responses in lines of a log, and the
// texts beside them.
type redactingCore struct {
	zapcore.Core
	sources *claim.Sources
	request *http.Request // that the lines are about; nil if it has no credentials
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

// Write implements zapcore.Core. Which of several cores a line is for is what
// their Check says.
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
