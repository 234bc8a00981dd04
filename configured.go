package sesame

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// configured is a sesame handler as it stands in a configuration.
type configured struct {
	*Handler
	raw json.RawMessage

	// Number counts the handlers of the configuration from 1, and path is where
	// this one is in its JSON.
	number int
	path   string

	// What leads to it.
	listen   []string
	hosts    []string
	matchers []string // other than hosts, as JSON

	before          []string // the modules of the handlers in front of it
	logsCredentials bool     // of its server
}

// configuration is what commands need of a configuration's file.
type configuration struct {
	handlers []*configured
	logs     map[string]logConfig
}

// logConfig is a log of Caddy's.
type logConfig struct {
	Level   string   `json:"level"`
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
}

// loadConfiguration reads a configuration's file as `caddy run` does.
func loadConfiguration(file, adapter string) (*configuration, error) {
	config, file, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	if len(config) == 0 {
		return nil, errors.New("there is no configuration: name its file with --config, or be in the directory of a Caddyfile")
	}
	c, err := parseConfiguration(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// parseConfiguration finds the sesame handlers in a configuration.
func parseConfiguration(config []byte) (*configuration, error) {
	var root struct {
		Apps struct {
			HTTP struct {
				Servers map[string]json.RawMessage `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
		Logging struct {
			Logs map[string]logConfig `json:"logs"`
		} `json:"logging"`
	}
	if err := json.Unmarshal(config, &root); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	w := &handlerWalk{}
	for _, name := range slices.Sorted(maps.Keys(root.Apps.HTTP.Servers)) {
		if _, err := w.visit(root.Apps.HTTP.Servers[name], configured{path: "apps.http.servers." + name}); err != nil {
			return nil, err
		}
	}
	if len(w.found) == 0 {
		return nil, errors.New("no sesame handler is in this configuration")
	}
	return &configuration{handlers: w.found, logs: root.Logging.Logs}, nil
}

// handlerWalk finds sesame handlers wherever they stand in a server: in
// routes, in subroutes, and in what else has handlers.
type handlerWalk struct{ found []*configured }

// visit looks into a part of a configuration. at is where it is, and what a
// handler there is told. It returns the modules of all handlers in it.
func (w *handlerWalk) visit(raw json.RawMessage, at configured) (modules []string, err error) {
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
			modules = append(modules, within...)
			if !endsRoutes(element) {
				at.before = slices.Concat(at.before, within)
			}
		}
	case '{':
		return w.visitObject(raw, at)
	}
	return modules, nil
}

func (w *handlerWalk) visitObject(raw json.RawMessage, at configured) (modules []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("reading %s: %w", at.path, err)
	}
	var module string
	if json.Unmarshal(fields["handler"], &module) == nil && module != "" {
		modules = append(modules, module)
	}
	if module == "sesame" {
		at.raw = raw
		return modules, w.add(fields, at)
	}
	at.lookAtRoute(fields)
	path := at.path
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at.path = path + "." + name
		within, err := w.visit(fields[name], at)
		if err != nil {
			return nil, err
		}
		modules = append(modules, within...)
	}
	return modules, nil
}

// lookAtRoute takes from a route, or a server, what tells its handlers apart.
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

// add takes a handler in.
func (w *handlerWalk) add(fields map[string]json.RawMessage, at configured) error {
	delete(fields, "handler")
	text, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("reading %s: %w", at.path, err)
	}
	at.Handler = new(Handler)
	if err := caddy.StrictUnmarshalJSON(text, at.Handler); err != nil {
		return fmt.Errorf("%s: %w", at.path, err)
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

// notForTokens are the fields that don't matter for what a token is, and whose.
var notForTokens = []string{
	"optional", "preflight", "require", "identity", "assertion", "realm", "cache", "session", "confirm", "reserved_path", "watch", "pages", "limit_failures",
}

// relevant is equal for handlers that are equal but for some fields.
func (c *configured) relevant(but ...string) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(c.raw, &fields); err != nil {
		return c.path // unlike any other
	}
	for _, name := range but {
		delete(fields, name)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return c.path
	}
	return string(text)
}

// distinct returns the first of handlers that are equal but for some fields.
func distinct(handlers []*configured, but ...string) []*configured {
	seen := make(map[string]bool)
	var list []*configured
	for _, c := range handlers {
		if text := c.relevant(but...); !seen[text] {
			seen[text] = true
			list = append(list, c)
		}
	}
	return list
}

// isNamed reports whether a selector means this handler: its number, its place
// in the JSON, a host, or an address that its server listens on.
func (c *configured) isNamed(selector string) bool {
	if n, err := strconv.Atoi(selector); err == nil {
		return n == c.number
	}
	return selector == c.path || slices.Contains(c.listen, selector) ||
		slices.ContainsFunc(c.hosts, func(host string) bool { return strings.EqualFold(host, selector) })
}

// serves reports whether the handler is for requests to a URL, as far as its
// host tells.
func (c *configured) serves(u *url.URL) bool {
	return slices.ContainsFunc(c.hosts, func(host string) bool {
		return certmagic.MatchWildcard(strings.ToLower(u.Hostname()), strings.ToLower(host))
	})
}

// choose finds the handler that a selector means; or, without one, the one
// that serves a URL, which may be nil; or the only one. Those that are equal
// but for some fields are one.
func choose(handlers []*configured, selector string, u *url.URL, but ...string) (*configured, error) {
	candidates := handlers
	if selector != "" {
		candidates = slices.DeleteFunc(slices.Clone(handlers), func(c *configured) bool { return !c.isNamed(selector) })
		if len(candidates) == 0 {
			return nil, &choiceError{fmt.Sprintf("no sesame handler is called %q. There are:", selector), handlers}
		}
	}
	candidates = distinct(candidates, but...)
	if len(candidates) > 1 && u != nil && u.Host != "" {
		serving := slices.DeleteFunc(slices.Clone(candidates), func(c *configured) bool { return !c.serves(u) })
		if len(serving) > 0 {
			candidates = serving
		}
	}
	if len(candidates) > 1 {
		return nil, &choiceError{"there are several sesame handlers, which differ. Name one by its host, its place in the JSON, or its number:", candidates}
	}
	return candidates[0], nil
}

// choiceError lists the handlers there are.
type choiceError struct {
	message  string
	handlers []*configured
}

func (e *choiceError) Error() string {
	var b strings.Builder
	b.WriteString(e.message)
	for _, c := range e.handlers {
		fmt.Fprintf(&b, "\n  %s", c)
	}
	return b.String()
}

// String describes a handler in a line.
func (c *configured) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", c.number)
	switch {
	case len(c.hosts) > 0:
		fmt.Fprintf(&b, "  %s", strings.Join(c.hosts, ", "))
	case len(c.listen) > 0:
		fmt.Fprintf(&b, "  %s", strings.Join(c.listen, ", "))
	}
	fmt.Fprintf(&b, "  %s", c.path)
	if len(c.matchers) > 0 {
		fmt.Fprintf(&b, "  matcher %s", strings.Join(c.matchers, " "))
	}
	if c.Scope != "" {
		fmt.Fprintf(&b, "  scope %q", c.Scope)
	}
	table := c.UserStore.Table
	if table == "" {
		table = userstore.DefaultTable
	}
	fmt.Fprintf(&b, "  table %s", table)
	return b.String()
}

// users is what is needed of a store to make and explain tokens.
type users interface {
	Schema(ctx context.Context) (userstore.Schema, error)
	Lookup(ctx context.Context, pk token.PrimaryKey) (*userstore.User, error)
	LookupMany(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error)
	FindMany(ctx context.Context, by userstore.Field, values []string) (map[string][]*userstore.User, error)
}

// issuer makes and explains the tokens of a handler.
type issuer struct {
	*Handler
	tokens *token.Tokens
	users  users
}

// openIssuer opens the store of a handler, which need not be provisioned, to
// read users. The caller calls closeStore. With 0, queries have the time that
// the configuration gives them.
func openIssuer(ctx context.Context, h *Handler, queryTimeout time.Duration) (made *issuer, closeStore func() error, err error) {
	settings, err := h.namedSettings()
	if err != nil {
		return nil, nil, err
	}
	cfg, needs, err := h.readingStore(settings)
	if err != nil {
		return nil, nil, err
	}
	// What tokens are made of has nothing to do with rights.
	cfg.Groups, cfg.Permissions, cfg.Columns.IsStaff, cfg.Columns.IsSuperuser = nil, nil, "", ""
	needs.Staff, needs.Superuser = false, false
	if queryTimeout > 0 {
		cfg.QueryTimeout = caddy.Duration(queryTimeout)
	}
	logger := zap.NewNop()
	if h.logger != nil {
		logger = h.logger.Named("userstore") // the handler runs, and shares its connections and their logger
	}
	store, err := userstore.OpenReadOnly(ctx, cfg, needs, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("userstore: %w", err)
	}
	tokens, err := tokensFor(ctx, settings, store)
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return &issuer{Handler: h, tokens: tokens, users: store}, store.Close, nil
}

// namedSettings are the checked token settings of a handler that isn't
// provisioned. An error names the variable that is missing.
func (h *Handler) namedSettings() (token.Settings, error) {
	settings, err := h.tokenSettings(resolveNamed)
	if err != nil {
		return settings, err
	}
	return settings, h.checkSettings(settings)
}

// readingStore is the configuration of the handler's store, and what its tokens
// need of it.
func (h *Handler) readingStore(settings token.Settings) (userstore.Config, userstore.Needs, error) {
	cfg := h.storeConfig()
	needs := h.requiredFlags()
	needs.Email, needs.LastLogin = h.InvalidateOnEmailChange, h.OneTime
	if err := resolveStore(&cfg, resolveNamed); err != nil {
		return cfg, needs, err
	}
	// Commands ask the primary server alone.
	cfg.Replicas, cfg.ReplicaFiles = nil, nil
	if packer := packerOf(settings); packer != nil {
		needs.Kind = packer.Kind()
	}
	return cfg, needs, nil
}

// packerOf is the packer that settings name, or nil where the table tells.
func packerOf(settings token.Settings) token.Packer {
	if settings.Encoding != nil || settings.Packer == "" {
		return settings.Encoding
	}
	packer, err := token.PackerByName(settings.Packer)
	if err != nil {
		return nil
	}
	return packer
}

// tokensFor makes tokens with the packer of the table, unless the settings name
// one.
func tokensFor(ctx context.Context, settings token.Settings, store users) (*token.Tokens, error) {
	if packerOf(settings) == nil {
		schema, err := store.Schema(ctx)
		if err != nil {
			return nil, fmt.Errorf("userstore: %w", err)
		}
		if settings.Encoding, err = token.PackerByName(schema.Packer); err != nil {
			return nil, err
		}
	}
	return token.New(settings)
}

// unresolvable are the placeholders of a secret that depend on where a command
// runs.
var unresolvable = regexp.MustCompile(`\{(env|file)\.([^{}\s]+)\}`)

// resolveNamed is resolveSecret with an error that names what is missing.
func resolveNamed(option, secret string) (string, error) {
	resolved, err := resolveSecret(option, secret)
	if err == nil {
		return resolved, nil
	}
	for _, match := range unresolvable.FindAllStringSubmatch(secret, -1) {
		if value, _ := caddy.NewReplacer().GetString(match[1] + "." + match[2]); value != "" {
			continue
		}
		if match[1] == "env" {
			return "", fmt.Errorf("%s: the environment variable %s is empty or not set here: set it as it is where Caddy runs", option, match[2])
		}
		return "", fmt.Errorf("%s: the file %s is empty, or can't be read by this user", option, match[2])
	}
	return "", err
}

// errScope: the scope of a template is not known.
var errScope = errors.New("it depends on the request")

// expectedScope is the scope of tokens at a URL, which may be nil: with it, a
// template comes out as for a request to it, unless it takes more than a URL.
func (h *Handler) expectedScope(u *url.URL) (string, error) {
	if !strings.Contains(h.Scope, "{") {
		return h.Scope, nil
	}
	if u == nil || u.Host == "" {
		return "", errScope
	}
	request := &http.Request{
		Method: http.MethodGet, Host: u.Host, Header: make(http.Header), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery},
	}
	request.RequestURI = request.URL.RequestURI()
	repl := caddy.NewReplacer()
	caddyhttp.PrepareRequest(request, repl, nil, nil)
	scope, err := repl.ReplaceOrErr(h.Scope, true, true)
	if err != nil || scope == "" {
		return "", errScope
	}
	return scope, nil
}
