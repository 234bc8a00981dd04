package claim

import (
	"net/http"
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
	return len(all.bearers) > 0 && LogsCredentials(r) && hasBearer(r.Header["Authorization"])
}

// Redact copies the request for the logs, without credentials.
func (s *Sources) Redact(r *http.Request) *http.Request {
	all := s.shared.forms()
	redacted := r.Clone(r.Context())
	if original, ok := OriginalRequest(r); ok {
		redacted.Method, redacted.RequestURI = original.Method, original.RequestURI
	}
	redacted.RequestURI = all.redactURI(redacted.RequestURI)
	for field, values := range redacted.Header {
		for i, value := range values {
			values[i] = all.redactField(field, value)
		}
	}
	return redacted
}

// RedactHeader returns a header without parameters that are credentials; the
// same one if it has none.
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

// redactURI redacts the target of a request.
func (f *forms) redactURI(uri string) string {
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
func (f *forms) redactField(field, value string) string {
	for _, name := range f.fields {
		if field == name {
			return rawuri.Redacted
		}
	}
	if field == "Authorization" && len(f.bearers) > 0 {
		value = f.redactAuthorization(value)
	}
	return rawuri.Redact(value, placeOf(field), f.parameters)
}

// redactAuthorization redacts bearer tokens that may be a handler's.
func (f *forms) redactAuthorization(value string) string {
	elements := strings.Split(value, ",")
	for i, element := range elements {
		credentials, ok := bearerOf(element)
		for _, isBearer := range f.bearers {
			if ok && isBearer(credentials) {
				elements[i] = "Bearer " + rawuri.Redacted
			}
		}
	}
	return strings.Join(elements, ",")
}

// LogsCredentials reports whether Caddy's logs show Authorization and cookies.
func LogsCredentials(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Logs != nil && server.Logs.ShouldLogCredentials
}
