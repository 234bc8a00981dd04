package sesame_test

import (
	"net/http"
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
	} {
		t.Run(test.name, func(t *testing.T) {
			up := startUpstream(t)
			after := ""
			if test.after != "" {
				after = "reverse_proxy " + up.addr + "\nhandle_errors {\nrespond \"gone\" 410\n}"
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
