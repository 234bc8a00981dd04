package sesame

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/rawuri"
)

// Caddy copies every request for its access and error logs before any handler
// sees it, and no handler can change that copy. So a request with a token where
// the logs would show it takes another way: Caddy's access line for it is
// skipped and written here instead, to the same logger, with the same fields,
// redacted; and an error never gets as far as the server, which would log it
// with its copy of the request: the server's own error routes are run from
// here. A request without a token isn't touched by any of this.

// requestLogs writes the lines that Caddy writes for a request.
type requestLogs struct {
	access *zap.Logger // http.log.access
	errors *zap.Logger // http.log.error
}

// newRequestLogs finds the loggers of the HTTP app that the context belongs to.
func newRequestLogs(ctx caddy.Context) requestLogs {
	logger := caddy.Log().Named("http")
	if app := httpApp(ctx); app != nil {
		logger = ctx.Logger(app)
	}
	return requestLogs{access: logger.Named("log.access"), errors: logger.Named("log.error")}
}

// httpApp is the HTTP app that a context belongs to, or nil.
func httpApp(ctx caddy.Context) *caddyhttp.App {
	for _, module := range ctx.Modules() {
		if app, ok := module.(*caddyhttp.App); ok {
			return app
		}
	}
	return nil
}

// exposed is a request with a token where Caddy's logs would show it.
type exposed struct {
	logs     requestLogs
	server   *caddyhttp.Server // nil in tests without one
	started  time.Time
	redacted *http.Request // what logs may show; nil where there is no access log
	recorder caddyhttp.ResponseRecorder
	bodySize atomic.Int64 // an upstream may answer while its request is still being sent

	// What the response is written through, here to be allocated with the rest.
	wrapper  caddyhttp.ResponseWriterWrapper
	unlinked unlinkedWriter
}

// newExposed prepares the request's lines. It must see the request as the
// client sent it. The response must be written to the writer it returns.
func newExposed(logs requestLogs, sources *tokenSources, w http.ResponseWriter, r *http.Request) (*exposed, http.ResponseWriter) {
	e := &exposed{logs: logs, started: startOf(r)}
	e.server, _ = r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	e.wrapper.ResponseWriter = w
	e.unlinked.ResponseWriterWrapper = &e.wrapper
	w = &e.unlinked
	if !hasAccessLog(e.server, r.Host) || isLogSkipped(r) {
		return e, w
	}
	// Now, and not in the end: by then the proxy may have left a goroutine that
	// dials on, and reads the variables without a lock. A log_skip of a later
	// handler's is not seen for that; its line is written, redacted.
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	e.redacted = sources.redact(r)
	e.recorder = caddyhttp.NewResponseRecorder(w, nil, nil)
	if r.Body != nil {
		r.Body = &countingBody{ReadCloser: r.Body, size: &e.bodySize}
	}
	return e, e.recorder
}

// startOf is when Caddy got the request.
func startOf(r *http.Request) time.Time {
	if at, ok := caddyhttp.GetVar(r.Context(), "start_time").(time.Time); ok {
		return at
	}
	return time.Now()
}

// redact copies the request for the logs, without tokens.
func (s *tokenSources) redact(r *http.Request) *http.Request {
	redacted := r.Clone(r.Context())
	if original, ok := originalRequest(r); ok {
		redacted.Method, redacted.RequestURI = original.Method, original.RequestURI
	}
	for _, place := range s.places.all() {
		switch place.From {
		case fromQuery:
			redacted.RequestURI = rawuri.RedactInURI(redacted.RequestURI, place.Name)
			changeTexts(redacted.Header, place.Name, rawuri.RedactInText)
		case fromBearer:
			for i, value := range redacted.Header["Authorization"] {
				if _, ok := cutBearer(value); ok {
					redacted.Header["Authorization"][i] = "Bearer " + rawuri.Redacted
				}
			}
		case fromHeader:
			for i := range redacted.Header[place.Name] {
				redacted.Header[place.Name][i] = rawuri.Redacted
			}
		}
	}
	return redacted
}

// writeAccessLine writes the access line, in the place of Caddy's.
func (e *exposed) writeAccessLine(r *http.Request) {
	if e.redacted == nil {
		return
	}
	status := e.recorder.Status()
	level, message := zapcore.InfoLevel, "handled request"
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
		userID, _ = repl.GetString(identity.Placeholder + "id")
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
					ShouldLogCredentials: logsCredentials(r),
				}),
			)
		}
	}
}

// writeErrorLine writes the line of an error, as Caddy's server does. inRoutes
// is the error of the error routes, if they failed, too.
func (e *exposed) writeErrorLine(r *http.Request, level zapcore.Level, err, inRoutes error) {
	request := e.redacted
	if request == nil {
		request = r // by now without a token
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

// describeError is what an error's line says of it.
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

func (e *exposed) requestField(r *http.Request) zap.Field {
	return zap.Object("request", caddyhttp.LoggableHTTPRequest{
		Request:              r,
		ShouldLogCredentials: logsCredentials(r),
	})
}

// logsCredentials reports whether Caddy's logs show Authorization and cookies.
func logsCredentials(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Logs != nil && server.Logs.ShouldLogCredentials
}

// isLogSkipped reports whether an earlier handler has the access line skipped.
func isLogSkipped(r *http.Request) bool {
	skipped, ok := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool)
	return ok && skipped
}

// hasAccessLog tells whether the server writes an access line for a host, as
// Caddy's server decides it.
func hasAccessLog(server *caddyhttp.Server, hostport string) bool {
	if server == nil || server.Logs == nil {
		return false
	}
	host := hostOf(hostport)
	for name := range server.Logs.LoggerNames {
		if certmagic.MatchWildcard(host, name) {
			return true
		}
	}
	for _, skipped := range server.Logs.SkipHosts {
		if certmagic.MatchWildcard(host, skipped) {
			return false
		}
	}
	return !server.Logs.SkipUnmappedHosts
}

// loggersFor names a logger for a request, as Caddy's server does: by the
// log_name directive, by the host, or by the server's default.
func loggersFor(logger *zap.Logger, server *caddyhttp.Server, r *http.Request) []*zap.Logger {
	if server == nil || server.Logs == nil {
		return []*zap.Logger{logger}
	}
	var names []string
	if chosen, ok := caddyhttp.GetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any); ok {
		for _, name := range chosen {
			if name, ok := name.(string); ok {
				names = append(names, name)
			}
		}
	} else {
		names = loggerNamesOf(server.Logs, hostOf(r.Host))
	}
	loggers := make([]*zap.Logger, len(names))
	for i, name := range names {
		loggers[i] = logger.Named(name) // for the empty name it is the same
	}
	return loggers
}

// loggerNamesOf finds the names for a host: its own, those of the first
// wildcard that matches it, or the default.
func loggerNamesOf(logs *caddyhttp.ServerLogConfig, host string) []string {
	host = strings.ToLower(host)
	if names, ok := logs.LoggerNames[host]; ok {
		return names
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if label == "" {
			continue
		}
		labels[i] = "*"
		if names, ok := logs.LoggerNames[strings.Join(labels, ".")]; ok {
			return names
		}
	}
	return []string{logs.DefaultLoggerName}
}

// hostOf is a host without its port.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return host
}

// handleError does for an error of a later handler what Caddy's server would:
// it runs the server's error routes, or writes the error's status, and logs.
func (e *exposed) handleError(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok && handlerErr.StatusCode != 0 {
		status = handlerErr.StatusCode
	}
	if isErrorRoute(r.Context()) {
		e.writeErrorLine(r, zapcore.ErrorLevel, err, nil)
		w.WriteHeader(status)
		return
	}
	if e.server == nil || e.server.Errors == nil || len(e.server.Errors.Routes) == 0 {
		level := zapcore.DebugLevel
		if status >= http.StatusInternalServerError {
			level = zapcore.ErrorLevel
		}
		e.writeErrorLine(r, level, err, nil)
		w.WriteHeader(status)
		return
	}
	writeStatus := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(status)
		return nil
	})
	if inRoutes := serveErrorRoutes(e.server, w, r, err, writeStatus); inRoutes != nil {
		e.writeErrorLine(r, zapcore.ErrorLevel, err, inRoutes)
		w.WriteHeader(status)
		return
	}
	e.writeErrorLine(r, zapcore.DebugLevel, err, nil)
}

// serveErrorRoutes runs the server's error routes, what handle_errors makes in
// a Caddyfile, for the request as it came in. otherwise serves what no route
// serves.
func serveErrorRoutes(server *caddyhttp.Server, w http.ResponseWriter, r *http.Request, err error, otherwise caddyhttp.Handler) error {
	if original, ok := originalRequest(r); ok {
		r.Method, r.RemoteAddr, r.RequestURI = original.Method, original.RemoteAddr, original.RequestURI
		*r.URL = *original.URL
	}
	var routes caddyhttp.RouteList
	if server != nil && server.Errors != nil {
		routes = server.Errors.Routes
	}
	r = (*caddyhttp.HTTPErrorConfig)(nil).WithError(r, err)
	return routes.Compile(otherwise).ServeHTTP(w, r)
}

// isErrorRoute reports whether the request is in the server's error routes.
func isErrorRoute(ctx context.Context) bool {
	return ctx.Value(caddyhttp.ErrorCtxKey) != nil
}

// countingBody counts what is read of a request's body.
type countingBody struct {
	io.ReadCloser
	size *atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.size.Add(int64(n))
	return n, err
}

// unlinkedWriter sees to it that the page behind a URL with a token neither
// tells the URL to others nor is kept, whatever the upstream says of that.
type unlinkedWriter struct {
	*caddyhttp.ResponseWriterWrapper
	wroteHeader bool
}

func (w *unlinkedWriter) WriteHeader(status int) {
	if !w.wroteHeader && status >= http.StatusOK {
		w.wroteHeader = true
		forbidLinking(w.Header())
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *unlinkedWriter) Write(p []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(p)
}

func (w *unlinkedWriter) ReadFrom(r io.Reader) (int64, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// forbidLinking keeps a response out of caches, and its URL out of Referer.
func forbidLinking(header http.Header) {
	header["Cache-Control"] = []string{"no-store"}
	header["Referrer-Policy"] = []string{"no-referrer"}
}
