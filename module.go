// Package sesame is a Caddy module that authenticates every request with a
// token of django-sesame before it reaches the upstream.
package sesame

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/operator"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/place"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/scope"
	"github.com/caddy-sesame/caddy-sesame/internal/secret"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/internal/watch"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// TokenSource is a place in a request where a token is looked for.
type TokenSource = claim.Source

// Handler authenticates requests with tokens of django-sesame, against the
// user's row in MySQL, and tells the next handlers who the user is.
//
// The token is taken from the request, which goes on without it. A request
// with a valid token gets the identity header fields; one without is answered
// 401, or 503 while MySQL can't be asked. Whatever the client sent in the
// place of an identity header field is removed first.
//
// The settings that tokens depend on are those of django-sesame, without
// `SESAME_`; they must be equal on both sides.
//
// Placeholders of the user, for the next handlers and the access log:
//
// Placeholder | Description
// ------------|---------------
// `{http.auth.user.id}` | The primary key
// `{http.auth.user.username}` | The user name, or the primary key where the table has none
// `{http.auth.user.email}` | The e-mail address
// `{http.auth.user.<column>}` | Any column named in `userstore.columns.extra`
// `{http.auth.user.groups}` | The names of the groups, with commas; where they are read, as the next are
// `{http.auth.user.permissions}` | The permissions that the user was given, with commas
// `{http.auth.user.is_staff}` | 1 or 0
// `{http.auth.user.is_superuser}` | 1 or 0
//
// And for error routes (`handle_errors`):
//
// Placeholder | Description
// ------------|---------------
// `{http.auth.sesame.error}` | Why the request was refused: `missing`, `malformed`, `expired`, `invalid`, `forbidden`, `limited` or `unavailable`
type Handler struct {
	// Django's SECRET_KEY. Keep it in the environment or a file:
	// `{env.DJANGO_SECRET_KEY}`, `{file./run/secrets/key}`. Required.
	SecretKey string `json:"secret_key,omitempty"`

	// Django's SECRET_KEY_FALLBACKS: former keys, with which tokens are still
	// accepted. Placeholders as in `secret_key`.
	SecretKeyFallbacks []string `json:"secret_key_fallbacks,omitempty"`

	// The query parameter with the token. Default: `sesame`.
	TokenName string `json:"token_name,omitempty"`

	// Where tokens are looked for, in this order; the first that is there
	// counts. Default: the query, then `Authorization: Bearer`.
	TokenFrom []TokenSource `json:"token_from,omitempty"`

	// How long a token is valid. Default: for ever. Whether it is set changes
	// the format, so it must be set here if it is in Django.
	MaxAge *caddy.Duration `json:"max_age,omitempty"`

	// Whether a token is good for a single use: the gateway then writes
	// `last_login`. Requests that mail scanners and browsers make ahead (HEAD,
	// prefetching) don't use it up. Default: false.
	OneTime bool `json:"one_time,omitempty"`

	// Whether a new password ends all tokens; so does a better hash of the
	// same password. May be false only with a `max_age`. Default: true.
	InvalidateOnPasswordChange *bool `json:"invalidate_on_password_change,omitempty"`

	// Whether a new e-mail address ends all tokens. Default: false.
	InvalidateOnEmailChange bool `json:"invalidate_on_email_change,omitempty"`

	// The dotted path of the packer, if Django's settings name one: the path
	// itself goes into the signature. Default: chosen by the type of the
	// primary key's column, as django-sesame chooses it by the field.
	Packer string `json:"packer,omitempty"`

	// What a packer of your own does: `LongPacker` or another of
	// django-sesame's, or `hex:24` for keys of 24 hexadecimal digits. It also
	// overrides what the column's type says.
	PackerEncoding string `json:"packer_encoding,omitempty"`

	// The field of the user model that tokens hold. Default: `pk`.
	PrimaryKeyField string `json:"primary_key_field,omitempty"`

	// The versions of tokens that are accepted: `v2`, `v1`. Default: both.
	Tokens []string `json:"tokens,omitempty"`

	// Tokens v2: changing it ends all tokens. Placeholders as in `secret_key`.
	// Default: empty.
	Key string `json:"key,omitempty"`

	// Tokens v2: the size of a signature in bytes, 1 to 64. Default: 10.
	SignatureSize int `json:"signature_size,omitempty"`

	// Tokens v1: changing it ends all tokens. Default: `sesame`.
	Salt string `json:"salt,omitempty"`

	// Tokens v1: `md5`, `sha1`, `sha256` or `sha512`. Default: `md5`.
	Digest string `json:"digest,omitempty"`

	// Tokens v1: the iterations of PBKDF2. Default: 10000.
	Iterations int `json:"iterations,omitempty"`

	// Django's USE_TZ. Default: true, as in Django from 5.0 on and in every
	// project that `startproject` made before.
	UseTZ *bool `json:"use_tz,omitempty"`

	// Django's TIME_ZONE, in which `last_login` is written where `use_tz` is
	// false. Default: the time zone of this host.
	TimeZone string `json:"time_zone,omitempty"`

	// The scope that tokens must be made for. A template: in
	// `report:{http.request.uri.path.1}` each report has links of its own.
	// Where it reads the URL, requests are rejected whose target servers read in
	// different ways, and those for which it comes out empty. Placeholders of
	// header fields, cookies and the body are not accepted.
	// Default: the default scope.
	Scope string `json:"scope,omitempty"`

	// Whether requests without a token go on, as nobody. One with a token that
	// doesn't hold is refused all the same. Default: false.
	Optional bool `json:"optional,omitempty"`

	// What becomes of CORS preflight requests, which browsers send without a
	// token: `pass` or `refuse`. They pass as nobody. Default: `pass` where
	// `optional` is set, else `refuse`.
	Preflight string `json:"preflight,omitempty"`

	// What a user must meet: all of it. Others are answered 403, and their links
	// neither log in nor are used up. Requests without a user are answered 401,
	// also where `optional` is set. Default: nothing.
	Require require.Requirements `json:"require,omitempty"`

	// The header fields that tell the upstream who the user is. No client can
	// set them. Default: `Remote-User`, `Remote-User-Id` and `Remote-Email`, and
	// `Remote-Groups` where groups are read.
	Identity []identity.Header `json:"identity,omitempty"`

	// Header fields of clients that are passed on, although applications commonly
	// take them for who the user is, and which are removed otherwise:
	// `X-Forwarded-User`, `X-Auth-Request-*` and others. Needed where another
	// gateway in front sets them. A star at the end stands for any rest of a name.
	// `Authorization` passes `Basic` and `Digest` credentials also of users whom
	// the gateway has authenticated. Default: none.
	PassHeader []string `json:"pass_header,omitempty"`

	// Tells the upstream who the user is in a way that it can verify. Default:
	// none.
	Assertion *identity.AssertionConfig `json:"assertion,omitempty"`

	// The realm in WWW-Authenticate. Default: none.
	Realm string `json:"realm,omitempty"`

	// Where the users are.
	UserStore userstore.Config `json:"userstore,omitzero"`

	// Whether a user's row may be used again for a short time. A row that would
	// refuse a request is read anew first, and one-time tokens and logins never
	// rest on a kept one. Default: every request reads the row as it is.
	Cache *userstore.CacheConfig `json:"cache,omitempty"`

	// Whether a link logs a person in. Default: it authenticates its own
	// request only.
	Session *SessionConfig `json:"session,omitempty"`

	// When a browser that opens a link gets a page with a button first, so
	// that mail scanners and link previews don't use the link up: `always`,
	// `one_time`, or `off`. A link that would replace another user's session
	// gets the page always. Default: `one_time`.
	Confirm string `json:"confirm,omitempty"`

	// The path below which the gateway has pages of its own: login, logout and
	// whoami where sessions are on, and jwks.json with the keys of assertions.
	// `off` is none. Default: `/_sesame/`.
	ReservedPath string `json:"reserved_path,omitempty"`

	// How often the users behind open WebSockets and other long responses are
	// looked up, to end those of users who may no longer log in. 0 is never.
	// Default: 30s where sessions are on, else never.
	Watch *caddy.Duration `json:"watch,omitempty"`

	// How often a client may come with what is refused. Default: 100 times at
	// once, and of these one more every 0.6s.
	LimitFailures *limit.Config `json:"limit_failures,omitempty"`

	// The pages of the gateway: confirmation, refusal, logout.
	Pages *page.Config `json:"pages,omitempty"`

	scope *scope.Template
	// Where the handler stands, as file:line, for error messages. The Caddyfile
	// adapter fills it in. Default: unknown.
	Source string `json:"source,omitempty"`

	logger        *zap.Logger
	audit         audit
	logs          accesslog.Logs
	sources       *claim.Sources
	identity      *identity.Fields
	authn         *authn.Authenticator
	meets         func(*userstore.User) error // checks what is required; bound once for all requests
	token         *authn.Token
	schemes       []authn.Scheme       // beside token
	assertions    *identity.Assertions // nil without
	logins        *logins              // nil without sessions
	pages         *page.Pages
	proven        *proven         // for later handlers
	watcher       *watch.Watcher  // nil for never
	failures      *limit.Failures // nil for no limit
	queue         *limit.Queue    // of clients over it
	settings      token.Settings
	store         userStore
	users         userstore.Finder            // in the store and the cache
	cache         *userstore.Cache            // nil for none
	forgetSources func()                      // nil without an HTTP app
	made          atomic.Pointer[credentials] // nil until the store knows its table
	confirmKey    signingKey
	confirmCookie cookie.Cookie
	hintKey       signingKey
	warnedOfHelp  atomic.Bool
	outages       outageLog
	now           func() time.Time
	forOperator   *operator.Handler // as commands and the admin API know it
}

// userStore is what the handler needs of a store.
type userStore interface {
	Schema(ctx context.Context) (userstore.Schema, error)
	Lookup(ctx context.Context, pk token.PrimaryKey) (*userstore.User, error)
	LookupAny(ctx context.Context, pk token.PrimaryKey) (user *userstore.User, isFresh bool, err error)
	LookupMany(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error)
	Consume(ctx context.Context, user *userstore.User, now time.Time) error
	Stats() userstore.Stats
	Servers() []userstore.ServerStats
	PoolID() [32]byte
	Close() error
}

// The values of Handler.Preflight.
const (
	preflightPass   = "pass"
	preflightRefuse = "refuse"
)

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.sesame",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets the handler up. It connects to the store.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.provision(ctx); err != nil {
		at := place.Of(accesslog.HTTPApp(ctx), h.Source, new(Handler).options(), err)
		if at == "" {
			return err
		}
		// Caddy puts the way through its modules in front of the error, so that is
		// logged by itself as well.
		err = fmt.Errorf("%s: %w", at, err)
		h.logger.Error("the configuration is rejected: "+err.Error(), zap.String("source", h.Source))
		return err
	}
	return nil
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logs = accesslog.New(ctx)
	h.audit = newAudit(ctx)
	h.now = time.Now
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := h.provisionRequest(); err != nil {
		return err
	}
	for _, name := range h.identity.Dropped() {
		h.logger.Warn("proxies such as nginx and Caddy drop header fields with an underscore or a dot in their name: write dashes in identity and assertion; for a variable of PHP, use env in php_fastcgi",
			zap.String("header", name))
	}
	if err := h.provisionSettings(); err != nil {
		return err
	}
	h.warnAboutCookie(ctx)
	if app := accesslog.HTTPApp(ctx); app != nil {
		// Not by ctx.OnCancel: ctx is a copy, whose functions nobody calls.
		unregister := h.sources.Register(app)
		var forgetLogs func()
		h.logs.Redacts, forgetLogs = accesslog.RedactLogs(app, h.sources)
		h.forgetSources = func() { unregister(); forgetLogs() }
		limit.WarnOfInventedAddresses(app, h.logger)
	}
	rights, err := rightsOf(ctx)
	if err != nil {
		return err
	}
	if rights != nil {
		rights.read(h.UserStore.Reads(h.requiredFlags()))
	}
	return h.provisionStore(ctx)
}

// provisionRequest prepares what is done with requests.
func (h *Handler) provisionRequest() error {
	if err := h.checkDurations(); err != nil {
		return err
	}
	var err error
	if h.scope, err = scope.Parse(h.Scope); err != nil {
		return setting.Of("scope", err)
	}
	if h.sources, err = claim.New(h.TokenName, h.TokenFrom); err != nil {
		return setting.Of("token_from", err)
	}
	if h.identity, err = identity.New(h.Identity, identity.Columns{Store: h.UserStore, Needs: h.requiredFlags()}); err != nil {
		return setting.Of("identity", err)
	}
	if err := h.provisionRequire(); err != nil {
		return err
	}
	if err := h.provisionAssertion(); err != nil {
		return err
	}
	if err := h.identity.Pass(h.PassHeader); err != nil {
		return setting.Of("pass_header", err)
	}
	for _, source := range h.sources.Ordered {
		if source.From == claim.FromHeader && h.identity.IsOurs(source.Name) {
			return setting.Errorf("token_from", "token_from header %s: that is an identity header field, which no client can send", source.Name)
		}
	}
	switch h.Preflight {
	case "", preflightPass, preflightRefuse:
	default:
		return setting.Errorf("preflight", "preflight %q: it must be %s or %s", h.Preflight, preflightPass, preflightRefuse)
	}
	if err := h.LimitFailures.Validate(); err != nil {
		return setting.Of("limit_failures", err)
	}
	return h.provisionLogin()
}

// provisionAssertion prepares assertions, up to their keys.
func (h *Handler) provisionAssertion() error {
	if h.Assertion == nil {
		return nil
	}
	var err error
	if h.assertions, err = identity.NewAssertions(h.Assertion, h.UserStore); err != nil {
		return setting.Of("assertion", err)
	}
	if h.ReservedPath == reservedOff {
		return setting.Errorf("reserved_path", "reserved_path off: then nobody could get the keys that assertion is verified by")
	}
	return setting.Of("assertion: header", h.identity.UseAssertions(h.assertions))
}

// provisionLogin prepares sessions and pages.
func (h *Handler) provisionLogin() error {
	var err error
	if h.Session != nil {
		if h.logins, err = newLogins(h.Session); err != nil {
			return err
		}
	}
	switch h.Confirm {
	case "", confirmAlways, confirmOneTime, confirmOff:
	default:
		return setting.Errorf("confirm", "confirm %q: it must be %s, %s or %s", h.Confirm, confirmAlways, confirmOneTime, confirmOff)
	}
	if path := h.ReservedPath; path != "" && path != reservedOff && !(strings.HasPrefix(path, "/") && strings.HasSuffix(path, "/") && len(path) > 2) {
		return setting.Errorf("reserved_path", "reserved_path %q: it must be %s, or begin and end with a slash, as %s", path, reservedOff, defaultReservedPath)
	}
	if h.confirmCookie, err = newConfirmCookie(h.Session); err != nil {
		return setting.In("session", err)
	}
	h.sources.Recognize(tokenForm{h})
	h.sources.AddCookies(h.confirmCookie.Name())
	if h.logins != nil {
		h.sources.AddCookies(h.logins.cookie.Name())
	}
	h.provisionSchemes()
	if h.pages, err = page.New(h.Pages); err != nil {
		return setting.In("pages", err)
	}
	if h.Pages != nil && h.logins != nil && h.ReservedPath != reservedOff && strings.HasPrefix(h.Pages.HelpURL, cmp.Or(h.ReservedPath, defaultReservedPath)) {
		return setting.In("pages", setting.Errorf("help_url", "help_url %q: that is a page of the gateway's own: name a page of the application, or an address, that new links come from", h.Pages.HelpURL))
	}
	return nil
}

// provisionSettings resolves the secrets and checks the token settings.
func (h *Handler) provisionSettings() error {
	var err error
	if h.settings, err = h.tokenSettings(secret.Resolve); err != nil {
		return err
	}
	if err := h.checkSettings(h.settings); err != nil {
		return err
	}
	if h.assertions != nil {
		if err := h.assertions.Resolve(h.Assertion, h.settings, secret.Resolve); err != nil {
			return err
		}
	}
	h.confirmKey = newSigningKey(h.settings.SecretKey, "caddy-sesame/confirm/1")
	h.hintKey = newSigningKey(h.settings.SecretKey, "caddy-sesame/help/1")
	if h.settings.Packer == "" && h.settings.Encoding == nil {
		return nil // the table will tell
	}
	return h.makeCredentials(h.settings)
}

// makeCredentials makes what tells tokens and sessions.
func (h *Handler) makeCredentials(settings token.Settings) error {
	tokens, err := token.New(settings)
	if err != nil {
		return err
	}
	sessions, err := h.sessionsFor(tokens)
	if err != nil {
		return err
	}
	h.made.Store(&credentials{tokens: tokens, sessions: sessions})
	return nil
}

// provisionStore opens the store, and takes the packer from its table where
// the settings name none.
func (h *Handler) provisionStore(ctx caddy.Context) error {
	cfg := h.storeConfig()
	if err := resolveStore(&cfg, secret.Resolve); err != nil {
		return err
	}
	needs := h.requiredFlags()
	needs.Email = h.InvalidateOnEmailChange
	needs.LastLogin = h.OneTime || h.logins != nil && h.logins.updateLastLogin
	if made := h.made.Load(); made != nil {
		needs.KeysOf(made.tokens.Settings().Encoding)
	}
	validating := isValidating()
	cfg.StartWithout = cfg.StartWithout || validating
	var err error
	store, err := userstore.Open(ctx, cfg, needs, h.logger.Named("userstore"))
	switch {
	case errors.Is(err, userstore.ErrUnavailable) && !cfg.StartWithout:
		return setting.Errorf("userstore", "userstore: %w (start_without lets Caddy start while MySQL can't be reached)", err)
	case err != nil:
		return setting.In("userstore", err)
	}
	h.store = store
	if validating {
		h.noteSkipped(ctx, store)
	}
	store.ObserveLookups(observeLookup)
	if allowed := h.LimitFailures.WithDefaults(); !allowed.Off {
		h.queue = limit.NewQueue(store.LookupMany, cmp.Or(time.Duration(cfg.QueryTimeout), userstore.DefaultQueryTimeout))
		if h.failures, err = limit.Acquire(allowed); err != nil {
			return err
		}
	}
	if h.Cache != nil {
		if h.cache, err = userstore.NewCache(store, *h.Cache); err != nil {
			return setting.In("cache", err)
		}
	}
	h.users = userstore.Finder{Store: store, Cache: h.cache}
	if _, err := h.credentials(ctx); err != nil && !errors.Is(err, userstore.ErrUnavailable) {
		return err
	}
	h.proven = h.newProven()
	if interval := h.watchInterval(); interval > 0 {
		h.watcher = watch.New(interval, store.LookupMany, h.logger.Named("watch"))
	}
	h.forOperator = h.operated()
	h.forOperator.Live = h.live(store)
	register(h)
	return nil
}

// credentials returns what tells tokens and sessions, made with the packer for
// the primary key's column where the settings name none. It fails while the
// store can't be asked for the column.
func (h *Handler) credentials(ctx context.Context) (*credentials, error) {
	if made := h.made.Load(); made != nil {
		return made, nil
	}
	schema, err := h.store.Schema(ctx)
	if err != nil {
		return nil, err
	}
	settings := h.settings
	if settings.Encoding, err = token.PackerByName(schema.Packer); err != nil {
		return nil, err
	}
	if err := h.makeCredentials(settings); err != nil {
		return nil, err
	}
	h.logger.Named("userstore").Debug("chose the packer by the type of the primary key's column", zap.String("packer", schema.Packer))
	return h.made.Load(), nil
}

// drainTime is how long requests may still come after Cleanup. When Caddy
// loads a new configuration it cleans up the old one while its servers still
// drain, and those take requests on open connections for some 5 s.
const drainTime = 6 * time.Second

// Cleanup closes the store once the last request must be through. What the
// next configuration shares with this one stays open.
func (h *Handler) Cleanup() error {
	unregister(h)
	if h.forgetSources != nil {
		h.forgetSources()
	}
	if h.watcher != nil {
		h.watcher.Stop()
	}
	if h.store == nil {
		return nil
	}
	if caddy.Exiting() {
		return h.closeStore()
	}
	time.AfterFunc(drainTime, func() {
		if err := h.closeStore(); err != nil {
			h.logger.Error("closing the user store of a former configuration", zap.Error(err))
		}
	})
	return nil
}

func (h *Handler) closeStore() error {
	var errs []error
	if h.failures != nil {
		h.queue.Stop()
		errs = append(errs, h.failures.Release())
	}
	if h.cache != nil {
		errs = append(errs, h.cache.Close())
	}
	return errors.Join(append(errs, h.store.Close())...)
}

// MarshalLogObject is what Caddy's trace log shows of the handler: no secrets.
func (h *Handler) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("userstore", "mysql")
	enc.AddBool("optional", h.Optional)
	enc.AddBool("one_time", h.OneTime)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ zapcore.ObjectMarshaler     = (*Handler)(nil)
	_ userStore                   = (*userstore.MySQL)(nil)
)
