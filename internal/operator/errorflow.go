package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// errorRoutes follows requests that sesame has rejected through the error routes of
// their site (handle_errors). Caddy gives these the URI of the client, so that an
// application there answers what the user was kept from.
func (w *flowWalk) errorRoutes(r route, path string) {
	errors := newFlowWalk(w.named)
	errors.isOfErrors = true
	errors.route(r, path, &passage{})
	for _, f := range errors.findings {
		w.add(f.Verdict, f.Text, f.Advice)
	}
}

// answerError looks at a handler that answers a request that sesame has rejected.
func (w *flowWalk) answerError(h *handlerJSON, path string, p *passage) {
	if !h.hasContent() || p.isBehind || p.isRewritten {
		return
	}
	w.add(verdictWarn, fmt.Sprintf("%s (%s) answers requests that sesame has rejected, by the URI that the client asked for: it shows without a user what sesame protects", h.Module, path),
		"rewrite the URI to an error page in front of it, as in: rewrite * /error.html; or leave 401, 403, 429 and 503 to sesame, as in: handle_errors 404 502")
}

// rejections are the statuses with which sesame keeps a request from what it protects.
var rejections = []int{401, 403, 429, 503}

// What handle_errors makes of its arguments: 401 and 5xx.
var (
	errorRange = regexp.MustCompile(`\{http\.error\.status_code\} >= (\d+) && \{http\.error\.status_code\} <= (\d+)`)
	errorList  = regexp.MustCompile(`\{http\.error\.status_code\} in \[([\d, ]*)\]`)
)

// excludesRejections reports whether a route certainly matches no rejection of sesame.
func (r route) excludesRejections() bool {
	misses := func(set map[string]json.RawMessage) bool {
		var expression string
		return json.Unmarshal(set["expression"], &expression) == nil && missesRejections(expression)
	}
	return len(r.Match) > 0 && !slices.ContainsFunc(r.Match, func(set map[string]json.RawMessage) bool { return !misses(set) })
}

// missesRejections reports whether an expression is one of handle_errors, and for other
// statuses.
func missesRejections(expression string) bool {
	rest := errorRange.ReplaceAllString(errorList.ReplaceAllString(expression, ""), "")
	if strings.Trim(rest, "| ") != "" {
		return false
	}
	isMatched := func(status int) bool {
		for _, bounds := range errorRange.FindAllStringSubmatch(expression, -1) {
			if text := strconv.Itoa(status); bounds[1] <= text && text <= bounds[2] { // of three digits, as written by Caddy
				return true
			}
		}
		for _, list := range errorList.FindAllStringSubmatch(expression, -1) {
			if slices.Contains(strings.Split(list[1], ", "), strconv.Itoa(status)) {
				return true
			}
		}
		return false
	}
	return !slices.ContainsFunc(rejections, isMatched)
}

// rewritesURI reports whether a handler replaces the URI of the client by another one.
func (h *handlerJSON) rewritesURI() bool {
	return h.Module == "rewrite" && len(h.URI) > 0 && !bytes.Contains(h.URI, []byte("{http.request."))
}
