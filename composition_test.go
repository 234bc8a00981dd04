package sesame_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// anyDatabase is the database of tests that work the same with each.
func anyDatabase(t *testing.T) *database {
	t.Helper()
	db := databases[0]
	db.reset(t)
	return db
}

// doWithBody is gateway.do for requests with a body.
func (g *gateway) doWithBody(t *testing.T, method, uri, body string, header ...string) *response {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+g.addr+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, uri, err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", method, uri, err)
	}
	return &response{status: answer.StatusCode, header: answer.Header, body: string(got)}
}

// startSite runs a gateway whose site has just these directives. In them,
// SESAME { stands for the directive with what it always needs, UPSTREAM for the
// upstream's address, and ROOT for a directory with pages.
func startSite(t *testing.T, db *database, up *upstream, logLevel, routes, site string) *gateway {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"page.html": `<p>{{placeholder "http.auth.user.username"}} {{.Req.URL}} {{.OriginalReq.URL}} {{.OriginalReq.RequestURI}} {{placeholder "http.request.orig_uri"}}</p>`,
		"plain.txt": strings.Repeat("plain ", 400),
		"401.html":  "own 401",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	config := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 100ms
	log {
		output file %s
		level %s
	}
}
%s
http://%s {
	log
	%s
}
`, g.logs, logLevel, routes, g.addr, site)
	loadCaddyfile(t, strings.NewReplacer(
		"SESAME {", fmt.Sprintf("sesame {\nsecret_key %q\nlimit_failures off\nuserstore mysql {\ndsn %q\n}\n", secretKey, db.dsn),
		"UPSTREAM", up.addr,
		"ROOT", root,
	).Replace(config))
	return g
}

// TestCaddysHandlersAroundTheGatewayNeverShowTheToken has Caddy's own handlers
// around this one. Every case is asked with the token in the URL and in a header,
// and without, and must never show the token.
func TestCaddysHandlersAroundTheGatewayNeverShowTheToken(t *testing.T) {
	for _, test := range compositions {
		t.Run(test.name, func(t *testing.T) {
			up := startUpstream(t)
			g := startSite(t, anyDatabase(t), up, "INFO", test.routes, test.site)
			valid := tokenFor(t, alice)
			for _, way := range []string{"query", "bearer"} {
				t.Run(way, func(t *testing.T) {
					uri, header := addToken(test.uri, way, valid, test.header)
					answer := g.get(t, uri, header...)
					answer.wantStatus(t, orOK(test.status))
					answer.unzip(t)
					if test.body != "" && answer.body != test.body {
						t.Errorf("body %q, want %q", answer.body, test.body)
					}
					for name, want := range test.answer {
						wantHeader(t, answer.header, name, want)
					}
					if strings.Contains(answer.body, valid) || strings.Contains(fmt.Sprint(answer.header), valid) {
						t.Errorf("the answer has the token: %v %s", answer.header, answer.body)
					}
					test.wantUpstream(t, up, valid)
				})
			}
			t.Run("refused", func(t *testing.T) {
				answer := g.get(t, test.uri, append([]string{"Remote-User", "admin"}, test.header...)...)
				answer.wantStatus(t, orUnauthorized(test.refused))
				for _, got := range up.take() {
					if test.refused == 0 || got.header["Remote-User"] != nil {
						t.Errorf("the upstream got %s %v", got.uri, got.header)
					}
				}
			})
			g.awaitLines(t, "http.log.access", 3)
			g.wantNoToken(t, valid)
		})
	}
}

type composition struct {
	name     string
	routes   string // named ones
	site     string
	uri      string
	header   []string
	status   int // 200 if 0
	refused  int // the status without a token; 401 if 0
	body     string
	answer   map[string]string // header fields
	upstream []string          // the URIs that the upstream gets; none if nil
	fields   map[string]string // header fields that it gets; Remote-User: alice if nil
}

var compositions = []composition{
	{
		name:     "handle_path around it",
		site:     "handle_path /app/* {\nSESAME {\n}\nreverse_proxy UPSTREAM\n}\nrespond outside",
		uri:      "/app/a%20b?x=1",
		upstream: []string{"/a%20b?x=1"},
	},
	{
		name:     "handle_path behind it",
		site:     "SESAME {\n}\nhandle_path /app/* {\nreverse_proxy UPSTREAM\n}",
		uri:      "/app/a%20b?x=1",
		upstream: []string{"/a%20b?x=1"},
	},
	{
		name:     "rewrite before it",
		site:     "rewrite /old* /new{uri}&y=2\nSESAME {\n}\nreverse_proxy UPSTREAM",
		uri:      "/old?x=1",
		upstream: []string{"/new/old?x=1&y=2"},
	},
	{
		name:     "rewrite of the path before it",
		site:     "rewrite /old /new\nSESAME {\n}\nreverse_proxy UPSTREAM",
		uri:      "/old?x=1",
		upstream: []string{"/new?x=1"},
	},
	{
		name:     "rewrite before it, and the query as it came behind it",
		site:     "route {\nrewrite /old /new?{query}&y=2\nSESAME {\n}\nrequest_header X-Query {http.request.orig_uri.query}\nreverse_proxy UPSTREAM\n}",
		uri:      "/old?x=1",
		upstream: []string{"/new?x=1&y=2"},
		fields:   map[string]string{"X-Query": "x=1", "Remote-User": "alice"},
	},
	{
		name:     "rewrite behind it, to the URI as it came",
		site:     "route {\nSESAME {\n}\nrewrite * /new?from={http.request.orig_uri}&q={http.request.orig_uri.query}\nreverse_proxy UPSTREAM\n}",
		uri:      "/old?x=1",
		upstream: []string{"/new?from=%2Fold%3Fx%3D1&q=x%3D1"},
	},
	{
		name:     "uri before it",
		site:     "uri strip_prefix /app\nuri path_regexp /+ /\nSESAME {\n}\nreverse_proxy UPSTREAM",
		uri:      "/app//c?x=1",
		upstream: []string{"/c?x=1"},
	},
	{
		name:     "try_files before it",
		site:     "root * ROOT\ntry_files {path} /page.html?p={path}&{query}\nSESAME {\n}\nreverse_proxy UPSTREAM",
		uri:      "/a?x=1",
		upstream: []string{"/page.html?p=%2Fa&x=1"},
	},
	{
		name:     "route",
		site:     "route {\nSESAME {\n}\nrequest_header X-User {http.auth.user.username}:{http.auth.user.email}:{http.auth.user.id}\nreverse_proxy UPSTREAM\n}",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
		fields:   map[string]string{"X-User": "alice:alice@example.com:1", "Remote-User": "alice"},
	},
	{
		name:     "handle with matchers",
		site:     "@public path /public/*\nhandle @public {\nrespond public\n}\nhandle {\nSESAME {\n}\nreverse_proxy UPSTREAM\n}",
		uri:      "/private?x=1",
		upstream: []string{"/private?x=1"},
	},
	{
		name:     "matchers of the user behind it",
		site:     "SESAME {\n}\n@alice vars {http.auth.user.username} alice\nhandle @alice {\nreverse_proxy UPSTREAM\n}\nrespond stranger 403",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
	},
	{
		name:     "an expression of the user behind it",
		site:     "SESAME {\n}\n@alice expression {http.auth.user.id} == \"1\"\nhandle @alice {\nreverse_proxy UPSTREAM\n}\nrespond stranger 403",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
	},
	{
		name:   "encode gzip",
		site:   "SESAME {\n}\nencode {\ngzip\nminimum_length 10\n}\nroot * ROOT\nfile_server",
		uri:    "/plain.txt?x=1",
		header: []string{"Accept-Encoding", "gzip"},
		body:   strings.Repeat("plain ", 400),
		answer: map[string]string{"Content-Encoding": "gzip"},
	},
	{
		name: "templates",
		site: "SESAME {\n}\nroot * ROOT\ntemplates\nfile_server",
		uri:  "/page.html?x=1",
		body: "<p>alice /page.html?x=1 /page.html?x=1 /page.html?x=1 /page.html?x=1</p>",
	},
	{
		name: "file_server",
		site: "SESAME {\n}\nroot * ROOT\nfile_server",
		uri:  "/plain.txt?x=1",
		body: strings.Repeat("plain ", 400),
	},
	{
		name:   "file_server redirecting",
		site:   "SESAME {\n}\nroot * ROOT\nfile_server browse",
		uri:    "/plain.txt/?x=1",
		status: http.StatusPermanentRedirect,
		answer: map[string]string{"Location": "/plain.txt?x=1"},
	},
	{
		name:   "redir behind it",
		site:   "route {\nSESAME {\n}\nredir https://example.com{uri}\n}",
		uri:    "/a?x=1",
		status: http.StatusFound,
		answer: map[string]string{"Location": "https://example.com/a?x=1"},
	},
	{
		name:     "forward_auth behind it",
		site:     "SESAME {\n}\nforward_auth UPSTREAM {\nuri /auth\n}\nreverse_proxy UPSTREAM",
		uri:      "/a?x=1",
		upstream: []string{"/auth?x=1", "/a?x=1"},
	},
	{
		name:   "intercept behind it",
		site:   "SESAME {\n}\nintercept {\n@missing status 404\nhandle_response @missing {\nrespond \"{http.auth.user.username} has no {http.request.uri}\" 404\n}\n}\nrespond nothing 404",
		uri:    "/nothing?x=1",
		status: http.StatusNotFound,
		body:   "alice has no /nothing?x=1",
	},
	{
		name:    "intercept around it",
		site:    "route {\nintercept {\n@refused status 401\nhandle_response @refused {\nrespond \"{http.request.uri} {http.request.orig_uri}\" 402\n}\n}\nSESAME {\n}\nrespond \"{http.request.uri}\"\n}",
		uri:     "/a?x=1",
		body:    "/a?x=1",
		refused: 402,
	},
	{
		name:     "a named route around it",
		routes:   "&(protected) {\nroute {\nSESAME {\n}\nreverse_proxy UPSTREAM\n}\n}",
		site:     "invoke protected",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
	},
	{
		name:     "a named route with nothing but it",
		routes:   "&(protect) {\nSESAME {\n}\n}",
		site:     "invoke protect\nreverse_proxy UPSTREAM",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
	},
	{
		name:     "a snippet",
		routes:   "(protect) {\nSESAME {\n}\n}",
		site:     "import protect\nreverse_proxy UPSTREAM",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
	},
	{
		name:     "header_up",
		site:     "SESAME {\n}\nreverse_proxy UPSTREAM {\nheader_up Remote-User app-{http.auth.user.username}\nheader_up -Remote-Email\nheader_up X-Original {http.request.orig_uri}\n}",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
		fields:   map[string]string{"Remote-User": "app-alice", "Remote-Email": "", "X-Original": "/a?x=1"},
	},
	{
		name:     "header_down",
		site:     "SESAME {\n}\nreverse_proxy UPSTREAM {\nheader_down X-User {http.auth.user.username}\n}",
		uri:      "/a?x=1",
		answer:   map[string]string{"X-User": "alice"},
		upstream: []string{"/a?x=1"},
	},
	{
		name:   "header, which comes before it",
		site:   "header >X-User {http.auth.user.username}\nSESAME {\n}\nrespond \"hello {http.auth.user.username}\"",
		uri:    "/a?x=1",
		body:   "hello alice",
		answer: map[string]string{"X-User": "alice"},
	},
	{
		name: "vars and map",
		// vars sets its variables when it is reached, map when they are asked for.
		site: "map {http.auth.user.username} {role} {\nalice admin\ndefault none\n}\nroute {\nSESAME {\n}\nvars who {http.auth.user.username}\nrespond \"{role} {vars.who} {http.request.orig_uri}\"\n}",
		uri:  "/a?x=1",
		body: "admin alice /a?x=1",
	},
	{
		name: "basic_auth's placeholder",
		site: "SESAME {\n}\nrespond {http.auth.user.id}",
		uri:  "/a?x=1",
		body: "1",
	},
	{
		name:     "method and request_body before it",
		site:     "method GET\nrequest_body {\nmax_size 1MB\n}\nSESAME {\n}\nreverse_proxy UPSTREAM",
		uri:      "/a?x=1",
		upstream: []string{"/a?x=1"},
	},
	{
		name:     "error pages of the upstream's",
		site:     "SESAME {\n}\nreverse_proxy 127.0.0.1:1\nhandle_errors {\nrewrite * /error/{err.status_code}\nreverse_proxy UPSTREAM\n}",
		uri:      "/a?x=1",
		refused:  http.StatusOK, // it is what the upstream says
		upstream: []string{"/error/502?x=1"},
	},
	{
		name:    "error pages from files",
		site:    "root * ROOT\nSESAME {\n}\nrespond fine\nhandle_errors {\nrewrite * /{err.status_code}.html\nfile_server\n}",
		uri:     "/a?x=1",
		body:    "fine",
		refused: http.StatusUnauthorized,
	},
	{
		name:   "it in handle_errors, too",
		site:   "SESAME {\n}\nerror 500\nhandle_errors {\nSESAME {\n}\nrespond \"never\"\n}",
		uri:    "/a?x=1",
		status: http.StatusUnauthorized, // the first handler has removed the token
	},
	{
		name:   "it in handle_errors, optional",
		site:   "SESAME {\n}\nerror 500\nhandle_errors {\nSESAME {\noptional\n}\nrespond \"{http.error.status_code} {http.request.orig_uri}\"\n}",
		uri:    "/a?x=1",
		body:   "500 /a?x=1",
		status: http.StatusInternalServerError,
	},
}

// wantUpstream fails the test unless the upstream got just the requests that
// it should, with the user's identity and without the token.
func (c composition) wantUpstream(t *testing.T, up *upstream, tok string) {
	t.Helper()
	fields := c.fields
	if fields == nil {
		fields = map[string]string{"Remote-User": "alice"}
	}
	var uris []string
	for _, got := range up.take() {
		uris = append(uris, got.uri)
		if strings.Contains(fmt.Sprint(got), tok) {
			t.Errorf("the upstream got the token: %v", got)
		}
		if strings.HasPrefix(got.uri, "/error/") {
			continue
		}
		for name, want := range fields {
			wantHeader(t, got.header, name, want)
		}
	}
	if !slices.Equal(uris, c.upstream) {
		t.Errorf("the upstream got %q, want %q", uris, c.upstream)
	}
}

// addToken adds a token to a request.
func addToken(uri, way, tok string, header []string) (string, []string) {
	if way == "query" {
		path, query, _ := strings.Cut(uri, "?")
		return path + "?sesame=" + tok + "&" + query, header
	}
	return uri, append([]string{"Authorization", "Bearer " + tok}, header...)
}

func orOK(status int) int {
	if status == 0 {
		return http.StatusOK
	}
	return status
}

func orUnauthorized(status int) int {
	if status == 0 {
		return http.StatusUnauthorized
	}
	return status
}

// unzip decompresses a body in gzip.
func (r *response) unzip(t *testing.T) {
	t.Helper()
	if r.header.Get("Content-Encoding") != "gzip" {
		return
	}
	reader, err := gzip.NewReader(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	r.body = string(body)
}
