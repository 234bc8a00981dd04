// Package placeholders tells which of Caddy's placeholders can have a value.
//
// A name in one of Caddy's own namespaces that Caddy doesn't know can't have one: it
// is misspelled, and an error. Any other name may be that of a directive in front of
// sesame, such as map, or of another module, which no configuration of a single
// handler shows: it is worth a warning.
package placeholders

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// ofRequest are Caddy's placeholders for parts of a request that have no name of
// the request's in them.
var ofRequest = []string{
	"http.request.host", "http.request.hostport", "http.request.port", "http.request.method", "http.request.proto", "http.request.scheme",
	"http.request.uri", "http.request.uri_escaped", "http.request.uri.path", "http.request.uri.path_escaped", "http.request.uri.query", "http.request.uri.query_escaped",
	"http.request.uri.prefixed_query", "http.request.uri.path.file", "http.request.uri.path.dir", "http.request.uri.path.0", "http.request.uri.path.1", "http.request.uri.path.2",
	"http.request.orig_uri", "http.request.orig_uri.path", "http.request.orig_uri.query", "http.request.orig_method",
	"http.request.remote", "http.request.remote.host", "http.request.remote.port", "http.request.uuid",
	"http.request.local", "http.request.local.host", "http.request.local.port", "http.request.duration", "http.request.duration_ms",
}

// Check returns an error for a name in one of Caddy's own namespaces that Caddy
// doesn't know. It suggests the name that was probably meant.
func Check(name string) error {
	switch namespace, _, _ := strings.Cut(name, "."); {
	case strings.HasPrefix(name, "http.request."):
		return checkRequest(name)
	case namespace == "system", namespace == "time":
		if _, known := caddy.NewReplacer().Get(name); !known {
			return unknown(name, []string{"system.hostname", "system.os", "system.arch", "system.wd", "time.now", "time.now.unix", "time.now.year"})
		}
	}
	return nil
}

// checkRequest has Caddy evaluate a placeholder for a part of a request.
func checkRequest(name string) error {
	for _, prefix := range []string{"http.request.tls.", "http.request.local", "http.request.body"} {
		if strings.HasPrefix(name, prefix) {
			return nil // some need a connection, or a body
		}
	}
	if slices.Contains(ofRequest, name) {
		return nil // without a path, some have no value
	}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Path: "/"}, Host: "localhost", Header: make(http.Header), RemoteAddr: "127.0.0.1:80"}
	repl := caddy.NewReplacer()
	caddyhttp.PrepareRequest(r, repl, nil, nil)
	if _, known := repl.Get(name); known || strings.HasPrefix(name, "http.request.host.labels.") {
		return nil
	}
	return checkPart(name)
}

// checkPart checks a placeholder that Caddy doesn't know for a request of the path /,
// and that may be for a further part of a path.
func checkPart(name string) error {
	before, part := "", ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		before, part = name[:i], name[i+1:]
	}
	isPath := before == "http.request.uri.path" || before == "http.request.orig_uri.path"
	if !isPath || nearest.Close(part, []string{"dir", "file"}) != "" {
		return unknown(name, ofRequest)
	}
	if _, err := strconv.Atoi(strings.TrimSuffix(part, "*")); err != nil {
		return fmt.Errorf("{%s}: Caddy doesn't have this part of the path: write its number, as in {http.request.uri.path.1}", name)
	}
	return nil
}

// OfRequest returns Caddy's name for a part of a request that a name may be a
// misspelling of; empty for none.
func OfRequest(name string) string { return nearest.Name(name, ofRequest) }

// unknown is the error for a name that Caddy doesn't know.
func unknown(name string, known []string) error {
	if near := nearest.Name(name, known); near != "" {
		return fmt.Errorf("{%s}: Caddy knows no such placeholder; did you mean {%s}?", name, near)
	}
	return fmt.Errorf("{%s}: Caddy knows no such placeholder", name)
}

// others are the namespaces of Caddy's own that Check doesn't check, since names in
// them are a configuration's.
var others = []string{"env.", "file.", "http.auth.", "http.vars.", "http.regexp.", "http.matchers.", "http.reverse_proxy.", "http.intercept.", "http.error.", "http.shutting_down", "http.time_until_shutdown", "tls.", "l4."}

// shorthands are some of those that a Caddyfile has for Caddy's names.
var shorthands = map[string]string{
	"host": "http.request.host", "hostport": "http.request.hostport", "port": "http.request.port", "method": "http.request.method", "scheme": "http.request.scheme",
	"uri": "http.request.uri", "path": "http.request.uri.path", "dir": "http.request.uri.path.dir", "file": "http.request.uri.path.file", "query": "http.request.uri.query",
	"orig_uri": "http.request.orig_uri", "orig_path": "http.request.orig_uri.path", "remote_host": "http.request.remote.host", "client_ip": "http.vars.client_ip", "uuid": "http.request.uuid",
}

// Foreign reports whether only another directive, or a module of another project, can
// give a placeholder a value. meant is the name in Caddy that it may be a misspelling
// of; empty for none.
func Foreign(name string) (meant string, isForeign bool) {
	isOf := func(namespace string) bool { return strings.HasPrefix(name, namespace) }
	if isOf("http.request.") || isOf("system.") || isOf("time.") || slices.ContainsFunc(others, isOf) {
		return "", false
	}
	namespace, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return shorthands[nearest.Name(name, slices.Collect(maps.Keys(shorthands)))], true
	}
	if near := nearest.Close(namespace, []string{"env", "file", "system", "time"}); near != "" {
		return near + "." + rest, true
	}
	if after, ok := strings.CutPrefix(name, "http."); ok {
		within, last, _ := strings.Cut(after, ".")
		if near := nearest.Name(within, []string{"request", "vars", "regexp", "auth"}); near != "" {
			return "http." + near + "." + last, true
		}
	}
	return "", true
}
