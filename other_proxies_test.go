package sesame_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// asking is a gateway that other proxies ask, by the Caddyfile of the guide.
type asking struct {
	gateway
	pages, auth string // host:port of the sites
}

// guideOf is the configuration of the guide for a proxy.
func guideOf(t *testing.T, heading, language string) string {
	t.Helper()
	blocks := codeBlocks(chapter(t, readFile(t, "docs/other-proxies.md"), "## "+heading), language)
	if len(blocks) == 0 {
		t.Fatalf("the guide has no %s for %s", language, heading)
	}
	return blocks[0]
}

// startAsking runs the gateway with more options, and further sites.
func startAsking(t *testing.T, db *database, kind, options, sites string) *asking {
	t.Helper()
	a := &asking{pages: freeAddr(t), auth: freeAddr(t)}
	a.logs = filepath.Join(t.TempDir(), "caddy.log")
	caddyfile := strings.NewReplacer(
		"{\n\tservers {", fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\ngrace_period 5s\nlog {\noutput file %s\nlevel DEBUG\n}\n\tservers {", a.logs),
		"10.0.0.5", "127.0.0.1", "10.0.0.6", "127.0.0.1", ":9180", ":"+portOf(a.pages), ":9181", ":"+portOf(a.auth),
		"{env.DJANGO_SECRET_KEY}", fmt.Sprintf("%q", secretKey), "{env.SESAME_DSN}", fmt.Sprintf("%q\nquery_timeout 20s", db.dsn),
		"auth_service forward_auth", "auth_service "+kind, "\tsession\n", "\tsession\nlimit_failures off\n"+options+"\n",
		"\tbind {$GATEWAY_ADDRESS:127.0.0.1}\n", "\tbind 127.0.0.1\n\tlog\n",
		"\tmax_age 10m\n", "", // as the tests' tokens are made
	).Replace(guideOf(t, "The gateway", "caddyfile") + sites)
	loadCaddyfile(t, caddyfile)
	return a
}

// clientOf are requests from an address that isn't a proxy's.
func clientOf(t *testing.T, from string) *http.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true}
	return &http.Client{
		Timeout: patience, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send sends a request to an address; the header fields are in pairs. The path is sent
// as it is.
func send(t *testing.T, client *http.Client, addr, method, target, body string, header ...string) *response {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+addr+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	request.URL.Opaque, request.URL.RawQuery = path, query
	request.Host = "app.example.com"
	for i := 0; i < len(header); i += 2 {
		request.Header[http.CanonicalHeaderKey(header[i])] = append(request.Header[http.CanonicalHeaderKey(header[i])], header[i+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &response{status: answer.StatusCode, header: answer.Header, body: string(text)}
}

// otherProxies run a proxy by the guide's configuration, and return its address.
var otherProxies = map[string]struct {
	kind  string
	start func(t *testing.T, db *database, kind string, up *upstream) (proxy string, a *asking)
}{
	"nginx": {"auth_request", func(t *testing.T, db *database, kind string, up *upstream) (string, *asking) {
		a := startAsking(t, db, kind, "django_session", "")
		return startNginx(t, a, up), a
	}},
	"HAProxy": {"forward_auth", func(t *testing.T, db *database, kind string, up *upstream) (string, *asking) {
		a := startAsking(t, db, kind, "django_session", "")
		return startHAProxy(t, a, up), a
	}},
	"Caddy": {"forward_auth", func(t *testing.T, db *database, kind string, up *upstream) (string, *asking) {
		proxy := freeAddr(t)
		// The addresses are free only before the gateway has them.
		site := guideOf(t, "Caddy", "caddyfile")
		site = strings.Replace(site, "app.example.com {", "http://:"+portOf(proxy)+" {\nbind 127.0.0.1\n", 1)
		a := startAsking(t, db, kind, "django_session", "\n"+strings.ReplaceAll(site, "localhost:9000", up.addr))
		return proxy, a
	}},
}

// startNginx runs nginx by the guide.
func startNginx(t *testing.T, a *asking, up *upstream) string {
	t.Helper()
	addr := freeAddr(t)
	server := regexp.MustCompile(`(?m)^\s*ssl_\w+ .*\n`).ReplaceAllString(guideOf(t, "nginx", "nginx"), "")
	server = strings.NewReplacer("listen 443 ssl", "listen "+addr+" reuseport", "127.0.0.1:9000", up.addr, "10.0.0.6:9180", a.pages, "10.0.0.6:9181", a.auth).Replace(server)
	testprogram.StartNginx(t, server, addr)
	return addr
}

// startHAProxy runs HAProxy by the guide.
func startHAProxy(t *testing.T, a *asking, up *upstream) string {
	t.Helper()
	addr, script := freeAddr(t), filepath.Join(t.TempDir(), "sesame.lua")
	if err := os.WriteFile(script, []byte(guideOf(t, "HAProxy", "lua")), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("/etc/haproxy/sesame.lua", script, ":443 ssl crt /etc/ssl/private/app.example.com.pem", addr,
		"127.0.0.1:9000", up.addr, "10.0.0.6:9180", a.pages, "10.0.0.6:9181", a.auth).Replace(guideOf(t, "HAProxy", "haproxy"))
	testprogram.StartHAProxy(t, config, addr)
	return addr
}

// page has a browser's request ask for a page.
var page = []string{"Accept", "text/html", "User-Agent", "Mozilla/5.0", "Cookie", "app=1"}

// follow opens a URL as a browser does, until an answer is no redirect. It returns the
// cookies that the browser then has.
func follow(t *testing.T, client *http.Client, proxy, target string) (answer *response, cookie string) {
	t.Helper()
	cookie = "app=1"
	for range 4 {
		answer = send(t, client, proxy, http.MethodGet, target, "", "Accept", "text/html", "User-Agent", "Mozilla/5.0", "Cookie", cookie)
		for _, set := range answer.header["Set-Cookie"] {
			pair, _, _ := strings.Cut(set, ";")
			cookie += "; " + pair
		}
		if answer.status != http.StatusSeeOther {
			return answer, cookie
		}
		location, err := url.Parse(answer.header.Get("Location"))
		if err != nil || location.Host != "" {
			t.Fatalf("it leads to %q (%v)", answer.header.Get("Location"), err)
		}
		target = location.RequestURI()
	}
	t.Fatalf("it leads round in circles: %d to %q", answer.status, answer.header.Get("Location"))
	return nil, ""
}

// TestOtherProxiesAskTheGateway runs them by the guide's configurations.
func TestOtherProxiesAskTheGateway(t *testing.T) {
	for name, other := range otherProxies {
		t.Run(name, func(t *testing.T) {
			withSessions(t, func(t *testing.T, db *database) {
				up := startUpstream(t)
				proxy, a := other.start(t, db, other.kind, up)
				client, valid := clientOf(t, "127.0.0.2"), tokenFor(t, alice)

				for _, target := range []string{"/", "/favicon.ico", "/page?sesame=bad", "/?sesame=" + valid[1:], "/_sesame/other", "/sesame-auth"} {
					answer := send(t, client, proxy, http.MethodGet, target, "", append(page, "X-Forwarded-Uri", "/", "X-Original-Uri", "/", "Remote-User", "admin")...)
					if isIcon := target == "/favicon.ico" && answer.header.Get("Content-Type") == "image/x-icon"; isIcon {
						continue // the gateway's own
					}
					if answer.status != http.StatusUnauthorized && answer.status != http.StatusNotFound && answer.status != http.StatusSeeOther {
						t.Errorf("%s without a login: %d: %.200s", target, answer.status, answer.body)
					}
					// nginx adds the challenge of its question to that of the page.
					if asked := slices.Compact(answer.header["Www-Authenticate"]); answer.status == http.StatusUnauthorized && len(asked) != 1 {
						t.Errorf("%s without a login asks for %q", target, asked)
					}
				}
				up.takeNone(t)

				answer, cookie := follow(t, client, proxy, "/page/a%2Fb?x=%20+1&sesame="+valid)
				answer.wantStatus(t, http.StatusOK)
				got := up.takeOne(t)
				if got.uri != "/page/a%2Fb?x=%20+1" {
					t.Errorf("the link leads to %s", got.uri)
				}
				wantIdentity(t, got)
				wantRequests(t, client, proxy, cookie, up)
				wantSameOrigin(t, client, proxy, "app=1; "+db.logIn(t, djangoLogin{user: alice})[1], up)
				for line := range strings.Lines(string(a.log(t))) {
					isOfProxy := strings.Contains(line, `"logger":"http.handlers.reverse_proxy"`)
					if strings.Contains(line, valid) && !isOfProxy {
						t.Errorf("a token is in the gateway's log: %s", line)
					}
				}
			})
		})
	}
}

// wantIdentity fails if an application doesn't get Alice's identity, or gets the
// gateway's cookie.
func wantIdentity(t *testing.T, got *recordedRequest) {
	t.Helper()
	for field, want := range map[string]string{"Remote-User": "alice", "Remote-User-Id": "1", "Remote-Email": "alice@example.com", "Cookie": "app=1"} {
		if values := got.header[field]; !slices.Equal(values, []string{want}) {
			t.Errorf("the application gets %s %q, want %q", field, values, want)
		}
	}
}

// wantRequests sends requests of a user who is logged in.
func wantRequests(t *testing.T, client *http.Client, proxy, cookie string, up *upstream) {
	t.Helper()
	own := []string{"Origin", "http://app.example.com", "Content-Type", "application/x-www-form-urlencoded"}
	for name, test := range map[string]proxied{
		"a form":                  {"POST", "/form", "a=1", own, 200},
		"a forged identity":       {"GET", "/", "", []string{"Remote-User", "admin", "Remote-User-Id", "9", "Remote-Email", "admin@example.com"}, 200},
		"a forged identity, HEAD": {"HEAD", "/", "", []string{"Remote-User", "admin"}, 200},
		"two of them":             {"GET", "/a?b", "", []string{"Remote-User", "admin", "Remote-User", "root"}, 200},
		"another URI":             {"GET", "/a", "", []string{"X-Forwarded-Uri", "/_sesame/login", "X-Original-Uri", "/_sesame/login"}, 200},
		"a link again":            {"GET", "/a?sesame=bad", "", nil, 303},
	} {
		test.send(t, client, proxy, cookie, name, up)
	}
	send(t, client, proxy, http.MethodPost, "/a?sesame=bad", "", append(own, "Cookie", cookie)...)
	up.takeNone(t) // the token would be forwarded
	answer := send(t, client, proxy, http.MethodGet, "/api", "", "Authorization", "Bearer "+tokenFor(t, alice), "Cookie", "app=1")
	answer.wantStatus(t, http.StatusOK)
	got := up.takeOne(t)
	wantIdentity(t, got)
	if got.header["Authorization"] != nil {
		t.Errorf("the application gets %q", got.header["Authorization"])
	}
}

// wantSameOrigin sends requests with a session of Django's, which browsers may send for
// pages of other origins.
func wantSameOrigin(t *testing.T, client *http.Client, proxy, cookie string, up *upstream) {
	t.Helper()
	const other = "http://evil.example"
	socket := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for name, test := range map[string]proxied{
		"a page":                        {"GET", "/", "", nil, 200},
		"a form":                        {"POST", "/form", "a=1", []string{"Origin", "http://app.example.com", "Content-Type", "text/plain"}, 200},
		"a form of another origin":      {"POST", "/form", "a=1", []string{"Origin", other, "Content-Type", "text/plain"}, 403},
		"a form that is said to be GET": {"POST", "/form", "a=1", []string{"Origin", other, "X-Forwarded-Method", "GET", "X-Original-Method", "GET", "X-Http-Method-Override", "GET"}, 403},
		"a host that is said":           {"DELETE", "/form", "", []string{"Origin", other, "X-Forwarded-Host", "evil.example"}, 403},
		"a WebSocket":                   {"GET", "/socket", "", append([]string{"Origin", other}, socket...), 403},
		"a WebSocket without an origin": {"GET", "/socket", "", socket, 403},
	} {
		test.send(t, client, proxy, cookie, name, up)
	}
}

// proxied is a request by way of a proxy, and the expected status.
type proxied struct {
	method, target, body string
	header               []string
	want                 int
}

// send sends the request: the application gets it with the user's identity, or not at
// all.
func (p *proxied) send(t *testing.T, client *http.Client, proxy, cookie, name string, up *upstream) {
	t.Helper()
	answer := send(t, client, proxy, p.method, p.target, p.body, append(slices.Clone(p.header), "Cookie", cookie, "Accept", "text/html")...)
	isOfNginx := p.want == http.StatusForbidden && answer.status == http.StatusServiceUnavailable // of a WebSocket, whose Upgrade nginx drops
	if answer.status != p.want && !isOfNginx {
		t.Errorf("%s: %d, want %d: %.200s", name, answer.status, p.want, answer.body)
	}
	requests := up.take()
	if (len(requests) == 1) != (p.want == http.StatusOK) {
		t.Errorf("%s: the application gets %d requests", name, len(requests))
	}
	for _, got := range requests {
		wantIdentity(t, got)
		if got.method != p.method || got.uri != p.target || got.body != p.body {
			t.Errorf("%s: the application gets %s %s %q", name, got.method, got.uri, got.body)
		}
	}
}

// asTraefik is what Traefik and other proxies that ask by forward_auth say of a request.
func asTraefik(method, uri string, header ...string) []string {
	said := []string{"X-Forwarded-Method", method, "X-Forwarded-Uri", uri, "X-Forwarded-Host", "app.example.com", "X-Forwarded-Proto", "http", "X-Forwarded-For", "192.0.2.7"}
	return append(said, header...)
}

// asNginx is what nginx says.
func asNginx(method, uri string, header ...string) []string {
	return append([]string{"X-Original-Method", method, "X-Original-Uri", uri, "X-Forwarded-Proto", "http"}, header...)
}

// TestQuestionsThatAreNoProxysGetNoYes sends to the site with auth_service what clients
// and wrong proxies could, with a session that is valid.
func TestQuestionsThatAreNoProxysGetNoYes(t *testing.T) {
	db := anyDatabase(t)
	a := startAsking(t, db, "forward_auth", "", "")
	proxy, valid := clientOf(t, "127.0.0.1"), tokenFor(t, alice)
	cookie := "sesame=" + newBrowserAt(t, a.pages, valid)
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"a request":                 {asTraefik("GET", "/a%2Fb?c"), 200},
		"a form":                    {asTraefik("POST", "/", "Origin", "http://app.example.com"), 200},
		"a WebSocket's scheme":      {asTraefik("GET", "/", "X-Forwarded-Proto", "ws")[2:], 400}, // without a method
		"no URI":                    {asTraefik("GET", "/")[:2], 400},
		"an empty URI":              {asTraefik("GET", ""), 400},
		"no method":                 {asTraefik("", "/"), 400},
		"a method of several":       {asTraefik("GET, POST", "/"), 400},
		"two URIs":                  {asTraefik("GET", "/", "X-Forwarded-Uri", "/b"), 400},
		"two methods":               {asTraefik("POST", "/", "X-Forwarded-Method", "GET"), 400},
		"two hosts":                 {asTraefik("GET", "/", "X-Forwarded-Host", "evil.example"), 400},
		"two schemes":               {asTraefik("GET", "/", "X-Forwarded-Proto", "https"), 400},
		"a host that is none":       {[]string{"X-Forwarded-Method", "GET", "X-Forwarded-Uri", "/", "X-Forwarded-Host", "a/b"}, 400},
		"a scheme that is none":     {[]string{"X-Forwarded-Method", "GET", "X-Forwarded-Uri", "/", "X-Forwarded-Proto", "ftp"}, 400},
		"an absolute URI":           {asTraefik("GET", "http://app.example.com/"), 400},
		"an asterisk":               {asTraefik("OPTIONS", "*"), 400},
		"a URI with a space":        {asTraefik("GET", "/a b"), 400},
		"a URI with a wrong escape": {asTraefik("GET", "/%zz"), 400},
		"what nginx says":           {asNginx("GET", "/"), 400},
		"the login page":            {asTraefik("GET", "/_sesame/login"), 404},
		"the logout":                {asTraefik("POST", "/_sesame/logout"), 404},
		"a health check":            {asTraefik("GET", "/_sesame/health"), 404},
		"a readiness check":         {asTraefik("GET", "/_sesame/ready"), 404},
		"a reserved path, encoded":  {asTraefik("GET", "/%5fsesame/whoami"), 404},
		"a token":                   {asTraefik("GET", "/?sesame="+valid), 303},
		"a token, HEAD":             {asTraefik("HEAD", "/?sesame="+valid), 303},
		"a token, encoded":          {asTraefik("GET", "/?%73esame="+valid), 303},
		"a token, damaged":          {asTraefik("GET", "/?a=b&amp;sesame="+valid), 303},
		"a token, nested":           {asTraefik("GET", "/?next=%2F%3Fsesame%3D"+valid), 303},
		"a token, posted":           {asTraefik("POST", "/?sesame="+valid, "Origin", "http://app.example.com"), 401},
		"a very long URI":           {asTraefik("GET", "/?a="+strings.Repeat("b", 10_000)), 200},
		"a session of another host": {[]string{"X-Forwarded-Method", "GET", "X-Forwarded-Uri", "/", "X-Forwarded-Host", "other.example.com"}, 401},
	} {
		answer := send(t, proxy, a.auth, http.MethodGet, "/anything", "", append(test.header, "Cookie", cookie, "Remote-User", "admin")...)
		if answer.status != test.want {
			t.Errorf("%s: %d, want %d: %.200s", name, answer.status, test.want, answer.body)
		}
		if user := answer.header.Get("Remote-User"); (user == "alice") != (test.want == http.StatusOK) || user != "" && user != "alice" {
			t.Errorf("%s: the user is %q", name, user)
		}
	}
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		answer := send(t, clientOf(t, from), a.auth, http.MethodGet, "/", "", asTraefik("GET", "/", "Cookie", cookie)...)
		if answer.status != http.StatusForbidden || answer.header.Get("Remote-User") != "" {
			t.Errorf("a client that no proxy is: %d, %q", answer.status, answer.header)
		}
	}
	poll(t, "the warnings", func() bool { return strings.Count(string(a.log(t)), "auth_service rejects a request") >= 2 })
	// One of what requests say, and one of those who send them.
	if n := strings.Count(string(a.log(t)), "auth_service rejects a request"); n != 2 {
		t.Errorf("%d warnings of one minute, want 2", n)
	}
	a.wantNoToken(t, valid)
}

// newBrowserAt logs in by a link at the gateway's pages, as a proxy passes it on, and
// returns the session.
func newBrowserAt(t *testing.T, pages, token string) (session string) {
	t.Helper()
	answer := send(t, clientOf(t, "127.0.0.1"), pages, http.MethodGet, "/_sesame/login?sesame="+token, "", "Accept", "text/html")
	_, rest, _ := strings.Cut(answer.header.Get("Set-Cookie"), "sesame=")
	session, _, _ = strings.Cut(rest, ";")
	if session == "" {
		t.Fatalf("no login: %d %q", answer.status, answer.header)
	}
	return session
}

// TestNoPageOfTheGatewayIsAYes asks for requests without a login: whatever the gateway
// would answer a client with, a proxy must not take for a yes.
func TestNoPageOfTheGatewayIsAYes(t *testing.T) {
	db := anyDatabase(t)
	proxy, valid := clientOf(t, "127.0.0.1"), tokenFor(t, alice)
	for _, kind := range []string{"forward_auth", "auth_request"} {
		for _, options := range []string{"", "one_time\ntoken_from query bearer", "confirm strict", "login {\npassword\nredirect off\n}", "password {\nbasic\n}"} {
			a := startAsking(t, db, kind, options, "")
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "get", "PURGE"} {
				for _, uri := range []string{"/", "/favicon.ico", "/_sesame/", "/_sesame/login", "/_sesame/logo", "/_sesame/whoami", "/_sesame/health", "/?sesame=" + valid, "/_sesame/login?sesame=" + valid, "//evil.example/", "/../", "/%2e%2e/_sesame/ready"} {
					for _, accept := range []string{"text/html", "application/json", "*/*"} {
						say := asTraefik
						if kind == "auth_request" {
							say = asNginx
						}
						answer := send(t, proxy, a.auth, http.MethodGet, "/", "", say(method, uri, "Accept", accept, "Sec-Purpose", "prefetch")...)
						isRedirect := answer.status >= 300 && answer.status < 400
						if answer.status < 300 || isRedirect && kind == "auth_request" {
							t.Errorf("%s, %q: %s %s as %s: %d", kind, options, method, uri, accept, answer.status)
						}
					}
				}
			}
		}
	}
}

// TestScopeIsThatOfTheClientsRequest however the client and the proxy write it.
func TestScopeIsThatOfTheClientsRequest(t *testing.T) {
	db := anyDatabase(t)
	a := startAsking(t, db, "auth_request", `scope "report:{http.request.uri.path.1}"`, "")
	proxy := clientOf(t, "127.0.0.1")
	bearer := "Bearer " + tokenAt(t, alice, "report:7", time.Now())
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"its report":                {asNginx("GET", "/reports/7"), 200},
		"another":                   {asNginx("GET", "/reports/8"), 401},
		"by the URL":                {[]string{"X-Original-Method", "GET", "X-Original-Url", "http://app.example.com/reports/7"}, 200},
		"another by the URL":        {[]string{"X-Original-Method", "GET", "X-Original-Url", "http://app.example.com/reports/8"}, 401},
		"a URL that contradicts":    {asNginx("GET", "/reports/8", "X-Original-Url", "http://app.example.com/reports/7"), 400},
		"a URL that agrees":         {asNginx("GET", "/reports/7", "X-Original-Url", "http://app.example.com/reports/7"), 200},
		"a host that contradicts":   {asNginx("GET", "/reports/7", "X-Original-Url", "http://a.example/reports/7", "X-Forwarded-Host", "b.example"), 400},
		"a URL without a path":      {[]string{"X-Original-Method", "GET", "X-Original-Url", "http://app.example.com"}, 400},
		"what Traefik says besides": {asNginx("GET", "/reports/8", "X-Forwarded-Uri", "/reports/7"), 401},
		"dots":                      {asNginx("GET", "/reports/7/../8"), 401},
		"encoded dots":              {asNginx("GET", "/reports/7/%2e%2e/8"), 401},
		"an encoded slash":          {asNginx("GET", "/reports%2F7/8"), 401},
		"two slashes":               {asNginx("GET", "//reports/7"), 401},
	} {
		answer := send(t, proxy, a.auth, http.MethodGet, "/reports/7", "", append(test.header, "Authorization", bearer)...)
		if answer.status != test.want {
			t.Errorf("%s: %d, want %d", name, answer.status, test.want)
		}
	}
}

// TestSitesThatMissRequestsAreWarnedOf has requests that don't reach auth_service, which
// Caddy answers with 200.
func TestSitesThatMissRequestsAreWarnedOf(t *testing.T) {
	db := anyDatabase(t)
	for name, test := range map[string]struct {
		host, matcher, before, after string
		isMissed                     bool
	}{
		"a host":              {host: "app.example.org", isMissed: true},
		"a matcher":           {matcher: "/admin/*", isMissed: true},
		"a handle":            {before: "handle /admin/* {", after: "}", isMissed: true},
		"a handle of a route": {before: "route {\nhandle /admin/* {", after: "}\n}", isMissed: true},
		"nothing":             {},
		"a route without":     {before: "route {\nhandle {", after: "}\n}"},
	} {
		addr := freeAddr(t)
		site := fmt.Sprintf("\nhttp://%s:%s {\nbind 127.0.0.1\n%s\nsesame %s {\nimport gate\nauth_service forward_auth\n}\n%s\n}\n", test.host, portOf(addr), test.before, test.matcher, test.after)
		a := startAsking(t, db, "forward_auth", "", site)
		answer := send(t, clientOf(t, "127.0.0.1"), addr, http.MethodGet, "/", "", asTraefik("GET", "/")...)
		if isYes := answer.status == http.StatusOK; isYes != test.isMissed {
			t.Errorf("%s: a request without a login gets %d", name, answer.status)
		}
		if isWarned := strings.Contains(string(a.log(t)), "auth_service is in a site with a host name"); isWarned != test.isMissed {
			t.Errorf("%s: there is a warning: %t", name, isWarned)
		}
	}
}
