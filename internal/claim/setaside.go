package claim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// setAside are credentials in a request that belong to handlers of the app that the
// request hasn't reached yet: the first handler takes them out of the request, and
// later ones take theirs from here. It travels with the request through subroutes,
// named routes and error routes.
type setAside struct {
	parameters     []parameter
	authorizations []string    // credentials as they stand in Authorization
	fields         http.Header // header sources
	cookies        []string    // pairs as they stand in Cookie
}

// setAsideVar is the variable of the request that has its setAside. It isn't in the
// request's context, as Caddy's handlers replace that.
const setAsideVar = "sesame_credentials"

// String shows nothing where a configuration names the variable.
func (a *setAside) String() string { return "" }

// setAsideOf returns the credentials of a request that were set aside, or nil.
func setAsideOf(r *http.Request) *setAside {
	a, _ := caddyhttp.GetVar(r.Context(), setAsideVar).(*setAside)
	return a
}

// of returns a, or makes and attaches a new setAside if a is nil.
func (a *setAside) of(r *http.Request) *setAside {
	if a == nil {
		a = &setAside{fields: make(http.Header)}
		caddyhttp.SetVar(r.Context(), setAsideVar, a)
	}
	return a
}

// takeParameter takes a parameter from what was set aside, unless the request has it.
func (a *setAside) takeParameter(name string, p *parameter) {
	i := slices.IndexFunc(a.parameters, func(p parameter) bool { return p.name == name })
	if i < 0 {
		return
	}
	if !p.isRead {
		*p = a.parameters[i]
	}
	a.parameters = slices.Delete(a.parameters, i, i+1)
}

// restore puts header fields and cookies that are a handler's own back.
func (a *setAside) restore(header http.Header, s *Sources) {
	for _, source := range s.Ordered {
		if values := a.fields[source.Name]; source.From == FromHeader && len(values) > 0 {
			header[source.Name] = append(header[source.Name], values...)
			delete(a.fields, source.Name)
		}
	}
	a.authorizations = slices.DeleteFunc(a.authorizations, func(credentials string) bool {
		isOurs := s.isOurs(credentials)
		if isOurs {
			header["Authorization"] = append(header["Authorization"], strings.Trim(credentials, " \t"))
		}
		return isOurs
	})
	var pairs []string
	a.cookies = slices.DeleteFunc(a.cookies, func(pair string) bool {
		isOurs := slices.Contains(s.cookies, cookieName(pair))
		if isOurs {
			pairs = append(pairs, strings.Trim(pair, " \t"))
		}
		return isOurs
	})
	if len(pairs) > 0 {
		header["Cookie"] = append(header["Cookie"], strings.Join(pairs, "; "))
	}
}

// setOthersAside takes the credentials of handlers other than s out of the header. It
// leaves those of s for s to take.
func (s *Sources) setOthersAside(r *http.Request, all *forms, a *setAside) {
	if len(r.Header["Authorization"]) > 0 {
		isOthers := func(credentials string) bool { return !s.isOurs(credentials) && all.isCredentials(credentials) }
		for _, credentials := range TakeAuthorization(r.Header, isOthers) {
			a = a.of(r)
			a.authorizations = append(a.authorizations, credentials)
		}
	}
	for _, name := range all.fields {
		if values := r.Header[name]; len(values) > 0 && !slices.Contains(s.Ordered, Source{FromHeader, name}) {
			a = a.of(r)
			a.fields[name] = append(a.fields[name], values...)
			delete(r.Header, name)
		}
	}
	isOthers := func(pair string) bool {
		name := cookieName(pair)
		return slices.Contains(all.cookies, name) && !slices.Contains(s.cookies, name)
	}
	for _, pair := range cutCookies(r.Header, isOthers) {
		a = a.of(r)
		a.cookies = append(a.cookies, pair)
	}
}

// cookieName is the name of a cookie's pair, without the prefix.
func cookieName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return strings.TrimPrefix(strings.Trim(name, " \t"), "__Host-")
}

// cutCookies takes cookies out of a header, and returns their pairs. The others
// stay byte for byte.
func cutCookies(header http.Header, isOthers func(pair string) bool) (pairs []string) {
	lines := header["Cookie"]
	for i := 0; i < len(lines); i++ {
		before := len(pairs)
		var rest []string
		for pair := range strings.SplitSeq(lines[i], ";") {
			if isOthers(pair) {
				pairs = append(pairs, pair)
			} else {
				rest = append(rest, pair)
			}
		}
		if len(pairs) > before {
			lines[i] = strings.TrimLeft(strings.Join(rest, ";"), " \t")
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	if lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" }); len(lines) == 0 {
		delete(header, "Cookie")
	} else {
		header["Cookie"] = lines
	}
	return pairs
}
