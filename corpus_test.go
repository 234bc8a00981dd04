package sesame_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// The corpus has to stay this large, each request counted once, over however
// many mounts and protocols it goes.
const minCorpusRequests = 200

// alone is for a proxy that isn't the only one of a request: it is done with the request
// when its answer has come. Otherwise two data races of Caddy's own are found at times,
// once in thousands of requests.
//
//   - With kept connections, Caddy may still open one for a request that another one
//     served meanwhile, and read the request's variables for it while the next proxy
//     writes them (reverseproxy's DialContext and prepareRequest).
//   - Without kept connections, the transport may still look for the end of the body
//     while Caddy reads how much was read of it for the access log (lengthReader).
const alone = "request_buffers 16MiB\ntransport http {\nkeepalive off\n}\n"

// corpusMount is the gateway among other handlers of Caddy's, with servers of
// its own, one for HTTP/1.1 in plain text and one for HTTP/2 and HTTP/3.
type corpusMount struct {
	name    string
	servers string // server options
	site    string // as in startSite

	// named mounts get only the requests that name them.
	named bool
	// exact mounts must answer just what the request's file says. Of the
	// others only the invariants are asked.
	exact bool
	// unproxied is the status that may come in the place of the upstream's.
	unproxied int
	// requests is how many requests the upstream may get for each.
	requests int
	// refuses: error routes send a rejected request to the upstream.
	refuses bool
	// nobodysCanary: the canary has no user.
	nobodysCanary bool

	plain, secure string // addresses
}

func corpusMounts() []*corpusMount {
	return []*corpusMount{
		{name: "reverse_proxy", exact: true, requests: 1, site: "SESAME {\noptional\n}\nreverse_proxy UPSTREAM"},
		{name: "not optional", requests: 1, site: "SESAME {\n}\nreverse_proxy UPSTREAM"},
		{
			name: "aliases allowed", requests: 1, site: "SESAME {\noptional\n}\nreverse_proxy UPSTREAM",
			servers: "expected_underscore_headers Remote_*\nexpected_dot_headers Remote.* Remote-User.*",
		},
		{name: "php_fastcgi", requests: 1, site: "root * PHPROOT\nSESAME {\noptional\n}\nphp_fastcgi PHP"},
		{
			name: "handle_errors", requests: 1, refuses: true, unproxied: http.StatusBadGateway,
			site: "SESAME {\n}\nreverse_proxy 127.0.0.1:1\nhandle_errors {\nrewrite * /error/{err.status_code}{http.request.uri.path}\nreverse_proxy UPSTREAM {\nheader_up X-Original {http.request.orig_uri}\n}\n}",
		},
		{name: "forward_auth", requests: 2, site: "SESAME {\noptional\n}\nforward_auth UPSTREAM {\nuri /auth\n" + alone + "}\nreverse_proxy UPSTREAM {\n" + alone + "}"},
		{
			name: "intercept", requests: 2, refuses: true,
			site: "route {\nintercept {\n@refused status 400 401 403 429\nhandle_response @refused {\nrequest_header -Upgrade\nreverse_proxy UPSTREAM {\n" + alone + "}\n}\n}\nSESAME {\n}\nreverse_proxy UPSTREAM {\n" + alone + "}\n}",
		},
		{name: "rewrite", requests: 1, site: "rewrite * /index?from={path}&{query}\nSESAME {\noptional\n}\nreverse_proxy UPSTREAM"},
		{name: "try_files", requests: 1, site: "root * PHPROOT\ntry_files {path} /index.php?p={path}&{query}\nSESAME {\noptional\n}\nreverse_proxy UPSTREAM"},
		{
			name: "handle_path", requests: 1,
			site: "handle_path /app/* {\nSESAME {\noptional\n}\nreverse_proxy UPSTREAM\n}\nhandle {\nSESAME {\noptional\n}\nreverse_proxy UPSTREAM\n}",
		},
		{name: "session", named: true, exact: true, requests: 1, site: "SESAME {\noptional\nsession\n}\nreverse_proxy UPSTREAM"},
		{name: "django", named: true, exact: true, requests: 1, site: "SESAME {\noptional\ndjango_session {\nengine signed_cookies\n}\n}\nreverse_proxy UPSTREAM"},
		{name: "one_time", named: true, exact: true, requests: 1, nobodysCanary: true, site: "SESAME {\noptional\none_time\n}\nreverse_proxy UPSTREAM"},
	}
}

// TestRequestCorpus sends the requests of testdata/requests, as they are written
// there, through the gateway among Caddy's handlers, over HTTP/1.1, 2 and 3. For
// each request on each mount it must hold that
//
//   - the upstream sees the identity of the authenticated user, or none, in any form
//   - no token and no session goes on to the upstream, or into an answer, a
//     log at DEBUG, a metric or a trace
//   - the next request on the connection gets its own answer, or none
//   - only requests whose file expects it are answered 5xx
func TestRequestCorpus(t *testing.T) {
	run := newCorpusRun(t)
	raw := readCorpus(t, ".http", "h1")
	fields := readCorpus(t, ".fields", "h2", "h3")
	quic := startRawQUIC(t)
	for _, m := range run.mounts {
		t.Run(m.name, func(t *testing.T) {
			for _, c := range raw {
				if c.isFor(m) {
					run.check(t, m, c, "h1", m.plain, func(values map[string]string, canary string) received {
						request := strings.ReplaceAll(run.tagged(c), "\n", "\r\n")
						return sendHTTP1(t, m.plain, expandCorpus(t, c, request, values), canary)
					})
				}
			}
			for _, c := range fields {
				if !c.isFor(m) {
					continue
				}
				send := func(protocol string, by func(*testing.T, string, fieldsRequest, fieldsRequest) received) {
					if len(c.answers[protocol]) == 0 {
						return
					}
					run.check(t, m, c, protocol, m.secure, func(values map[string]string, canary string) received {
						request, err := parseFieldsRequest(run.tagged(c), values)
						if err != nil {
							t.Fatalf("%s: %q: %v", c.file, c.name, err)
						}
						next, err := parseFieldsRequest(canary, nil)
						if err != nil {
							t.Fatal(err)
						}
						return by(t, m.secure, request, next)
					})
				}
				send("h2", sendHTTP2)
				send("h3", quic.send)
			}
		})
	}
	run.finish(t)
	t.Logf("%d requests of testdata/requests were sent, %d times in all", len(run.distinct), run.sent)
	if len(run.distinct) < minCorpusRequests {
		t.Errorf("the corpus has %d requests, want %d", len(run.distinct), minCorpusRequests)
	}
}

func expandCorpus(t *testing.T, c corpusCase, text string, values map[string]string) string {
	t.Helper()
	expanded, err := expandCorpusText(text, values)
	if err != nil {
		t.Fatalf("%s: %q: %v", c.file, c.name, err)
	}
	return expanded
}

// mallory is a user whose tokens are only sent where the gateway mustn't accept
// them.
var mallory = testUser{4, "mallory", "pbkdf2_sha256$1$x$mallory", "mallory@example.com", "", true}

// corpusRun is what the requests of the corpus are sent through, and what
// records them.
type corpusRun struct {
	db       *database
	mounts   []*corpusMount
	seen     *corpusUpstream
	php      *corpusPHP
	metrics  string // URL
	traces   *corpusTraces
	logs     string // file
	logsRead int64
	began    time.Time // when all tokens are made
	session  string
	reusable map[string]string // values of placeholders that any number of requests may have
	secrets  []string          // all that were sent

	sent     int
	distinct map[string]bool
	allowed  map[string][]string // whose identity each sent request may have
	logged   map[string]bool     // those that Caddy logs before sesame is asked
}

// tagged is a request with its number in the path: one whose connection ends
// may reach the upstream after the next was sent.
func (run *corpusRun) tagged(c corpusCase) string {
	return strings.ReplaceAll(c.text, "/app/", fmt.Sprintf("/app/t%d/", run.sent))
}

// tagIn finds the number in what an upstream got for it.
var tagIn = regexp.MustCompile(`(?:/|%2F)t([0-9]+)(?:/|%2F)`)

// newCorpusRun runs a Caddy with all mounts.
func newCorpusRun(t *testing.T) *corpusRun {
	t.Helper()
	run := &corpusRun{db: anyDatabase(t), began: time.Now(), mounts: corpusMounts(), distinct: make(map[string]bool), allowed: make(map[string][]string), logged: make(map[string]bool)}
	run.db = run.db.withAPITokens(t)
	run.db.insert(t, mallory)
	run.addAPITokens(t)
	run.seen = startCorpusUpstream(t)
	run.php = startCorpusPHP(t)
	run.traces = startCorpusTraces(t)
	dir := t.TempDir()
	run.logs = filepath.Join(dir, "caddy.log")
	certificate, key := writeCertificate(t, dir)
	metrics := freeAddr(t)
	run.metrics = "http://" + metrics + "/"

	var servers, sites strings.Builder
	for _, m := range run.mounts {
		m.plain, m.secure = freeAddr(t), freeAddr(t)
		for _, addr := range []string{m.plain, m.secure} {
			fmt.Fprintf(&servers, "servers %s {\n%s\n}\n", addr, m.servers)
		}
		// What stands in front of sesame logs tokens: README, "What the logs
		// never hold".
		site := strings.NewReplacer(
			"SESAME {", fmt.Sprintf("sesame {\nsecret_key %q\nmax_age 1h\nlimit_failures off\ntoken_from query bearer basic header X-Token\napi_token drf\napi_token knox {\nprefix Knox\n}\napi_token simplejwt\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}\n", secretKey, run.db.dsn),
			"UPSTREAM", run.seen.addr, "PHPROOT", run.php.root, "PHP", run.php.addr,
		).Replace(m.site)
		for _, address := range []string{"http://:" + portOf(m.plain), "https://:" + portOf(m.secure)} {
			security := ""
			if strings.HasPrefix(address, "https") {
				security = fmt.Sprintf("tls %s %s", certificate, key)
			}
			fmt.Fprintf(&sites, "%s {\nbind 127.0.0.1\n%s\nlog\ntracing\n%s\n}\n", address, security, site)
		}
	}
	loadCaddyfile(t, fmt.Sprintf(`{
		admin off
		persist_config off
		auto_https off
		grace_period 100ms
		metrics {
			per_host
		}
		log {
			output file %s
			level DEBUG
			exclude http.handlers.rewrite
		}
		%s
	}
	http://%s {
		metrics
	}
	%s`, run.logs, servers.String(), metrics, sites.String()))
	run.logIn(t)
	return run
}

// malloryDRF is a token of Django REST framework's.
const malloryDRF = "4d0e5c1b2a39486776859403122130405f6e7d8c"

// addAPITokens adds API tokens of alice and mallory.
func (run *corpusRun) addAPITokens(t *testing.T) {
	t.Helper()
	run.db.addDRF(t, aliceDRF, alice)
	run.db.addDRF(t, malloryDRF, mallory)
	run.db.addKnox(t, aliceKnox, alice, 0)
}

// logIn gets a session of alice's.
func (run *corpusRun) logIn(t *testing.T) {
	t.Helper()
	for _, m := range run.mounts {
		if m.name != "session" {
			continue
		}
		g := &gateway{addr: m.plain}
		answer := g.get(t, "/?sesame="+tokenFor(t, alice, withMaxAge(time.Hour)))
		answer.wantStatus(t, http.StatusSeeOther)
		cookie, err := http.ParseSetCookie(answer.header.Get("Set-Cookie"))
		if err != nil {
			t.Fatal(err)
		}
		run.session = cookie.Value
	}
	run.seen.take()
}

// values are the values of the placeholders for a request. Tokens are alice's unless
// another user is named.
func (run *corpusRun) values(t *testing.T, m *corpusMount, addr string) map[string]string {
	t.Helper()
	if run.reusable == nil {
		run.reusable = run.reusableValues(t)
		for _, secret := range run.reusable {
			run.keepSecret(secret)
		}
		maps.Copy(run.reusable, run.misplacedValues(t))
	}
	values := maps.Clone(run.reusable)
	values["host"], values["addr"] = "app.example.com", addr
	if m.name == "one_time" {
		run.db.mustExec(t, "UPDATE auth_user SET last_login = ? WHERE id = ?", alice.lastLogin, alice.id)
		values["one-time"] = run.tokenFrom(t, 0, alice, oneTime)
		run.keepSecret(values["one-time"])
	}
	return values
}

// keepSecret adds a value to those that no upstream, answer and log may have.
func (run *corpusRun) keepSecret(value string) {
	if len(value) > 20 && !slices.Contains(run.secrets, value) {
		run.secrets = append(run.secrets, value)
	}
}

// tokenFrom is a user's token that was made some time before the run.
func (run *corpusRun) tokenFrom(t *testing.T, ago time.Duration, u testUser, changes ...func(*token.Settings)) string {
	t.Helper()
	return tokenAt(t, u, "", run.began.Add(-ago), append(changes, withMaxAge(time.Hour))...)
}

// reusableValues are credentials that a request doesn't use up.
func (run *corpusRun) reusableValues(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{
		"token":   run.tokenFrom(t, 0, alice),
		"carol":   run.tokenFrom(t, time.Second, carol),
		"wrong":   run.tokenFrom(t, 2*time.Second, alice, withKey("x")),
		"expired": run.tokenFrom(t, 2*time.Hour, alice),
		"session": run.session,

		"django":       djangoCookie(t, alice, secretKey, run.began),
		"django-carol": djangoCookie(t, carol, secretKey, run.began),
		"django-wrong": djangoCookie(t, alice, "x", run.began),

		"drf": aliceDRF, "knox": aliceKnox,
		"jwt":         jwtFor(t, secretKey, alice, map[string]any{"exp": run.began.Unix() + 3600}),
		"jwt-expired": jwtFor(t, secretKey, alice, map[string]any{"exp": run.began.Unix() - 3600}),
	}
	for _, name := range []string{"token", "carol", "wrong", "expired"} {
		values["basic-"+name] = base64.StdEncoding.EncodeToString([]byte("user:" + values[name]))
	}
	return values
}

// misplacedValues are valid credentials in a place that isn't a source: they
// authenticate no request there, and may leak. So may parts of a token.
func (run *corpusRun) misplacedValues(t *testing.T) map[string]string {
	t.Helper()
	whole, misplaced := run.reusable["token"], run.tokenFrom(t, 0, mallory)
	return map[string]string{
		"misplaced":        misplaced,
		"basic-misplaced":  base64.StdEncoding.EncodeToString([]byte(misplaced + ":password")),
		"django-misplaced": djangoCookie(t, mallory, secretKey, run.began),
		"drf-misplaced":    malloryDRF,
		"jwt-misplaced":    jwtFor(t, secretKey, mallory, nil),
		"token:1":          whole[:10],
		"token:2":          whole[10:],
		"token%":           fmt.Sprintf("%%%X%s", whole[0], whole[1:]),
	}
}

// canaryField is a field of the answer to a canary.
const canaryField = "X-Canary"

// check sends a request of the corpus, with a canary behind it, and looks at
// all that comes of it.
func (run *corpusRun) check(t *testing.T, m *corpusMount, c corpusCase, protocol, addr string, send func(values map[string]string, canary string) received) {
	t.Helper()
	run.sent++
	run.distinct[c.file+c.name+protocol] = true
	values := run.values(t, m, addr)
	id := fmt.Sprintf("canary-%d", run.sent)
	wantCanary := "carol"
	bearer := "Bearer " + values["carol"]
	if m.nobodysCanary {
		wantCanary, bearer = "none", "Basic dTpw"
	}
	canary := fmt.Sprintf("GET /app/c?%s HTTP/1.1\r\nHost: app.example.com\r\nAuthorization: %s\r\nConnection: close\r\n\r\n", id, bearer)
	if protocol != "h1" {
		canary = fmt.Sprintf(":method: GET\n:scheme: https\n:authority: app.example.com\n:path: /app/c?%s\nauthorization: %s\n", id, bearer)
	}
	want := c.answers[protocol]
	if protocol == "h1" && strings.Contains(strings.ToLower(c.text), "\nupgrade: websocket") {
		canary = "" // the tunnel would carry the canary
	}
	got := send(values, canary)
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, %q, %s, %s: %s", c.file, c.name, m.name, protocol, fmt.Sprintf(format, args...))
	}

	number := strconv.Itoa(run.sent)
	allowed := []string{"none"} // where it is refused, an error page may say so
	for _, answer := range want {
		allowed = append(allowed, answer.identity)
	}
	run.allowed[number] = allowed
	run.logged[number] = c.isLogged
	var requests []corpusSeen
	for _, seen := range append(run.seen.take(), run.php.take(t)...) {
		if secret := run.findSecret(seen.raw); secret != "" {
			wrong("the upstream got a token: %s", seen.raw)
		}
		tag := tagIn.FindStringSubmatch(seen.uri)
		switch {
		case strings.Contains(seen.uri, "canary-"):
			if seen.identity != wantCanary && !(m.refuses && seen.identity == "none") {
				wrong("the canary came as %s: %s", seen.identity, seen.uri)
			}
		case tag != nil && tag[1] != number:
			if !slices.Contains(run.allowed[tag[1]], seen.identity) {
				wrong("the upstream got an earlier request as %s, want one of %q: %s", seen.identity, run.allowed[tag[1]], seen.raw)
			}
		default:
			requests = append(requests, seen)
		}
	}
	switch {
	case got.canary != statusClosed && !strings.Contains(got.body, id):
		wrong("the canary got the answer of another: %s", got.body)
	case got.canary == statusClosed && protocol == "h3":
		wrong("the canary got no answer")
	}
	if secret := run.findSecret(got.raw); secret != "" && !c.pageHasToken {
		wrong("the answer has a token: %s", got.raw)
	}
	for _, status := range append(got.statuses, got.canary) {
		if status >= http.StatusInternalServerError && status != m.unproxied && !slices.ContainsFunc(want, func(a corpusAnswer) bool { return a.status == status }) {
			wrong("status %d", status)
		}
	}
	run.checkAnswers(m, want, allowed, got, requests, wrong)
	run.checkLogs(t, m)
}

// checkAnswers compares what came back, and what reached the upstream, with
// what the file of the request says.
func (run *corpusRun) checkAnswers(m *corpusMount, want []corpusAnswer, allowed []string, got received, requests []corpusSeen, wrong func(string, ...any)) {
	if !m.exact {
		for _, seen := range requests {
			if !slices.Contains(allowed, seen.identity) {
				wrong("the upstream saw %s, want one of %q: %s", seen.identity, allowed, seen.raw)
			}
		}
		if most := m.requests * len(want); len(requests) > most {
			wrong("the upstream got %d requests, want %d at most", len(requests), most)
		}
		return
	}
	statuses := got.statuses
	if len(statuses) == 0 {
		statuses = []int{statusClosed}
	}
	// A server that closes with 400 may do so before the client has read that.
	if n := len(statuses); n == len(want)-1 && want[n].status == http.StatusBadRequest {
		statuses = append(statuses, http.StatusBadRequest)
	}
	var result []corpusAnswer
	next := 0
	for i, status := range statuses {
		answer := corpusAnswer{status: status}
		if i < len(want) {
			answer.maybe = want[i].maybe
			switch {
			case want[i].identity == "":
			case next < len(requests):
				answer.identity = requests[next].identity
				next++
			case answer.maybe:
				answer.identity = want[i].identity
			}
		}
		result = append(result, answer)
	}
	// Where the server resets the stream of a request that may reach the upstream,
	// the answer may be there first.
	isReset := len(want) == 1 && len(result) == 1 && want[0].maybe && want[0].status == 0 && result[0].identity == want[0].identity
	if !slices.Equal(result, want) && !isReset && !(len(want) == 1 && want[0].status == http.StatusBadRequest && slices.Equal(result, []corpusAnswer{{}})) {
		wrong("the answers are %v, want %v: %.300s", result, want, got.raw)
	}
	for _, seen := range requests[next:] {
		wrong("the upstream got a request that isn't answered: %s", seen.raw)
	}
}

// findSecret looks for a request's credentials, plain or encoded, in a text that
// must not hold them.
func (run *corpusRun) findSecret(text []byte) string {
	decoded := append([]byte(nil), text...)
	for range 3 {
		for _, secret := range run.secrets {
			// Most of it is bad enough.
			if bytes.Contains(decoded, []byte(secret[len(secret)-14:])) {
				return secret
			}
		}
		if !bytes.Contains(decoded, []byte("%")) {
			break
		}
		decoded = decodeEscapes(decoded)
	}
	return ""
}

// decodeEscapes decodes the escapes of a text that is no URL as a whole.
func decodeEscapes(text []byte) []byte {
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		var c [1]byte
		if text[i] == '%' && i+3 <= len(text) {
			if _, err := hex.Decode(c[:], text[i+1:i+3]); err == nil {
				decoded = append(decoded, c[0])
				i += 2
				continue
			}
		}
		decoded = append(decoded, text[i])
	}
	return decoded
}

// checkLogs looks at what Caddy has logged since the last time.
func (run *corpusRun) checkLogs(t *testing.T, m *corpusMount) {
	t.Helper()
	file, err := os.Open(run.logs)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, run.logsRead, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	// The last line may still be written.
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	run.logsRead += int64(len(text))
	run.wantNoSecrets(t, "the log, at "+m.name+" or before", text)
}

func (run *corpusRun) wantNoSecrets(t *testing.T, where string, text []byte) {
	t.Helper()
	if run.findSecret(text) == "" {
		return
	}
	for line := range bytes.Lines(text) {
		if tag := tagIn.FindSubmatch(line); tag != nil && run.logged[string(tag[1])] {
			continue
		}
		if run.findSecret(line) != "" {
			t.Errorf("a token is in %s: %.3000s", where, line)
		}
	}
}

// finish looks at what is only complete in the end: metrics and traces, and
// the last lines of the log.
func (run *corpusRun) finish(t *testing.T) {
	t.Helper()
	answer, err := http.Get(run.metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metrics, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(metrics, []byte("caddy_sesame_requests_total")) {
		t.Errorf("no metrics: %.300s", metrics)
	}
	run.wantNoSecrets(t, "the metrics", metrics)
	// Caddy sends its last traces, and closes its log, when it stops.
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	traces := run.traces.take()
	if !bytes.Contains(traces, []byte("sesame.lookup")) {
		t.Errorf("no traces in %d bytes", len(traces))
	}
	run.wantNoSecrets(t, "the traces", traces)
	run.checkLogs(t, run.mounts[len(run.mounts)-1])
	if run.logsRead == 0 {
		t.Error("nothing was logged")
	}
}
