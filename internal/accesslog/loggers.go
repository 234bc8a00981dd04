package accesslog

import (
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

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
