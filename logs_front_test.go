package sesame_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestHandlersInFrontLogNoToken has handlers answer before sesame is asked, and
// looks for the token in all that Caddy logs.
func TestHandlersInFrontLogNoToken(t *testing.T) {
	db := anyDatabase(t)
	for _, test := range []struct{ name, before, after string }{
		{"respond", "respond 204", ""},
		{"redir", "redir https://other.example{uri}", ""},
		{"error", "error 410", ""},
		{"error with a status of a server", "error 503", ""},
		{"error with error routes", "error 410", "reverse_proxy UPSTREAM\nhandle_errors {\nrespond \"gone\" 410\n}"},
		{"rewrite", "rewrite * /index?from={path}&{query}\nrespond 204", ""},
		{"a field of log_append", "log_append asked {uri}\nrespond 204", ""},
		{"a field of log_append, made at once", "log_append <asked \"{method} {uri}\"\nrespond 204", ""},
		{"the bare token in a field of log_append", "log_append <asked {query.sesame}\nlog_append <query \"{query} {header.Referer}\"\nrespond 204", ""},
		{"the token in a variable", "vars link {query.sesame}\nlog_append link {vars.link}\nrespond 204", ""},
		{"an error that tells the URI", "error \"no {uri} ({query.sesame})\" 410", ""},
		{"an error of a server that tells the URI", "error \"no {uri}\" 500", ""},
		{"an error that tells the URI, with error routes", "error \"no {uri}\" 410", "error routes"},
		{"an error in error routes", "error \"no {uri}\" 410", "error \"neither {http.request.orig_uri}\" 500"},
		{"request_body", "request_body {\nmax_size 1\n}\nrequest_header X-Read {http.request.body}\nrespond \"{http.request.body}\"", ""},
		{"a response that repeats the URI", "header Location {uri}\nheader Link \"<{uri}>; rel=self\"\nrespond 204", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := startUpstream(t)
			after := ""
			if test.after != "" {
				answer := "respond \"gone\" 410"
				if strings.HasPrefix(test.after, "error \"") {
					answer = test.after
				}
				after = "reverse_proxy " + up.addr + "\nhandle_errors {\n" + answer + "\n}"
			}
			g := startGateway(t, db, up, site{before: "route /front* {\n" + test.before + "\n}", after: after})
			made := tokenFor(t, alice)
			g.get(t, "/front?a=1&sesame="+made, "Referer", "http://x/?u=%2F%3Fsesame%3D"+made)
			g.get(t, "/front?SESAME%3D"+made)
			lines := g.awaitLines(t, "http.log.access", 2)
			if uri := lines[0]["request"].(map[string]any)["uri"]; uri != "/front?a=1&sesame=REDACTED" {
				t.Errorf("logged %v", uri)
			}
			g.wantNoToken(t, made)
		})
	}
}

// TestLogAppendIsKept: what a client puts into Referer drops no field of its
// access line.
func TestLogAppendFieldsAreKept(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{before: "log_append tenant blue"})
	made := tokenFor(t, alice)
	requests := []struct{ uri, referer string }{
		{"/", "/?sesame"}, {"/", "/?sesame=x"}, {"/", "/?sesame=" + made}, {"/?sesame=" + made, ""}, {"/?sesame=bad", ""},
	}
	for _, request := range requests {
		if answer := g.get(t, request.uri, "Referer", request.referer); answer.status == http.StatusInternalServerError {
			t.Errorf("%v: status %d", request, answer.status)
		}
	}
	for i, line := range g.awaitLines(t, "http.log.access", len(requests)) {
		if line["tenant"] != "blue" {
			t.Errorf("%v: the line has no tenant: %v", requests[i], line)
		}
	}
	g.wantNoToken(t, made)
}
