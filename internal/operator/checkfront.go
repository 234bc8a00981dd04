package operator

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// inFront is a handler in front of sesame that has a log or spans of its own, in
// which the module can't redact.
type inFront struct {
	module    string // of Caddy's
	directive string // that a Caddyfile has for it
	tells     bool   // spans that have the URL in them
}

// inFrontOf makes an inFront of a handler's JSON.
func inFrontOf(module string, fields map[string]json.RawMessage) inFront {
	f := inFront{module: module, directive: module}
	has := func(name string) bool { return len(fields[name]) > 0 }
	switch module {
	case "rewrite":
		switch {
		case has("strip_path_prefix"):
			f.directive = "handle_path or uri strip_prefix"
		case has("strip_path_suffix"), has("uri_substring"), has("path_regexp"), has("query"):
			f.directive = "uri"
		case bytes.Contains(fields["uri"], []byte("{http.matchers.file.")):
			f.directive = "try_files"
		case has("method"):
			f.directive = "method"
		}
	case "reverse_proxy":
		switch {
		case has("rewrite") && has("handle_response"):
			f.directive = "forward_auth"
		case bytes.Contains(fields["transport"], []byte(`"fastcgi"`)):
			f.directive = "php_fastcgi"
		}
	case "tracing":
		text := string(fields["span"]) + string(fields["span_attributes"])
		f.tells = slices.ContainsFunc(tellingPlaceholders, func(name string) bool { return strings.Contains(text, name) })
	}
	return f
}

// tellingPlaceholders are prefixes of placeholders whose value may have a token in
// it.
var tellingPlaceholders = []string{
	"{http.request.uri", "{http.request.orig_uri", "{http.request.header.", "{http.request.cookie.", "{http.request.hostport", "{http.vars.",
}

// checkAccessLog looks for logs that could have a token in them: the handler
// redacts what Caddy's servers log, but not what other handlers log.
func (c *checker) checkAccessLog() {
	const check = "access_log"
	isFine := true
	warn := func(text, advice string) {
		isFine = false
		c.warn(check, text, advice)
	}
	if c.logsCredentials {
		warn("log_credentials is on, so that Caddy's logs show the cookies of sessions", "remove log_credentials from the global options")
	}
	logs := func(f inFront) bool {
		return (f.module == "rewrite" || f.module == "reverse_proxy") && c.config.logsAtDebug("http.handlers."+f.module)
	}
	names := c.directivesInFront(logs)
	switch {
	case len(names) > 0:
		module := c.before[slices.IndexFunc(c.before, logs)].module
		warn(strings.Join(names, " and ")+plural(len(names), " stands", " stand")+" in front of sesame, and"+plural(len(names), " logs", " log")+" URLs with tokens at level DEBUG",
			"raise the log's level, exclude http.handlers."+module+" from it, or place sesame in front in a route block")
	case len(c.directivesInFront(func(f inFront) bool { return f.directive == "forward_auth" })) > 0:
		warn("forward_auth stands in front of sesame: its server receives tokens, and Caddy logs their URLs where that server breaks an answer off",
			"place sesame in front of it in a route block")
	}
	if len(c.directivesInFront(func(f inFront) bool { return f.tells })) > 0 {
		warn("tracing stands in front of sesame, and has the URL or a header field in its spans: they show tokens",
			"remove these placeholders from span and span_attributes, or place sesame in front in a route block")
	}
	if c.LogsAssertions && (c.config.logsAtDebug("http.handlers.reverse_proxy") || c.config.logsAtDebug("http.reverse_proxy.transport.fastcgi")) {
		warn("at level DEBUG, Caddy's proxies log the header fields that they send, assertions among them",
			"raise the log's level, or have a filter delete the field")
	}
	if isFine {
		c.ok(check, "tokens are taken out of Caddy's logs by the handler itself")
	}
}

// plural chooses by a number.
func plural(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// directivesInFront names the directives of handlers in front, each once.
func (c *checker) directivesInFront(is func(inFront) bool) (names []string) {
	for _, f := range c.before {
		if is(f) && !slices.Contains(names, f.directive) {
			names = append(names, f.directive)
		}
	}
	slices.Sort(names)
	return names
}
