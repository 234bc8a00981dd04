package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// pagesKeptAway are pages of a sesame handler that a matcher keeps requests for away
// from.
type pagesKeptAway struct {
	handler  string // its path in the JSON
	reserved string
	isLogin  bool // the login page is one of them
}

// hosts are the hosts that a site's route is for, as JSON.
func (r route) hosts() (all string) {
	for _, set := range r.Match {
		all += string(set["host"])
	}
	return all
}

// lookForPages notes whether the pages of a sesame handler, which users log in and out
// on, are within what its routes match.
func (w *flowWalk) lookForPages(h *handlerJSON, path string, p *passage) {
	reserved := cmp.Or(h.ReservedPath, "/_sesame/")
	if reserved == "off" || len(h.Session)+len(h.Login) == 0 {
		return
	}
	if !slices.ContainsFunc(p.routes, func(r route) bool { return r.misses(reserved + "login") }) {
		w.served = append(w.served, reserved)
		return
	}
	w.keptAway = append(w.keptAway, pagesKeptAway{path, reserved, len(h.Login) > 0})
}

// findKeptAway reports pages that no handler of the site serves.
func (w *flowWalk) findKeptAway() {
	for _, pages := range w.keptAway {
		if slices.Contains(w.served, pages.reserved) {
			continue
		}
		v, what := verdictWarn, "no user can log out there"
		if pages.isLogin {
			v, what = verdictFail, "the login page sends passwords to what answers there"
		}
		w.add(v, fmt.Sprintf("requests for %s don't come to sesame (%s): %s", pages.reserved, pages.handler, what),
			fmt.Sprintf("add %s* to what the matcher of sesame matches, or set reserved_path to a path below that", pages.reserved))
	}
}

// misses reports whether a route certainly doesn't match a path, whatever else a
// request has.
func (r route) misses(path string) bool {
	isMissed := func(set map[string]json.RawMessage) bool {
		if paths, ok := set["path"]; ok && !hasPath(paths, path) {
			return true
		}
		var excluded []map[string]json.RawMessage
		if json.Unmarshal(set["not"], &excluded) != nil {
			return false
		}
		return slices.ContainsFunc(excluded, func(set map[string]json.RawMessage) bool {
			return len(set) == 1 && len(set["path"]) > 0 && hasPath(set["path"], path)
		})
	}
	return len(r.Match) > 0 && !slices.ContainsFunc(r.Match, func(set map[string]json.RawMessage) bool { return !isMissed(set) })
}

// hasPath reports whether Caddy's matcher for paths, in JSON, matches a path.
func hasPath(matcher json.RawMessage, path string) bool {
	var paths caddyhttp.MatchPath
	if json.Unmarshal(matcher, &paths) != nil || paths.Provision(caddy.Context{}) != nil {
		return false
	}
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	matches, err := paths.MatchWithError((&http.Request{URL: &url.URL{Path: path}}).WithContext(ctx))
	return err == nil && matches
}
