package sesame

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// refusal is an answer of the gateway's own, in the place of the upstream's.
type refusal struct {
	status  int
	code    string // "missing", "malformed", "expired", "invalid" or "unavailable"
	title   string // for people
	message string // for people: what to do now
}

// errorPlaceholder is the placeholder of the code, for the error routes.
const errorPlaceholder = "http.auth.sesame.error"

// retryAfter is how many seconds a client should wait for MySQL to come back.
const retryAfter = 2

var unavailable = refusal{
	status:  http.StatusServiceUnavailable,
	code:    "unavailable",
	title:   "Please try again in a moment",
	message: "We can't check who you are right now. Nothing is wrong with your link.",
}

// refusals has one for each of token.Reason's public names.
var refusals = map[string]refusal{
	"missing": {
		status:  http.StatusUnauthorized,
		code:    "missing",
		title:   "You need a link to get in",
		message: "This page opens with a personal link. Use the one that was sent to you, or ask for one.",
	},
	"malformed": {
		status:  http.StatusUnauthorized,
		code:    "malformed",
		title:   "This link is incomplete",
		message: "A part of it got lost on the way. Copy the whole link, or ask for a new one.",
	},
	"expired": {
		status:  http.StatusUnauthorized,
		code:    "expired",
		title:   "This link has expired",
		message: "Links are valid for a limited time. Ask for a new one.",
	},
	"invalid": {
		status:  http.StatusUnauthorized,
		code:    "invalid",
		title:   "This link is not valid",
		message: "It may have been used or replaced already. Ask for a new one.",
	},
}

// refuse answers a request whose token doesn't hold, or that has none.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, reason token.Reason) error {
	answer := refusals[reason.Public()]
	w.Header().Set("WWW-Authenticate", h.challenge(answer))
	return answer.serve(w, r)
}

// challenge is the value of WWW-Authenticate, as in RFC 6750, section 3: no
// error where the request had no token.
func (h *Handler) challenge(answer refusal) string {
	challenge := "Bearer"
	if h.Realm != "" {
		challenge += " realm=" + quotedString(h.Realm)
	}
	if answer.code == token.Missing.Public() {
		return challenge
	}
	if h.Realm != "" {
		challenge += ","
	}
	return fmt.Sprintf(`%s error="invalid_token", error_description="The token is %s"`, challenge, answer.code)
}

// quotedString is RFC 9110's, section 5.6.4.
func quotedString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// serve answers through the server's error routes, or with a small page where
// none of them does. It doesn't return an error to Caddy: see accesslog.go.
func (answer refusal) serve(w http.ResponseWriter, r *http.Request) error {
	forbidLinking(w.Header())
	if answer.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	if isErrorRoute(r.Context()) {
		return answer.write(w, r) // the error routes would come back here
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(errorPlaceholder, answer.code)
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	err := caddyhttp.Error(answer.status, errors.New("sesame: "+answer.code))
	if serveErrorRoutes(server, w, r, err, caddyhttp.HandlerFunc(answer.write)) != nil {
		return answer.write(w, r)
	}
	return nil
}

// write writes the small page: JSON for whom prefers that to HTML, else HTML
// for whom accepts it, else text.
func (answer refusal) write(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	switch preferredType(r.Header["Accept"]) {
	case typeJSON:
		header.Set("Content-Type", "application/json")
		w.WriteHeader(answer.status)
		return json.NewEncoder(w).Encode(map[string]string{
			"error":             answer.code,
			"error_description": answer.title + ". " + answer.message,
		})
	case typeHTML:
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.WriteHeader(answer.status)
		return refusalPage.Execute(w, map[string]string{"Title": answer.title, "Message": answer.message})
	default:
		header.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(answer.status)
		_, err := fmt.Fprintf(w, "%s. %s\n", answer.title, answer.message)
		return err
	}
}

var refusalPage = template.Must(template.New("refusal").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 1.0625rem/1.5 system-ui, sans-serif; }
main { max-width: 28rem; padding: 2rem; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
p { margin: 0; }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Message}}</p>
</main>
</body>
</html>
`))

// The types that a small page comes in.
type pageType uint8

const (
	typeText pageType = iota
	typeHTML
	typeJSON
)

// preferredType chooses from the values of Accept (RFC 9110, section 12.5.1).
// Only types that are named count: */* is what scripts send, and they get text.
func preferredType(accept []string) pageType {
	best, bestWeight := typeText, 0.0
	for _, value := range accept {
		for part := range strings.SplitSeq(value, ",") {
			mediaType, parameters, _ := strings.Cut(part, ";")
			candidate := pageTypeOf(strings.ToLower(strings.TrimSpace(mediaType)))
			if weight := weightOf(parameters); candidate != typeText && weight > bestWeight {
				best, bestWeight = candidate, weight
			}
		}
	}
	return best
}

func pageTypeOf(mediaType string) pageType {
	switch {
	case mediaType == "application/json", mediaType == "text/json",
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json"):
		return typeJSON
	case mediaType == "text/html", mediaType == "application/xhtml+xml":
		return typeHTML
	default:
		return typeText
	}
}

// weightOf is the q of a media range's parameters; 1 where it has none.
func weightOf(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(name, "q") {
			weight, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0
			}
			return weight
		}
	}
	return 1
}
