package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/token"
)

const (
	// secretKey is the tests' SECRET_KEY.
	secretKey = "django-insecure-%5j&w#tests-only"

	// The hosts, all of which are this machine for the browser. The mail is on
	// another site (another registrable domain) than the app, as it is for most.
	appHost   = "app.example.com"
	mailHost  = "mail.example.net"
	otherHost = "other.example.org"

	// caddyProcess is set for a run of the tests that is a Caddy instead: the
	// file of its Caddyfile.
	caddyProcess = "SESAME_TEST_CADDYFILE"
)

// site is what a test changes of the gateway's Caddyfile.
type site struct {
	scheme  string // https if empty
	port    string // a free one if empty
	options string // of sesame
	dsn     string // that of the tests' database if empty
	after   string // reverse_proxy to the upstream if empty
}

// gateway is a Caddy with the module, in a process of its own.
type gateway struct {
	origin string // such as https://app.example.com:1234
	logs   string // the file of its log
}

// startGateway runs a gateway with one site in front of an upstream, for a
// test that begins with the users as they are.
func startGateway(t *testing.T, up *upstream, s site) *gateway {
	t.Helper()
	db.reset(t)
	if s.scheme == "" {
		s.scheme = "https"
	}
	if s.dsn == "" {
		s.dsn = db.dsn
	}
	if s.after == "" {
		s.after = "reverse_proxy " + up.addr
	}
	if s.port == "" {
		s.port = freePort(t)
	}
	g := &gateway{origin: fmt.Sprintf("%s://%s:%s", s.scheme, appHost, s.port), logs: filepath.Join(t.TempDir(), "caddy.log")}
	security := "tls internal"
	if s.scheme == "http" {
		security = ""
	}
	site := fmt.Sprintf(`%s {
	log
	%s
	sesame {
		secret_key %q
		%s
		userstore mysql {
			dsn %q
			query_timeout 20s
			start_without
		}
	}
	%s
}
`, g.origin, security, secretKey, s.options, s.dsn, s.after)
	g.run(t, site)
	return g
}

// run runs a Caddy with a site, until the test ends. It has more environment
// variables.
func (g *gateway) run(t *testing.T, site string, environment ...string) {
	t.Helper()
	config := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https disable_redirects
	skip_install_trust
	grace_period 5s
	default_bind 127.0.0.1
	log {
		output file %s
		level DEBUG
	}
	servers {
		protocols h1 h2
	}
}

`, g.logs) + site
	dir := t.TempDir()
	caddyfile := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(caddyfile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(os.Args[0])
	process.Env = append(append(os.Environ(), caddyProcess+"="+caddyfile, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir), environment...)
	var output bytes.Buffer
	process.Stdout, process.Stderr = &output, &output
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = process.Wait()
	}()
	t.Cleanup(func() {
		_ = process.Process.Signal(os.Interrupt)
		<-gone
	})
	client := g.client()
	poll(t, "the gateway", func() bool {
		select {
		case <-gone:
			t.Fatalf("the gateway ended: %s\n%s", &output, config)
		default:
		}
		answer, err := client.Get(g.origin + "/_sesame/nothing")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil
	})
}

// client is a client that finds the gateway, and follows no redirects.
func (g *gateway) client() *http.Client {
	return &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// upstream is the app behind the gateway. It records what it gets.
type upstream struct {
	addr string
	http.ServeMux

	mu       sync.Mutex
	requests []recordedRequest
}

type recordedRequest struct {
	method string
	uri    string
	header http.Header
}

// appPage is the app's page. What it loads would tell a token in its URL to
// others.
const appPage = `<!DOCTYPE html>
<html lang="en">
<title>The app</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/style.css">
<h1>The app</h1>
<p id="user">%s</p>
<p><a id="next" href="next?page=2">next page</a> <a id="out" href="/_sesame/logout?next=/bye">log out</a></p>
<img src="/pixel.svg" alt="">
<script src="/app.js"></script>
`

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	up := new(upstream)
	up.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The worst that an app could ask for.
		w.Header().Set("Referrer-Policy", "unsafe-url")
		fmt.Fprintf(w, appPage, r.Header.Get("Remote-User"))
	})
	up.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!DOCTYPE html><html lang="en"><title>Plain</title><link rel="icon" href="data:,">`)
	})
	up.HandleFunc("/style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css")
		fmt.Fprint(w, "body { font-family: sans-serif }")
	})
	up.HandleFunc("/app.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, `fetch("/data.json").then(r => r.json()).then(() => { document.body.dataset.ready = "yes" })`)
	})
	up.HandleFunc("/data.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	})
	image := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	}
	up.HandleFunc("/pixel.svg", image)
	up.HandleFunc("/icon.svg", image)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.mu.Lock()
		up.requests = append(up.requests, recordedRequest{method: r.Method, uri: r.RequestURI, header: r.Header.Clone()})
		up.mu.Unlock()
		up.ServeMux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	up.addr = server.Listener.Addr().String()
	return up
}

// take returns what the upstream got since the last call.
func (up *upstream) take() []recordedRequest {
	up.mu.Lock()
	defer up.mu.Unlock()
	requests := up.requests
	up.requests = nil
	return requests
}

// wantNoToken fails the test if the upstream got the token in any way.
func (up *upstream) wantNoToken(t *testing.T, secret string) {
	t.Helper()
	requests := up.take()
	if len(requests) == 0 {
		t.Error("the upstream got no request")
	}
	for _, request := range requests {
		if strings.Contains(fmt.Sprint(request), secret) {
			t.Errorf("the upstream got the token: %v", request)
		}
	}
}

// startMail runs a web mail with one e-mail, which has the link. It returns its
// URL.
func startMail(t *testing.T, link string) string {
	t.Helper()
	return startPage(t, "https", mailHost, "unsafe-url", mailText(link))
}

// mailText is the e-mail.
func mailText(link string) string {
	return `<p>Hello, <a id="link" href="` + html.EscapeString(link) + `">open the report</a></p>`
}

// startPage runs a site with one page, and returns its URL.
func startPage(t *testing.T, scheme, host, referrerPolicy, body string) string {
	t.Helper()
	address := startServer(t, scheme, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Referrer-Policy", referrerPolicy)
		fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>Page</title><link rel="icon" href="data:,">%s`, body)
	}))
	return scheme + "://" + net.JoinHostPort(host, portOf(address)) + "/"
}

// startServer runs a server for browsers, and returns where it listens.
func startServer(t *testing.T, scheme string, handler http.Handler) (addr string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	// Browsers open connections ahead, and close them.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if scheme == "https" {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := child.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// tokenFor makes a token for a user as Django would.
func tokenFor(t *testing.T, u testUser, changes ...func(*token.Settings)) string {
	t.Helper()
	return tokenAt(t, u, time.Now(), changes...)
}

// tokenAt makes a token at a time.
func tokenAt(t *testing.T, u testUser, at time.Time, changes ...func(*token.Settings)) string {
	t.Helper()
	settings := token.Settings{SecretKey: secretKey, Encoding: token.LongPacker}
	for _, change := range changes {
		change(&settings)
	}
	tokens, err := token.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	password := u.password()
	made, err := tokens.Create(token.IntKey(u.id), token.User{Password: &password, Email: &u.email}, "", at)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// oneTime is a change of settings for tokenFor.
func oneTime(s *token.Settings) { s.OneTime = true }

// oneTimeIf is oneTime where a test needs it.
func oneTimeIf(is bool) []func(*token.Settings) {
	if is {
		return []func(*token.Settings){oneTime}
	}
	return nil
}

// withMaxAge is another.
func withMaxAge(age time.Duration) func(*token.Settings) {
	return func(s *token.Settings) { s.MaxAge = &age }
}
