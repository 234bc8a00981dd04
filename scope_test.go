package sesame_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// scopeSite is a gateway with a scope for each report, in front of file_server,
// PHP and Django. The control is the same site without a gateway.
type scopeSite struct {
	*gateway
	secure, control string // addresses
	token           string // of alice, for report:7
	session         string // her cookie
}

// startScopeSite starts it. options are those of sesame.
func startScopeSite(t *testing.T, options string) *scopeSite {
	t.Helper()
	db, dir := anyDatabase(t), t.TempDir()
	for _, name := range []string{"7", "8"} {
		writeFile(t, filepath.Join(dir, "files", "reports", name), "report "+name+" id none")
	}
	writeFile(t, filepath.Join(dir, "php", "index.php"), readFile(t, "testdata/scope/index.php"))
	certificate, key := writeCertificate(t, dir)
	s := &scopeSite{gateway: &gateway{addr: freeAddr(t), logs: filepath.Join(dir, "caddy.log")}, secure: freeAddr(t), control: freeAddr(t)}
	applications := fmt.Sprintf(`
		@report path_regexp report ^/[a-z]+/([^/]+)
		vars @report report {re.report.1}
		vars id {query.id}
		handle /reports/* {
			root * %[1]s/files
			file_server
		}
		handle /php/* {
			root * %[1]s/php
			php_fastcgi %[2]s
		}
		handle {
			reverse_proxy %[3]s
		}`, dir, testprogram.PHP(t, "-n"), startDjangoApp(t, unboundAddr(t)))
	gate := fmt.Sprintf("sesame {\nsecret_key %q\nlimit_failures off\n%s\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}\n}", secretKey, options, db.dsn)
	loadCaddyfile(t, fmt.Sprintf(`{
		admin off
		persist_config off
		auto_https off
		grace_period 100ms
		log {
			output file %[1]s
			level DEBUG
		}
	}
	http://%[2]s {
		%[5]s
		%[6]s
	}
	https://:%[3]s {
		bind 127.0.0.1
		tls %[4]s
		%[5]s
		%[6]s
	}
	http://%[7]s {
		%[6]s
	}`, s.logs, s.addr, portOf(s.secure), certificate+" "+key, gate, applications, s.control))
	s.token = tokenAt(t, alice, "report:7", time.Now())
	return s
}

// startDjangoApp runs testdata/scope/django_app.py until the test ends.
func startDjangoApp(t *testing.T, addr string) string {
	t.Helper()
	python := testprogram.Python(t, "django")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	testprogram.Listen(t, exec.Command(python, "testdata/scope/django_app.py", host, port), addr, os.Interrupt)
	return addr
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// logIn starts alice's session for report:7.
func (s *scopeSite) logIn(t *testing.T, target string) {
	t.Helper()
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	answer := s.get(t, target+separator+"sesame="+s.token)
	answer.wantStatus(t, http.StatusSeeOther)
	cookie, err := http.ParseSetCookie(answer.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	s.session = cookie.Value
}

// send sends a target as it stands, over HTTP/1.1.
func (s *scopeSite) send(t *testing.T, addr, target, field string) received {
	t.Helper()
	return sendHTTP1(t, addr, "GET "+target+" HTTP/1.1\r\nHost: "+addr+"\r\n"+field+"\r\nConnection: close\r\n\r\n", "")
}

// wantRejected checks that no report is shown for a target, by a token or a
// session, in any version of HTTP, though the applications would show one.
func (s *scopeSite) wantRejected(t *testing.T, quic *rawQUIC, target string) {
	t.Helper()
	answers := map[string]received{
		"with a token":   s.send(t, s.addr, target, "Authorization: Bearer "+s.token),
		"with a session": s.send(t, s.addr, target, "Cookie: sesame="+s.session),
	}
	if strings.HasPrefix(target, "/") {
		request := fieldsRequest{fields: [][2]string{
			{":method", "GET"}, {":scheme", "https"}, {":authority", s.secure}, {":path", target}, {"authorization", "Bearer " + s.token},
		}}
		answers["over HTTP/2"] = sendHTTP2(t, s.secure, request, request)
		answers["over HTTP/3"] = quic.send(t, s.secure, request, request)
	}
	for how, got := range answers {
		for _, status := range got.statuses {
			if status != http.StatusUnauthorized && status != http.StatusBadRequest && status != statusClosed {
				t.Errorf("%s, %s: status %d", target, how, status)
			}
		}
		if strings.Contains(string(got.raw), "report ") {
			t.Errorf("%s, %s: it shows %s", target, how, got.raw)
		}
	}
}

// wantPassed checks that report 7 is shown for a target.
func (s *scopeSite) wantPassed(t *testing.T, target string) {
	t.Helper()
	for _, field := range []string{"Authorization: Bearer " + s.token, "Cookie: sesame=" + s.session} {
		if got := s.send(t, s.addr, target, field); len(got.statuses) != 1 || got.statuses[0] != http.StatusOK || !strings.Contains(string(got.raw), "7") {
			t.Errorf("%s: %v %s", target, got.statuses, got.raw)
		}
	}
}

// TestAScopeOfThePathOpensNoOtherPath has the two ways to take a part of the
// path, with applications that resolve it before or after they decode it.
func TestAScopeOfThePathOpensNoOtherPath(t *testing.T) {
	quic := startRawQUIC(t)
	for _, template := range []string{"{http.request.uri.path.1}", "{re.report.1}", "{vars.report}", "{http.request.orig_uri.path.1}"} {
		t.Run(strings.Trim(template, "{}"), func(t *testing.T) {
			s := startScopeSite(t, "session\nscope report:"+template)
			s.logIn(t, "/reports/7")
			for _, prefix := range []string{"/reports/", "/php/", "/django/"} {
				s.wantPassed(t, prefix+"7")
				s.wantPassed(t, prefix+"7?page=2")
				for _, rest := range []string{
					"7/../8", "7/%2e%2e/8", "7/.%2e/8", "7/%2E./8", "7/..%2f8", "7/..%2F8", "7%2f..%2f8", `7/..\8`, "7/..%5c8", "7/x/../../8", "./8/../7/../8",
					"8/..%2f7", "8/../7", "8/%2e%2e/7", "8%2f..%2f7", "8/.%2e%2f7", "7/..;/8", "7;/../8", "8%00/../7", "7/%252e%252e/8", "7/..%252f8",
					"7//../../8", "/7/../8", "7/%c0%ae%c0%ae/8", "7/.%00./8", "7/..%00/8", "7/..%3b/8", "8?/../7", "8#/../7",
				} {
					if strings.HasPrefix(rest, "8?") {
						continue // a plain URL of report 8
					}
					s.wantRejected(t, quic, prefix+rest)
					s.wantRejected(t, quic, "http://"+s.addr+prefix+rest)
				}
				s.wantRejected(t, quic, prefix+"8")
				s.wantRejected(t, quic, "/"+prefix+"7/../8")
			}
			s.wantRejected(t, quic, "*")
		})
	}
}

// TestAttackedApplicationsReadAnotherRecord: without the gateway, the applications
// read another record than the first one in the target.
func TestAttackedApplicationsReadAnotherRecord(t *testing.T) {
	s := startScopeSite(t, "")
	for target, want := range map[string]string{
		"/reports/7/../8":        "report 8",
		"/reports/7/%2e%2e/8":    "report 8",
		"/reports/7/..%2f8":      "report 8",
		"/php/8/..%2f7":          "report 7",
		"/php/7/..%2f8":          "report 8",
		"/django/7/..%2f8":       "report 8",
		"/php/x?id=7&+id=8":      "id 8",
		"/php/x?id=7&%20id=8":    "id 8",
		"/php/x?id=7&id=8;x":     "id 8",
		"/php/x?id=7&id=8%zz":    "id 8",
		"/php/x?id=7&id=8%25":    "id 8",
		"/php/x?id=7&id[]=8":     "id of a list",
		"/php/x?id=7&id=8":       "id 8",
		"/django/x?id=7&id=8":    "id 8",
		"/django/x?id=7&id=8%zz": "id 8",
		"/django/x?id=7&id=8;x":  "id 8",
		"/php/x?id=7&id%00=8":    "id 8",
	} {
		if got := s.send(t, s.control, target, "X: y"); !strings.Contains(string(got.raw), want) {
			t.Errorf("%s: %s, want %s", target, got.raw, want)
		}
	}
}

// TestAScopeOfTheQueryOpensNoOtherRecord has the scope of a parameter, named
// itself or read into a variable.
func TestAScopeOfTheQueryOpensNoOtherRecord(t *testing.T) {
	quic := startRawQUIC(t)
	for _, template := range []string{"{http.request.uri.query.id}", "{vars.id}"} {
		t.Run(strings.Trim(template, "{}"), func(t *testing.T) {
			s := startScopeSite(t, "session\nscope report:"+template)
			s.logIn(t, "/php/x?id=7")
			for _, prefix := range []string{"/php/x?", "/django/x?"} {
				s.wantPassed(t, prefix+"id=7")
				s.wantPassed(t, prefix+"page=2&id=%37&flag=")
				for _, query := range []string{
					"id=7&+id=8", "id=7&%20id=8", "id=7&id=8;x", "id=7&id=8%zz", "id=7&id=8%", "id=7&id=8", "id=8&id=7", "id=7&id[]=8", "id=7&id[x]=8",
					"id=7&id%5b%5d=8", "id=7&id.x=8", "id=7&%69d=8", "id=7;id=8", "id=7&x;id=8", "id=7&ID=8", "id=7&id%00=8", "id=7&id", "id=7&id=", "id=7&[id]=8",
					"id=8&id", "id=7&amp;id=8", "id=7&x=%ff&id=%ff", "id=8", "", "id", "id=7&id=7", "id=7#&id=8", "id=7&%2569d=8", "id=7?id=8",
				} {
					s.wantRejected(t, quic, prefix+query)
				}
			}
		})
	}
}

// TestTheLoginPageHasTheScopeOfItsTarget: a token for one report starts no
// session for another.
func TestTheLoginPageHasTheScopeOfItsTarget(t *testing.T) {
	for template, good := range map[string]string{"{http.request.uri.path.1}": "/reports/7", "{http.request.orig_uri.path.1}": "/reports/7", "{http.request.uri.query.id}": "/php/x?id=7"} {
		t.Run(strings.Trim(template, "{}"), func(t *testing.T) {
			s := startScopeSite(t, "session\nscope report:"+template)
			login := func(next, tok string) *response {
				return s.get(t, "/_sesame/login?next="+strings.NewReplacer("%", "%25", "&", "%26", "?", "%3F", "#", "%23", `\`, "%5C", "+", "%2B", ";", "%3B").Replace(next)+"&sesame="+tok)
			}
			for _, next := range []string{good, good + "#section"} {
				answer := login(next, s.token)
				answer.wantStatus(t, http.StatusSeeOther)
				wantHeader(t, answer.header, "Location", next)
				cookie, err := http.ParseSetCookie(answer.header.Get("Set-Cookie"))
				if err != nil {
					t.Fatal(err)
				}
				s.session = cookie.Value
				s.wantPassed(t, good)
			}
			for _, next := range []string{
				"/reports/8", "/reports/7/../8", "/reports/7/%2e%2e/8", "/reports/7/..%2f8", "/reports//7", "/reports/7;x", `/reports/7\..\8`,
				"/reports/8?id=8", "/php/x?id=7&id=8", "/php/x?id=7&+id=8", "/php/x?id[]=7", "/php/x", "/", "",
			} {
				answer := login(next, s.token)
				answer.wantStatus(t, http.StatusUnauthorized)
				wantHeader(t, answer.header, "Set-Cookie", "")
				login(next, tokenFor(t, alice)).wantStatus(t, http.StatusUnauthorized)
			}
		})
	}
}

// TestAnAmbiguousTargetIsNotForwardedWithoutAUser: a handler with optional rejects
// the target with credentials, and passes it on without.
func TestAnAmbiguousTargetIsNotForwardedWithoutAUser(t *testing.T) {
	s := startScopeSite(t, "optional\nscope report:{http.request.uri.path.1}")
	const target = "/reports/7/../8"
	if got := s.send(t, s.addr, target, "Authorization: Bearer "+s.token); len(got.statuses) != 1 || got.statuses[0] != http.StatusUnauthorized {
		t.Errorf("with a token: %v", got.statuses)
	}
	if got := s.send(t, s.addr, target, "X: y"); len(got.statuses) != 1 || got.statuses[0] != http.StatusOK {
		t.Errorf("without: %v", got.statuses)
	}
	poll(t, "the log to say why", func() bool { return strings.Contains(string(s.log(t)), "the path has a dot segment") })
}

// TestASessionBehindOneOfAnotherScope: cookies of another scope and junk in front of
// it neither hide nor end the session.
func TestASessionBehindOneOfAnotherScope(t *testing.T) {
	s := startScopeSite(t, "session\nscope report:{http.request.uri.path.1}")
	s.logIn(t, "/reports/7")
	seven := s.session
	s.token = tokenAt(t, alice, "report:8", time.Now())
	s.logIn(t, "/reports/8")
	eight := s.session
	for _, test := range []struct {
		name, target, cookies string
		status                int
	}{
		{"of another scope first", "/reports/7", "sesame=" + eight + "; sesame=" + seven, http.StatusOK},
		{"of another scope last", "/reports/7", "sesame=" + seven + "; sesame=" + eight, http.StatusOK},
		{"of another scope, and then junk", "/reports/7", "sesame=" + eight + "; sesame=junk", http.StatusUnauthorized},
		{"junk, and then of another scope", "/reports/7", "sesame=junk; sesame=" + eight, http.StatusUnauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := s.get(t, test.target, "Cookie", test.cookies)
			answer.wantStatus(t, test.status)
			// The other session is accepted for its own page.
			wantHeader(t, answer.header, "Set-Cookie", "")
		})
	}
}

// TestHandlersWithScopesThatClientsChooseDoNotStart: the error says what to
// write.
func TestHandlersWithScopesThatClientsChooseDoNotStart(t *testing.T) {
	db := anyDatabase(t)
	for _, scope := range []string{"{header.X-Report}", "{cookie.report}", "{http.request.body}", "t:{http.request.header.X-Tenant}"} {
		g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
		err := tryCaddyfile(g.caddyfile(db, &upstream{addr: "127.0.0.1:1"}, site{options: "scope " + scope}))
		if err == nil || !strings.Contains(err.Error(), "scope ") || !strings.Contains(err.Error(), "Take the scope from the path") {
			t.Errorf("%s: %v", scope, err)
		}
	}
}
