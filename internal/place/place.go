// Package place finds the place of an error in a configuration: the site, the
// file and the line.
package place

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

// Of returns the place of the option that an error is about, as far as known:
// "app.example.com (Caddyfile:12)". source is where the directive begins, as
// file:line; options are those of the directive. app may be nil.
func Of(app *caddyhttp.App, source string, options directive.Options, err error) string {
	if source == "" {
		return ""
	}
	line := lineOf(source, options, err)
	if sites := Sites(app, source); len(sites) > 0 {
		return strings.Join(sites, ", ") + " (" + line + ")"
	}
	return line
}

// lineOf returns the file and line of the option that an error is about, in
// the directive at source. It reads the Caddyfile again; if that fails, it
// returns the line of the directive.
func lineOf(source string, options directive.Options, err error) string {
	file, number, ok := cutLast(source, ":")
	start, numErr := strconv.Atoi(number)
	if !ok || numErr != nil {
		return source
	}
	text, readErr := os.ReadFile(file) //nolint:gosec // the Caddyfile that Caddy has just read
	if readErr != nil {
		return source
	}
	tokens, tokenErr := caddyfile.Tokenize(text, file)
	if tokenErr != nil {
		return source
	}
	first := slices.IndexFunc(tokens, func(t caddyfile.Token) bool { return t.Line == start && t.Text == "sesame" })
	if first < 0 {
		return source
	}
	d := caddyfile.NewDispenser(tokens[first:])
	d.Next()
	lines, readErr := directive.Read(caddyfile.NewDispenser(d.NextSegment()), options)
	if readErr != nil {
		return source
	}
	_, line := lines.Of(err)
	return file + ":" + strconv.Itoa(line)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Sites returns the sites that have the directive at source: their hosts,
// or the addresses of a site for any host.
// While an HTTP app is provisioned, it still has its routes as JSON.
func Sites(app *caddyhttp.App, source string) []string {
	if app == nil {
		return nil
	}
	quoted, err := json.Marshal(source)
	if err != nil {
		return nil // unreachable: it is a string
	}
	mark := append([]byte(`"source":`), quoted...)
	var sites []string
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		for _, route := range app.Servers[name].Routes {
			isHere := func(raw json.RawMessage) bool { return bytes.Contains(raw, mark) }
			if !slices.ContainsFunc(route.HandlersRaw, isHere) {
				continue
			}
			hosts := hostsOf(route)
			if len(hosts) == 0 {
				hosts = app.Servers[name].Listen
			}
			for _, host := range hosts {
				if !slices.Contains(sites, host) {
					sites = append(sites, host)
				}
			}
		}
	}
	return sites
}

// hostsOf returns the hosts that a route is for. Its matchers are provisioned
// before its handlers.
func hostsOf(route caddyhttp.Route) []string {
	var all []string
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			switch hosts := matcher.(type) {
			case *caddyhttp.MatchHost:
				all = append(all, *hosts...)
			case caddyhttp.MatchHost:
				all = append(all, hosts...)
			}
		}
	}
	return all
}
