package sesame

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/authservice"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/health"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/loginurl"
	"github.com/caddy-sesame/caddy-sesame/internal/loglimit"
	"github.com/caddy-sesame/caddy-sesame/internal/operator"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/scope"
	"github.com/caddy-sesame/caddy-sesame/internal/secret"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/internal/watch"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// gate is what requests pass: a handler's configuration, made ready to use.
type gate struct {
	config *Handler // read-only
	logger *zap.Logger
	audit  audit
	logs   accesslog.Logs
	now    func() time.Time
	counts *tally

	// What the gate removes from requests, and what it adds.
	scope         *scope.Template
	sources       *claim.Sources
	forgetSources func() // nil without an HTTP app
	identity      *identity.Fields
	assertions    *identity.Assertions // nil without

	// How users are authenticated.
	authn      *authn.Authenticator
	token      *authn.Token
	schemes    []authn.Scheme              // beside token
	configured []authn.ConfiguredScheme    // those of schemes that have a block of the configuration
	served     map[string]*atomic.Uint64   // counts of requests that went on, by the scheme
	meets      func(*userstore.User) error // checks the requirements; bound once for all requests
	settings   token.Settings
	made       atomic.Pointer[keys] // nil until the store knows its table
	limiter    *limiter             // nil for no limit

	// Where users are found.
	store   *userstore.MySQL
	users   userstore.Finder     // in the store and the cache
	cache   *userstore.Cache     // nil for none
	follows *userstore.Following // nil for none
	watcher *watch.Watcher       // nil for never
	proven  *proven              // for later handlers

	// What answers in place of the upstream.
	pages      *page.Pages
	refuser    refuser
	hints      hints
	confirmer  confirmer
	reserved   reserved
	checks     *health.Checks
	asked      *asked // nil unless it answers other proxies
	tokenLogin tokenLogin
	logins     *logins              // nil where no link logs in
	django     *authn.DjangoSession // nil without
	password   *authn.Password      // nil without
	loginPage  *loginurl.Page       // of Django; nil without
	login      *login.Page          // of the gateway; nil without
	emailLink  *authn.Token         // the links that it sends; nil for none

	forOperator *operator.Handler // as commands and the admin API know it
}

// builder makes a gate ready to use.
type builder struct{ *gate }

// newGate makes the gate of a configuration. It connects to the store.
func newGate(ctx caddy.Context, config *Handler) (*gate, error) {
	g, err := newRequestGate(config, tallies.of(nameOf(ctx, config)))
	if err != nil {
		return nil, err
	}
	g.logger = ctx.Logger()
	if err := (builder{g}).provision(ctx); err != nil {
		g.stop()
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// newRequestGate makes the parts of a gate that need only the configuration, neither
// secrets nor the store.
func newRequestGate(config *Handler, counts *tally) (*gate, error) {
	g := &gate{config: config, counts: counts, logger: zap.NewNop(), now: time.Now, meets: config.Require.Check}
	g.refuser.outages = loglimit.Limit{Most: 1, Per: outageInterval}
	g.refuser.g, g.hints.g, g.confirmer.g, g.reserved.g, g.tokenLogin.g = g, g, g, g, g
	return g, builder{g}.provisionRequest()
}

func (g builder) provision(ctx caddy.Context) error {
	g.logs = accesslog.New(ctx)
	g.audit = newAudit(ctx)
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	for _, name := range g.identity.Dropped() {
		g.logger.Warn("proxies such as nginx and Caddy drop header fields with an underscore or a dot in their name: write dashes in identity and assertion; for a variable of PHP, use env in php_fastcgi",
			zap.String("header", name))
	}
	if err := g.provisionSettings(); err != nil {
		return err
	}
	g.warn(ctx)
	if app := accesslog.HTTPApp(ctx); app != nil {
		// Not by ctx.OnCancel: ctx is a copy, whose functions are never called.
		unregister := g.sources.Register(app)
		var forgetLogs func()
		g.logs.Redacts, forgetLogs = accesslog.RedactLogs(app, g.sources)
		g.forgetSources = func() { unregister(); forgetLogs() }
		limit.WarnOfInventedAddresses(app, g.logger)
		if g.asked != nil {
			authservice.WarnOfMissedRequests(app, g.logger)
		}
	}
	rights, err := rightsOf(ctx)
	if err != nil {
		return err
	}
	if rights != nil {
		rights.read(g.config.UserStore.Reads(g.config.requiredFlags()))
	}
	return g.provisionStore(ctx)
}

// provisionRequest prepares the parts that read and change requests.
func (g builder) provisionRequest() error {
	if err := g.config.checkDurations(); err != nil {
		return err
	}
	var err error
	if g.scope, err = scope.Parse(g.config.Scope); err != nil {
		return setting.Of("scope", err)
	}
	if g.sources, err = claim.New(g.config.TokenName, g.config.TokenFrom); err != nil {
		return setting.Of("token_from", err)
	}
	if g.identity, err = identity.New(g.config.Identity, identity.Columns{Store: g.config.UserStore, Needs: g.config.requiredFlags()}); err != nil {
		return setting.Of("identity", err)
	}
	if err := g.config.checkRequire(); err != nil {
		return err
	}
	if err := g.provisionAssertion(); err != nil {
		return err
	}
	if err := g.identity.Pass(g.config.PassHeader); err != nil {
		return setting.Of("pass_header", err)
	}
	if g.asked, err = newAsked(g.gate); err != nil {
		return err
	}
	for _, source := range g.sources.Ordered {
		if source.From == claim.FromHeader && g.identity.IsOurs(source.Name) {
			return setting.Errorf("token_from", "token_from header %s: that is an identity header field, which no client can send", source.Name)
		}
	}
	switch g.config.Preflight {
	case "", preflightPass, preflightRefuse:
	default:
		return setting.Errorf("preflight", "preflight %q: it must be %s or %s", g.config.Preflight, preflightPass, preflightRefuse)
	}
	if err := g.config.LimitFailures.Validate(); err != nil {
		return setting.Of("limit_failures", err)
	}
	return g.provisionLogin()
}

// provisionAssertion prepares assertions, up to their keys.
func (g builder) provisionAssertion() error {
	if g.config.Assertion == nil {
		return nil
	}
	var err error
	if g.assertions, err = identity.NewAssertions(g.config.Assertion, g.config.UserStore); err != nil {
		return setting.Of("assertion", err)
	}
	if g.config.ReservedPath == reservedOff {
		return setting.Errorf("reserved_path", "reserved_path off: then no application could get the keys that assertion is verified by")
	}
	g.assertions.CountIn(&g.counts.assertions)
	return setting.Of("assertion: header", g.identity.UseAssertions(g.assertions))
}

// provisionLogin prepares sessions and pages.
func (g builder) provisionLogin() error {
	var err error
	if err := checkSchemes(g.config); err != nil {
		return err
	}
	if err := checkLogin(g.config); err != nil {
		return err
	}
	if g.config.Session != nil || writesDjango(g.config) {
		if g.logins, err = newLogins(g.config.Session); err != nil {
			return err
		}
		g.logins.g = g.gate
	}
	switch g.config.Confirm {
	case "", confirmAlways, confirmOneTime, confirmOff, confirmStrict:
	default:
		return setting.Errorf("confirm", "confirm %q: it must be %s, %s, %s or %s", g.config.Confirm, confirmStrict, confirmAlways, confirmOneTime, confirmOff)
	}
	if path := g.config.ReservedPath; path != "" && path != reservedOff && !(strings.HasPrefix(path, "/") && strings.HasSuffix(path, "/") && len(path) > 2) {
		return setting.Errorf("reserved_path", "reserved_path %q: it must be %s, or begin and end with a slash, as %s", path, reservedOff, defaultReservedPath)
	}
	if err := checkReservedPath(g.config.ReservedPath); err != nil {
		return err
	}
	if g.checks, err = newChecks(g.gate); err != nil {
		return err
	}
	if g.confirmer.cookie, err = newConfirmCookie(g.config.Session); err != nil {
		return setting.In("session", err)
	}
	g.sources.Recognize(tokenForm(g))
	g.sources.AddCookies(g.confirmer.cookie.Name())
	if cfg := g.config.DjangoSession; cfg != nil && cfg.LoginURL != "" {
		if g.loginPage, err = loginurl.New(cfg.LoginURL, cfg.CookieSecure); err != nil {
			return setting.In(cfg.Option(), setting.Of("login_url", err))
		}
		g.sources.AddCookies(g.loginPage.Cookie())
	}
	g.provisionSchemes()
	if g.pages, err = page.New(g.config.Pages); err != nil {
		return setting.In("pages", err)
	}
	if len(schemesOf(g.config)) > 0 {
		g.pages.SpeakOfLogins()
	}
	if g.logins != nil || g.pages.HasOwnAssets() {
		switch {
		case g.config.ReservedPath != reservedOff:
			g.pages.ServeBelow(cmp.Or(g.config.ReservedPath, defaultReservedPath))
		case g.pages.HasOwnAssets():
			return setting.Errorf("reserved_path", "reserved_path off: then browsers couldn't get the logo and favicon of pages")
		}
	}
	if err := g.pages.CheckTemplate(g.config.Login != nil, g.config.Session != nil && g.config.Session.Table != ""); err != nil {
		return setting.In("pages", err)
	}
	if g.config.Pages != nil && g.logins != nil && g.config.ReservedPath != reservedOff && strings.HasPrefix(g.config.Pages.HelpURL, cmp.Or(g.config.ReservedPath, defaultReservedPath)) {
		return setting.In("pages", setting.Errorf("help_url", "help_url %q: that is a page of the gateway's own: name a page of the application, or an address, that new links come from", g.config.Pages.HelpURL))
	}
	return nil
}

// provisionSettings resolves the secrets and checks the token settings.
func (g builder) provisionSettings() error {
	var err error
	if g.settings, err = g.config.tokenSettings(secret.Resolve); err != nil {
		return err
	}
	if err := g.config.checkSettings(g.settings); err != nil {
		return err
	}
	if g.assertions != nil {
		if err := g.assertions.Resolve(g.config.Assertion, g.settings, secret.Resolve); err != nil {
			return err
		}
	}
	if err := g.provisionConfigured(); err != nil {
		return err
	}
	if g.config.Login != nil {
		var err error
		if g.login, err = login.New(g.config.Login, g.loginEnvironment()); err != nil {
			return err
		}
		g.sources.AddCookies(g.login.Cookie())
		g.emailLink = g.newEmailLink()
		g.counts.addMethods(g.login.Methods()...)
	}
	g.confirmer.key = newSigningKey(g.settings.SecretKey, "caddy-sesame/confirm/1")
	g.hints.key = newSigningKey(g.settings.SecretKey, "caddy-sesame/help/1")
	if g.settings.Packer == "" && g.settings.Encoding == nil {
		return nil // the type of the primary key's column decides
	}
	return g.makeKeys(g.settings)
}

// provisionStore opens the store, and takes the packer from its table where
// the settings name none.
func (g builder) provisionStore(ctx caddy.Context) error {
	cfg := g.config.storeConfig()
	if err := resolveStore(&cfg, secret.Resolve); err != nil {
		return err
	}
	needs := g.config.requiredFlags()
	needs.Email = g.config.InvalidateOnEmailChange
	needs.LastLogin = g.config.OneTime || g.logins != nil && g.logins.updateLastLogin
	g.config.Login.AddNeeds(g.config.Password, &needs)
	for _, scheme := range g.configured {
		scheme.AddNeeds(&needs)
	}
	if made := g.made.Load(); made != nil {
		needs.KeysOf(made.tokens.Settings().Encoding)
	}
	validating := isValidating()
	cfg.StartWithout = cfg.StartWithout || validating
	var err error
	store, err := userstore.Open(ctx, cfg, needs, g.logger.Named("userstore"))
	switch {
	case errors.Is(err, userstore.ErrUnavailable) && !cfg.StartWithout:
		return setting.Errorf("userstore", "userstore: %w (start_without lets Caddy start while MySQL can't be reached)", err)
	case err != nil:
		return setting.In("userstore", err)
	}
	g.store = store
	if validating {
		g.noteSkipped(ctx, store)
	}
	store.ObserveLookups(observeLookup)
	if allowed := g.config.LimitFailures.WithDefaults(); !allowed.Off {
		queue := limit.NewQueue(store.LookupEach, cfg.TimeLimit())
		g.limiter = &limiter{failures: limit.Acquire(allowed), queue: queue, logger: g.logger, audit: &g.audit, limited: &g.counts.limited}
	}
	if err := g.keepRows(ctx, validating); err != nil {
		return err
	}
	if _, err := g.keys(ctx); err != nil && !errors.Is(err, userstore.ErrUnavailable) {
		return err
	}
	g.proven = g.newProven()
	if interval := g.config.watchInterval(); interval > 0 {
		g.watcher = g.newWatcher(interval)
	}
	g.forOperator = g.config.operated()
	g.forOperator.Live = g.live(store)
	return nil
}

// keys returns the keys. If the settings name no packer, the primary key's column
// decides it: then the method fails while the store can't read the column's type.
func (g *gate) keys(ctx context.Context) (*keys, error) {
	if made := g.made.Load(); made != nil {
		return made, nil
	}
	schema, err := g.store.Schema(ctx)
	if err != nil {
		return nil, err
	}
	settings := g.settings
	if settings.Encoding, err = token.PackerByName(schema.Packer); err != nil {
		return nil, err
	}
	if err := g.makeKeys(settings); err != nil {
		return nil, err
	}
	g.logger.Named("userstore").Debug("chose the packer by the type of the primary key's column", zap.String("packer", schema.Packer))
	return g.made.Load(), nil
}

// provisionSchemes makes the schemes by which requests are authenticated.
func (g builder) provisionSchemes() {
	g.meets = g.config.Require.Check
	g.authn = &authn.Authenticator{Find: g.find, Rejected: g.noteRejected}
	g.token = &authn.Token{
		Sources: g.sources,
		Keys: func(ctx context.Context) (*token.Tokens, error) {
			made, err := g.keys(ctx)
			if err != nil {
				return nil, err
			}
			return made.tokens, nil
		},
		OneTime:         g.config.OneTime,
		OnlyByButton:    g.config.Confirm == confirmStrict,
		OutlivePassword: g.config.outlivePassword(),
		LogsIn:          g.logins != nil,
	}
	g.served = map[string]*atomic.Uint64{g.token.Name(): g.counts.servedBy(g.token.Name())}
	g.counts.addMethods(g.token.Name())
	if !hasOwnSession(g.config) {
		return
	}
	g.logins.scheme = g.newSessionScheme()
	g.configured = append(g.configured, g.logins.scheme)
	g.sources.AddCookies(g.logins.scheme.Cookies()...)
	g.addScheme(g.logins.scheme)
}

// addScheme adds a scheme beside tokens.
func (g builder) addScheme(scheme authn.Scheme) {
	g.schemes = append(g.schemes, scheme)
	names := []string{scheme.Name()}
	if group, ok := scheme.(authn.SchemeGroup); ok {
		names = group.Names()
	}
	for _, name := range names {
		g.served[name] = g.counts.servedBy(name)
	}
}

// provisionConfigured makes the schemes that have a block of the configuration.
func (g builder) provisionConfigured() error {
	env, err := environmentOf(g.config, g.settings)
	if err != nil {
		return err
	}
	env.Store, env.Now, env.Logger, env.Hashed = func() *userstore.MySQL { return g.store }, g.now, g.logger, &g.counts.hashed
	g.listSessions(env)
	g.refuser.challenges.asksBrowsers = asksBrowsers(g.config)
	if g.sources.Reads(claim.FromBasic) {
		g.refuser.challenges.add([]string{authn.BasicChallenge(g.config.Realm)})
	}
	for _, cfg := range schemesOf(g.config) {
		scheme, err := cfg.New(env)
		if err != nil {
			return setting.In(cfg.Option(), err)
		}
		g.configured = append(g.configured, scheme)
		g.sources.AddCookies(scheme.Cookies()...)
		if reader, ok := scheme.(authn.AuthorizationScheme); ok {
			g.sources.AddAuthorization(reader.IsAuthorization)
			g.refuser.challenges.add(reader.Challenges())
		}
		g.addScheme(scheme)
		switch scheme := scheme.(type) {
		case *authn.DjangoSession:
			g.django = scheme
		case *authn.Password:
			g.password = scheme
		}
	}
	return nil
}

// stop ends the watcher, and forgets the sources of tokens.
func (g *gate) stop() {
	if g.forgetSources != nil {
		g.forgetSources()
	}
	if g.watcher != nil {
		g.watcher.Stop()
	}
}

// close closes the store. All requests must have ended.
func (g *gate) close() error {
	var errs []error
	if g.login != nil {
		errs = append(errs, g.login.Close())
	}
	for _, scheme := range g.configured {
		if closer, ok := scheme.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	if g.limiter != nil {
		g.limiter.queue.Stop()
		g.limiter.failures.Release()
	}
	if g.cache != nil {
		errs = append(errs, g.cache.Close())
	}
	if g.follows != nil {
		errs = append(errs, g.follows.Close())
	}
	if g.store != nil {
		errs = append(errs, g.store.Close())
	}
	return errors.Join(errs...)
}
