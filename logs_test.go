package sesame_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestDebugLogHasNoToken looks for tokens in all that Caddy logs at DEBUG, with a plain log
// directive and no filter.
func TestDebugLogHasNoToken(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "token_from query bearer header X-Token"})
		valid := tokenFor(t, alice)
		wrong := tokenFor(t, alice, withKey("x"))
		n := 0
		for _, tok := range []string{valid, wrong} {
			status := http.StatusOK
			if tok == wrong {
				status = http.StatusUnauthorized
			}
			for _, request := range []struct {
				uri    string
				header []string
				logged string
			}{
				{"/a?b=1&sesame=" + tok + "&c=2", nil, "/a?b=1&sesame=REDACTED&c=2"},
				{"/a?b=1&%73esame=" + tok, nil, "/a?b=1&%73esame=REDACTED"},
				{"/a?b=1;sesame=" + tok + "&sesame=" + tok, nil, "/a?b=1;sesame=REDACTED&sesame=REDACTED"},
				{"/a", []string{"Authorization", "Bearer " + tok}, "/a"},
				{"/a", []string{"X-Token", tok}, "/a"},
				{"/a", []string{"X-Token", tok, "Referer", "http://x/?sesame=" + tok}, "/a"},
			} {
				g.get(t, request.uri, request.header...).wantStatus(t, status)
				n++
				line := g.awaitLines(t, "http.log.access", n)[n-1]
				if uri := line["request"].(map[string]any)["uri"]; uri != request.logged {
					t.Errorf("logged %v, want %s", uri, request.logged)
				}
				if line["status"] != float64(status) {
					t.Errorf("logged the status %v, want %d", line["status"], status)
				}
				if id := line["user_id"]; status == http.StatusOK && id != "1" || status != http.StatusOK && id != "" {
					t.Errorf("logged the user %q", id)
				}
			}
		}
		g.wantNoToken(t, valid, wrong)
	})
}

// wantNoToken fails the test if a token is anywhere in the log.
func (g *gateway) wantNoToken(t *testing.T, tokens ...string) {
	t.Helper()
	for line := range bytes.Lines(g.log(t)) {
		for _, tok := range tokens {
			if bytes.Contains(line, []byte(tok)) {
				t.Errorf("a token is in the log: %s", line)
			}
		}
	}
}

// TestRedactedLineIsCaddys compares the line for a request with a token with
// the one that Caddy writes for one without.
func TestRedactedLineIsCaddys(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		valid := tokenFor(t, alice)
		g.do(t, http.MethodPost, "/a?x=1", "Authorization", "Bearer "+valid, "Cookie", "a=b").wantStatus(t, http.StatusOK)
		g.do(t, http.MethodPost, "/a?x=1&sesame="+valid, "Cookie", "a=b").wantStatus(t, http.StatusOK)
		lines := g.awaitLines(t, "http.log.access", 2)
		caddys, ours := lines[0], lines[1]

		for _, line := range lines {
			request := line["request"].(map[string]any)
			headers := request["headers"].(map[string]any)
			delete(headers, "Authorization")
			delete(request, "remote_port")
			delete(line, "resp_headers") // ours forbid caching
			if duration, ok := line["duration"].(float64); !ok || duration <= 0 || duration > 20 {
				t.Errorf("the duration is %v", line["duration"])
			}
			delete(line, "duration")
			delete(line, "ts")
		}
		ours["request"].(map[string]any)["uri"] = strings.TrimSuffix(ours["request"].(map[string]any)["uri"].(string), "&sesame=REDACTED")
		if fmt.Sprint(ours) != fmt.Sprint(caddys) {
			t.Errorf("the lines differ:\nCaddy's %v\nours    %v", caddys, ours)
		}
	})
}

// TestRequestsWithATokenAreLoggedByTheSameLoggers compares which loggers get a line
// for requests with and without a token.
func TestRequestsWithATokenAreLoggedByTheSameLoggers(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
		block := func(host, logs string) string {
			return fmt.Sprintf(`http://%s:%s {
				bind 127.0.0.1
				%s
				sesame {
					secret_key %q
					userstore mysql {
						dsn %q
					}
				}
				reverse_proxy %s
			}
			`, host, portOf(g.addr), logs, secretKey, db.dsn, up.addr)
		}
		loadCaddyfile(t, fmt.Sprintf(`{
				admin off
				persist_config off
				auto_https off
				log {
					output file %s
					level DEBUG
				}
			}
			`, g.logs)+
			block("plain.test", "log")+
			block("named.test", "log mine")+
			block("two.test", "log one {\n hostnames two.test\n}\nlog two {\n hostnames two.test\n}")+
			block("*.wild.test", "log wildcard")+
			block("skipped.test", "log_skip")+
			block("chosen.test", "log mine\nlog_name chosen")+
			block("quiet.test", ""))
		valid := tokenFor(t, alice)
		for _, host := range []string{"plain.test", "named.test", "two.test", "a.wild.test", "skipped.test", "chosen.test", "quiet.test", "NAMED.test"} {
			before := len(g.log(t))
			g.get(t, "/", "Host", host, "Authorization", "Bearer "+valid).wantStatus(t, http.StatusOK)
			want := g.accessLoggers(t, host, before)
			before = len(g.log(t))
			g.get(t, "/?sesame="+valid, "Host", host).wantStatus(t, http.StatusOK)
			if got := g.accessLoggers(t, host, before); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: logged to %v with a token in the URL, to %v without", host, got, want)
			}
		}
		g.wantNoToken(t, valid)
	})
}

// accessLoggers returns the loggers of the access lines of a host from an
// offset of the log on. It sends a request to another host behind, whose line
// must be there before the list is complete.
func (g *gateway) accessLoggers(t *testing.T, host string, offset int) []string {
	t.Helper()
	var loggers []string
	g.get(t, "/barrier", "Host", "plain.test")
	poll(t, "the line behind", func() bool { return bytes.Contains(g.log(t)[offset:], []byte("/barrier")) })
	for line := range strings.Lines(string(g.log(t)[offset:])) {
		_, logger, ok := strings.Cut(line, `"logger":"http.log.access`)
		if ok && strings.Contains(line, `"host":"`+host+`"`) && !strings.Contains(line, "/barrier") {
			logger, _, _ = strings.Cut(logger, `"`)
			loggers = append(loggers, logger)
		}
	}
	return loggers
}

// TestErrorLogHasNoToken has a later handler fail for requests with a token: Caddy logs
// the error with the request even where no access log is configured.
func TestErrorLogHasNoToken(t *testing.T) {
	for _, after := range []string{
		"reverse_proxy 127.0.0.1:1",
		"error 503",
		"error 404",
		"reverse_proxy 127.0.0.1:1\nhandle_errors {\n respond oops 502\n}",
		"reverse_proxy 127.0.0.1:1\nhandle_errors {\n error 500\n}",
		"reverse_proxy 127.0.0.1:1\nhandle_errors {\n reverse_proxy 127.0.0.1:1\n}",
	} {
		t.Run(after, func(t *testing.T) {
			withEachDatabase(t, func(t *testing.T, db *database) {
				up := startUpstream(t)
				g := startGateway(t, db, up, site{after: after})
				valid := tokenFor(t, alice)

				plain := g.get(t, "/x", "Authorization", "Bearer "+valid)
				withToken := g.get(t, "/x?sesame="+valid)
				withToken.wantStatus(t, plain.status)
				if withToken.body != plain.body {
					t.Errorf("body %q, without a token in the URL %q", withToken.body, plain.body)
				}
				lines := g.awaitLines(t, "http.log.error", 2)
				for _, field := range []string{"level", "status"} {
					if lines[0][field] != lines[1][field] {
						t.Errorf("%s: %v without a token in the URL, %v with one", field, lines[0][field], lines[1][field])
					}
				}
				if uri := lines[1]["request"].(map[string]any)["uri"]; uri != "/x?sesame=REDACTED" {
					t.Errorf("logged %v", uri)
				}
				g.awaitLines(t, "http.log.access", 2)
				g.wantNoToken(t, valid)
			})
		})
	}
}

// TestLogCredentials has Caddy log Authorization, and looks for the token.
func TestLogCredentials(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{global: "servers {\n log_credentials\n}"})
		valid := tokenFor(t, alice)
		g.get(t, "/", "Authorization", "Bearer "+valid).wantStatus(t, http.StatusOK)
		line := g.awaitLines(t, "http.log.access", 1)[0]
		headers := line["request"].(map[string]any)["headers"].(map[string]any)
		if fmt.Sprint(headers["Authorization"]) != "[Bearer REDACTED]" {
			t.Errorf("logged %v", headers)
		}
		g.wantNoToken(t, valid)
	})
}
