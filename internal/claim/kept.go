package claim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// kept are credentials in a request that belong to handlers of the app that the
// request hasn't reached yet: the first handler takes them out of the request, and
// later ones take theirs from here. It travels with the request through subroutes,
// named routes and error routes.
type kept struct {
	parameters     []parameter
	authorizations []string    // credentials as they stand in Authorization
	fields         http.Header // header sources
	cookies        []string    // pairs as they stand in Cookie
}

// keptVar is the variable of the request that has its kept. It isn't in the
// request's context, as Caddy's handlers replace that.
const keptVar = "sesame_credentials"

// String shows nothing where a configuration names the variable.
func (k *kept) String() string { return "" }

// keptOf returns the kept credentials of a request, or nil.
func keptOf(r *http.Request) *kept {
	k, _ := caddyhttp.GetVar(r.Context(), keptVar).(*kept)
	return k
}

// of returns k, or makes and attaches a new kept if k is nil.
func (k *kept) of(r *http.Request) *kept {
	if k == nil {
		k = &kept{fields: make(http.Header)}
		caddyhttp.SetVar(r.Context(), keptVar, k)
	}
	return k
}

// takeParameter takes a parameter from what is kept, unless the request has it.
func (k *kept) takeParameter(name string, p *parameter) {
	i := slices.IndexFunc(k.parameters, func(p parameter) bool { return p.name == name })
	if i < 0 {
		return
	}
	if !p.isRead {
		*p = k.parameters[i]
	}
	k.parameters = slices.Delete(k.parameters, i, i+1)
}

// restore puts header fields and cookies that are a handler's own back.
func (k *kept) restore(header http.Header, s *Sources) {
	for _, source := range s.Ordered {
		if values := k.fields[source.Name]; source.From == FromHeader && len(values) > 0 {
			header[source.Name] = append(header[source.Name], values...)
			delete(k.fields, source.Name)
		}
	}
	k.authorizations = slices.DeleteFunc(k.authorizations, func(credentials string) bool {
		isOurs := s.isOurs(credentials)
		if isOurs {
			header["Authorization"] = append(header["Authorization"], strings.Trim(credentials, " \t"))
		}
		return isOurs
	})
	var pairs []string
	k.cookies = slices.DeleteFunc(k.cookies, func(pair string) bool {
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

// keepOthers takes the credentials of handlers other than s out of the header. It
// leaves those of s for s to take.
func (s *Sources) keepOthers(r *http.Request, all *forms, k *kept) {
	if len(r.Header["Authorization"]) > 0 {
		isOthers := func(credentials string) bool { return !s.isOurs(credentials) && all.isCredentials(credentials) }
		for _, credentials := range TakeAuthorization(r.Header, isOthers) {
			k = k.of(r)
			k.authorizations = append(k.authorizations, credentials)
		}
	}
	for _, name := range all.fields {
		if values := r.Header[name]; len(values) > 0 && !slices.Contains(s.Ordered, Source{FromHeader, name}) {
			k = k.of(r)
			k.fields[name] = append(k.fields[name], values...)
			delete(r.Header, name)
		}
	}
	isOthers := func(pair string) bool {
		name := cookieName(pair)
		return slices.Contains(all.cookies, name) && !slices.Contains(s.cookies, name)
	}
	for _, pair := range cutCookies(r.Header, isOthers) {
		k = k.of(r)
		k.cookies = append(k.cookies, pair)
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
