package operator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// siteFlow describes how requests pass through the handlers of a site, as far as it
// concerns sesame.
type siteFlow struct {
	path string // of the site's route, in the JSON
	walk *flowWalk
}

// route is a route of a configuration, with the parts that decide where requests
// go.
type route struct {
	Match    []map[string]json.RawMessage `json:"match"`
	Handle   []handlerJSON                `json:"handle"`
	Terminal bool                         `json:"terminal"`
}

// handlerJSON is a handler, with the parts that decide where requests go.
type handlerJSON struct {
	Module    string          `json:"handler"`
	Routes    []route         `json:"routes"`          // of subroute
	Name      string          `json:"name"`            // of invoke
	Status    json.RawMessage `json:"status_code"`     // of static_response
	Rewrite   json.RawMessage `json:"rewrite"`         // of reverse_proxy
	Upstreams []upstream      `json:"upstreams"`       // of reverse_proxy
	Response  json.RawMessage `json:"handle_response"` // of reverse_proxy
	URI       json.RawMessage `json:"uri"`             // of rewrite

	// of sesame
	Optional     bool            `json:"optional"`
	ReservedPath string          `json:"reserved_path"`
	Session      json.RawMessage `json:"session"`
	Login        json.RawMessage `json:"login"`
}

// isForwardAuth reports whether a proxy is one that the directive forward_auth
// makes: it asks another server, and passes the request on.
func (h *handlerJSON) isForwardAuth() bool {
	return h.Module == "reverse_proxy" && len(h.Rewrite) > 0 && len(h.Response) > 0
}

// answers reports whether no later handler sees the request.
func (h *handlerJSON) answers() bool {
	return h.hasContent() || slices.Contains([]string{"static_response", "error", "acme_server", "metrics"}, h.Module)
}

// hasContent reports whether the handler answers with content that sesame may have
// to protect.
func (h *handlerJSON) hasContent() bool {
	return slices.Contains([]string{"reverse_proxy", "file_server", "frankenphp", "php", "cgi", "fastcgi", "webdav", "exec"}, h.Module) && !h.isForwardAuth()
}

// siteFlows follows requests through the sites of a server. It returns the flows of
// those which have sesame, and what the others lead to.
func siteFlows(server json.RawMessage, path string) (flows []siteFlow, open reach, err error) {
	var parsed struct {
		Routes []route          `json:"routes"`
		Named  map[string]route `json:"named_routes"`
		Errors struct {
			Routes []route `json:"routes"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(server, &parsed); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	// The directives of a site without a host are routes of the server, one after
	// another.
	type site struct {
		walk    *flowWalk
		passage passage
	}
	sites := make(map[string]*site)
	for _, r := range parsed.Routes {
		if walk := newFlowWalk(parsed.Named); sites[r.hosts()] == nil && walk.hasSesame(r) {
			sites[r.hosts()] = &site{walk: walk}
		}
	}
	for i, r := range parsed.Routes {
		s, at := sites[r.hosts()], path+".routes."+strconv.Itoa(i)
		if s == nil {
			continue
		}
		s.walk.route(r, at, &s.passage)
		if s.walk.hasSesame(r) {
			flows = append(flows, siteFlow{path: at, walk: s.walk})
		}
	}
	for i, r := range parsed.Errors.Routes {
		if s := sites[r.hosts()]; s != nil && s.walk.rejects {
			s.walk.errorRoutes(r, path+".errors.routes."+strconv.Itoa(i))
		}
	}
	for _, s := range sites {
		s.walk.findKeptAway()
	}
	open = openReach(parsed.Routes, parsed.Named, path, func(r route) bool { return sites[r.hosts()] != nil })
	return flows, open, nil
}

// flowWalk follows a request through a site.
type flowWalk struct {
	named      map[string]route
	inside     []string // the named routes that are being followed
	isOfErrors bool     // through the routes for errors
	rejects    bool     // sesame keeps requests without a user from going on
	findings   []finding
	guarded    reach    // behind sesame
	open       reach    // not behind it
	served     []string // the reserved paths whose pages are served
	keptAway   []pagesKeptAway
}

// newFlowWalk makes the walk of a site.
func newFlowWalk(named map[string]route) *flowWalk {
	return &flowWalk{named: named, guarded: make(reach), open: make(reach)}
}

// passage is how far a request has come.
type passage struct {
	isBehind    bool     // sesame, whatever the request
	partly      []string // what matched where sesame stood
	conditions  []string // what had to match to come here
	routes      []route  // that lead here
	endedBy     string   // the module that has answered every request
	askedBefore bool     // forward_auth came before sesame
	isRewritten bool     // to a URI that isn't the client's
}

// hasSesame reports whether a route leads to the handler.
func (w *flowWalk) hasSesame(r route) bool {
	for _, h := range r.Handle {
		if h.Module == "sesame" || slices.ContainsFunc(h.Routes, w.hasSesame) {
			return true
		}
		if named, ok := w.named[h.Name]; ok && h.Module == "invoke" && !slices.Contains(w.inside, h.Name) {
			w.inside = append(w.inside, h.Name)
			found := w.hasSesame(named)
			w.inside = w.inside[:len(w.inside)-1]
			if found {
				return true
			}
		}
	}
	return false
}

// route follows a request into a route. Afterwards, p has what holds for all
// requests behind the route.
func (w *flowWalk) route(r route, path string, p *passage) {
	if w.isOfErrors && r.excludesRejections() {
		return
	}
	condition := conditionOf(r)
	at := *p
	at.routes = append(slices.Clip(p.routes), r)
	if condition != "" {
		at.conditions = append(slices.Clip(p.conditions), condition)
	}
	for i := range r.Handle {
		w.handler(&r.Handle[i], path+".handle."+strconv.Itoa(i), r, &at)
	}
	p.partly = at.partly
	p.askedBefore = at.askedBefore
	if condition == "" {
		p.isBehind, p.endedBy, p.isRewritten = at.isBehind, at.endedBy, at.isRewritten
		return
	}
	if at.isBehind && !p.isBehind {
		p.partly = append(slices.Clip(p.partly), condition)
	}
}

// handler follows a request into a handler.
func (w *flowWalk) handler(h *handlerJSON, path string, r route, p *passage) {
	switch {
	case h.Module == "sesame" && w.isOfErrors:
		p.isBehind = p.isBehind || !h.Optional
	case h.Module == "sesame":
		w.rejects = w.rejects || !h.Optional
		w.lookForPages(h, path, p)
		w.sesame(path, r, p)
	case len(h.Routes) > 0:
		for i, inner := range h.Routes {
			w.route(inner, path+".routes."+strconv.Itoa(i), p)
		}
	case h.Module == "invoke" && !slices.Contains(w.inside, h.Name):
		if named, ok := w.named[h.Name]; ok {
			w.inside = append(w.inside, h.Name)
			w.route(named, path, p)
			w.inside = w.inside[:len(w.inside)-1]
		}
	case h.rewritesURI():
		p.isRewritten = true
	case h.isForwardAuth():
		p.askedBefore = p.askedBefore || !p.isBehind
	case p.endedBy != "":
		// No request comes here.
	case h.answers() && w.isOfErrors:
		w.answerError(h, path, p)
	case h.answers():
		w.answer(h, path, p)
	}
}

// sesame checks the position of a sesame handler.
func (w *flowWalk) sesame(path string, r route, p *passage) {
	if p.endedBy != "" {
		w.add(verdictFail, fmt.Sprintf("%s answers every request in front of sesame (%s), which therefore protects nothing", p.endedBy, path),
			"place sesame in front of it: in a route block, directives run in the order in which they are written")
	}
	if exact := exactPaths(r); len(exact) > 0 {
		w.add(verdictWarn, fmt.Sprintf("sesame is for the exact path %s alone (%s): %s/x is open", strings.Join(exact, ", "), path, strings.TrimSuffix(exact[0], "/")),
			fmt.Sprintf("write %s*, or both %[1]s and %[1]s/*", strings.TrimSuffix(exact[0], "/")))
	}
	if p.askedBefore {
		w.add(verdictWarn, "forward_auth stands in front of sesame ("+path+"): its server receives the token and what the client sends as Remote-User",
			"place sesame in front of it in a route block")
	}
	p.isBehind = true
}

// answer looks at a handler that answers.
func (w *flowWalk) answer(h *handlerJSON, path string, p *passage) {
	if p.isBehind {
		w.guarded.add(h, path)
	} else {
		w.open.add(h, path)
	}
	if h.hasContent() && !p.isBehind {
		which := "every request"
		if len(p.conditions) > 0 {
			which = "requests that match " + strings.Join(p.conditions, " and ")
		}
		if len(p.partly) > 0 {
			which += ", unless they match " + strings.Join(p.partly, " or ") + ","
		}
		w.add(verdictWarn, fmt.Sprintf("%s (%s) answers %s without sesame, in a site that has it", h.Module, path, which),
			"if that isn't meant to be open, place sesame in front of it, without a matcher or with the same")
	}
	if len(p.conditions) == 0 && !p.isBehind && len(p.partly) == 0 {
		p.endedBy = h.Module
	}
}

func (w *flowWalk) add(v verdict, text, advice string) {
	f := finding{"routes", v, text, advice}
	if !slices.Contains(w.findings, f) {
		w.findings = append(w.findings, f)
	}
}

// conditionOf describes what a request must match, other than its host.
func conditionOf(r route) string {
	var sets []string
	for _, set := range r.Match {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if name != "host" {
				parts = append(parts, name+" "+string(set[name]))
			}
		}
		if len(parts) == 0 {
			return "" // this set matches all
		}
		sets = append(sets, strings.Join(parts, " "))
	}
	return strings.Join(sets, " or ")
}

// exactPaths are the paths of a route's matchers, if each of them is exactly one
// path that isn't a file's.
func exactPaths(r route) []string {
	var all []string
	for _, set := range r.Match {
		var paths []string
		if json.Unmarshal(set["path"], &paths) != nil || len(paths) == 0 {
			return nil
		}
		all = append(all, paths...)
	}
	isOpen := func(path string) bool {
		prefix := strings.TrimSuffix(path, "/")
		return !strings.Contains(path, "*") && !strings.Contains(path[strings.LastIndexByte(path, '/')+1:], ".") &&
			!slices.ContainsFunc(all, func(other string) bool { return other == prefix+"/*" || other == prefix+"*" })
	}
	return slices.DeleteFunc(all, func(path string) bool { return !isOpen(path) })
}
