package sesame

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("sesame", parseCaddyfile)
	// After the URL has been rewritten, so that no rewrite leads around the
	// gateway, and before anything answers.
	httpcaddyfile.RegisterDirectiveOrder("sesame", httpcaddyfile.Before, "basic_auth")
}

// parseCaddyfile sets up the handler from Caddyfile tokens. See UnmarshalCaddyfile.
func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	sesame [<matcher>] {
//	    secret_key <key>
//	    secret_key_fallbacks <key>...
//	    token_name <name>
//	    token_from query|bearer|header <name>...
//	    max_age <duration>|<seconds>
//	    one_time [on|off]
//	    invalidate_on_password_change [on|off]
//	    invalidate_on_email_change [on|off]
//	    packer <dotted.path>
//	    packer_encoding <packer>|hex:<digits>
//	    primary_key_field <field>
//	    tokens v2|v1...
//	    key <key>
//	    signature_size <bytes>
//	    salt <salt>
//	    digest md5|sha1|sha256|sha512
//	    iterations <n>
//	    use_tz [on|off]
//	    time_zone <name>
//	    scope <template>
//	    optional [on|off]
//	    preflight pass|refuse
//	    require group|permission|user <name>...
//	    require staff|superuser
//	    realm <text>
//	    identity {
//	        <header> <value>
//	    }
//	    assertion {
//	        audience <name>...
//	        header <name>
//	        issuer <name>
//	        ttl <duration>
//	        claim <name> <value>
//	        keys <key>...
//	    }
//	    cache <duration> {
//	        max_users <n>
//	        max_size <size>
//	    }
//	    session {
//	        name <name>
//	        max_age <duration>
//	        idle <duration>
//	        domain <domain>
//	        path <path>
//	        same_site lax|strict|none
//	        secure auto|on|off
//	        update_last_login [on|off]
//	        redirect on|off|safari_off
//	    }
//	    confirm always|one_time|off
//	    reserved_path <path>|off
//	    watch <duration>|off
//	    limit_failures <n> per <duration>|off
//	    pages {
//	        help_url <url>
//	        expired_hint [on|off]
//	        language <code>
//	        text <name> <text>
//	        color accent|background|text <light> [<dark>]
//	        template <file>
//	    }
//	    userstore mysql {
//	        dsn <dsn>
//	        dsn_file <path>
//	        replica <dsn>...
//	        replica_file <path>...
//	        tls_ca|tls_cert|tls_key <path>
//	        tls_server_name <name>
//	        table <table>
//	        primary_key|password|last_login|is_active|email|username <column>|-
//	        is_staff|is_superuser [<column>|-]
//	        columns <column>...
//	        groups [<table> [<user column> <group column> [<table of groups> <key column> <name column>]]]
//	        permissions [<table> [<user column>]]
//	        relation_key <column>
//	        revocations <table>
//	        query_timeout <duration>
//	        max_open_conns <n>
//	        max_idle_conns <n>
//	        conn_max_lifetime <duration>
//	        conn_max_idle_time <duration>
//	        start_without [on|off]
//	    }
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive
	lines := optionLines{file: d.File(), directive: d.Line(), options: make(map[string]int)}
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if option == "require" {
			if err := h.unmarshalRequire(d, lines); err != nil {
				return err
			}
			continue
		}
		if err := lines.add(d, option); err != nil {
			return err
		}
		if err := h.unmarshalOption(d, option, lines); err != nil {
			return err
		}
	}
	return lines.locate(h.checkCaddyfile())
}

// unmarshalOption reads an option of the directive.
func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, option string, lines optionLines) (err error) {
	switch option {
	case "secret_key":
		h.SecretKey, err = secretArg(d)
	case "secret_key_fallbacks":
		h.SecretKeyFallbacks, err = secretArgs(d)
	case "token_name":
		h.TokenName, err = oneArg(d)
	case "token_from":
		h.TokenFrom, err = tokenSourceArgs(d)
	case "max_age":
		h.MaxAge, err = maxAgeArg(d)
	case "one_time":
		h.OneTime, err = switchArg(d)
	case "invalidate_on_password_change":
		h.InvalidateOnPasswordChange, err = switchPointerArg(d)
	case "invalidate_on_email_change":
		h.InvalidateOnEmailChange, err = switchArg(d)
	case "packer":
		h.Packer, err = oneArg(d)
	case "packer_encoding":
		h.PackerEncoding, err = oneArg(d)
	case "primary_key_field":
		h.PrimaryKeyField, err = oneArg(d)
	case "tokens":
		h.Tokens, err = manyArgs(d)
	case "key":
		h.Key, err = secretArg(d)
	case "signature_size":
		h.SignatureSize, err = positiveArg(d)
	case "salt":
		// An empty one would be the default here, and another one in Django.
		h.Salt, err = secretArg(d)
	case "digest":
		h.Digest, err = oneArg(d)
	case "iterations":
		h.Iterations, err = positiveArg(d)
	case "use_tz":
		h.UseTZ, err = switchPointerArg(d)
	case "time_zone":
		h.TimeZone, err = oneArg(d)
	case "scope":
		h.Scope, err = oneArg(d)
	case "optional":
		h.Optional, err = switchArg(d)
	case "preflight":
		h.Preflight, err = oneArg(d)
	case "realm":
		h.Realm, err = oneArg(d)
	case "identity":
		h.Identity, err = identity.UnmarshalHeaders(d)
	case "assertion":
		h.Assertion, err = assertionBlock(d, lines)
	case "cache":
		h.Cache, err = cacheBlock(d, lines)
	case "session":
		h.Session, err = sessionBlock(d, lines)
	case "confirm":
		h.Confirm, err = oneArg(d)
	case "reserved_path":
		h.ReservedPath, err = oneArg(d)
	case "watch":
		h.Watch, err = watchArg(d)
	case "limit_failures":
		h.LimitFailures, err = limit.ParseArgs(d)
	case "pages":
		h.Pages, err = pagesBlock(d, lines)
	case "userstore":
		err = unmarshalUserStore(d, &h.UserStore, lines)
	default:
		err = d.Errf("unrecognized option %q", option)
	}
	return err
}

// unmarshalRequire reads a requirement, of which there may be several.
func (h *Handler) unmarshalRequire(d *caddyfile.Dispenser, lines optionLines) error {
	line := d.Line()
	r, err := require.Unmarshal(d)
	if err != nil {
		return err
	}
	h.Require = append(h.Require, r)
	lines.options["require "+r.String()] = line
	return nil
}

// unmarshalUserStore reads the userstore option with its block.
func unmarshalUserStore(d *caddyfile.Dispenser, cfg *userstore.Config, lines optionLines) error {
	kind, err := oneArg(d)
	if err != nil {
		return err
	}
	if kind != "mysql" {
		return d.Errf("userstore %q: the only kind of store is mysql", kind)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := lines.add(d, "userstore: "+option); err != nil {
			return err
		}
		if err := unmarshalStoreOption(d, cfg, option); err != nil {
			return err
		}
	}
	return nil
}

// unmarshalStoreOption reads an option of a userstore block.
func unmarshalStoreOption(d *caddyfile.Dispenser, cfg *userstore.Config, option string) (err error) {
	switch option {
	case "dsn":
		cfg.DSN, err = secretArg(d)
	case "dsn_file":
		cfg.DSNFile, err = oneArg(d)
	case "replica":
		cfg.Replicas, err = secretArgs(d)
	case "replica_file":
		cfg.ReplicaFiles, err = manyArgs(d)
	case "tls_ca":
		cfg.TLSCA, err = oneArg(d)
	case "tls_cert":
		cfg.TLSCert, err = oneArg(d)
	case "tls_key":
		cfg.TLSKey, err = oneArg(d)
	case "tls_server_name":
		cfg.TLSServerName, err = oneArg(d)
	case "table":
		cfg.Table, err = oneArg(d)
	case "primary_key":
		cfg.Columns.PrimaryKey, err = oneArg(d)
	case "password":
		cfg.Columns.Password, err = oneArg(d)
	case "last_login":
		cfg.Columns.LastLogin, err = oneArg(d)
	case "is_active":
		cfg.Columns.IsActive, err = oneArg(d)
	case "email":
		cfg.Columns.Email, err = oneArg(d)
	case "username":
		cfg.Columns.Username, err = oneArg(d)
	case "is_staff":
		cfg.Columns.IsStaff, err = columnArg(d)
	case "is_superuser":
		cfg.Columns.IsSuperuser, err = columnArg(d)
	case "relation_key":
		cfg.Columns.RelationKey, err = oneArg(d)
	case "groups":
		cfg.Groups, err = groupsArgs(d)
	case "permissions":
		cfg.Permissions, err = permissionsArgs(d)
	case "columns":
		cfg.Columns.Extra, err = manyArgs(d)
	case "revocations":
		cfg.Revocations, err = oneArg(d)
	case "query_timeout":
		cfg.QueryTimeout, err = durationArg(d)
	case "max_open_conns":
		cfg.MaxOpenConns, err = positiveArg(d)
	case "max_idle_conns":
		cfg.MaxIdleConns, err = positiveArg(d)
	case "conn_max_lifetime":
		cfg.ConnMaxLifetime, err = durationArg(d)
	case "conn_max_idle_time":
		cfg.ConnMaxIdleTime, err = durationArg(d)
	case "start_without":
		cfg.StartWithout, err = switchArg(d)
	default:
		err = d.Errf("unrecognized option %q of userstore", option)
	}
	return err
}

// checkCaddyfile finds what can't be right while the line is still known. The
// same is checked again when the handler is provisioned, with secrets resolved
// and for JSON.
func (h *Handler) checkCaddyfile() error {
	switch {
	case h.SecretKey == "":
		return errors.New("secret_key is missing: set it to Django's SECRET_KEY, as {env.DJANGO_SECRET_KEY}")
	case h.UserStore.DSN == "" && h.UserStore.DSNFile == "":
		return errors.New("userstore is missing, or has no dsn: it says where the users are")
	}
	checked := Handler{
		TokenName: h.TokenName, TokenFrom: h.TokenFrom, Preflight: h.Preflight, Identity: h.Identity,
		Assertion: h.Assertion, UserStore: h.UserStore, Require: h.Require,
		Session: h.Session, Confirm: h.Confirm, ReservedPath: h.ReservedPath, Pages: h.Pages, LimitFailures: h.LimitFailures,
	}
	if err := checked.provisionRequest(); err != nil {
		return err
	}
	if h.Cache != nil {
		if err := h.Cache.Validate(); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
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
	store.Replicas = slices.Clone(store.Replicas)
	for i, dsn := range store.Replicas {
		store.Replicas[i] = assumedDSN(dsn)
	}
	if err := store.Validate(); err != nil {
		return fmt.Errorf("userstore: %w", err)
	}
	return nil
}

// assumedDSN is a DSN, or one in its place where it is not resolved yet.
func assumedDSN(dsn string) string {
	if strings.Contains(dsn, "{") {
		return "user@tcp(localhost)/database"
	}
	return dsn
}

// optionLines remembers where options are, for errors that are found later.
type optionLines struct {
	file      string
	directive int
	options   map[string]int
}

// add notes an option, which must not be there twice.
func (l optionLines) add(d *caddyfile.Dispenser, option string) error {
	if line, ok := l.options[option]; ok {
		return d.Errf("%s is already set in line %d", option, line)
	}
	l.options[option] = d.Line()
	return nil
}

// locate adds the line of the option that an error begins with, or that of
// the directive.
func (l optionLines) locate(err error) error {
	if err == nil {
		return nil
	}
	line := l.directive
	longest := 0
	for option, at := range l.options {
		if len(option) > longest && strings.HasPrefix(err.Error(), option) {
			longest, line = len(option), at
		}
	}
	return fmt.Errorf("sesame: %w, at %s:%d", err, l.file, line)
}

// oneArg reads the only argument of an option.
func oneArg(d *caddyfile.Dispenser) (string, error) {
	var arg string
	if !d.AllArgs(&arg) {
		return "", d.ArgErr()
	}
	return arg, nil
}

// manyArgs reads the arguments of an option, at least one.
func manyArgs(d *caddyfile.Dispenser) ([]string, error) {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return nil, d.ArgErr()
	}
	return args, nil
}

// secretArg is oneArg with an error that doesn't repeat what was read.
func secretArg(d *caddyfile.Dispenser) (string, error) {
	args, err := secretArgs(d)
	if err != nil {
		return "", err
	}
	if len(args) != 1 {
		return "", d.Err("one value is expected here, not more; quote it if it has spaces")
	}
	return args[0], nil
}

// secretArgs is manyArgs with an error that doesn't repeat what was read.
func secretArgs(d *caddyfile.Dispenser) ([]string, error) {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return nil, d.Errf("%s has no value", option)
	}
	for _, arg := range args {
		if arg == "" {
			return nil, d.Errf("%s has an empty value; is an environment variable missing?", option)
		}
	}
	return args, nil
}

// switchArg reads on or off; nothing is on.
func switchArg(d *caddyfile.Dispenser) (bool, error) {
	option := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return true, nil
	case len(args) > 1:
		return false, d.ArgErr()
	}
	switch args[0] {
	case "on", "true":
		return true, nil
	case "off", "false":
		return false, nil
	}
	return false, d.Errf("%s: it must be on or off, not %q", option, args[0])
}

func switchPointerArg(d *caddyfile.Dispenser) (*bool, error) {
	on, err := switchArg(d)
	return &on, err
}

// positiveArg reads a whole number of at least 1.
func positiveArg(d *caddyfile.Dispenser) (int, error) {
	option := d.Val()
	arg, err := oneArg(d)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 {
		return 0, d.Errf("%s: it must be a whole number of at least 1, not %q", option, arg)
	}
	return n, nil
}

// durationArg reads a duration, which isn't negative or zero.
func durationArg(d *caddyfile.Dispenser) (caddy.Duration, error) {
	option := d.Val()
	arg, err := oneArg(d)
	if err != nil {
		return 0, err
	}
	duration, err := caddy.ParseDuration(arg)
	if err != nil || duration <= 0 {
		return 0, d.Errf("%s: it must be a duration such as 2s or 5m, not %q", option, arg)
	}
	return caddy.Duration(duration), nil
}

// maxAgeArg reads a duration as Caddy writes it, or a number of seconds as
// Django does.
func maxAgeArg(d *caddyfile.Dispenser) (*caddy.Duration, error) {
	arg, err := oneArg(d)
	if err != nil {
		return nil, err
	}
	duration, err := caddy.ParseDuration(arg)
	if seconds, floatErr := strconv.ParseFloat(arg, 64); floatErr == nil {
		duration, err = time.Duration(seconds*float64(time.Second)), nil
		if seconds > maxAgeLimit.Seconds() {
			return nil, d.Errf("max_age: %q is too long", arg)
		}
	}
	if err != nil || duration <= 0 {
		return nil, d.Errf("max_age: it must be a duration such as 10m or 1d, or a number of seconds, not %q", arg)
	}
	return (*caddy.Duration)(&duration), nil
}

// maxAgeLimit is more than any timestamp of a v2 token can be old.
const maxAgeLimit = 200 * 365 * 24 * time.Hour

// tokenSourceArgs reads sources in their order.
func tokenSourceArgs(d *caddyfile.Dispenser) ([]TokenSource, error) {
	args, err := manyArgs(d)
	if err != nil {
		return nil, err
	}
	var sources []TokenSource
	for i := 0; i < len(args); i++ {
		source := TokenSource{From: args[i]}
		if source.From == claim.FromHeader {
			if i++; i == len(args) {
				return nil, d.Err("token_from header: the name of the header field is missing")
			}
			source.Name = args[i]
		}
		if err := source.Validate(); err != nil {
			return nil, d.WrapErr(err)
		}
		sources = append(sources, source)
	}
	return sources, nil
}

// sessionBlock reads the session option with its block, which may be missing.
func sessionBlock(d *caddyfile.Dispenser, lines optionLines) (*SessionConfig, error) {
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg := new(SessionConfig)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := lines.add(d, "session: "+option); err != nil {
			return nil, err
		}
		var err error
		switch option {
		case "name":
			cfg.Name, err = oneArg(d)
		case "max_age":
			cfg.MaxAge, err = durationArg(d)
		case "idle":
			cfg.Idle, err = durationArg(d)
		case "domain":
			cfg.Domain, err = oneArg(d)
		case "path":
			cfg.Path, err = oneArg(d)
		case "same_site":
			cfg.SameSite, err = oneArg(d)
		case "secure":
			cfg.Secure, err = oneArg(d)
		case "update_last_login":
			cfg.UpdateLastLogin, err = switchPointerArg(d)
		case "redirect":
			cfg.Redirect, err = oneArg(d)
		default:
			err = d.Errf("unrecognized option %q of session", option)
		}
		if err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// assertionBlock reads the assertion option with its block.
func assertionBlock(d *caddyfile.Dispenser, lines optionLines) (*identity.AssertionConfig, error) {
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg := new(identity.AssertionConfig)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		var err error
		switch option {
		case "audience":
			cfg.Audience, err = manyArgs(d)
		case "header":
			cfg.Header, err = oneArg(d)
		case "issuer":
			cfg.Issuer, err = oneArg(d)
		case "ttl":
			cfg.TTL, err = durationArg(d)
		case "claim":
			var claim identity.AssertionClaim
			if !d.AllArgs(&claim.Name, &claim.Value) {
				return nil, d.ArgErr()
			}
			option += " " + claim.Name
			cfg.Claims = append(cfg.Claims, claim)
		case "keys":
			cfg.Keys, err = secretArgs(d)
		default:
			err = d.Errf("unrecognized option %q of assertion", option)
		}
		if err == nil {
			err = lines.add(d, "assertion: "+option)
		}
		if err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// cacheBlock reads the cache option, whose block may be missing.
func cacheBlock(d *caddyfile.Dispenser, lines optionLines) (*userstore.CacheConfig, error) {
	cfg := new(userstore.CacheConfig)
	var err error
	if cfg.For, err = durationArg(d); err != nil {
		return nil, err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := lines.add(d, "cache: "+option); err != nil {
			return nil, err
		}
		switch option {
		case "max_users":
			cfg.MaxUsers, err = positiveArg(d)
		case "max_size":
			cfg.MaxSize, err = sizeArg(d)
		default:
			err = d.Errf("unrecognized option %q of cache", option)
		}
		if err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// sizeArg reads a size in bytes, written as Caddy's other sizes are: 64MiB.
func sizeArg(d *caddyfile.Dispenser) (int64, error) {
	option := d.Val()
	arg, err := oneArg(d)
	if err != nil {
		return 0, err
	}
	size, err := humanize.ParseBytes(arg)
	if err != nil || size == 0 || size > math.MaxInt64 {
		return 0, d.Errf("%s %q: it must be a size such as 64MiB", option, arg)
	}
	return int64(size), nil
}

// pagesBlock reads the pages option with its block.
func pagesBlock(d *caddyfile.Dispenser, lines optionLines) (*page.Config, error) {
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	cfg := &page.Config{Texts: make(map[string]string), Colors: make(map[string][]string)}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		var err error
		switch option {
		case "help_url":
			cfg.HelpURL, err = oneArg(d)
		case "expired_hint":
			cfg.ExpiredHint, err = switchArg(d)
		case "language":
			cfg.Language, err = oneArg(d)
		case "template":
			cfg.Template, err = oneArg(d)
		case "text":
			var name, text string
			if !d.AllArgs(&name, &text) {
				return nil, d.ArgErr()
			}
			option += " " + name
			cfg.Texts[name] = text
		case "color":
			args := d.RemainingArgs()
			if len(args) < 2 {
				return nil, d.ArgErr()
			}
			option += " " + args[0]
			cfg.Colors[args[0]] = args[1:]
		default:
			err = d.Errf("unrecognized option %q of pages", option)
		}
		if err == nil {
			err = lines.add(d, "pages: "+option)
		}
		if err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// watchArg reads a duration or off.
func watchArg(d *caddyfile.Dispenser) (*caddy.Duration, error) {
	never := caddy.Duration(0)
	if args := d.CountRemainingArgs(); args == 1 {
		if d.NextArg(); d.Val() == "off" {
			return &never, nil
		}
		d.Prev()
	}
	interval, err := durationArg(d)
	return &interval, err
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
