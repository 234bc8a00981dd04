package scope

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// requestPlaceholders are the placeholders that scopes mostly use, for
// suggestions.
var requestPlaceholders = []string{
	"http.request.uri", "http.request.uri.path", "http.request.uri.path.0", "http.request.uri.path.1", "http.request.uri.path.2", "http.request.uri.path.dir", "http.request.uri.path.file",
	"http.request.uri.query", "http.request.orig_uri", "http.request.orig_uri.path",
	"http.request.host", "http.request.hostport", "http.request.method", "http.request.scheme", "http.request.remote.host",
}

// checkKnown rejects placeholders that would be empty for every request, so
// that no token could be valid. Placeholders of other modules are accepted.
func checkKnown(key string) error {
	switch {
	case strings.HasPrefix(key, "http.auth."):
		return fmt.Errorf("{%s} is known only after the token is checked, which requires the scope: "+
			"take the scope from the path, as in {http.request.uri.path.1}", key)
	case strings.HasPrefix(key, "http.request.uri.path."), strings.HasPrefix(key, "http.request.orig_uri.path."):
		part := key[strings.LastIndexByte(key, '.')+1:]
		if part == "dir" || part == "file" || strings.Contains(key, ".path.file.") {
			return nil
		}
		if _, err := strconv.Atoi(strings.TrimSuffix(part, "*")); err != nil {
			return fmt.Errorf("{%s}: Caddy doesn't have this part of the path: write its number, as in {http.request.uri.path.1}", key)
		}
		return nil
	case strings.HasPrefix(key, parameterPrefix), strings.HasPrefix(key, "http.request.tls."), strings.HasPrefix(key, "http.request.host.labels."),
		strings.HasPrefix(key, "http.request.orig_uri.query."), strings.HasPrefix(key, "http.request.local"):
		return nil
	case strings.HasPrefix(key, "http.request."):
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Path: "/"}, Host: "localhost", Header: make(http.Header), RemoteAddr: "127.0.0.1:80"}
		repl := caddy.NewReplacer()
		caddyhttp.PrepareRequest(r, repl, nil, nil)
		if _, known := repl.Get(key); known {
			return nil
		}
		return unknown(key)
	case nearest.Name(key, requestPlaceholders) != "":
		return unknown(key)
	}
	return nil
}

func unknown(key string) error {
	near := nearest.Name(key, requestPlaceholders)
	if near == "" {
		return fmt.Errorf("{%s}: Caddy knows no such placeholder; take the scope from the path, as in {http.request.uri.path.1}", key)
	}
	return fmt.Errorf("{%s}: Caddy knows no such placeholder; did you mean {%s}?", key, near)
}

// checkBraces finds a placeholder that lacks a brace, which would be used as
// plain text.
func checkBraces(text string) error {
	opened := false
	for i := range len(text) {
		switch {
		case i > 0 && text[i-1] == '\\':
		case text[i] == '{':
			opened = strings.Contains(text[i:], ".") // else it is text
		case text[i] == '}' && !opened && strings.HasPrefix(text, "http."):
			return errors.New("a closing brace lacks its opening brace: write a placeholder as {http.request.uri.path.1}, and a brace of the scope itself as \\}")
		case text[i] == '}':
			opened = false
		}
	}
	if opened {
		return errors.New("an opening brace lacks its closing brace: write a placeholder as {http.request.uri.path.1}, and a brace of the scope itself as \\{")
	}
	return nil
}
