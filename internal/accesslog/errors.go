package accesslog

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
)

// HandleError handles an error of a later handler as Caddy's server does: it
// runs the server's error routes, or writes the error's status, and logs.
func (e *Request) HandleError(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok && handlerErr.StatusCode != 0 {
		status = handlerErr.StatusCode
	}
	if IsErrorRoute(r.Context()) {
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
	if inRoutes := ServeErrorRoutes(e.server, w, r, err, writeStatus); inRoutes != nil {
		e.writeErrorLine(r, zapcore.ErrorLevel, err, inRoutes)
		w.WriteHeader(status)
		return
	}
	e.writeErrorLine(r, zapcore.DebugLevel, err, nil)
}

// ServeErrorRoutes runs the server's error routes (handle_errors in a
// Caddyfile) for the request as it came in. otherwise serves the request if no
// route does.
func ServeErrorRoutes(server *caddyhttp.Server, w http.ResponseWriter, r *http.Request, err error, otherwise caddyhttp.Handler) error {
	if original, ok := claim.OriginalRequest(r); ok {
		r.Method, r.RemoteAddr, r.RequestURI = original.Method, original.RemoteAddr, original.RequestURI
		*r.URL = *original.URL
	}
	var routes caddyhttp.RouteList
	if server != nil && server.Errors != nil {
		routes = server.Errors.Routes
	}
	r = (*caddyhttp.HTTPErrorConfig)(nil).WithError(r, err)
	if !haveAnswer(routes, r) {
		return otherwise.ServeHTTP(w, r)
	}
	return routes.Compile(otherwise).ServeHTTP(w, r)
}

// haveAnswer reports whether a handler of the routes gets the request. The routes of
// a site in a Caddyfile end with an empty answer where none of them is for the
// error's status: Caddy takes the site's subroute for the last.
func haveAnswer(routes caddyhttp.RouteList, r *http.Request) bool {
	for _, route := range routes {
		switch matches, err := route.MatcherSets.AnyMatchWithError(r); {
		case err != nil:
			return true // Caddy finds it, too, and handles it
		case !matches:
			continue
		}
		for _, handler := range route.Handlers {
			below, ok := handler.(*caddyhttp.Subroute)
			if !ok || haveAnswer(below.Routes, r) {
				return true
			}
		}
	}
	return false
}

// IsErrorRoute reports whether the request is being served by the server's
// error routes.
func IsErrorRoute(ctx context.Context) bool {
	return ctx.Value(caddyhttp.ErrorCtxKey) != nil
}
