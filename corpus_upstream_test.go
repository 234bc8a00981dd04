package sesame_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// corpusSeen is a request as an upstream saw it.
type corpusSeen struct {
	uri      string
	identity string // the user's name, "none", or what else was there
	raw      []byte
}

// identityOf tells from the names and values of header fields, or of CGI's
// variables, whose identity an upstream sees. It isn't a user's name unless all
// of it is that user's and nothing is there besides.
func identityOf(fields map[string]string) string {
	got := make(map[string]string)
	for name, value := range fields {
		folded := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z':
				return r - 'a' + 'A'
			case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
				return r
			}
			return -1
		}, name)
		for _, ours := range []string{"REMOTEUSER", "REMOTEUSERID", "REMOTEEMAIL"} {
			if folded == ours {
				got[folded] += value
			}
		}
	}
	for name, want := range map[string]map[string]string{
		"none":  {},
		"alice": {"REMOTEUSER": "alice", "REMOTEUSERID": "1", "REMOTEEMAIL": "alice@example.com"},
		"carol": {"REMOTEUSER": "carol", "REMOTEUSERID": "3"},
	} {
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return name
		}
	}
	return fmt.Sprint(got)
}

// corpusUpstream records requests, and the bytes that they came in.
type corpusUpstream struct {
	addr string

	mu   sync.Mutex
	seen []corpusSeen
	raw  bytes.Buffer
}

func startCorpusUpstream(t *testing.T) *corpusUpstream {
	t.Helper()
	up := new(corpusUpstream)
	server := httptest.NewUnstartedServer(up)
	server.Listener = teeListener{server.Listener, up}
	server.Start()
	t.Cleanup(server.Close)
	up.addr = server.Listener.Addr().String()
	return up
}

// teeListener has the upstream record what comes over its connections.
type teeListener struct {
	net.Listener
	up *corpusUpstream
}

func (l teeListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return teeConn{conn, l.up}, err
}

type teeConn struct {
	net.Conn
	up *corpusUpstream
}

func (c teeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.up.mu.Lock()
	defer c.up.mu.Unlock()
	c.up.raw.Write(p[:n])
	return n, err
}

func (up *corpusUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	fields := make(map[string]string)
	for _, header := range []http.Header{r.Header, r.Trailer} {
		for name, values := range header {
			fields[name] += strings.Join(values, "|")
		}
	}
	up.mu.Lock()
	up.seen = append(up.seen, corpusSeen{uri: r.RequestURI, identity: identityOf(fields)})
	up.mu.Unlock()
	_, canary, isCanary := strings.Cut(r.RequestURI, "canary-")
	if isCanary {
		w.Header().Set(canaryField, canary)
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		return
	}
	fmt.Fprintf(w, "%s %s\n", identityOf(fields), r.RequestURI)
}

// take returns the requests since the last call. The last of them has the bytes
// of all.
func (up *corpusUpstream) take() []corpusSeen {
	up.mu.Lock()
	defer up.mu.Unlock()
	seen := up.seen
	for i := range seen {
		seen[i].raw = bytes.Clone(up.raw.Bytes())
	}
	up.seen = nil
	up.raw.Reset()
	return seen
}

// corpusPHP is a PHP app that writes down what it sees.
type corpusPHP struct {
	addr, root, seen string
	read             int64
}

const corpusPage = `<?php
$seen = json_encode(['server' => $_SERVER, 'get' => $_GET, 'request' => $_REQUEST, 'headers' => getallheaders(), 'uri' => $_SERVER['REQUEST_URI']],
	JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE);
file_put_contents('SEEN', $seen . "\n", FILE_APPEND | LOCK_EX);
if (preg_match('/canary-\d+/', $_SERVER['REQUEST_URI'], $canary)) header('X-Canary: ' . $canary[0]);
echo $seen;
`

func startCorpusPHP(t *testing.T) *corpusPHP {
	t.Helper()
	root := t.TempDir()
	php := &corpusPHP{addr: testprogram.PHP(t, "-n"), root: root, seen: filepath.Join(t.TempDir(), "seen")}
	if err := os.WriteFile(filepath.Join(root, "index.php"), []byte(strings.ReplaceAll(corpusPage, "SEEN", php.seen)), 0o644); err != nil {
		t.Fatal(err)
	}
	return php
}

// take returns the requests since the last call.
func (php *corpusPHP) take(t *testing.T) (seen []corpusSeen) {
	t.Helper()
	file, err := os.Open(php.seen)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, php.read, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var request struct {
			Server map[string]any `json:"server"`
			URI    string         `json:"uri"`
		}
		if err := json.Unmarshal(line, &request); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		fields := make(map[string]string)
		for name, value := range request.Server {
			if strings.HasPrefix(name, "HTTP_") {
				fields[name[len("HTTP_"):]] = fmt.Sprint(value)
			}
		}
		identity := identityOf(fields)
		// REMOTE_USER is the primary key.
		if key := fmt.Sprint(request.Server["REMOTE_USER"]); key != map[string]string{"none": "", "alice": "1", "carol": "3"}[identity] {
			identity += " with REMOTE_USER " + key
		}
		seen = append(seen, corpusSeen{uri: request.URI, identity: identity, raw: bytes.Clone(line)})
	}
	php.read += int64(len(text))
	return seen
}

// corpusTraces collects the traces that Caddy exports.
type corpusTraces struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func startCorpusTraces(t *testing.T) *corpusTraces {
	t.Helper()
	traces := new(corpusTraces)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		traces.mu.Lock()
		defer traces.mu.Unlock()
		traces.text.Write(body)
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	return traces
}

func (c *corpusTraces) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text.Bytes())
}

// writeCertificate makes a certificate for the tests' own servers.
func writeCertificate(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"app.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: made},
		key:         {Type: "PRIVATE KEY", Bytes: encoded},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
