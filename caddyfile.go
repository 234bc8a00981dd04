package sesame

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("sesame", parseCaddyfile)
	// The directive runs after rewrites of the URL, so that none bypasses it, and
	// before handlers that answer.
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
//	    token_from query|bearer|basic|header <name>...
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
//	    auth_service forward_auth|auth_request
//	    realm <text>
//	    identity {
//	        <header> <value> {
//	            encoding percent|base64|rfc2047
//	            separator , or ; or | or fields
//	            map <group> <name>
//	            unmapped keep|drop
//	            max_size <size>
//	        }
//	    }
//	    pass_header <header>...
//	    assertion {
//	        audience <name>...
//	        header <name>
//	        issuer <name>
//	        ttl <duration>
//	        claim <name> <value> {
//	            map <group> <name>
//	            unmapped keep|drop
//	        }
//	        max_size <size>
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
//	        partitioned on|off
//	        check_origin on|off
//	        table <table>
//	        secure auto|on|off
//	        update_last_login [on|off]
//	        redirect on|off|safari_off
//	        end_cookies <name>[:<path>]...
//	        clear_site_data storage|cache...
//	    }
//	    password {
//	        basic [on|off]
//	        identifier username|email...
//	        hashers <name>...
//	        django_version <version>
//	        upgrade_hash [on|off]
//	        max_concurrent <n>
//	        second_factor ask|reject|ignore
//	        second_factor_tables <table>...
//	        otp_totp_sync [on|off]
//	        otp_totp_throttle_factor <seconds>
//	        otp_static_throttle_factor <seconds>
//	        mfa_totp_period <seconds>
//	        mfa_totp_digits <n>
//	        mfa_totp_tolerance <n>
//	        mfa_recovery_code_count <n>
//	        mfa_recovery_code_digits <n>
//	    }
//	    django_session {
//	        engine db|cached_db|signed_cookies
//	        cookie_name <name>
//	        cookie_domain <domain>
//	        cookie_path <path>
//	        cookie_age <duration>|<seconds>
//	        cookie_secure auto|on|off
//	        cookie_samesite lax|strict|none
//	        expire_at_browser_close [on|off]
//	        table <table>
//	        key_salt <text>
//	        backends <dotted.path>...
//	        touch <duration>|off
//	        write [on|off]
//	        login_url <url>
//	        pass_cookie [on|off]
//	    }
//	    api_token drf|knox|simplejwt {
//	        table <table>
//	        keyword <word>
//	        prefix <word>
//	        generation 4|5
//	        auto_refresh [on|off]
//	        token_ttl|min_refresh_interval|max_ttl <duration>
//	        algorithm <name>
//	        signing_key <key>
//	        verifying_key <key>
//	        audience <name>...
//	        issuer <name>...
//	        leeway <duration>
//	        header_types <word>...
//	        user_id_field <column>
//	        user_id_claim <claim>
//	        token_types <type>...
//	        token_type_claim|jti_claim <claim>|-
//	        check_revoke_token [on|off]
//	        revoke_token_claim <claim>
//	        check_user_is_active [on|off]
//	        blacklist [<outstanding table> <blacklisted table>]
//	    }
//	    login {
//	        password [on|off]
//	        email_link {
//	            smtp <url>
//	            from <address>
//	            base_url <url>
//	            max_age <duration>
//	            second_factor ask|reject|ignore
//	            limit_address|limit_client|limit_total <n> per <duration>
//	            smtp_tls required|off
//	            smtp_ca <path>
//	            smtp_helo <name>
//	        }
//	        remember <duration>
//	        redirect [on|off]
//	    }
//	    confirm strict|always|one_time|off
//	    reserved_path <path>|off
//	    health_path|ready_path <path>|off
//	    watch <duration>|off
//	    limit_failures <n> per <duration>|off
//	    pages {
//	        name <name>
//	        logo|favicon <file>
//	        help_url <url>
//	        expired_hint [on|off]
//	        language <code>
//	        languages auto|<code>...
//	        text [<language>] <name> <text>
//	        color accent|background|text <light> [<dark>]
//	        template <file>
//	    }
//	    undecided <text>
//	    userstore mysql {
//	        dsn <dsn>...
//	        dsn_file <path>...
//	        follow {
//	            dsn <dsn>
//	            dsn_file <path>
//	            lease <duration>
//	            max_users <n>
//	            max_size <size>
//	            strict [on|off]
//	        }
//	        read_after_write [on|off]
//	        replica <dsn>...
//	        replica_file <path>...
//	        tls_ca|tls_cert|tls_key <path>
//	        tls_server_name <name>
//	        table <table>
//	        primary_key|password|last_login|is_active|email|username <column>|-
//	        is_staff|is_superuser [<column>|-]
//	        columns <column>...
//	        groups [<table> [<user column> [<group column> [<table of groups> <key column> <name column>]]]]
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
	lines, err := directive.Read(d, h.options())
	if err != nil {
		return err
	}
	h.Source = lines.Directive()
	addForLogin(h)
	if err := h.Validate(); err != nil {
		file, line := lines.Of(err)
		return fmt.Errorf("sesame: %w, at %s:%d", err, file, line)
	}
	return nil
}

// addForLogin adds the blocks that a login page needs, with their defaults.
func addForLogin(h *Handler) {
	if h.Login == nil {
		return
	}
	if h.Session == nil && !writesDjango(h) {
		h.Session = new(SessionConfig)
	}
	if h.Password == nil && h.Login.Password {
		h.Password = new(authn.PasswordConfig)
	}
}

// options are the options of the directive.
func (h *Handler) options() directive.Options {
	return directive.Options{
		"secret_key":                    directive.Text(&h.SecretKey, "a key, as {env.DJANGO_SECRET_KEY}").Secret(),
		"secret_key_fallbacks":          directive.Texts(&h.SecretKeyFallbacks, "one key or more, as {env.DJANGO_SECRET_KEY_OLD}").Secret(),
		"token_name":                    directive.Text(&h.TokenName, "the name of a query parameter"),
		"token_from":                    tokenFromOption(&h.TokenFrom),
		"max_age":                       maxAgeOption(&h.MaxAge),
		"one_time":                      directive.Switch(&h.OneTime),
		"invalidate_on_password_change": directive.SwitchPointer(&h.InvalidateOnPasswordChange),
		"invalidate_on_email_change":    directive.Switch(&h.InvalidateOnEmailChange),
		"packer":                        directive.Text(&h.Packer, "the dotted path of a packer"),
		"packer_encoding":               directive.Text(&h.PackerEncoding, "a packer of django-sesame's, or hex:<digits>"),
		"primary_key_field":             directive.Text(&h.PrimaryKeyField, "the name of a field"),
		"tokens":                        directive.Texts(&h.Tokens, "v2, v1 or both"),
		"key":                           directive.Text(&h.Key, "a key, as {env.SESAME_KEY}").Secret(),
		"signature_size":                directive.Positive(&h.SignatureSize),
		// An empty salt would mean the default here, but no salt in Django.
		"salt":           directive.Text(&h.Salt, "a text").Secret(),
		"digest":         directive.Text(&h.Digest, "md5, sha1, sha256 or sha512"),
		"iterations":     directive.Positive(&h.Iterations),
		"use_tz":         directive.SwitchPointer(&h.UseTZ),
		"time_zone":      directive.Text(&h.TimeZone, "a name such as Europe/Paris"),
		"scope":          directive.Text(&h.Scope, "a text, which may have placeholders"),
		"optional":       directive.Switch(&h.Optional),
		"preflight":      directive.Text(&h.Preflight, "pass or refuse"),
		"require":        requireOption(&h.Require),
		"auth_service":   directive.Text(&h.AuthService, "forward_auth or auth_request"),
		"realm":          directive.Text(&h.Realm, "a text"),
		"identity":       identity.Option(&h.Identity),
		"pass_header":    directive.Texts(&h.PassHeader, "the name of a header field, or several"),
		"assertion":      identity.AssertionOption(&h.Assertion),
		"cache":          userstore.CacheOption(&h.Cache),
		"session":        sessionOption(&h.Session),
		"password":       authn.PasswordOption(&h.Password),
		"django_session": authn.DjangoSessionOption(&h.DjangoSession),
		"api_token":      authn.APITokenOption(&h.APIToken),
		"login":          login.Option(&h.Login),
		"confirm":        directive.Text(&h.Confirm, "strict, always, one_time or off"),
		"reserved_path":  directive.Text(&h.ReservedPath, "a path such as /_sesame/, or off"),
		"health_path":    directive.Text(&h.HealthPath, "a path such as /healthz, or off"),
		"ready_path":     directive.Text(&h.ReadyPath, "a path such as /readyz, or off"),
		"watch":          watchOption(&h.Watch),
		"limit_failures": limitOption(&h.LimitFailures),
		"pages":          page.Option(&h.Pages),
		"userstore":      userstore.Option(&h.UserStore),
		"undecided":      directive.Values(1, 1, "a text", readUndecided).Repeated(),
	}
}

// readUndecided keeps a configuration from loading until its operator has made the
// decision in the text and removed the line. import-django writes such lines for
// restrictions of Django's that the gateway might not apply.
func readUndecided(args []string) error {
	return fmt.Errorf("%s. Decide, then remove this line", strings.TrimSuffix(args[0], "."))
}

// maxAgeLimit is more than the age of any timestamp of a v2 token.
const maxAgeLimit = 200 * 365 * 24 * time.Hour

// maxAgeOption reads a duration as Caddy writes it, or a number of seconds as Django
// does.
func maxAgeOption(to **caddy.Duration) directive.Option {
	return directive.Values(1, 1, "a duration such as 10m or 1d, or a number of seconds", func(args []string) error {
		duration, err := caddy.ParseDuration(args[0])
		if seconds, floatErr := strconv.ParseFloat(args[0], 64); floatErr == nil {
			duration, err = time.Duration(seconds*float64(time.Second)), nil
			if seconds > maxAgeLimit.Seconds() {
				return fmt.Errorf("%q is too long: a number is seconds; write a duration such as 10m or 1d", args[0])
			}
		}
		if err != nil || duration <= 0 {
			return fmt.Errorf("it must be a duration such as 10m or 1d, or a number of seconds, not %q%s", args[0], directive.DurationHint(args[0]))
		}
		*to = (*caddy.Duration)(&duration)
		return nil
	})
}

// tokenFromOption reads the sources of tokens in the order in which they are tried.
func tokenFromOption(to *[]TokenSource) directive.Option {
	return directive.Any(1, "query, bearer, basic, or header and a name", func(args []string) error {
		for i := 0; i < len(args); i++ {
			source := TokenSource{From: args[i]}
			if source.From == claim.FromHeader {
				if i++; i == len(args) {
					return errors.New("token_from header: the name of the header field is missing")
				}
				source.Name = args[i]
			}
			if err := source.Validate(); err != nil {
				return err
			}
			*to = append(*to, source)
		}
		return nil
	})
}

// watchOption reads a duration, or off.
func watchOption(to **caddy.Duration) directive.Option {
	return directive.Values(1, 1, "a duration such as 30s, or off", func(args []string) error {
		*to = new(caddy.Duration)
		if args[0] == "off" {
			return nil
		}
		duration, err := caddy.ParseDuration(args[0])
		if err != nil || duration <= 0 {
			hint := directive.DurationHint(args[0])
			if slices.Contains([]string{"0", "no", "none", "never", "false"}, args[0]) {
				hint = "; write off"
			}
			return fmt.Errorf("it must be a duration such as 30s, or off, not %q%s", args[0], hint)
		}
		**to = caddy.Duration(duration)
		return nil
	})
}

// requireOption reads a requirement. A directive may have several.
func requireOption(to *require.Requirements) directive.Option {
	return directive.Any(1, "group, permission or user with names, or staff, or superuser", func(args []string) error {
		r, err := require.Parse(args)
		if err != nil {
			return err
		}
		*to = append(*to, r)
		return nil
	}).Repeated()
}

// limitOption reads a number of failures per duration, or off.
func limitOption(to **limit.Config) directive.Option {
	return directive.Any(0, "a number per time, such as 20 per 1m, or off", func(args []string) (err error) {
		*to, err = limit.ParseArgs(args)
		return err
	})
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
