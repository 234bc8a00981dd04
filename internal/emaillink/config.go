// Package emaillink sends users links by which they log in. Requests for links are
// answered before anything is looked up, so that neither the answer nor its time
// tells whether an address belongs to a user: they wait in a bounded queue, from
// which users are looked up, and mails are sent, in the background.
//
// A link has a token of django-sesame's format with settings of its own, and is used
// up as a one-time token is, by the user's last login. The mail also has a code, to
// be typed in the browser that asked for the link.
package emaillink

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/idna"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/secret"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Config lets users have a link sent to the e-mail address that the table of users
// has for them.
type Config struct {
	// How the mails are sent.
	Mail mail.Config `json:"mail,omitzero"`

	// The address of the site that links lead to, such as
	// `https://app.example.com`. It isn't taken from requests, since the sender of
	// a request chooses the host in it. Required.
	BaseURL string `json:"base_url,omitempty"`

	// How long a link and its code are valid. 1h at most. Default: 10m.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// What to do with the link of a user who has a second factor in Django: `ask`, which
	// asks for the code after the link; `reject`; or `ignore`, for which the mailbox is
	// proof enough. Default: that of `password`, else `ask`.
	SecondFactor string `json:"second_factor,omitempty"`

	// How many links can be asked for with one address. More are answered alike,
	// and not sent. Default: 3 per 15m.
	LimitAddress *Limit `json:"limit_address,omitempty"`

	// How many links a client can ask for. A client is an address of IPv4, or a
	// network /64 of IPv6. It is answered 429 after that. Default: 10 per 1h.
	LimitClient *Limit `json:"limit_client,omitempty"`

	// How many links can be asked for in total. More are answered alike, and not
	// sent. Default: 100 per 1m.
	LimitTotal *Limit `json:"limit_total,omitempty"`
}

// A Limit is a number of links that can be asked for at once, and the time in which
// as many can be asked for again, one after the other.
type Limit struct {
	Links int            `json:"links,omitempty"`
	Per   caddy.Duration `json:"per,omitempty"`
}

// The defaults of Config.
const defaultMaxAge = 10 * time.Minute

var (
	defaultLimitAddress = Limit{3, caddy.Duration(15 * time.Minute)}
	defaultLimitClient  = Limit{10, caddy.Duration(time.Hour)}
	defaultLimitTotal   = Limit{100, caddy.Duration(time.Minute)}
)

// longestMaxAge is how long the browser that asks for a link is remembered.
const longestMaxAge = time.Hour

// Option is the option email_link with its block.
func Option(to **Config) directive.Option {
	cfg := new(Config)
	options := mail.Options(&cfg.Mail)
	options["base_url"] = directive.Text(&cfg.BaseURL, "the address of the site").Example("base_url https://app.example.com")
	options["max_age"] = directive.Duration(&cfg.MaxAge)
	options["second_factor"] = directive.Text(&cfg.SecondFactor, "ask, reject or ignore")
	options["limit_address"] = limitOption("limit_address", &cfg.LimitAddress)
	options["limit_client"] = limitOption("limit_client", &cfg.LimitClient)
	options["limit_total"] = limitOption("limit_total", &cfg.LimitTotal)
	return directive.Block(func() { *to = cfg }, options).HoldingSecrets().Example("base_url https://app.example.com")
}

// limitOption reads a number of links per duration.
func limitOption(name string, to **Limit) directive.Option {
	const form = "a number per time, such as 3 per 15m"
	return directive.Values(3, 3, form, func(args []string) error {
		links, err := strconv.Atoi(args[0])
		per, perErr := caddy.ParseDuration(args[2])
		if err != nil || perErr != nil || args[1] != "per" {
			return fmt.Errorf("%s must be %s, not %q", name, form, strings.Join(args, " "))
		}
		*to = &Limit{links, caddy.Duration(per)}
		return nil
	})
}

// Validate returns the first error that can be found without secrets, and without
// the network.
func (c *Config) Validate() error {
	if err := c.Mail.Validate(); err != nil {
		return err
	}
	if !strings.Contains(c.BaseURL, "{") {
		if _, err := parseBaseURL(c.BaseURL); err != nil {
			return err
		}
	}
	if age := time.Duration(c.MaxAge); age < 0 || age > longestMaxAge || age > 0 && age < time.Minute {
		return setting.Errorf("max_age", "max_age %s: it must be a duration from 1m to %s", age, longestMaxAge)
	}
	for _, limit := range []struct {
		name string
		*Limit
	}{{"limit_address", c.LimitAddress}, {"limit_client", c.LimitClient}, {"limit_total", c.LimitTotal}} {
		if err := limit.validate(); err != nil {
			return setting.Errorf(limit.name, "%s: %w", limit.name, err)
		}
	}
	return nil
}

// The bounds of a Limit, which bound the memory that it takes.
const (
	mostLinks  = 1_000_000
	longestPer = 24 * time.Hour
)

// validate checks a limit, which may be nil.
func (l *Limit) validate() error {
	switch {
	case l == nil:
		return nil
	case l.Links < 1 || l.Links > mostLinks:
		return fmt.Errorf("the number of links is %d, and must be from 1 to %d", l.Links, mostLinks)
	case time.Duration(l.Per) < time.Second || time.Duration(l.Per) > longestPer:
		return fmt.Errorf("the time is %s, and must be from 1s to %s", time.Duration(l.Per), longestPer)
	}
	return nil
}

// maxAge is MaxAge, or its default.
func (c *Config) maxAge() time.Duration {
	if c.MaxAge == 0 {
		return defaultMaxAge
	}
	return time.Duration(c.MaxAge)
}

// parseBaseURL returns the address of a site without a slash at its end.
func parseBaseURL(text string) (string, error) {
	const form = "write the address of the site, as https://app.example.com"
	if text == "" {
		return "", setting.Errorf("base_url", "base_url is missing: it is the site that links lead to: "+form)
	}
	base, err := url.Parse(text)
	switch {
	case err != nil || base.Scheme != "https" && base.Scheme != "http" || !hasHost(base):
		return "", setting.Errorf("base_url", "base_url %q: it is no such address: %s", text, form)
	case base.User != nil || base.RawQuery != "" || base.Fragment != "" || base.ForceQuery:
		return "", setting.Errorf("base_url", "base_url %q: it may have a path at most: %s", text, form)
	case base.Scheme == "http" && !isLocal(base.Hostname()):
		return "", setting.Errorf("base_url", "base_url %q: links over http can be read and used by others on the way: write https", text)
	}
	return strings.TrimSuffix(base.String(), "/"), nil
}

// hasHost reports whether a URL has a host that browsers connect to. A name is
// replaced by its form in ASCII, which mail programs make a link of.
func hasHost(at *url.URL) bool {
	if ascii, err := idna.Lookup.ToASCII(at.Hostname()); err == nil && ascii != "" && !strings.HasPrefix(at.Host, "[") {
		at.Host = strings.Replace(at.Host, at.Hostname(), ascii, 1)
	}
	return origin.IsHost(at.Host)
}

// isLocal reports whether a host is this machine.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// resolveBaseURL is parseBaseURL after placeholders are replaced.
func (c *Config) resolveBaseURL() (string, error) {
	text, err := secret.Resolve("base_url", c.BaseURL)
	if err != nil {
		return "", err
	}
	return parseBaseURL(text)
}
