package sesame_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestForwardAuthMayReplaceTheUser has another service behind the gateway replace
// the user.
func TestForwardAuthMayReplaceTheUser(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer string // the service's Remote-User
		copied string
		want   string
	}{
		{"copies nothing", "carol", "", "alice"},
		{"copies the user", "carol", "copy_headers Remote-User", "carol"},
		// Caddy removes what it would copy, so that no client's copy stays.
		{"has no user to copy", "", "copy_headers Remote-User", ""},
		{"copies another field", "carol", "copy_headers Remote-User>X-Team", "alice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := make(chan http.Header, 1)
			service := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Header.Clone()
				if test.answer != "" {
					w.Header().Set("Remote-User", test.answer)
				}
			})
			up := startUpstream(t)
			g := startSite(t, anyDatabase(t), up, "DEBUG", "", fmt.Sprintf("SESAME {\n}\nforward_auth %s {\nuri /auth\n%s\n}\nreverse_proxy UPSTREAM", service.addr, test.copied))
			valid := tokenFor(t, alice)
			g.get(t, "/a?x=1&sesame="+valid).wantStatus(t, http.StatusOK)
			header := <-asked
			wantHeader(t, header, "X-Forwarded-Uri", "/a?x=1")
			wantHeader(t, up.takeOne(t).header, "Remote-User", test.want)
			if strings.Contains(fmt.Sprint(header), valid) {
				t.Errorf("the service got the token: %v", header)
			}
			g.awaitLines(t, "http.log.access", 1)
			g.wantNoToken(t, valid)
		})
	}
}

// TestSecondHandlerBehindTheFirstChecksAgain has a second handler behind the first,
// for a part of the site.
func TestSecondHandlerBehindTheFirstChecksAgain(t *testing.T) {
	up := startUpstream(t)
	g := startSite(t, anyDatabase(t), up, "DEBUG", "", `SESAME {
			optional
		}
		handle /report/* {
			SESAME {
				token_name report
				scope report:{http.request.uri.path.1}
			}
			reverse_proxy UPSTREAM
		}
		handle /app/* {
			SESAME {
			}
			reverse_proxy UPSTREAM
		}
		reverse_proxy UPSTREAM`)
	hers := tokenFor(t, alice)
	report := tokenAt(t, carol, "report:7", time.Now())
	for _, test := range []struct {
		uri    string
		status int
		user   string
		fields string // Remote-User-Id and Remote-Email
	}{
		{"/", http.StatusOK, "", ""},
		{"/?sesame=" + hers, http.StatusOK, "alice", "1alice@example.com"},
		{"/report/7?report=" + report, http.StatusOK, "carol", "3"},
		// The second wins, and none of the first's fields is left.
		{"/report/7?report=" + report + "&sesame=" + hers, http.StatusOK, "carol", "3"},
		{"/report/8?report=" + report + "&sesame=" + hers, http.StatusUnauthorized, "", ""},
		{"/report/7?sesame=" + hers, http.StatusUnauthorized, "", ""},
		// A token is taken by the first that looks for it.
		{"/app/?sesame=" + hers, http.StatusUnauthorized, "", ""},
	} {
		t.Run(strings.NewReplacer(hers, "hers", report, "report").Replace(test.uri), func(t *testing.T) {
			g.get(t, test.uri, "Remote-User", "admin").wantStatus(t, test.status)
			if test.status != http.StatusOK {
				up.takeNone(t)
				return
			}
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", test.user)
			if fields := got.header.Get("Remote-User-Id") + got.header.Get("Remote-Email"); fields != test.fields {
				t.Errorf("Remote-User-Id and Remote-Email are %q, want %q", fields, test.fields)
			}
			if path, _, _ := strings.Cut(test.uri, "?"); got.uri != path {
				t.Errorf("the upstream got %s, want %s", got.uri, path)
			}
		})
	}
	g.awaitLines(t, "http.log.access", 7)
	g.wantNoToken(t, hers, report)
}

// TestErrorRoutesEnd has error routes that fail, and this handler in them: the
// status must be the same wherever the token was, and no error route runs again for
// its own error.
func TestErrorRoutesEnd(t *testing.T) {
	for name, site := range map[string]string{
		"it refuses there":               "SESAME {\n}\nerror 500\nhandle_errors {\nSESAME {\n}\nerror 502\n}",
		"it passes there, and they fail": "SESAME {\n}\nerror 500\nhandle_errors {\nSESAME {\noptional\n}\nerror 502\n}",
		"they fail":                      "SESAME {\n}\nerror 500\nhandle_errors {\nerror 502\n}",
		"only there":                     "error 500\nhandle_errors {\nSESAME {\n}\nrespond {http.auth.user.username} 418\n}",
	} {
		t.Run(name, func(t *testing.T) {
			up := startUpstream(t)
			g := startSite(t, anyDatabase(t), up, "INFO", "", site)
			for who, tok := range map[string]string{"hers": tokenFor(t, alice), "wrong": tokenFor(t, alice, withKey("x"))} {
				inHeader := g.get(t, "/a?x=1", "Authorization", "Bearer "+tok)
				inQuery := g.get(t, "/a?x=1&sesame="+tok)
				if inHeader.status != inQuery.status || inHeader.body != inQuery.body {
					t.Errorf("%s: %d %q with the token in a header, %d %q with it in the URL",
						who, inHeader.status, inHeader.body, inQuery.status, inQuery.body)
				}
			}
		})
	}
}

// TestHandlersBeforeTheGatewayLogTokensAtDebugOnly pins down what Caddy's own handlers log at DEBUG before this
// one has seen the request: a rewrite prints the URI that it made. The only way to
// avoid that is to place the rewrite behind this handler.
func TestHandlersBeforeTheGatewayLogTokensAtDebugOnly(t *testing.T) {
	for _, test := range []struct {
		name    string
		site    string
		uri     string
		loggers []string
	}{
		{"rewrite", "rewrite /old /new\nSESAME {\n}\nreverse_proxy UPSTREAM", "/old", []string{"http.handlers.rewrite"}},
		{"uri", "uri strip_prefix /old\nSESAME {\n}\nreverse_proxy UPSTREAM", "/old/a", []string{"http.handlers.rewrite"}},
		{"method", "method POST\nSESAME {\n}\nreverse_proxy UPSTREAM", "/old", []string{"http.handlers.rewrite"}},
		{"handle_path", "handle_path /old/* {\nSESAME {\n}\nreverse_proxy UPSTREAM\n}", "/old/a", []string{"http.handlers.rewrite"}},
		{"try_files", "root * ROOT\ntry_files {path} /page.html\nSESAME {\n}\nfile_server", "/old", []string{"http.handlers.rewrite"}},
		{"rewrite behind", "route {\nSESAME {\n}\nrewrite /old /new\nreverse_proxy UPSTREAM\n}", "/old", nil},
		{"others", `map {path} {m} {
				default x
			}
			vars v {uri}
			root * ROOT
			header X-A b
			request_body {
				max_size 1MB
			}
			@known {
				file plain.txt
				not path_regexp ^/x$
				expression {query} != ""
				header_regexp Host .
				remote_ip 127.0.0.1
				client_ip 127.0.0.1
				vars_regexp {uri} .
			}
			redir @gone /b
			request_header X-A b
			encode gzip
			basic_auth /secret {
				u $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
			}
			SESAME {
			}
			templates
			push /plain.txt
			reverse_proxy @known UPSTREAM
			@gone path /gone`, "/old", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := startUpstream(t)
			g := startSite(t, anyDatabase(t), up, "DEBUG", "", test.site)
			valid := tokenFor(t, alice)
			g.get(t, test.uri+"?sesame="+valid).wantStatus(t, http.StatusOK)
			g.awaitLines(t, "http.log.access", 1)
			var loggers []string
			for text := range bytes.Lines(g.log(t)) {
				if !bytes.Contains(text, []byte(valid)) {
					continue
				}
				var line logLine
				if err := json.Unmarshal(text, &line); err != nil {
					t.Fatal(err)
				}
				if line["level"] != "debug" {
					t.Errorf("a token is in the log: %s", text)
				}
				loggers = append(loggers, line["logger"].(string))
			}
			slices.Sort(loggers)
			if loggers = slices.Compact(loggers); !slices.Equal(loggers, test.loggers) {
				t.Errorf("loggers with the token: %q, want %q", loggers, test.loggers)
			}
		})
	}
}
