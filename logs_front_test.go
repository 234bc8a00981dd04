package sesame_test

import (
	"fmt"
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

// TestBodyThatIsTooLargeLogsNoToken has request_body in front end a request, once
// its body is read, and the redirect to HTTPS answer one before any handler.
func TestBodyThatIsTooLargeLogsNoToken(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{before: "request_body {\nmax_size 1\n}", options: "optional"})
	made := tokenFor(t, alice)
	for _, target := range []string{"/?a=1&sesame=" + made, "/?amp%3BSESAME%3D" + made, "/;sesame=" + made} {
		g.raw(t, "POST "+target+" HTTP/1.1\nHost: app.example.com\nReferer: /?sesame="+made+"\nContent-Length: 9\nConnection: close\n\n123456789")
	}
	g.awaitLines(t, "http.log.access", 3)
	for _, line := range g.awaitLines(t, "http.log.error", 3) {
		if line["status"] != float64(http.StatusRequestEntityTooLarge) {
			t.Errorf("logged %v", line)
		}
	}
	g.wantNoToken(t, made)
}

// TestRedirectToHTTPSLogsNoToken: Caddy adds a server of its own for it.
func TestRedirectToHTTPSLogsNoToken(t *testing.T) {
	db := anyDatabase(t)
	g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
	loadCaddyfile(t, fmt.Sprintf(`{
		admin off
		persist_config off
		http_port %s
		https_port %s
		auto_https disable_certs
		log {
			output file %s
			level DEBUG
		}
	}
	http:// {
		bind 127.0.0.1
		log
	}
	app.example.com {
		bind 127.0.0.1
		log
		sesame {
			secret_key %q
			userstore mysql {
				dsn %q
			}
		}
		respond hello
	}`, portOf(g.addr), portOf(freeAddr(t)), g.logs, secretKey, db.dsn))
	made := tokenFor(t, alice)
	answer := g.get(t, "/x?a=1&sesame="+made, "Host", "app.example.com", "Referer", "http://x/?sesame="+made)
	answer.wantStatus(t, http.StatusPermanentRedirect)
	g.get(t, "/x?SESAME%3D"+made, "Host", "app.example.com")
	line := g.awaitLines(t, "http.log.access", 2)[0]
	if uri := line["request"].(map[string]any)["uri"]; uri != "/x?a=1&sesame=REDACTED" {
		t.Errorf("logged %v", uri)
	}
	g.wantNoToken(t, made)
}

// TestRewriteInFrontLogsTheTokenAtDebug: rewrites have a logger of their own, which
// docs/operating.md warns of, and check.
func TestRewriteInFrontLogsTheTokenAtDebug(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{before: "rewrite /old /new"})
	made := tokenFor(t, alice)
	g.get(t, "/old?sesame="+made).wantStatus(t, http.StatusOK)
	if uri := up.takeOne(t).uri; uri != "/new" {
		t.Errorf("the upstream got %s", uri)
	}
	uri, _ := g.awaitLines(t, "http.handlers.rewrite", 1)[0]["uri"].(string)
	if !strings.Contains(uri, made) {
		t.Errorf("logged %s: then the warning is no longer needed", uri)
	}
}

// TestLogAppendFieldsAreKept: what a client puts into Referer drops no field of its
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
