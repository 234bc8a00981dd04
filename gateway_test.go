package sesame_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"golang.org/x/sys/unix"

	_ "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// secretKey is the tests' SECRET_KEY.
const secretKey = "django-insecure-%5j&w#tests-only"

// patience is how long tests wait for what should happen soon. A busy machine takes
// its time, and a test that passes doesn't wait for all of it.
const patience = 3 * time.Minute

// gateway is a real Caddy with the module, in this process, behind a real
// socket. There is one at a time.
type gateway struct {
	addr string // host:port
	logs string // the file of Caddy's default log
	stop func() // ends the gateway's process, if it has one
	kill func() // has it die
}

// site is what a test changes of the gateway's Caddyfile.
type site struct {
	global   string // global options
	logLevel string // DEBUG if empty
	before   string // directives before sesame's, which Caddy sorts anyway
	options  string // of sesame
	store    string // options of userstore
	after    string // reverse_proxy to the upstream if empty
}

// startGateway runs a Caddy with one site in front of the upstream.
func startGateway(t *testing.T, db *database, up *upstream, s site) *gateway {
	t.Helper()
	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	loadCaddyfile(t, g.caddyfile(db, up, s))
	return g
}

// caddyfile is the gateway's configuration.
func (g *gateway) caddyfile(db *database, up *upstream, s site) string {
	if s.logLevel == "" {
		s.logLevel = "DEBUG"
	}
	if !strings.Contains(s.store, "query_timeout") {
		s.store += "\nquery_timeout 20s" // a busy machine may be slow
	}
	if !strings.Contains(s.options, "limit_failures") {
		s.options += "\nlimit_failures off" // all tests are one client
	}
	if s.after == "" {
		s.after = "reverse_proxy " + up.addr
	}
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 5s
	log {
		output file %s
		level %s
	}
	%s
}

http://%s, http://app.example.com:%s, http://*.wild.example.com:%s {
	log
	%s
	sesame {
		secret_key %q
		%s
		userstore mysql {
			dsn %q
			%s
		}
	}
	%s
}
`, g.logs, s.logLevel, s.global, g.addr, portOf(g.addr), portOf(g.addr), s.before, secretKey, s.options, db.dsn, s.store, s.after)
}

// loadCaddyfile runs Caddy with a Caddyfile until the test ends.
func loadCaddyfile(t *testing.T, caddyfile string) {
	t.Helper()
	if err := tryCaddyfile(caddyfile); err != nil {
		t.Fatalf("loading the configuration: %v\n%s", err, caddyfile)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
}

func tryCaddyfile(caddyfile string) error {
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return fmt.Errorf("adapting: %w", err)
	}
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "caddy fmt") {
			return fmt.Errorf("adapting: warning: %s", warning.Message)
		}
	}
	return caddy.Load(config, true)
}

// do sends a request to the gateway, with the header fields given in pairs.
// Redirects aren't followed.
func (g *gateway) do(t *testing.T, method, uri string, header ...string) *response {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+g.addr+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			request.Host = header[i+1]
			continue
		}
		request.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) {
		// A Caddy that was just reloaded closes some connections unread.
		answer, err = client.Do(request)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, uri, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", method, uri, err)
	}
	return &response{status: answer.StatusCode, header: answer.Header, body: string(body)}
}

// get sends a GET request.
func (g *gateway) get(t *testing.T, uri string, header ...string) *response {
	t.Helper()
	return g.do(t, http.MethodGet, uri, header...)
}

// raw writes bytes to a connection and returns the answer's status line; for
// requests that no client would send. A newline in the text is sent as CRLF.
func (g *gateway) raw(t *testing.T, text string) string {
	t.Helper()
	answer := g.rawAnswer(t, text)
	return answer.Proto + " " + answer.Status
}

// rawAnswer is raw with the answer, whose body is closed.
func (g *gateway) rawAnswer(t *testing.T, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("reading the answer to %q: %v", text, err)
	}
	_ = answer.Body.Close()
	return answer
}

type response struct {
	status int
	header http.Header
	body   string
}

// wantStatus fails the test for another status.
func (r *response) wantStatus(t *testing.T, status int) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d; body: %s", r.status, status, r.body)
	}
}

// logLine is a line of Caddy's log.
type logLine map[string]any

// lines reads the log's lines of one logger, which poll waits for: Caddy logs
// a request after the client has its answer.
func (g *gateway) lines(t *testing.T, logger string) []logLine {
	t.Helper()
	var lines []logLine
	for text := range bytes.Lines(g.log(t)) {
		var line logLine
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("log line %q: %v", text, err)
		}
		if line["logger"] == logger {
			lines = append(lines, line)
		}
	}
	return lines
}

// log is all that Caddy has logged.
func (g *gateway) log(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(g.logs)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// awaitLines waits until a logger has written n lines.
func (g *gateway) awaitLines(t *testing.T, logger string, n int) []logLine {
	t.Helper()
	var lines []logLine
	poll(t, fmt.Sprintf("%d lines of %s", n, logger), func() bool {
		lines = g.lines(t, logger)
		return len(lines) >= n
	})
	return lines
}

// poll waits until a condition holds.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// upstream is the app behind the gateway. It records what it gets.
type upstream struct {
	addr string

	mu       sync.Mutex
	requests []*recordedRequest
}

type recordedRequest struct {
	method  string
	uri     string
	header  http.Header
	trailer http.Header
	body    string
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	up := new(upstream)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up.addr = listener.Addr().String()
	server := &http.Server{Handler: up, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return up
}

func (up *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	up.mu.Lock()
	up.requests = append(up.requests, &recordedRequest{
		method: r.Method, uri: r.RequestURI, header: r.Header.Clone(), trailer: r.Trailer.Clone(), body: string(body),
	})
	up.mu.Unlock()
	fmt.Fprintf(w, "user=%s\n", r.Header.Get("Remote-User"))
}

// take returns what the upstream got since the last call.
func (up *upstream) take() []*recordedRequest {
	up.mu.Lock()
	defer up.mu.Unlock()
	requests := up.requests
	up.requests = nil
	return requests
}

// takeOne returns the one request that the upstream got.
func (up *upstream) takeOne(t *testing.T) *recordedRequest {
	t.Helper()
	requests := up.take()
	if len(requests) != 1 {
		t.Fatalf("the upstream got %d requests, want 1", len(requests))
	}
	return requests[0]
}

// takeNone fails the test if the upstream got a request.
func (up *upstream) takeNone(t *testing.T) {
	t.Helper()
	for _, request := range up.take() {
		t.Errorf("the upstream got %s %s %v", request.method, request.uri, request.header)
	}
}

// freeAddr returns an address that a Caddy of the test may listen on. The port is
// bound until the test ends, so that the system gives it to no other program, and
// to no connection, before Caddy listens there or between two configurations. The
// socket doesn't listen; Caddy may bind the port as well, because both set
// SO_REUSEPORT.
func freeAddr(t *testing.T) string {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(socket)
	t.Cleanup(func() { _ = unix.Close(socket) })
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(socket, &unix.SockaddrInet4{}); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*unix.SockaddrInet4).Port))
}

// unboundAddr returns an address for a program that doesn't set SO_REUSEPORT.
func unboundAddr(t *testing.T) string {
	t.Helper()
	addr, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// tokenFor makes a token for a user as Django would.
func tokenFor(t testing.TB, u testUser, changes ...func(*token.Settings)) string {
	t.Helper()
	return tokenAt(t, u, "", time.Now(), changes...)
}

// tokenAt makes a token with a scope, at a time.
func tokenAt(t testing.TB, u testUser, scope string, at time.Time, changes ...func(*token.Settings)) string {
	t.Helper()
	settings := token.Settings{SecretKey: secretKey, Encoding: token.LongPacker}
	for _, change := range changes {
		change(&settings)
	}
	tokens, err := token.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	row := token.User{Password: &u.password, Email: &u.email}
	if u.lastLogin != "" {
		lastLogin, err := time.Parse("2006-01-02 15:04:05.999999", u.lastLogin)
		if err != nil {
			t.Fatal(err)
		}
		row.LastLogin = &lastLogin
	}
	made, err := tokens.Create(token.IntKey(u.id), row, scope, at)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Changes of settings for tokenFor.
var (
	oneTime    = func(s *token.Settings) { s.OneTime = true }
	withMaxAge = func(age time.Duration) func(*token.Settings) {
		return func(s *token.Settings) { s.MaxAge = &age }
	}
	withKey = func(key string) func(*token.Settings) {
		return func(s *token.Settings) { s.SecretKey = key }
	}
	asV1 = func(s *token.Settings) { s.Versions = []token.Version{token.V1} }
)
