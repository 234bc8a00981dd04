package operator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// configured is a sesame handler as it stands in a configuration.
type configured struct {
	*Handler
	raw json.RawMessage

	// Number counts the handlers of the configuration from 1, and path is where
	// this one is in its JSON.
	number int
	path   string

	// How requests reach the handler.
	listen   []string
	hosts    []string
	matchers []string // other than hosts, as JSON

	isPlain         bool // its server has no TLS
	server          *caddyhttp.Server
	before          []inFront
	logsCredentials bool // of its server
}

// configuration has the parts of a configuration's file that commands need.
type configuration struct {
	handlers []*configured
	logs     map[string]logConfig
	flows    []siteFlow
}

// logConfig is a log of Caddy's.
type logConfig struct {
	Level   string   `json:"level"`
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
}

// loadConfiguration reads a configuration's file as `caddy run` does.
func loadConfiguration(read configReader, file, adapter string, decode Decode) (*configuration, error) {
	config, file, _, err := read(file, adapter)
	if err != nil {
		return nil, err
	}
	if len(config) == 0 {
		return nil, errors.New("there is no configuration: name its file with --config, or be in the directory of a Caddyfile")
	}
	c, err := parseConfiguration(config, decode)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// parseConfiguration finds the sesame handlers in a configuration.
func parseConfiguration(config []byte, decode Decode) (*configuration, error) {
	var root struct {
		Apps struct {
			HTTP struct {
				HTTPPort int                        `json:"http_port"`
				Servers  map[string]json.RawMessage `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
		Logging struct {
			Logs map[string]logConfig `json:"logs"`
		} `json:"logging"`
	}
	if err := json.Unmarshal(config, &root); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	w := &handlerWalk{decode: decode}
	var flows []siteFlow
	open := make(reach)
	for _, name := range slices.Sorted(maps.Keys(root.Apps.HTTP.Servers)) {
		if _, err := w.visit(root.Apps.HTTP.Servers[name], configured{
			path:    "apps.http.servers." + name,
			isPlain: isPlainServer(root.Apps.HTTP.Servers[name], cmp.Or(root.Apps.HTTP.HTTPPort, caddyhttp.DefaultHTTPPort)),
			server:  serverOf(root.Apps.HTTP.Servers[name]),
		}); err != nil {
			return nil, err
		}
		within, without, err := siteFlows(root.Apps.HTTP.Servers[name], "apps.http.servers."+name)
		if err != nil {
			return nil, err
		}
		flows = append(flows, within...)
		maps.Copy(open, without)
	}
	for _, flow := range flows {
		flow.walk.findOpen(open)
	}
	if len(w.found) == 0 {
		return nil, errors.New("no sesame handler is in this configuration")
	}
	return &configuration{handlers: w.found, logs: root.Logging.Logs, flows: flows}, nil
}

// serverOf is the server without its routes, or nil where it can't be read.
func serverOf(raw json.RawMessage) *caddyhttp.Server {
	var server struct {
		TrustedProxies json.RawMessage `json:"trusted_proxies"`
		ClientIP       []string        `json:"client_ip_headers"`
		Strict         int             `json:"trusted_proxies_strict"`
		Unix           bool            `json:"trusted_proxies_unix"`
	}
	if json.Unmarshal(raw, &server) != nil {
		return nil
	}
	return &caddyhttp.Server{
		TrustedProxiesRaw: server.TrustedProxies, ClientIPHeaders: server.ClientIP,
		TrustedProxiesStrict: server.Strict, TrustedProxiesUnix: server.Unix,
	}
}

// isPlainServer reports whether a server has no TLS: because it is turned off,
// because the port is that of HTTP, or because there is no host to get a
// certificate for. A site whose address begins with http:// is among the skipped.
func isPlainServer(raw json.RawMessage, httpPort int) bool {
	var server struct {
		Listen    []string          `json:"listen"`
		Policies  []json.RawMessage `json:"tls_connection_policies"`
		Automatic struct {
			Disable bool     `json:"disable"`
			Skip    []string `json:"skip"`
		} `json:"automatic_https"`
		Routes []struct {
			Match []struct {
				Hosts []string `json:"host"`
			} `json:"match"`
		} `json:"routes"`
	}
	if err := json.Unmarshal(raw, &server); err != nil || len(server.Policies) > 0 {
		return false
	}
	isOther := func(address string) bool {
		parsed, err := caddy.ParseNetworkAddress(address)
		return err != nil || parsed.StartPort != uint(httpPort) || parsed.EndPort != uint(httpPort)
	}
	if server.Automatic.Disable || !slices.ContainsFunc(server.Listen, isOther) {
		return true
	}
	for _, route := range server.Routes {
		for _, match := range route.Match {
			if slices.ContainsFunc(match.Hosts, func(host string) bool { return !slices.Contains(server.Automatic.Skip, host) }) {
				return false
			}
		}
	}
	return true
}

// handlerWalk finds all sesame handlers of a server: in routes, in subroutes, and
// in other modules that have handlers.
type handlerWalk struct {
	decode Decode
	found  []*configured
}

// visit looks for handlers in a part of a configuration, and returns all of them.
// at has the place of the part, and what it passes on to its handlers.
func (w *handlerWalk) visit(raw json.RawMessage, at configured) (handlers []inFront, err error) {
	switch first(raw) {
	case '[':
		var elements []json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil {
			return nil, fmt.Errorf("reading %s: %w", at.path, err)
		}
		path := at.path
		for i, element := range elements {
			at.path = path + "." + strconv.Itoa(i)
			within, err := w.visit(element, at)
			if err != nil {
				return nil, err
			}
			handlers = append(handlers, within...)
			if !endsRoutes(element) {
				at.before = slices.Concat(at.before, within)
			}
		}
	case '{':
		return w.visitObject(raw, at)
	}
	return handlers, nil
}

func (w *handlerWalk) visitObject(raw json.RawMessage, at configured) (handlers []inFront, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("reading %s: %w", at.path, err)
	}
	var module string
	if json.Unmarshal(fields["handler"], &module) == nil && module != "" {
		handlers = append(handlers, inFrontOf(module, fields))
	}
	if module == "sesame" {
		return handlers, w.add(fields, at)
	}
	at.lookAtRoute(fields)
	path := at.path
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at.path = path + "." + name
		within, err := w.visit(fields[name], at)
		if err != nil {
			return nil, err
		}
		handlers = append(handlers, within...)
	}
	return handlers, nil
}

// lookAtRoute reads the properties of a route, or of a server, that distinguish its
// handlers.
func (c *configured) lookAtRoute(fields map[string]json.RawMessage) {
	var listen []string
	if json.Unmarshal(fields["listen"], &listen) == nil && listen != nil {
		c.listen = listen
	}
	var logs struct {
		Credentials bool `json:"should_log_credentials"`
	}
	if json.Unmarshal(fields["logs"], &logs) == nil && logs.Credentials {
		c.logsCredentials = true
	}
	var sets []map[string]json.RawMessage
	if json.Unmarshal(fields["match"], &sets) != nil {
		return
	}
	for _, set := range sets {
		var hosts []string
		if json.Unmarshal(set["host"], &hosts) == nil {
			c.hosts = append(slices.Clip(c.hosts), hosts...)
		}
		delete(set, "host")
		if len(set) > 0 {
			text, _ := json.Marshal(set) // it has just been read
			c.matchers = append(slices.Clip(c.matchers), string(text))
		}
	}
}

// add adds a handler to those found.
func (w *handlerWalk) add(fields map[string]json.RawMessage, at configured) error {
	delete(fields, "handler")
	text, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("reading %s: %w", at.path, err)
	}
	if at.Handler, err = w.decode(text); err != nil {
		return fmt.Errorf("%s: %w", at.path, err)
	}
	delete(fields, "source") // where it stands makes it no other handler
	if at.raw, err = json.Marshal(fields); err != nil {
		return fmt.Errorf("reading %s: %w", at.path, err)
	}
	at.number = len(w.found) + 1
	w.found = append(w.found, &at)
	return nil
}

// first is the first byte of a JSON value.
func first(raw json.RawMessage) byte {
	if trimmed := bytes.TrimLeft(raw, " \t\r\n"); len(trimmed) > 0 {
		return trimmed[0]
	}
	return 0
}

// endsRoutes reports whether nothing behind a route sees its requests.
func endsRoutes(route json.RawMessage) bool {
	var fields struct {
		Terminal bool `json:"terminal"`
	}
	return json.Unmarshal(route, &fields) == nil && fields.Terminal
}

// logsAtDebug reports whether some log has a logger's lines of level DEBUG.
func (c *configuration) logsAtDebug(logger string) bool {
	under := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return logger == name || strings.HasPrefix(logger, name+".")
		})
	}
	for _, log := range c.logs {
		if strings.EqualFold(log.Level, "DEBUG") && (len(log.Include) == 0 || under(log.Include)) && !under(log.Exclude) {
			return true
		}
	}
	return false
}
