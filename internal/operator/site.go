package operator

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"golang.org/x/net/idna"

	"github.com/caddy-sesame/caddy-sesame/internal/origin"
)

// site has the hosts that links may lead to: those of a handler, and of handlers
// that accept the same tokens.
type site struct {
	chosen *configured
	all    []*configured
	isAny  bool // whatever the configuration serves
}

// parseLink checks the URL that a link is to have; empty means no link. A link to
// another site would give users' credentials to a stranger.
func (s site) parseLink(rawURL string) (*url.URL, error) {
	if rawURL == "" {
		return nil, nil
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil || u.Opaque != "":
		return nil, errors.New("that is not a URL to which a token can be added: write https://app.example.com/page")
	case !s.chosen.Issues.FromQuery:
		return nil, errors.New("token_from doesn't name query, so that the handler takes no token out of a link: make a token alone")
	case s.isAny:
		return u, nil
	}
	return u, s.check(u)
}

// check rejects URLs that no site serves which accepts the token.
func (s site) check(u *url.URL) error {
	const override = "if it is right, say so with --any-url (in the admin API any_url)"
	switch {
	case u.Scheme == "" || !origin.IsHost(asciiHost(u.Host)):
		return fmt.Errorf("the URL has no scheme or no host that browsers know, so that a mail program makes no link of it: write https://%s/page; %s", s.exampleHost(), override)
	case u.User != nil:
		return fmt.Errorf("the URL has a user name in front of the host, which browsers hide: leave it out; %s", override)
	}
	same := slices.DeleteFunc(slices.Clone(s.all), func(c *configured) bool { return !issueAlikeForScope(c, s.chosen) })
	serving := slices.DeleteFunc(slices.Clone(same), func(c *configured) bool { return !c.mayServe(u) })
	if len(serving) == 0 {
		if others := slices.DeleteFunc(slices.Clone(s.all), func(c *configured) bool { return !c.serves(u) }); len(others) > 0 {
			return fmt.Errorf("%s is served by another sesame handler, which doesn't accept these tokens: choose it with --route %d; %s", u.Hostname(), others[0].number, override)
		}
		return fmt.Errorf("no site with sesame serves %s, which would be sent the credentials of users: the hosts are %s; %s", u.Hostname(), hostsOf(same), override)
	}
	isPlain := slices.ContainsFunc(serving, func(c *configured) bool { return c.isPlain })
	switch {
	case u.Scheme == "https", u.Scheme == "http" && isPlain:
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("the URL begins with http:, so that the token would be sent without encryption: write https:; %s", override)
	}
	return fmt.Errorf("the URL begins with %s:, which no browser opens at a site: write https:; %s", u.Scheme, override)
}

// exampleHost is a host for links.
func (s site) exampleHost() string {
	if len(s.chosen.hosts) > 0 {
		return s.chosen.hosts[0]
	}
	return "app.example.com"
}

func hostsOf(handlers []*configured) string {
	var hosts []string
	for _, c := range handlers {
		hosts = append(hosts, c.hosts...)
	}
	slices.Sort(hosts)
	return strings.Join(slices.Compact(hosts), ", ")
}

// isServed reports whether some handler is for requests to a URL.
func isServed(handlers []*configured, u *url.URL) bool {
	return slices.ContainsFunc(handlers, func(c *configured) bool { return c.mayServe(u) })
}

// mayServe reports whether the handler may serve requests to a URL. A site without
// a host serves all.
func (c *configured) mayServe(u *url.URL) bool { return len(c.hosts) == 0 || c.serves(u) }

// serves reports whether the handler is for requests to a URL, as far as its
// host tells.
func (c *configured) serves(u *url.URL) bool {
	host := asciiHost(u.Hostname())
	return slices.ContainsFunc(c.hosts, func(pattern string) bool {
		return certmagic.MatchWildcard(host, asciiHost(caddy.NewReplacer().ReplaceKnown(pattern, "")))
	})
}

// asciiHost is a host as requests name it.
func asciiHost(host string) string {
	ascii, err := idna.ToASCII(host)
	if err != nil {
		ascii = ""
	}
	return strings.TrimSuffix(strings.ToLower(cmp.Or(ascii, host)), ".")
}
