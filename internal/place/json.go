package place

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Name is a name for a handler: the first host that its site is for, or the address
// that its server listens on, and how many more the site has. source is where the directive
// begins, as file:line; isIt recognizes the handler of a JSON configuration, which has none.
func Name(app *caddyhttp.App, source string, isIt func(config []byte) bool) string {
	sites := Sites(app, source)
	if source == "" {
		if places, _, ok := strings.Cut(InJSON(app, isIt), " ("); ok {
			sites = strings.Split(places, ", ")
		} else {
			sites = nil
		}
	}
	switch len(sites) {
	case 0:
		return "unknown"
	case 1:
		return sites[0]
	}
	return fmt.Sprintf("%s+%d", sites[0], len(sites)-1)
}

// InJSON returns the place of a handler in a JSON configuration: the hosts,
// the server and the route. isIt recognizes the handler by its JSON without
// the name of its module. The result is empty if the place isn't known.
func InJSON(app *caddyhttp.App, isIt func(config []byte) bool) string {
	if app == nil {
		return ""
	}
	var places []string
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		for i, route := range app.Servers[name].Routes {
			if !slices.ContainsFunc(route.HandlersRaw, func(raw json.RawMessage) bool { return holdsHandler(raw, isIt) }) {
				continue
			}
			hosts := hostsOf(route)
			if len(hosts) == 0 {
				hosts = app.Servers[name].Listen
			}
			places = append(places, fmt.Sprintf("%s (server %s, route %d)", strings.Join(hosts, ", "), name, i))
		}
	}
	return strings.Join(places, "; ")
}

// holdsHandler reports whether JSON is a sesame handler that isIt recognizes,
// or has one in it.
func holdsHandler(raw json.RawMessage, isIt func(config []byte) bool) bool {
	raw = bytes.TrimSpace(raw)
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) == nil {
		return slices.ContainsFunc(elements, func(element json.RawMessage) bool { return holdsHandler(element, isIt) })
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return false
	}
	if string(fields["handler"]) != `"sesame"` {
		for _, field := range fields {
			if holdsHandler(field, isIt) {
				return true
			}
		}
		return false
	}
	delete(fields, "handler")
	rest, err := json.Marshal(fields)
	return err == nil && isIt(rest)
}
