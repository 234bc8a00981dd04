package claim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// IsExposed reports whether a request has credentials where Caddy's logs show
// them. A token in an Authorization header isn't, unless credentials are logged.
func (s *Sources) IsExposed(r *http.Request) bool {
	all := s.shared.forms()
	if isInTarget(r, all.parameters) || isInFields(r.Header, all.parameters) {
		return true
	}
	for _, name := range all.fields {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return len(all.readers) > 0 && LogsCredentials(r) && hasCredentials(r.Header, all.isCredentials)
}

// Redact copies the request for the logs, without credentials.
func (s *Sources) Redact(r *http.Request) *http.Request {
	all := s.shared.forms()
	redacted := r.Clone(r.Context())
	if original, ok := OriginalRequest(r); ok {
		redacted.Method, redacted.RequestURI = original.Method, original.RequestURI
	}
	redacted.RequestURI = all.redactURI(redacted.RequestURI)
	redacted.Host = rawuri.Redact(redacted.Host, rawuri.Path, all.parameters)
	isOurs := bounded(all.isCredentials)
	for field, values := range redacted.Header {
		for i, value := range values {
			values[i] = all.redactField(field, value, isOurs)
		}
	}
	return redacted
}

// RedactHeader returns a header without parameters that are credentials, or the
// header itself if it has none.
func (s *Sources) RedactHeader(header http.Header) http.Header {
	all := s.shared.forms()
	if !isInFields(header, all.parameters) {
		return header
	}
	redacted := header.Clone()
	for field, values := range redacted {
		for i, value := range values {
			values[i] = rawuri.Redact(value, placeOf(field), all.parameters)
		}
	}
	return redacted
}

// RedactText returns a text without parameters that are credentials.
func (s *Sources) RedactText(text string) string {
	return rawuri.Redact(text, rawuri.Field, s.shared.forms().parameters)
}

// MinSecret is the least length of a value that is looked for in texts.
const MinSecret = 7

// Secrets returns the credentials in a request that could stand in a text without
// a name, as they came and decoded.
func (s *Sources) Secrets(r *http.Request) (secrets []string) {
	all := s.shared.forms()
	add := func(values ...string) {
		for _, value := range values {
			if len(value) >= MinSecret {
				secrets = append(secrets, value)
			}
			if decoded, err := url.QueryUnescape(value); err == nil && decoded != value && len(decoded) >= MinSecret {
				secrets = append(secrets, decoded)
			}
		}
	}
	add(rawuri.Values(r.RequestURI, rawuri.Field, all.parameters)...)
	if password, ok := r.URL.User.Password(); ok {
		add(password)
	}
	add(rawuri.Values(r.Host, rawuri.Path, all.parameters)...)
	for field, values := range r.Header {
		for _, value := range values {
			add(rawuri.Values(value, placeOf(field), all.parameters)...)
		}
		if slices.Contains(all.fields, field) {
			add(values...)
		}
	}
	for _, credentials := range peekAuthorization(r.Header, all.isCredentials) {
		_, secret := cutScheme(credentials)
		add(secret)
		if _, password, ok := BasicOf(credentials); ok {
			add(password)
		}
	}
	return secrets
}

// isCredentials reports whether credentials in Authorization are a handler's.
func (f *forms) isCredentials(credentials string) bool {
	return isAny(f.readers, credentials)
}

// cutScheme splits credentials behind the name of their scheme.
func cutScheme(credentials string) (scheme, rest string) {
	credentials = strings.Trim(credentials, " \t")
	end := strings.IndexAny(credentials, " \t")
	if end < 0 {
		return credentials, ""
	}
	return credentials[:end], strings.Trim(credentials[end:], " \t")
}

// redactURI redacts the target of a request.
func (f *forms) redactURI(uri string) string {
	uri = withoutUserinfo(uri)
	for _, name := range f.parameters {
		uri = rawuri.RedactInURI(uri, name)
	}
	path, query, hasQuery := strings.Cut(uri, "?")
	if !rawuri.Has(path, rawuri.Path, f.parameters) && !rawuri.Has(query, rawuri.Query, f.parameters) {
		return uri
	}
	path = rawuri.Redact(path, rawuri.Path, f.parameters)
	if !hasQuery {
		return path
	}
	return path + "?" + rawuri.Redact(query, rawuri.Query, f.parameters)
}

// redactField redacts the value of a header field.
func (f *forms) redactField(field, value string, isOurs func(credentials string) bool) string {
	for _, name := range f.fields {
		if field == name {
			return rawuri.Redacted
		}
	}
	if field == "Authorization" && len(f.readers) > 0 {
		value = redactAuthorization(value, isOurs)
	}
	return rawuri.Redact(value, placeOf(field), f.parameters)
}

// redactAuthorization redacts credentials that are a handler's.
func redactAuthorization(value string, isOurs func(credentials string) bool) string {
	all := strings.Split(value, ",")
	for i, credentials := range all {
		if isOurs(credentials) {
			scheme, _ := cutScheme(credentials)
			all[i] = scheme + " " + rawuri.Redacted
		}
	}
	return strings.Join(all, ",")
}

// LogsCredentials reports whether Caddy's logs show Authorization and cookies.
func LogsCredentials(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Logs != nil && server.Logs.ShouldLogCredentials
}
