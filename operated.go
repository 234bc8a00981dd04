package sesame

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/operator"
	"github.com/caddy-sesame/caddy-sesame/internal/place"
	"github.com/caddy-sesame/caddy-sesame/internal/placeholders"
	"github.com/caddy-sesame/caddy-sesame/internal/scope"
	"github.com/caddy-sesame/caddy-sesame/internal/secret"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// decodeOperated reads a handler for commands.
func decodeOperated(raw json.RawMessage) (*operator.Handler, error) {
	h := new(Handler)
	if err := caddy.StrictUnmarshalJSON(raw, h); err != nil {
		return nil, err
	}
	return h.operated(), nil
}

// runningForOperator lists the handlers that run, for the admin API.
func runningForOperator() []*operator.Handler {
	var list []*operator.Handler
	for _, h := range running() {
		list = append(list, h.gate.forOperator)
	}
	return list
}

// operatedOf is what the admin API knows of a handler, or nil where it isn't a
// sesame handler.
func operatedOf(handler caddyhttp.MiddlewareHandler) *operator.Handler {
	if h, ok := handler.(*Handler); ok {
		return h.gate.forOperator
	}
	return nil
}

// operated is what commands and the admin API need of the handler, which need
// not be provisioned.
func (h *Handler) operated() *operator.Handler {
	o := &operator.Handler{
		Issues:         issuesOf(h),
		Settings:       h.namedSettings,
		Store:          h.readingStore,
		Validate:       func() error { _, err := newRequestGate(h, new(tally)); return err },
		Warnings:       h.cookieWarnings,
		Constants:      h.constantIdentity(),
		Placeholders:   placeholderWarnings(h),
		LogsAssertions: h.Assertion != nil && cmp.Or(h.Assertion.Header, identity.DefaultAssertionHeader) != identity.DefaultAssertionHeader,
		HasReplicas:    len(h.UserStore.Replicas)+len(h.UserStore.ReplicaFiles) > 0,
		Sessions:       h.sessionsFor,
		Schemes: func(store func() *userstore.MySQL, now func() time.Time) ([]authn.ConfiguredScheme, error) {
			return explainedSchemes(h, store, now)
		},
		AddNeeds:        func(needs *userstore.Needs) error { return addSchemeNeeds(h, needs) },
		WritesLastLogin: writesLastLogin(h),
		SessionTable:    tableOf(h),
	}
	if h.UserStore.Follow != nil {
		o.Follows = newFollower
	}
	if sendsLinks(h) {
		o.Mail = &h.Login.EmailLink.Mail
	}
	if h.Password != nil {
		o.Passwords = h.Password.Checks
	}
	if h.Pages != nil && !h.Optional {
		o.HelpURL = h.Pages.HelpURL
	}
	if h.Cache != nil {
		o.Cached = time.Duration(h.Cache.For)
	}
	if h.Session != nil {
		o.SessionCookie, _ = cookie.New(h.Session.cookie()) // Validate says what is wrong with it
		o.SessionMaxAge = max(cmp.Or(time.Duration(h.Session.MaxAge), session.DefaultMaxAge), remember(h))
	}
	if h.Assertion != nil {
		o.AssertionKeys = func(settings token.Settings) ([]string, bool, error) {
			assertions, err := identity.NewAssertions(h.Assertion, h.UserStore)
			if err != nil {
				return nil, false, err
			}
			if err := assertions.Resolve(h.Assertion, settings, secret.Resolve); err != nil {
				return nil, false, err
			}
			return assertions.KeyIDs(), len(h.Assertion.Keys) == 0, nil
		}
	}
	return o
}

// issuesOf is what the handler's tokens depend on, with placeholders for secrets.
func issuesOf(h *Handler) operator.Issues {
	asWritten := func(_, secret string) (string, error) { return secret, nil }
	settings, _ := h.tokenSettings(asWritten) // an error is reported by Tokens or PackerEncoding
	settings.Encoding = nil
	store := h.storeConfig()
	// Tokens depend neither on rights nor on replicas, nor on how rows are kept.
	store.Groups, store.Permissions, store.Replicas, store.ReplicaFiles, store.Follow = nil, nil, nil, nil, nil
	return operator.Issues{
		TokenName:      cmp.Or(h.TokenName, claim.DefaultName),
		FromQuery:      len(h.TokenFrom) == 0 || slices.ContainsFunc(h.TokenFrom, func(s TokenSource) bool { return s.From == claim.FromQuery }),
		Scope:          h.Scope,
		Tokens:         h.Tokens,
		Settings:       settings,
		PackerEncoding: h.PackerEncoding,
		Store:          store,
	}
}

// explainedSchemes makes the schemes whose credentials commands explain: those
// that take no hashing. They neither log nor count.
func explainedSchemes(h *Handler, store func() *userstore.MySQL, now func() time.Time) ([]authn.ConfiguredScheme, error) {
	env, err := operatorEnvironment(h, store, now)
	if err != nil {
		return nil, err
	}
	var schemes []authn.ConfiguredScheme
	for _, cfg := range schemesOf(h) {
		if _, isHashed := cfg.(*authn.PasswordConfig); isHashed {
			continue
		}
		scheme, err := cfg.New(env)
		if err != nil {
			return nil, setting.In(cfg.Option(), err)
		}
		schemes = append(schemes, scheme)
	}
	return schemes, nil
}

// addSchemeNeeds adds what the configured schemes need of the store, with
// passwords among them. The schemes are made for that alone.
func addSchemeNeeds(h *Handler, needs *userstore.Needs) error {
	env, err := operatorEnvironment(h, func() *userstore.MySQL { return nil }, time.Now)
	if err != nil {
		return err
	}
	h.Login.AddNeeds(h.Password, needs)
	if table := tableOf(h); table != "" {
		authn.NewSessionList(table, env).AddNeeds(needs)
	}
	for _, cfg := range schemesOf(h) {
		scheme, err := cfg.New(env)
		if err != nil {
			return setting.In(cfg.Option(), err)
		}
		scheme.AddNeeds(needs)
		if shares, ok := scheme.(io.Closer); ok {
			if err := shares.Close(); err != nil {
				return setting.In(cfg.Option(), err)
			}
		}
	}
	return nil
}

// environmentOf is the environment that schemes are made in, without the store, the
// clock and the log.
func environmentOf(h *Handler, settings token.Settings) (*authn.Environment, error) {
	store := h.storeConfig()
	location, err := store.Location()
	return &authn.Environment{Settings: settings, Resolve: secret.Resolve, TimeZone: location, Realm: h.Realm, Users: usersID(h.UserStore), Remember: remember(h), AsksPassword: h.Login != nil && h.Login.Password}, err
}

// operatorEnvironment is the environment that commands make schemes in, which don't
// log there.
func operatorEnvironment(h *Handler, store func() *userstore.MySQL, now func() time.Time) (*authn.Environment, error) {
	settings, err := h.namedSettings()
	if err != nil {
		return nil, err
	}
	env, err := environmentOf(h, settings)
	if err != nil {
		return nil, err
	}
	env.Store, env.Now, env.Logger = store, now, zap.NewNop()
	return env, nil
}

// writesLastLogin reports whether a login by a link writes last_login.
func writesLastLogin(h *Handler) bool {
	if h.Session == nil {
		return writesDjango(h)
	}
	return h.Session.UpdateLastLogin == nil || *h.Session.UpdateLastLogin
}

// live is what the admin API needs of a handler that runs.
func (g builder) live(store *userstore.MySQL) *operator.Live {
	return &operator.Live{
		Store: store, Cache: g.cache, Follows: g.follows, Logger: g.logger,
		Tokens: func(ctx context.Context) (*token.Tokens, error) {
			made, err := g.keys(ctx)
			if err != nil {
				return nil, err
			}
			return made.tokens, nil
		},
	}
}

// namedSettings are the checked token settings of a handler that isn't
// provisioned.
func (h *Handler) namedSettings() (token.Settings, error) {
	settings, err := h.tokenSettings(secret.Resolve)
	if err != nil {
		return settings, err
	}
	return settings, h.checkSettings(settings)
}

// readingStore is the configuration of the handler's store, and what its tokens
// need of it.
func (h *Handler) readingStore() (userstore.Config, userstore.Needs, error) {
	cfg := h.storeConfig()
	needs := h.requiredFlags()
	needs.Email, needs.LastLogin = h.InvalidateOnEmailChange, h.OneTime
	if err := resolveStore(&cfg, secret.Resolve); err != nil {
		return cfg, needs, err
	}
	// Commands ask the primary server alone.
	cfg.Replicas, cfg.ReplicaFiles = nil, nil
	return cfg, needs, nil
}

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

// unregister takes a handler out, if it is there.
func unregister(h *Handler) {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	handlers.list = slices.DeleteFunc(handlers.list, func(other *Handler) bool { return other == h })
}

// cookieWarnings returns why browsers would not take the session's cookie, or not
// send it, on a site of these hosts. Caddy starts all the same, since the cookie may
// work on other hosts of the site.
func (h *Handler) cookieWarnings(hosts []string) []operator.Warning {
	if h.DjangoSession != nil && (h.Session == nil || writesDjango(h)) {
		return warningsOf(cookie.DomainWarnings("django_session cookie_domain", h.DjangoSession.CookieDomain, hosts))
	}
	if h.Session == nil {
		return nil
	}
	warnings := warningsOf(cookie.DomainWarnings("session domain", h.Session.Domain, hosts))
	switch h.Session.Name {
	case "sessionid", "csrftoken", "messages", "PHPSESSID":
		warnings = append(warnings, operator.Warning{
			Text:   fmt.Sprintf("session name %s is that of a cookie of Django or PHP: the application behind never gets its own cookie", h.Session.Name),
			Advice: "leave name out, or choose another",
		})
	}
	if strings.EqualFold(h.Session.SameSite, "none") && !h.Session.checksOrigin() {
		warnings = append(warnings, operator.Warning{
			Text:   "session check_origin off with same_site none: browsers send the cookie with what any site's page has them send, such as a form, and the application gets it with the user",
			Advice: "remove check_origin off, or have the application check where forms and WebSockets come from",
		})
	}
	if strings.EqualFold(h.Session.SameSite, "none") && !h.Session.Partitioned {
		warnings = append(warnings, operator.Warning{
			Text:   "session same_site none: in frames of other sites, browsers that block cookies of other sites neither take the cookie nor send it, and no user is logged in there",
			Advice: "add partitioned on, and let the page in the frame log in by itself",
		})
	}
	path, reserved := cmp.Or(h.Session.Path, "/"), cmp.Or(h.ReservedPath, defaultReservedPath)
	if reserved != reservedOff && !cookie.IsSentBelow(reserved, path) {
		below := strings.TrimSuffix(path, "/") + defaultReservedPath
		warnings = append(warnings, operator.Warning{
			Text:   fmt.Sprintf("session path %s leaves out %s: browsers don't send the cookie to its pages, and no user can log out there", path, reserved),
			Advice: fmt.Sprintf("set reserved_path %s, and let no matcher keep it away from sesame", below),
		})
	}
	return warnings
}

// constantIdentity returns identity fields whose value is the name of a placeholder
// without its braces: the application would take every user for one called "username".
func (h *Handler) constantIdentity() (warnings []operator.Warning) {
	columns := append([]string{"id", "username", "email", "groups", "permissions", "is_staff", "is_superuser"}, h.UserStore.Columns.Extra...)
	for _, header := range h.Identity {
		if slices.Contains(columns, header.Value) {
			warnings = append(warnings, operator.Warning{
				Text:   fmt.Sprintf("identity %s has the value %s for every user", header.Name, header.Value),
				Advice: fmt.Sprintf("write {http.auth.user.%s} for what is in the user's row", header.Value),
			})
		}
	}
	return warnings
}

// replacedOptions are the options whose placeholders are replaced, as FindUnreplaced
// names them.
var replacedOptions = []string{
	"secret_key", "secret_key_fallbacks", "key", "scope", "identity.value", "assertion.audience", "assertion.issuer", "assertion.claims.name", "assertion.claims.value", "assertion.keys",
	"login.email_link.mail.smtp", "login.email_link.mail.from", "login.email_link.base_url", "api_token.signing_key", "api_token.verifying_key", "pages.help_url",
	"userstore.dsn", "userstore.more_dsns", "userstore.dsn_file", "userstore.more_dsn_files", "userstore.replicas", "userstore.replica_files",
	"userstore.tls_ca", "userstore.tls_cert", "userstore.tls_key", "userstore.follow.dsn", "userstore.follow.dsn_file",
}

// placeholderWarnings returns which placeholders may have no value, and which aren't
// replaced.
func placeholderWarnings(h *Handler) (warnings []operator.Warning) {
	add := func(option, name string) {
		meant, isForeign := placeholders.Foreign(name)
		if !isForeign {
			return
		}
		w := operator.Warning{
			Text:   fmt.Sprintf("%s: {%s} isn't a placeholder of Caddy's own, and is empty unless a directive such as map, or another module, sets it before sesame", option, name),
			Advice: "check its name, and the order of the directives",
		}
		if meant != "" {
			w.Advice = fmt.Sprintf("if you mean {%s}, write that", meant)
		}
		warnings = append(warnings, w)
	}
	if template, err := scope.Parse(h.Scope); err == nil {
		for _, name := range template.Placeholders() {
			add("scope", name)
		}
	}
	for _, header := range h.Identity {
		for _, name := range identity.PlaceholdersIn(header.Value) {
			add("identity "+header.Name, name)
		}
	}
	unreplaced, _ := placeholders.FindUnreplaced(h, func(option string) bool { return slices.Contains(replacedOptions, option) }) // a configuration that was read from JSON
	for _, u := range unreplaced {
		warnings = append(warnings, operator.Warning{
			Text:   fmt.Sprintf("%s: {%s} is used as it stands, as this option has no placeholders", strings.ReplaceAll(u.Option, ".", " "), u.Name),
			Advice: "write the value itself; in a Caddyfile, {$NAME} is replaced by an environment variable when the file is read",
		})
	}
	return warnings
}

// warningsOf are warnings about a cookie, as commands know them.
func warningsOf(warnings []cookie.Warning) (all []operator.Warning) {
	for _, w := range warnings {
		all = append(all, operator.Warning(w))
	}
	return all
}

// warn logs the warnings when the handler starts, as far as its sites
// are known.
func (g builder) warn(ctx caddy.Context) {
	var hosts []string
	if g.config.Source != "" {
		hosts = place.Sites(accesslog.HTTPApp(ctx), g.config.Source)
	}
	for _, warning := range append(g.config.cookieWarnings(hosts), placeholderWarnings(g.config)...) {
		g.logger.Warn(warning.Text, zap.String("advice", warning.Advice))
	}
}
