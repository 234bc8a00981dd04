package claim

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// Redact copies the request for the logs, without tokens.
func (s *Sources) Redact(r *http.Request) *http.Request {
	redacted := r.Clone(r.Context())
	if original, ok := OriginalRequest(r); ok {
		redacted.Method, redacted.RequestURI = original.Method, original.RequestURI
	}
	for _, place := range s.places.all() {
		switch place.From {
		case FromQuery:
			redacted.RequestURI = rawuri.RedactInURI(redacted.RequestURI, place.Name)
			changeTexts(redacted.Header, place.Name, rawuri.RedactInText)
		case FromBearer:
			for i, value := range redacted.Header["Authorization"] {
				if _, ok := cutBearer(value); ok {
					redacted.Header["Authorization"][i] = "Bearer " + rawuri.Redacted
				}
			}
		case FromHeader:
			for i := range redacted.Header[place.Name] {
				redacted.Header[place.Name][i] = rawuri.Redacted
			}
		}
	}
	return redacted
}

// LogsCredentials reports whether Caddy's logs show Authorization and cookies.
func LogsCredentials(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Logs != nil && server.Logs.ShouldLogCredentials
}
