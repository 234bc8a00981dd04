// Package sesame is a Caddy module that authenticates every request, before it
// reaches the upstream, as one of the users of a Django application: by a token
// of django-sesame, a session, a password or an API token.
package sesame

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/place"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/strictjson"
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
// The token is taken from the request, which goes on without it. A request with a
// valid token gets the identity header fields; one without is answered 401, or 503
// while MySQL can't be asked. Identity header fields that the client sent are
// removed first, in any spelling. The blocks `session`, `django_session`, `password`
// and `api_token` accept other credentials as well.
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
// `{http.auth.user.groups}` | The names of the groups, joined by commas, if `userstore` reads groups
// `{http.auth.user.permissions}` | The permissions that the user was given, joined by commas, if `userstore` reads them
// `{http.auth.user.is_staff}` | 1 or 0
// `{http.auth.user.is_superuser}` | 1 or 0
//
// And for error routes (`handle_errors`):
//
// Placeholder | Description
// ------------|---------------
// `{http.auth.sesame.error}` | Why the request was refused: `missing`, `malformed`, `expired`, `invalid`, `forbidden`, `cross_site`, `other_login`, `limited`, `second_factor` or `unavailable`
type Handler struct {
	// Django's SECRET_KEY. Keep it in the environment or a file:
	// `{env.DJANGO_SECRET_KEY}`, `{file./run/secrets/key}`. Required.
	SecretKey string `json:"secret_key,omitempty"`

	// Django's SECRET_KEY_FALLBACKS: former keys, with which tokens are still
	// accepted. Placeholders as in `secret_key`.
	SecretKeyFallbacks []string `json:"secret_key_fallbacks,omitempty"`

	// The query parameter with the token. Default: `sesame`.
	TokenName string `json:"token_name,omitempty"`

	// Where tokens are looked for, in this order; the first one found counts.
	// Default: the query, then `Authorization: Bearer`.
	TokenFrom []TokenSource `json:"token_from,omitempty"`

	// How long a token is valid. Default: for ever. Setting it changes the tokens'
	// format, so it must be set here if Django sets it.
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
	// `report:{http.request.uri.path.1}` each report has links of its own. If the
	// template reads the URL, a request is rejected if the scope comes out empty, or
	// if servers read the request's target in different ways. Placeholders of header
	// fields, cookies and the body are not accepted. Default: the default scope.
	Scope string `json:"scope,omitempty"`

	// Whether requests without a token go on, without a user. One with a token that
	// is invalid is rejected all the same. Default: false.
	Optional bool `json:"optional,omitempty"`

	// What becomes of CORS preflight requests, which browsers send without a
	// token: `pass` or `refuse`. They pass without a user. Default: `pass` where
	// `optional` is set, else `refuse`.
	Preflight string `json:"preflight,omitempty"`

	// The requirements, all of which a user must meet. Other users are answered 403,
	// and their links neither log in nor are used up. Requests without a user are
	// answered 401, also where `optional` is set. Default: nothing.
	Require require.Requirements `json:"require,omitempty"`

	// The header fields that tell the upstream who the user is. No client can
	// set them. Default: `Remote-User`, `Remote-User-Id` and `Remote-Email`, and
	// `Remote-Groups` where groups are read.
	Identity []identity.Header `json:"identity,omitempty"`

	// Header fields of clients that are passed on. Otherwise the gateway removes
	// them, because applications commonly read the user from them:
	// `X-Forwarded-User`, `X-Auth-Request-*` and others. Needed where another
	// gateway in front sets them. A star at the end stands for any rest of a name.
	// `Authorization` passes `Basic` and `Digest` credentials also of users whom the
	// gateway has authenticated. Default: none.
	PassHeader []string `json:"pass_header,omitempty"`

	// Tells the upstream who the user is in a way that it can verify. Default:
	// none.
	Assertion *identity.AssertionConfig `json:"assertion,omitempty"`

	// Whether the handler answers other proxies, which ask whether a request of theirs
	// may go on: `forward_auth` for Traefik, Caddy and HAProxy, `auth_request` for
	// nginx. The answer is 200 with the identity header fields, or one for the client.
	// The proxies must be in Caddy's `trusted_proxies`. No request goes on to the next
	// handler. Default: it answers clients.
	AuthService string `json:"auth_service,omitempty"`

	// The realm in WWW-Authenticate. Default: none.
	Realm string `json:"realm,omitempty"`

	// Where the users are.
	UserStore userstore.Config `json:"userstore,omitzero"`

	// Whether a user's row may be used again for a short time. A cached row never
	// rejects a request: the row is read anew first. One-time tokens and logins
	// never use a cached row. Default: every request reads the row as it is.
	Cache *userstore.CacheConfig `json:"cache,omitempty"`

	// Whether a link logs a person in. Default: it authenticates its own
	// request only.
	Session *SessionConfig `json:"session,omitempty"`

	// Whether users are let in by the name and password that they have in Django.
	// Default: they aren't.
	Password *authn.PasswordConfig `json:"password,omitempty"`

	// Whether users who are logged in to Django are logged in here. Default: no.
	DjangoSession *authn.DjangoSessionConfig `json:"django_session,omitempty"`

	// Lets in programs by API tokens that Django has issued. Default: none.
	APIToken authn.APITokensConfig `json:"api_token,omitempty"`

	// When a browser that opens a link gets a page with a button first, so
	// that mail scanners and link previews don't use the link up: `always`,
	// `one_time`, or `off`. A link that would replace another user's session
	// gets the page always. With `strict`, every client that opens a link gets the
	// page, also one that doesn't say that it shows HTML. Default: `one_time`.
	Confirm string `json:"confirm,omitempty"`

	// The path below which the gateway has pages of its own: login, logout and
	// whoami where sessions are on, and jwks.json with the keys of assertions. `off`
	// turns these pages off. Default: `/_sesame/`.
	ReservedPath string `json:"reserved_path,omitempty"`

	// The path at which the gateway says that it is alive, or `off`. Default: `health`
	// below `reserved_path`.
	HealthPath string `json:"health_path,omitempty"`

	// The path at which the gateway says whether it can look users up, or `off`.
	// Default: `ready` below `reserved_path`.
	ReadyPath string `json:"ready_path,omitempty"`

	// How often the users behind open WebSockets and other long responses are
	// looked up, to end those of users who may no longer log in. 0 is never.
	// Default: 30s where sessions or django_session are on, else never.
	Watch *caddy.Duration `json:"watch,omitempty"`

	// Whether users can log in by themselves, on a page of the gateway's. Sessions
	// must be on. Default: they can't.
	Login *login.Config `json:"login,omitempty"`

	// How many rejected credentials a client may send. Default: 100 at once, and
	// then one more every 0.6s.
	LimitFailures *limit.Config `json:"limit_failures,omitempty"`

	// The pages of the gateway: confirmation, refusal, logout.
	Pages *page.Config `json:"pages,omitempty"`

	// Where the handler stands, as file:line, for error messages. The Caddyfile
	// adapter fills it in. Default: unknown.
	Source string `json:"source,omitempty"`

	logger *zap.Logger
	app    *caddyhttp.App // of the configuration
	site   string         // that has the handler; see nameOf
	gate   *gate          // nil before Provision
}

// The values of Handler.Preflight.
const (
	preflightPass   = "pass"
	preflightRefuse = "refuse"
)

// schemesOf are the blocks of a configuration that turn on schemes beside tokens
// and sessions, in the order in which their credentials are tried.
func schemesOf(h *Handler) []authn.Config {
	var configured []authn.Config
	if h.Password != nil {
		configured = append(configured, h.Password)
	}
	if h.DjangoSession != nil {
		configured = append(configured, h.DjangoSession)
	}
	if len(h.APIToken) > 0 {
		configured = append(configured, h.APIToken)
	}
	return configured
}

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
	var err error
	if h.gate, err = newGate(ctx, h); err == nil {
		register(h)
		return nil
	}
	at := place.Of(accesslog.HTTPApp(ctx), h.Source, new(Handler).options(), err)
	if h.Source == "" {
		at = place.InJSON(accesslog.HTTPApp(ctx), func(config []byte) bool { return isConfiguredBy(h, config) })
	}
	if at == "" {
		return err
	}
	// Caddy puts the path through its modules in front of the error, so the error is
	// logged alone as well.
	err = fmt.Errorf("%s: %w", at, err)
	h.logger.Error("the configuration is rejected: "+err.Error(), zap.String("source", h.Source))
	return err
}

// ServeHTTP authenticates the request and passes it on, or rejects it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.gate.serveHTTP(w, r, next)
}

// drainTime is how long requests may still come after Cleanup. When Caddy
// loads a new configuration it cleans up the old one while its servers still
// drain, and those take requests on open connections for some 5 s.
const drainTime = 6 * time.Second

// Cleanup closes the store once the last request must have ended. Connections that
// the next configuration shares with this one stay open.
func (h *Handler) Cleanup() error {
	unregister(h)
	if h.gate == nil {
		return nil
	}
	h.gate.stop()
	if h.gate.follows != nil {
		h.gate.follows.Retire()
	}
	if caddy.Exiting() {
		return h.gate.close()
	}
	time.AfterFunc(drainTime, func() {
		if err := h.gate.close(); err != nil {
			h.logger.Error("closing the user store of a former configuration", zap.Error(err))
		}
	})
	return nil
}

// UnmarshalJSON decodes the handler's configuration. Unlike Caddy's decoder, its
// errors name the option by its path, what was expected, and the name that was
// probably meant.
func (h *Handler) UnmarshalJSON(data []byte) error {
	type plain Handler // without this method
	err := strictjson.Decode(data, (*plain)(h))
	if err == nil {
		return nil
	}
	var adapted struct {
		Source string `json:"source"`
	}
	if json.Unmarshal(data, &adapted) == nil && adapted.Source != "" {
		return fmt.Errorf("%s: %w", adapted.Source, err)
	}
	return err
}

// isConfiguredBy reports whether JSON is a handler's configuration.
func isConfiguredBy(h *Handler, config []byte) bool {
	mine, err := json.Marshal(h)
	if err != nil {
		return false
	}
	other := new(Handler)
	if json.Unmarshal(config, other) != nil {
		return false
	}
	theirs, err := json.Marshal(other)
	return err == nil && bytes.Equal(theirs, mine)
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
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ zapcore.ObjectMarshaler     = (*Handler)(nil)
	_ json.Unmarshaler            = (*Handler)(nil)
)
