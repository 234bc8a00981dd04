package page

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/origin"
)

// Type is a media type in which pages are written.
type Type uint8

// The types. Text is for clients that accept neither of the others.
const (
	Text Type = iota
	HTML
	JSON
)

// Wanted returns the type in which a request gets a page. Only navigation gets
// HTML: scripts, and the images and scripts that a page loads, have no use for
// it, whatever they accept. Scripts get JSON.
func Wanted(r *http.Request) Type {
	switch {
	case origin.IsScript(r.Header):
		return JSON
	case origin.IsNavigation(r.Header):
		return Preferred(r.Header["Accept"])
	}
	return preferred(r.Header["Accept"], false)
}

// Preferred chooses from the values of Accept (RFC 9110, section 12.5.1). Only
// types that are named count: scripts send */*, and get text.
func Preferred(accept []string) Type { return preferred(accept, true) }

func preferred(accept []string, allowsHTML bool) Type {
	best, bestWeight := Text, 0.0
	for _, value := range accept {
		for part := range strings.SplitSeq(value, ",") {
			mediaType, parameters, _ := strings.Cut(part, ";")
			candidate := typeOf(strings.ToLower(strings.TrimSpace(mediaType)))
			if candidate == HTML && !allowsHTML {
				continue
			}
			if weight := weightOf(parameters); candidate != Text && weight > bestWeight {
				best, bestWeight = candidate, weight
			}
		}
	}
	return best
}

func typeOf(mediaType string) Type {
	switch {
	case mediaType == "application/json", mediaType == "text/json",
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json"):
		return JSON
	case mediaType == "text/html", mediaType == "application/xhtml+xml":
		return HTML
	default:
		return Text
	}
}

// weightOf returns the q of a media range's parameters, or 1 if it has none.
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
