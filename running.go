package sesame

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// handlers are those that are provisioned in this process: of the
// configuration that runs, and for a moment of the one before or the next.
var handlers struct {
	mu   sync.Mutex
	list []*Handler
}

// running lists the provisioned handlers, in the order in which they were.
func running() []*Handler {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	return slices.Clone(handlers.list)
}

// register adds a handler to those that run.
func register(h *Handler) {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	handlers.list = append(handlers.list, h)
}

// unregister takes it out. One that isn't there is none of its business.
func unregister(h *Handler) {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	handlers.list = slices.DeleteFunc(handlers.list, func(other *Handler) bool { return other == h })
}

// runningHandlers are the handlers that run, with the place that each has in
// the configuration, and numbered as they stand there.
func runningHandlers() []*configured {
	var places handlerPlaces
	if app, err := caddy.ActiveContext().AppIfConfigured("http"); err == nil {
		places.lookAt(app.(*caddyhttp.App))
	}
	list := places.found
	for _, h := range running() {
		isPlaced := func(c *configured) bool { return c.Handler == h }
		if !slices.ContainsFunc(places.found, isPlaced) {
			list = append(list, &configured{Handler: h})
		}
	}
	for i, c := range list {
		c.number = i + 1
		c.raw, _ = json.Marshal(c.Handler) // it was made from JSON
	}
	return list
}

// handlerPlaces finds the handlers in an HTTP app that runs, in the order in
// which parseConfiguration finds them in its JSON.
type handlerPlaces struct{ found []*configured }

func (p *handlerPlaces) lookAt(app *caddyhttp.App) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		at := configured{path: "apps.http.servers." + name, listen: server.Listen}
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
		switch handler := handler.(type) {
		case *Handler:
			at.Handler = handler
			p.found = append(p.found, &at)
		case *caddyhttp.Subroute:
			if handler.Errors != nil {
				p.visit(handler.Errors.Routes, at.within(".errors.routes"))
			}
			p.visit(handler.Routes, at.within(".routes"))
		}
	}
}

// within is a place below this one.
func (c configured) within(path string) configured {
	c.path += path
	return c
}
