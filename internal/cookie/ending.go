package cookie

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Ending lists what applications have in browsers that ends with the session of
// the gateway: cookies, and what Clear-Site-Data can clear. Without this, the
// application would continue its own session of the former user. The zero value
// lists nothing.
type Ending struct {
	patterns      []pattern
	isPartitioned bool   // as the gateway's own cookie is
	cleared       string // the value of Clear-Site-Data, or empty
}

// pattern names cookies of an application.
type pattern struct {
	name     string // without the asterisk
	isPrefix bool
	path     string // "/" if none was named
}

func (p *pattern) matches(name string) bool {
	if p.isPrefix {
		return strings.HasPrefix(name, p.name)
	}
	return name == p.name
}

// maxExpired limits the Set-Cookie fields that one response gets for this.
// Proxies in front limit the header of a response, some to 4 kB.
const maxExpired = 40

// ParseEnding reads names of cookies, such as sessionid. An asterisk at the
// end matches any rest (wordpress_*), and a path behind a colon is the
// cookie's path (ttrss_sid:/tt-rss/). own is the gateway's cookie, which is
// rejected. cleared are types of Clear-Site-Data.
func ParseEnding(names, cleared []string, own *Cookie) (Ending, error) {
	e := Ending{isPartitioned: own.isPartitioned}
	var err error
	if e.cleared, err = clearSiteData(cleared); err != nil {
		return e, err
	}
	for _, text := range names {
		name, path, hasPath := strings.Cut(text, ":")
		p := pattern{name: strings.TrimSuffix(name, "*"), isPrefix: strings.HasSuffix(name, "*"), path: path}
		switch {
		case !hasPath:
			p.path = "/"
		case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, ";\r\n"):
			return e, setting.Errorf("end_cookies", "end_cookies %q: the path of a cookie must begin with a slash, as in %s:/app/", text, name)
		}
		if !httpguts.ValidHeaderFieldName(p.name) && !(p.isPrefix && p.name == "") {
			return e, setting.Errorf("end_cookies", "end_cookies %q: it is not a valid cookie name; write it like sessionid, wordpress_* or sid:/app/", text)
		}
		if !p.isPrefix && strings.TrimPrefix(p.name, hostPrefix) == own.name {
			return e, setting.Errorf("end_cookies", "end_cookies %q: that is the gateway's own cookie, which ends with the session anyway; remove it here", text)
		}
		e.patterns = append(e.patterns, p)
	}
	return e, nil
}

// clearSiteData is the value of a field with types of data (W3C Clear Site Data,
// section 3.1). All cookies can't be cleared: that would be those of the domains
// above and below, too.
func clearSiteData(types []string) (string, error) {
	var quoted []string
	for i, name := range types {
		switch {
		case name == "cookies" || name == "*":
			return "", setting.Errorf("clear_site_data", "clear_site_data %s: that would also remove cookies of other hosts of the domain; name the cookies in end_cookies", name)
		case name != "storage" && name != "cache":
			return "", setting.Errorf("clear_site_data", "clear_site_data %q: it must be storage, cache or both", name)
		case slices.Contains(types[:i], name):
			return "", setting.Errorf("clear_site_data", "clear_site_data: %s is there twice; remove one", name)
		}
		quoted = append(quoted, `"`+name+`"`)
	}
	return strings.Join(quoted, ", "), nil
}

// Expire removes the cookies from a request, and expires them in the response,
// which also has the browser clear the data.
//
// The path and the domain that a cookie was set with aren't known, so each
// possible one is named: the host and the domains above it; the configured
// path, and, for a cookie in the request, the paths of the request's URL.
func (e *Ending) Expire(w http.ResponseWriter, r *http.Request) {
	// Browsers clear data for answers over HTTPS only, and complain of others.
	if e.cleared != "" && isHTTPS(r) {
		w.Header().Set("Clear-Site-Data", e.cleared)
	}
	if len(e.patterns) == 0 {
		return
	}
	seen := e.remove(r)
	set := expirer{header: w.Header(), isHTTPS: isHTTPS(r), isPartitioned: e.isPartitioned, left: maxExpired}
	domains := domainsOf(r.Host)
	for _, p := range e.patterns {
		if !p.isPrefix {
			set.expire(p.name, []string{p.path}, domains)
		}
	}
	for _, name := range seen {
		set.expire(name, e.pathsOf(name, r.URL.Path), domains)
	}
}

// pathsOf returns the paths that a cookie of a request may have, except the
// path that is expired anyway.
func (e *Ending) pathsOf(name, requested string) []string {
	var paths []string
	for _, p := range e.patterns {
		if p.isPrefix && p.matches(name) && !slices.Contains(paths, p.path) {
			paths = append(paths, p.path)
		}
	}
	return append(paths, pathsAbove(requested)...)
}

// remove removes the cookies from a request, and returns their names.
func (e *Ending) remove(r *http.Request) (names []string) {
	isEnding := func(name string) bool {
		return slices.ContainsFunc(e.patterns, func(p pattern) bool { return p.matches(name) })
	}
	var kept []string
	for _, line := range r.Header["Cookie"] {
		rest, found := cutPairs(line, isEnding)
		if rest != "" {
			kept = append(kept, rest)
		}
		for _, name := range found {
			if len(names) < maxExpired && !slices.Contains(names, name) && httpguts.ValidHeaderFieldName(name) {
				names = append(names, name)
			}
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Cookie")
	} else {
		r.Header["Cookie"] = kept
	}
	return names
}

// cutPairs removes cookies from a line of cookies. A line with none of them
// stays byte for byte.
func cutPairs(line string, isCut func(name string) bool) (rest string, names []string) {
	var kept []string
	for pair := range strings.SplitSeq(line, ";") {
		name, _, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		name = strings.TrimRight(name, " \t")
		if isCut(name) {
			names = append(names, name)
		} else {
			kept = append(kept, pair)
		}
	}
	if len(names) == 0 {
		return line, nil
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " \t"), names
}

// expirer adds Set-Cookie fields that expire cookies.
type expirer struct {
	header        http.Header
	isHTTPS       bool
	isPartitioned bool // whether cookies may be
	left          int
}

// expire makes a browser forget the cookies of a name with any of the paths
// and domains.
func (e *expirer) expire(name string, paths, domains []string) {
	isHost := strings.HasPrefix(name, hostPrefix)
	if isHost {
		paths, domains = []string{"/"}, []string{""}
	}
	for _, path := range paths {
		for _, domain := range domains {
			expired := http.Cookie{ //nolint:gosec // nothing is in it
				Name: name, Path: path, Domain: domain, MaxAge: -1,
				Secure: e.isHTTPS || isHost || strings.HasPrefix(name, "__Secure-"),
			}
			e.add(expired)
			if e.isPartitioned {
				// Browsers take Partitioned only with Secure.
				expired.Secure, expired.Partitioned = true, true
				e.add(expired)
			}
		}
	}
}

func (e *expirer) add(expired http.Cookie) {
	if e.left == 0 {
		return
	}
	e.left--
	e.header.Add("Set-Cookie", expired.String())
}

// longestDomain is the length of the longest name in DNS (RFC 1035, section 2.3.4).
const longestDomain = 253

// domainsOf returns the domains that a cookie for a host may have been set
// with: none, the host itself, and at most three domains above it. Browsers
// ignore public suffixes. net/http writes no other text as a domain, and logs each
// one, which clients could fill a log with.
func domainsOf(hostport string) []string {
	domains := []string{""}
	host := strings.ToLower(hostOf(hostport))
	if len(host) > longestDomain || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return domains
	}
	for len(domains) < 4 && strings.Contains(strings.Trim(host, "."), ".") {
		named := http.Cookie{Name: "a", Domain: host} //nolint:gosec // it is not sent
		if host[0] != '.' && named.Valid() == nil {
			domains = append(domains, host)
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return domains
}

// pathsAbove returns the cookie paths that match a request for a path (RFC
// 6265, section 5.1.4), except the root, with at most three segments.
func pathsAbove(requested string) []string {
	var paths []string
	for i := 1; i < len(requested) && len(paths) < 6; i++ {
		if requested[i] == '/' {
			paths = append(paths, requested[:i], requested[:i+1])
		}
	}
	if len(requested) > 1 && len(paths) < 6 && requested[len(requested)-1] != '/' {
		paths = append(paths, requested)
	}
	isUnfit := func(path string) bool {
		return strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ';' })
	}
	return slices.DeleteFunc(paths, isUnfit)
}
