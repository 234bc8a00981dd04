package sesame

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/health"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Validate finds mistakes in a configuration, without its secrets and without a
// database. A Caddyfile is validated while the lines of options are known.
func (h *Handler) Validate() error {
	switch {
	case h.SecretKey == "":
		return setting.Errorf("secret_key", "secret_key is missing: set it to Django's SECRET_KEY, as {env.DJANGO_SECRET_KEY}")
	case h.UserStore.DSN == "" && h.UserStore.DSNFile == "":
		return setting.Errorf("userstore", "userstore is missing, or has no dsn: it says where the users are")
	}
	if h.gate == nil { // Provision has made one, and thereby found these mistakes
		if _, err := newRequestGate(h, new(tally)); err != nil {
			return err
		}
	}
	if h.Cache != nil {
		if err := h.Cache.Validate(); err != nil {
			return setting.In("cache", err)
		}
	}
	if h.Cache != nil && h.UserStore.Follow != nil {
		return setting.Errorf("cache", "cache and follow both say how long rows are used again: remove cache, since followed rows are newer")
	}
	if h.Password != nil && h.UserStore.Columns.Password == userstore.NoColumn {
		return setting.Errorf("password", "password: the userstore has no column with passwords (password -): name it, or leave password out")
	}
	settings, err := h.tokenSettings(func(_, _ string) (string, error) { return "not resolved yet", nil })
	if err != nil {
		return err
	}
	if err := h.checkSettings(settings); err != nil {
		return err
	}
	store := h.storeConfig()
	store.DSN = assumedDSN(store.DSN)
	store.MoreDSNs = slices.DeleteFunc(slices.Clone(store.MoreDSNs), func(dsn string) bool { return assumedDSN(dsn) != dsn })
	store.Replicas = slices.Clone(store.Replicas)
	for i, dsn := range store.Replicas {
		store.Replicas[i] = assumedDSN(dsn)
	}
	if store.Follow != nil {
		follow := *store.Follow
		if follow.DSN != "" {
			follow.DSN = assumedDSN(follow.DSN)
		}
		store.Follow = &follow
	}
	if err := store.Validate(); err != nil {
		return setting.In("userstore", err)
	}
	return nil
}

// assumedDSN is a DSN, or a stand-in for one that isn't resolved yet.
func assumedDSN(dsn string) string {
	if strings.Contains(dsn, "{") {
		return "user@tcp(localhost)/database"
	}
	return dsn
}

// tokenSettings are the settings of the tokens, with secrets as resolve makes
// them of an option's name and value.
func (h *Handler) tokenSettings(resolve func(option, secret string) (string, error)) (token.Settings, error) {
	settings := token.Settings{
		OneTime:                    h.OneTime,
		InvalidateOnPasswordChange: h.InvalidateOnPasswordChange,
		InvalidateOnEmailChange:    h.InvalidateOnEmailChange,
		MaxAge:                     (*time.Duration)(h.MaxAge),
		Packer:                     h.Packer,
		PrimaryKeyField:            h.PrimaryKeyField,
		SignatureSize:              h.SignatureSize,
		Salt:                       h.Salt,
		Digest:                     h.Digest,
		Iterations:                 h.Iterations,
		UseTZ:                      h.UseTZ,
	}
	var err error
	if settings.SecretKey, err = resolve("secret_key", h.SecretKey); err != nil {
		return settings, err
	}
	if settings.Key, err = resolve("key", h.Key); err != nil {
		return settings, err
	}
	for _, fallback := range h.SecretKeyFallbacks {
		key, err := resolve("secret_key_fallbacks", fallback)
		if err != nil {
			return settings, err
		}
		settings.SecretKeyFallbacks = append(settings.SecretKeyFallbacks, key)
	}
	for _, name := range h.Tokens {
		version, err := token.VersionByName(name)
		if err != nil {
			return settings, setting.In("tokens", err)
		}
		settings.Versions = append(settings.Versions, version)
	}
	if h.PackerEncoding != "" {
		if settings.Encoding, err = token.PackerByName(h.PackerEncoding); err != nil {
			return settings, setting.In("packer_encoding", err)
		}
	}
	return settings, nil
}

// checkSettings checks settings. Their packer may not be known before the table is.
func (h *Handler) checkSettings(settings token.Settings) error {
	if h.UserStore.Columns.Password == userstore.NoColumn && settings.MaxAge == nil {
		return setting.Errorf("userstore: password", "insecure configuration: set max_age to a low value: without a column of passwords, nothing else would end a token")
	}
	if settings.Packer == "" && settings.Encoding == nil {
		settings.Encoding = token.LongPacker
	}
	_, err := token.New(settings)
	if errors.Is(err, token.ErrInsecure) {
		return setting.Of("invalidate_on_password_change", err)
	}
	return err
}

// usersID identifies a table of users by its configuration. It holds no secret.
func usersID(store userstore.Config) string {
	store.Follow = nil
	config, err := json.Marshal(store)
	if err != nil {
		config = []byte(store.DSN + "\x00" + store.Table)
	}
	sum := sha256.Sum256(config)
	return hex.EncodeToString(sum[:])
}

// resolveStore replaces the placeholders in a store's secrets and file names.
// resolve gets an option's name and value, and returns the value without
// placeholders.
func resolveStore(cfg *userstore.Config, resolve func(option, text string) (string, error)) error {
	cfg.Replicas, cfg.ReplicaFiles = slices.Clone(cfg.Replicas), slices.Clone(cfg.ReplicaFiles)
	cfg.MoreDSNs, cfg.MoreDSNFiles = slices.Clone(cfg.MoreDSNs), slices.Clone(cfg.MoreDSNFiles)
	type text struct {
		option string
		value  *string
	}
	texts := []text{
		{"dsn", &cfg.DSN},
		{"dsn_file", &cfg.DSNFile},
		{"tls_ca", &cfg.TLSCA},
		{"tls_cert", &cfg.TLSCert},
		{"tls_key", &cfg.TLSKey},
	}
	if cfg.Follow != nil {
		follow := *cfg.Follow
		cfg.Follow = &follow
		texts = append(texts, text{"follow: dsn", &follow.DSN}, text{"follow: dsn_file", &follow.DSNFile})
	}
	for i := range cfg.MoreDSNs {
		texts = append(texts, text{"dsn", &cfg.MoreDSNs[i]})
	}
	for i := range cfg.MoreDSNFiles {
		texts = append(texts, text{"dsn_file", &cfg.MoreDSNFiles[i]})
	}
	for i := range cfg.Replicas {
		texts = append(texts, text{"replica", &cfg.Replicas[i]})
	}
	for i := range cfg.ReplicaFiles {
		texts = append(texts, text{"replica_file", &cfg.ReplicaFiles[i]})
	}
	for _, t := range texts {
		var err error
		if *t.value, err = resolve("userstore: "+t.option, *t.value); err != nil {
			return err
		}
	}
	return nil
}

// watchInterval is how often the users of long responses are looked up.
func (h *Handler) watchInterval() time.Duration {
	switch {
	case h.Watch != nil:
		return time.Duration(*h.Watch)
	case h.Session != nil, h.DjangoSession != nil:
		return defaultWatch
	}
	return 0
}

// defaultWatch is Handler.Watch where it is not set and sessions are on.
const defaultWatch = 30 * time.Second

// storeConfig is the store's configuration with the token settings that it
// needs.
func (h *Handler) storeConfig() userstore.Config {
	cfg := h.UserStore
	cfg.PrimaryKeyField, cfg.UseTZ, cfg.TimeZone = h.PrimaryKeyField, h.UseTZ, h.TimeZone
	cfg.HasRelations = len(schemesOf(h)) > 0 || h.Login.ReadsSecondFactors(h.Password)
	return cfg
}

// checkLogin checks the login page, and what it needs of other blocks.
func checkLogin(h *Handler) error {
	switch {
	case h.Login == nil && h.Password != nil && h.Password.AsksSecondFactor():
		return setting.Errorf("password: second_factor", "password: second_factor ask: only the login page can ask for a code: add login, or remove second_factor")
	case h.Password != nil && h.Password.IgnoresTables() && !h.Login.ReadsSecondFactors(h.Password):
		return setting.Errorf("password: second_factor_tables", "password: second_factor_tables has no effect with second_factor ignore: remove one of the two")
	case h.Login == nil:
		return nil
	case h.Session == nil && !writesDjango(h):
		return setting.Errorf("login", "login needs sessions: add the block session, or write on to django_session")
	case h.Login.Password && h.Password == nil:
		return setting.Errorf("login: password", "login: password needs the block password, which says how passwords are checked")
	case h.ReservedPath == reservedOff:
		return setting.Errorf("reserved_path", "reserved_path off: then there is no path for the login page")
	case slices.Contains(login.Parameters(), h.TokenName):
		return setting.Errorf("token_name", "token_name %s: the login page has a parameter of that name: choose another", h.TokenName)
	}
	if err := h.Login.Validate(); err != nil {
		return setting.In("login", err)
	}
	if err := checkEmailLink(h); err != nil {
		return err
	}
	return checkRemember(h)
}

// sendsLinks reports whether users can have links sent by e-mail.
func sendsLinks(h *Handler) bool { return h.Login != nil && h.Login.EmailLink != nil }

// checkEmailLink makes sure that the store can find users by their addresses, and
// use links up.
func checkEmailLink(h *Handler) error {
	columns := h.UserStore.Columns
	switch {
	case !sendsLinks(h):
		return nil
	case columns.Email == userstore.NoColumn:
		return setting.Errorf("userstore: email", "userstore: email -: login: email_link sends links to the addresses in that column: name it, or leave email_link out")
	case columns.LastLogin == userstore.NoColumn:
		return setting.Errorf("userstore: last_login", "userstore: last_login -: links of login: email_link are used up by that column: name it, or leave email_link out")
	}
	return nil
}

// checkRemember makes sure that users who are remembered stay logged in for longer
// than others do.
func checkRemember(h *Handler) error {
	age := time.Duration(h.Login.Remember)
	others, of := session.DefaultMaxAge, "max_age of session"
	switch {
	case writesDjango(h):
		others, of = h.DjangoSession.Age(), "cookie_age of django_session"
	case h.Session.MaxAge != 0:
		others = time.Duration(h.Session.MaxAge)
	}
	switch {
	case age == 0:
		return nil
	case age > session.MaxRemember:
		return setting.Errorf("login: remember", "login: remember %s: browsers keep cookies for 400 days (9600h) at most", age)
	case age <= others:
		return setting.Errorf("login: remember", "login: remember %s: it must be more than %s (%s), or users who are remembered would be logged out earlier than others", age, of, others)
	case writesDjango(h) && h.DjangoSession.IsInCookie():
		return setting.Errorf("login: remember", "login: remember: with engine signed_cookies, Django ends every session after cookie_age: remove the line, or set cookie_age")
	}
	return nil
}

// writesDjango reports whether logins begin sessions of Django's.
func writesDjango(h *Handler) bool { return h.DjangoSession != nil && h.DjangoSession.Write }

// hasOwnSession reports whether logins begin sessions of the gateway's own. A login
// that begins a session of Django's begins no other: a logout in Django would leave a
// session of the gateway's valid.
func hasOwnSession(h *Handler) bool { return h.Session != nil && !writesDjango(h) }

// checkSchemes checks the blocks of schemes.
func checkSchemes(h *Handler) error {
	for _, cfg := range schemesOf(h) {
		if err := cfg.Validate(); err != nil {
			return setting.In(cfg.Option(), err)
		}
	}
	if h.DjangoSession != nil {
		return checkDjangoSession(h)
	}
	return nil
}

// checkDjangoSession checks what Django's sessions need of other options.
func checkDjangoSession(h *Handler) error {
	columns := h.UserStore.Columns
	if columns.Password == userstore.NoColumn {
		return setting.Errorf("userstore: password", "userstore: password -: django_session needs the column, as Django ends a user's sessions when the password changes")
	}
	if h.Session != nil && cmp.Or(h.Session.Name, cookie.DefaultName) == h.DjangoSession.Cookie() {
		return setting.Errorf("session: name", "session: name %s: that is the cookie of django_session: choose another", h.DjangoSession.Cookie())
	}
	if !h.DjangoSession.Write {
		return nil
	}
	if field := h.PrimaryKeyField; field != "" && field != "pk" && field != "id" {
		return setting.Errorf("django_session: write", "django_session: write on: Django's sessions hold the primary key, and primary_key_field %s is another field: remove write", field)
	}
	if key := columns.RelationKey; key != "" && !strings.EqualFold(key, cmp.Or(columns.PrimaryKey, "id")) {
		return setting.Errorf("django_session: write", "django_session: write on: Django's sessions hold the column %s, and tokens another: remove write", key)
	}
	if h.Session == nil {
		return nil
	}
	for _, option := range []struct {
		name  string
		isSet bool
		of    string
	}{
		{"name", h.Session.Name != "", "cookie_name"},
		{"max_age", h.Session.MaxAge != 0, "cookie_age"},
		{"idle", h.Session.Idle != 0, "cookie_age"},
		{"domain", h.Session.Domain != "", "cookie_domain"},
		{"path", h.Session.Path != "", "cookie_path"},
		{"same_site", h.Session.SameSite != "", "cookie_samesite"},
		{"secure", h.Session.Secure != "", "cookie_secure"},
		{"partitioned", h.Session.Partitioned, "cookie_samesite"},
		{"table", h.Session.Table != "", "table"},
	} {
		if option.isSet {
			return setting.Errorf("session: "+option.name, "session: %s has no effect beside django_session with write on, since a login begins a session of Django's instead: remove it; %s in django_session is that session's",
				option.name, option.of)
		}
	}
	return nil
}

// checkRequire checks the requirements, and that the store reads what they need.
func (h *Handler) checkRequire() error {
	if err := h.Require.Validate(); err != nil {
		return setting.In("require", err)
	}
	for _, r := range h.Require {
		want := r.Reads()
		if lacking, ok := require.Covers(h.UserStore.Reads(h.requiredFlags()), want); !ok {
			return setting.Errorf("require "+r.String(), "require %s: the store doesn't read %s; add that to userstore", r, lacking)
		}
	}
	return nil
}

// requiredFlags are the columns that requirements are about. They need not be
// named in userstore.
func (h *Handler) requiredFlags() userstore.Needs {
	reads := h.Require.Reads()
	return userstore.Needs{Staff: reads.Staff, Superuser: reads.Superuser}
}

// checkDurations rejects durations that can't be meant.
func (h *Handler) checkDurations() error {
	type duration struct {
		option string
		value  caddy.Duration
	}
	store := &h.UserStore
	all := []duration{
		{"userstore: query_timeout", store.QueryTimeout},
		{"userstore: conn_max_lifetime", store.ConnMaxLifetime},
		{"userstore: conn_max_idle_time", store.ConnMaxIdleTime},
	}
	if store.Follow != nil {
		all = append(all, duration{"userstore: follow: lease", store.Follow.Lease})
	}
	if h.MaxAge != nil {
		all = append(all, duration{"max_age", *h.MaxAge})
	}
	if h.Watch != nil {
		all = append(all, duration{"watch", *h.Watch})
	}
	if h.Session != nil {
		all = append(all, duration{"session: max_age", h.Session.MaxAge}, duration{"session: idle", h.Session.Idle})
	}
	if h.Cache != nil {
		all = append(all, duration{"cache: for", h.Cache.For})
	}
	if h.Assertion != nil {
		all = append(all, duration{"assertion: ttl", h.Assertion.TTL})
	}
	if h.LimitFailures != nil {
		all = append(all, duration{"limit_failures: per", h.LimitFailures.Per})
	}
	if h.MaxAge != nil && *h.MaxAge == 0 {
		return setting.Errorf("max_age", "max_age: 0 would reject every token: write a duration such as 10m, or leave it out for tokens without an age")
	}
	for _, d := range all {
		if err := setting.CheckDuration(d.option, time.Duration(d.value)); err != nil {
			return err
		}
	}
	return nil
}

// checkReservedPath rejects paths that no request has after Caddy and browsers
// have cleaned it, so that the gateway's pages could not be reached.
func checkReservedPath(reserved string) error {
	if reserved == "" || reserved == reservedOff || !strings.HasPrefix(reserved, "/") {
		return nil // the default, none, or rejected elsewhere
	}
	if i := strings.IndexAny(reserved, "*{}?#% \\"); i >= 0 {
		return setting.Errorf("reserved_path", "reserved_path %q: %q can't be in it: write a plain path, as %s", reserved, reserved[i:i+1], defaultReservedPath)
	}
	if cleaned := path.Clean(reserved); strings.TrimSuffix(reserved, "/") != cleaned && reserved != "/" {
		return setting.Errorf("reserved_path", "reserved_path %q: requests for it come as %s/: write that", reserved, strings.TrimSuffix(cleaned, "/"))
	}
	return nil
}

// newChecks makes the health checks, which are below the reserved path unless an
// option says where else.
func newChecks(g *gate) (*health.Checks, error) {
	reserved := cmp.Or(g.config.ReservedPath, defaultReservedPath)
	if reserved == reservedOff {
		reserved = ""
	}
	checks, err := health.New(health.Config{HealthPath: g.config.HealthPath, ReadyPath: g.config.ReadyPath, Reserved: reserved})
	if err != nil {
		return nil, err
	}
	checks.Serves, checks.RetryAfter = func(ctx context.Context) error { return g.store.Serves(ctx) }, retryAfter
	return checks, nil
}

// isValidating reports whether this process is `caddy validate`, or `caddy adapt
// --validate`: it provisions a configuration, and runs none. Caddy doesn't tell
// modules.
func isValidating() bool {
	args := os.Args[min(1, len(os.Args)):]
	first := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	if first < 0 {
		return false
	}
	isOn := func(arg string) bool { return arg == "--validate" || arg == "--validate=true" }
	return args[first] == "validate" || args[first] == "adapt" && slices.ContainsFunc(args, isOn)
}

// noteSkipped logs which checks a validation has skipped because it can't reach the
// database.
func (g builder) noteSkipped(ctx context.Context, store *userstore.MySQL) {
	if _, err := store.Schema(ctx); errors.Is(err, userstore.ErrUnavailable) {
		g.logger.Warn("validated without the database, which can't be reached: "+
			"not checked are the connection, the table, its columns, the packer, and the rights; `caddy sesame check` does that",
			zap.Error(err))
	}
}

// factorSettings are the settings of the libraries with second factors.
func (g builder) factorSettings() authn.FactorSettings {
	cfg := g.config.Password
	if cfg == nil {
		cfg = new(authn.PasswordConfig)
	}
	settings, _ := cfg.FactorSettings() // the configuration is valid
	return settings
}
