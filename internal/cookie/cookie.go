// Package cookie reads and sets the cookies of the gateway: their names,
// attributes and prefixes.
package cookie

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// DefaultName is the name of the session cookie where Config.Name is not set.
const DefaultName = "sesame"

// hostPrefix in front of a cookie's name makes browsers accept it only over
// HTTPS, for this very host, and for the whole of it (RFC 6265bis, section
// 4.1.3.2): no other site of the domain can plant one.
const hostPrefix = "__Host-"

// Config configures a cookie. Its zero value means the defaults.
type Config struct {
	Name     string // without the prefix; DefaultName if empty
	Domain   string // the host alone if empty
	Path     string // "/" if empty
	SameSite string // lax, strict or none, in any case; lax if empty
	Secure   string // on, off or auto; auto if empty

	// Partitioned gives the cookie a jar of its own for each site at the top of the
	// page (CHIPS). Browsers that block other cookies in frames of other sites take
	// such ones.
	Partitioned bool
}

// Cookie is how a cookie is read from requests and set in responses.
type Cookie struct {
	name     string // without the prefix
	domain   string
	path     string
	sameSite http.SameSite
	secure   string // on, off, auto
	isExact  bool   // no prefix is put in front of the name

	isPartitioned bool
}

// The values of Config.Secure.
const (
	secureAuto = "auto"
	secureOn   = "on"
	secureOff  = "off"
)

// New returns the cookie of a configuration. The error names the option that
// is wrong.
func New(cfg Config) (Cookie, error) {
	c := Cookie{name: cfg.Name, domain: strings.TrimPrefix(strings.ToLower(cfg.Domain), "."), path: cfg.Path, secure: cfg.Secure}
	if c.name == "" {
		c.name = DefaultName
	}
	if strings.HasPrefix(c.name, "__") {
		return c, setting.Errorf("name", "name %s: remove the prefix: the gateway adds it where browsers accept it", c.name)
	}
	if !httpguts.ValidHeaderFieldName(c.name) {
		return c, setting.Errorf("name", "name %q: it is not a valid cookie name", c.name)
	}
	if c.path == "" {
		c.path = "/"
	}
	if c.path[0] != '/' || strings.ContainsAny(c.path, ";\r\n") {
		return c, setting.Errorf("path", "path %q: it must begin with a slash", c.path)
	}
	if strings.ContainsAny(c.path, "*{?# ") {
		return c, setting.Errorf("path", "path %q: a cookie's path is a prefix of paths, without stars, placeholders, spaces and parameters: write it as in /app", c.path)
	}
	if strings.HasPrefix(c.domain, "*.") {
		return c, setting.Errorf("domain", "domain %q: it must be a name without a star: write %s, which its subdomains belong to", cfg.Domain, c.domain[2:])
	}
	if strings.ContainsAny(c.domain, "/:; ") {
		return c, setting.Errorf("domain", "domain %q: it must be a name such as example.com", cfg.Domain)
	}
	switch c.secure {
	case "":
		c.secure = secureAuto
	case secureAuto, secureOn, secureOff:
	default:
		return c, setting.Errorf("secure", "secure %q: it must be auto, on or off", c.secure)
	}
	switch strings.ToLower(cfg.SameSite) {
	case "", "lax":
		c.sameSite = http.SameSiteLaxMode
	case "strict":
		c.sameSite = http.SameSiteStrictMode
	case "none":
		c.sameSite = http.SameSiteNoneMode
		if c.secure == secureOff {
			return c, setting.Errorf("same_site", "same_site none: browsers take such a cookie only with secure on")
		}
	default:
		return c, setting.Errorf("same_site", "same_site %q: it must be lax, strict or none", cfg.SameSite)
	}
	if c.isPartitioned = cfg.Partitioned; c.isPartitioned && c.sameSite != http.SameSiteNoneMode {
		return c, setting.Errorf("partitioned", "partitioned on: it is for frames of other sites, where browsers send cookies with same_site none only: add same_site none, or remove partitioned")
	}
	return c, nil
}

// Name returns the name without the prefix __Host-.
func (c *Cookie) Name() string { return c.name }

// Domain returns the domain, which is empty for the host alone.
func (c *Cookie) Domain() string { return c.domain }

// Take removes the cookie from a request, with the prefix and without, and
// returns the values of the cookie under the name that Set uses. There should
// be one value, but without the prefix another site of the domain may have
// planted more. The other cookies stay byte for byte.
func (c *Cookie) Take(r *http.Request) (values []string) {
	lines := r.Header["Cookie"]
	isNamed := func(line string) bool { return strings.Contains(line, c.name) }
	if !slices.ContainsFunc(lines, isNamed) {
		return nil
	}
	var kept []string // mostly, nothing is left
	for _, line := range lines {
		if !isNamed(line) {
			kept = append(kept, line)
			continue
		}
		var rest string
		rest, values = c.cut(line, c.nameFor(r), values)
		if rest != "" {
			kept = append(kept, rest)
		}
	}
	putBack(r, kept)
	return values
}

// putBack leaves the lines of cookies in a request that aren't taken.
func putBack(r *http.Request, kept []string) {
	if len(kept) == 0 {
		delete(r.Header, "Cookie")
	} else {
		r.Header["Cookie"] = kept
	}
}

// cut removes the cookie from a line of cookies, with the prefix and without, and
// appends the values of the cookie with the full name.
func (c *Cookie) cut(line, fullName string, values []string) (string, []string) {
	var kept strings.Builder
	isFirst, isCut := true, false
	for pair := range strings.SplitSeq(line, ";") {
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		name = strings.TrimRight(name, " \t")
		if strings.TrimPrefix(name, hostPrefix) == c.name {
			isCut = true
			if name == fullName {
				values = append(values, strings.Trim(value, " \t\""))
			}
			continue
		}
		if !isFirst {
			kept.WriteByte(';')
		} else {
			kept.Grow(len(line))
			if isCut {
				pair = strings.TrimLeft(pair, " \t")
			}
		}
		kept.WriteString(pair)
		isFirst = false
	}
	return kept.String(), values
}

// Set sets the cookie in a response. An age below one second is raised to one
// second: Max-Age can't express less.
func (c *Cookie) Set(w http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(w, c.make(r, value, max(int(age/time.Second), 1)))
}

// SetUntilClosed sets the cookie in a response, until the browser is closed.
func (c *Cookie) SetUntilClosed(w http.ResponseWriter, r *http.Request, value string) {
	http.SetCookie(w, c.make(r, value, 0))
}

// IsPartitioned reports whether the cookie is in a jar of its own for each site at
// the top of the page.
func (c *Cookie) IsPartitioned() bool { return c.isPartitioned }

// Clear makes the browser forget the cookie, including one from before it was
// partitioned: the browser sends that beside the other. Browsers that don't know
// partitions take both lines for the same cookie.
func (c *Cookie) Clear(w http.ResponseWriter, r *http.Request) {
	cleared := c.make(r, "", -1)
	if c.isPartitioned {
		former := *cleared //nolint:gosec // it has the attributes of the other
		former.Partitioned = false
		http.SetCookie(w, &former)
	}
	http.SetCookie(w, cleared)
}

// ClearAll makes the browser forget every cookie of this name that it may have
// sent with a request, including those that another host of the domain has set
// for the whole domain, or for a path.
func (c *Cookie) ClearAll(w http.ResponseWriter, r *http.Request) {
	c.Clear(w, r)
	name := c.nameFor(r)
	set := expirer{header: w.Header(), isHTTPS: c.isSecure(r), isPartitioned: c.isPartitioned, left: maxExpired}
	set.expire(name, append([]string{"/"}, pathsAbove(r.URL.Path)...), domainsOf(r.Host))
}

func (c *Cookie) make(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure is what the operator and the request say
		Name: c.nameFor(r), Value: value, MaxAge: maxAge,
		Path: c.path, Domain: c.domain,
		HttpOnly: true, SameSite: c.sameSite,
		Secure: c.isSecure(r), Partitioned: c.isPartitioned,
	}
}

// nameFor returns the cookie's full name for the scheme of a request.
func (c *Cookie) nameFor(r *http.Request) string {
	if !c.isExact && c.domain == "" && c.path == "/" && c.isSecure(r) {
		return hostPrefix + c.name
	}
	return c.name
}

// isSecure reports whether the cookie gets the attribute Secure.
func (c *Cookie) isSecure(r *http.Request) bool {
	switch c.secure {
	case secureOn:
		return true
	case secureOff:
		return false
	}
	return isHTTPS(r) || c.sameSite == http.SameSiteNoneMode
}

// isHTTPS reports whether the browser uses HTTPS, with this server or with a
// proxy in front that is in Caddy's trusted_proxies.
func isHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// Site returns the site that a session is for: the domain of the cookie, or
// the host that set it.
func (c *Cookie) Site(r *http.Request) string {
	if c.domain != "" {
		return c.domain
	}
	return strings.ToLower(hostOf(r.Host))
}

// hostOf returns a host without its port.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return host
}
