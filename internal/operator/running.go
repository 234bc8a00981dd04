package operator

import (
	"maps"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// running are the handlers that run, with the place that each has in the
// configuration, and numbered as they stand there.
func (s Source) running() []*configured {
	places := handlerPlaces{of: s.Of}
	if app, err := caddy.ActiveContext().AppIfConfigured("http"); err == nil {
		places.lookAt(app.(*caddyhttp.App))
	}
	list := places.found
	for _, h := range s.List() {
		isPlaced := func(c *configured) bool { return c.Handler == h }
		if !slices.ContainsFunc(places.found, isPlaced) {
			list = append(list, &configured{Handler: h})
		}
	}
	for i, c := range list {
		c.number = i + 1
	}
	return list
}

// handlerPlaces finds the handlers in an HTTP app that runs, in the order in
// which parseConfiguration finds them in its JSON.
type handlerPlaces struct {
	of    func(caddyhttp.MiddlewareHandler) *Handler
	found []*configured
}

func (p *handlerPlaces) lookAt(app *caddyhttp.App) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		at := configured{path: "apps.http.servers." + name, listen: server.Listen, isPlain: len(server.TLSConnPolicies) == 0}
		if server.Errors != nil {
			p.visit(server.Errors.Routes, at.within(".errors.routes"))
		}
		for _, name := range slices.Sorted(maps.Keys(server.NamedRoutes)) {
			p.visitRoute(server.NamedRoutes[name], at.within(".named_routes."+name))
		}
		p.visit(server.Routes, at.within(".routes"))
	}
}

func (p *handlerPlaces) visit(routes caddyhttp.RouteList, at configured) {
	for i := range routes {
		p.visitRoute(&routes[i], at.within("."+strconv.Itoa(i)))
	}
}

func (p *handlerPlaces) visitRoute(route *caddyhttp.Route, at configured) {
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			switch hosts := matcher.(type) {
			case *caddyhttp.MatchHost:
				at.hosts = append(slices.Clip(at.hosts), *hosts...)
			case caddyhttp.MatchHost:
				at.hosts = append(slices.Clip(at.hosts), hosts...)
			}
		}
	}
	for i, handler := range route.Handlers {
		at := at.within(".handle." + strconv.Itoa(i))
		if at.Handler = p.of(handler); at.Handler != nil {
			p.found = append(p.found, &at)
		}
		if subroute, ok := handler.(*caddyhttp.Subroute); ok {
			if subroute.Errors != nil {
				p.visit(subroute.Errors.Routes, at.within(".errors.routes"))
			}
			p.visit(subroute.Routes, at.within(".routes"))
		}
	}
}

// within is a place below this one.
func (c configured) within(path string) configured {
	c.path += path
	return c
}
