// Package accesslog writes the lines of Caddy's access and error logs for
// requests with a token, redacted.
package accesslog

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
)

// Caddy copies every request for its access and error logs before any handler
// sees it, and no handler can change that copy. So a request whose token the
// logs would show is handled differently: Caddy's access line for it is
// skipped, and the same line is written here instead, to the same logger,
// redacted. Errors are not returned to the server, which would log them with
// its copy of the request; the server's error routes are run from here. This
// doesn't affect requests without a token.

// Logs writes the lines that Caddy writes for a request.
type Logs struct {
	access *zap.Logger // http.log.access
	errors *zap.Logger // http.log.error

	// Redacts: the server's own access line is redacted, so that none is
	// written instead.
	Redacts bool
}

// New finds the loggers of the HTTP app that the context belongs to.
func New(ctx caddy.Context) Logs {
	logger := caddy.Log().Named("http")
	if app := HTTPApp(ctx); app != nil {
		logger = ctx.Logger(app)
	}
	return Logs{access: logger.Named("log.access"), errors: logger.Named("log.error")}
}

// HTTPApp is the HTTP app that a context belongs to, or nil.
func HTTPApp(ctx caddy.Context) *caddyhttp.App {
	for _, module := range ctx.Modules() {
		if app, ok := module.(*caddyhttp.App); ok {
			return app
		}
	}
	return nil
}

// Request is a request whose token Caddy's logs would show.
type Request struct {
	logs     Logs
	server   *caddyhttp.Server // nil in tests without one
	started  time.Time
	redacted *http.Request // what logs may show; nil without an access log
	recorder caddyhttp.ResponseRecorder
	bodySize atomic.Int64 // atomic: an upstream may answer while its request is still being sent

	// The writer of the response, here to be allocated with the rest.
	wrapper  caddyhttp.ResponseWriterWrapper
	unlinked claim.UnlinkedWriter
}

// NewRequest prepares the request's log lines. Call it with the request as the
// client sent it, and write the response to the returned writer.
func NewRequest(logs Logs, sources *claim.Sources, w http.ResponseWriter, r *http.Request) (*Request, http.ResponseWriter) {
	e := &Request{logs: logs, started: startOf(r)}
	e.server, _ = r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	e.wrapper.ResponseWriter = w
	e.unlinked.ResponseWriterWrapper = &e.wrapper
	w = &e.unlinked
	if !hasAccessLog(e.server, r.Host) || isLogSkipped(r) {
		return e, w
	}
	if logs.Redacts {
		e.redacted = sources.Redact(r)
		return e, w
	}
	// Now and not at the end: by then a goroutine of the proxy may still be
	// dialing, and read the variables without a lock. So log_skip of a later
	// handler is not noticed, and the redacted line is written.
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	e.redacted = sources.Redact(r)
	e.recorder = caddyhttp.NewResponseRecorder(w, nil, nil)
	if r.Body != nil {
		r.Body = &countingBody{ReadCloser: r.Body, size: &e.bodySize}
	}
	return e, e.recorder
}

// accessMessage is the message of an access line.
const accessMessage = "handled request"

// startOf returns when Caddy received the request.
func startOf(r *http.Request) time.Time {
	if at, ok := caddyhttp.GetVar(r.Context(), "start_time").(time.Time); ok {
		return at
	}
	return time.Now()
}

// WriteAccessLine writes the access line that replaces Caddy's.
func (e *Request) WriteAccessLine(r *http.Request) {
	if e.redacted == nil || e.logs.Redacts {
		return
	}
	status := e.recorder.Status()
	level, message := zapcore.InfoLevel, accessMessage
	if status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	if name, ok := caddyhttp.GetVar(r.Context(), caddyhttp.LogLevelVar).(string); ok {
		if named, err := zapcore.ParseLevel(name); err == nil && named >= zapcore.DebugLevel && named <= zapcore.ErrorLevel {
			level = named
		}
	}
	if unhandled, ok := caddyhttp.GetVar(r.Context(), "unhandled").(bool); ok && unhandled {
		message = "NOP"
	}
	var userID string
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		userID, _ = repl.GetString("http.auth.user.id")
	}
	for _, logger := range loggersFor(e.logs.access, e.server, r) {
		if c := logger.Check(level, message); c != nil {
			c.Write(
				e.requestField(e.redacted),
				zap.Int64("bytes_read", e.bodySize.Load()),
				zap.String("user_id", userID),
				zap.Duration("duration", time.Since(e.started)),
				zap.Int("size", e.recorder.Size()),
				zap.Int("status", status),
				zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{
					Header:               e.recorder.Header(),
					ShouldLogCredentials: claim.LogsCredentials(r),
				}),
			)
		}
	}
}

// writeErrorLine writes the log line of an error, as Caddy's server does.
// inRoutes is the error of the error routes, if they failed, too.
func (e *Request) writeErrorLine(r *http.Request, level zapcore.Level, err, inRoutes error) {
	request := e.redacted
	if request == nil {
		request = r // now without a token
	}
	message, details := describeError(err)
	if inRoutes != nil {
		details = append([]zap.Field{
			zap.String("error", inRoutes.Error()),
			zap.Namespace("first_error"),
			zap.String("msg", message),
		}, details...)
		message = "error handling handler error"
	}
	details = append([]zap.Field{
		e.requestField(request),
		zap.Duration("duration", time.Since(e.started)),
	}, details...)
	for _, logger := range loggersFor(e.logs.errors, e.server, r) {
		if c := logger.Check(level, message); c != nil {
			c.Write(details...)
		}
	}
}

// describeError returns the status, the message and the fields of an error's
// log line.
func describeError(err error) (message string, details []zap.Field) {
	handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok {
		return err.Error(), []zap.Field{zap.Error(err)}
	}
	message = err.Error()
	if handlerErr.Err != nil {
		message = handlerErr.Err.Error()
	}
	return message, []zap.Field{
		zap.Int("status", handlerErr.StatusCode),
		zap.String("err_id", handlerErr.ID),
		zap.String("err_trace", handlerErr.Trace),
	}
}

func (e *Request) requestField(r *http.Request) zap.Field {
	return zap.Object("request", caddyhttp.LoggableHTTPRequest{
		Request:              r,
		ShouldLogCredentials: claim.LogsCredentials(r),
	})
}

// countingBody counts the bytes that are read from a request's body.
type countingBody struct {
	io.ReadCloser
	size *atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.size.Add(int64(n))
	return n, err
}
