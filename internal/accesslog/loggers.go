package accesslog

import (
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// isLogSkipped reports whether an earlier handler has set log_skip.
func isLogSkipped(r *http.Request) bool {
	skipped, ok := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool)
	return ok && skipped
}

// hasAccessLog reports whether the server writes an access line for a host, by
// the rules of Caddy's server.
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

// loggersFor returns the loggers for a request, as Caddy's server chooses
// them: by the log_name directive, by the host, or the server's default.
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

// loggerNamesOf returns the names of the loggers for a host: the host's own loggers,
// else the loggers of the first wildcard that matches the host, else the default.
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

// hostOf returns a host without its port.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return host
}
