package follow_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// runIdentifying loads a gateway that passes groups on, in a header and in an assertion,
// to an application with long responses. It follows with an option.
func runIdentifying(t testing.TB, server *testmariadb.Server, name, option string) (address string) {
	t.Helper()
	application := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(application.Close)
	return runGateway(t, fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 1ns
	storage file_system %q
}
http://:PORT {
	bind 127.0.0.1
	sesame {
		secret_key %q
		max_age 1h
		watch 1h
		api_token simplejwt {
			algorithm HS256
			token_types sliding
			blacklist
		}
		assertion {
			audience application
			claim roles {http.auth.user.groups}
		}
		userstore mysql {
			dsn %q
			query_timeout 30s
			groups
			follow {
				%s
			}
		}
	}
	reverse_proxy %s {
		flush_interval -1
	}
}`, t.TempDir(), gatewayKey, server.DSN(name), option, application.Listener.Addr()))
}

// answer is the application: an echo on a WebSocket's connection, a stream of events that
// doesn't end, or what it is told of the user.
func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/socket":
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		_, _ = fmt.Fprintf(w, "%s [%s] %v", r.Header.Get("Remote-User-Id"), r.Header.Get("Remote-Groups"), rolesOf(r.Header.Get("Authorization")))
	}
}

// rolesOf are the groups in an assertion.
func rolesOf(authorization string) any {
	parts := strings.Split(authorization, ".")
	if len(parts) != 3 {
		return "no assertion"
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct{ Roles any }
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	return claims.Roles
}

// identifyingTables are those that the gateway reads.
var identifyingTables = slices.Concat(djangoTables, []string{
	"ALTER TABLE auth_user ADD email varchar(254) NOT NULL DEFAULT ''",
	"CREATE TABLE token_blacklist_outstandingtoken (id bigint PRIMARY KEY AUTO_INCREMENT, jti varchar(255) NOT NULL UNIQUE, token longtext NOT NULL)",
	"CREATE TABLE token_blacklist_blacklistedtoken (id bigint PRIMARY KEY AUTO_INCREMENT, token_id bigint NOT NULL UNIQUE)",
	"INSERT INTO auth_group VALUES (1, 'staff'), (2, 'editors')",
})

// TestGatewayPassesPresentGroupsOn changes groups that are kept with their user.
func TestGatewayPassesPresentGroupsOn(t *testing.T) {
	server := startServer(t)
	name := database(t, server, "identified", identifyingTables...)
	address := runIdentifying(t, server, name, "strict on")
	login := tokenFor(t, "p")
	for _, change := range []struct{ statement, want string }{
		{"INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)", "1 [staff] [staff]"},
		{"INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 2)", "1 [editors,staff] [editors staff]"},
		{"UPDATE auth_group SET name = 'admins' WHERE id = 2", "1 [admins,staff] [admins staff]"},
		{"DELETE FROM auth_user_groups WHERE group_id = 1", "1 [admins] [admins]"},
		{"DELETE FROM auth_group WHERE id = 2", "1 [] []"},
	} {
		awaitFollowed(t, server, func() int { return ask(t, address, login) })
		exec(t, server, name, change.statement)
		if got := body(t, address, login); got != change.want {
			t.Errorf("after %s, the application is told of %q, and not %q", change.statement, got, change.want)
		}
	}

	// The blacklist is asked each time.
	sliding := slidingToken(t, "an id")
	for range 3 {
		if got := body(t, address, sliding); got != "1 [] []" {
			t.Errorf("with a token of SimpleJWT, the application is told of %q", got)
		}
	}
	exec(t, server, name, "INSERT INTO token_blacklist_outstandingtoken VALUES (7, 'an id', '')", "INSERT INTO token_blacklist_blacklistedtoken VALUES (1, 7)")
	if got := ask(t, address, sliding); got != http.StatusUnauthorized {
		t.Errorf("with a blacklisted token, the answer is %d", got)
	}
	exec(t, server, name, "DELETE FROM token_blacklist_blacklistedtoken")
	if got := ask(t, address, sliding); got != http.StatusOK {
		t.Errorf("with a token that isn't blacklisted any more, the answer is %d", got)
	}
}

// slidingToken is SimpleJWT's SlidingToken for the first user.
func slidingToken(t *testing.T, id string) string {
	t.Helper()
	part := func(of any) string {
		text, err := json.Marshal(of)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	end := time.Now().Add(time.Hour).Unix()
	signed := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." +
		part(map[string]any{"token_type": "sliding", "user_id": "1", "jti": id, "exp": end, "refresh_exp": end})
	mac := hmac.New(sha256.New, []byte(gatewayKey))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// body is the answer to a request with a token.
func body(t *testing.T, address, token string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", answer.Status, err, text)
	}
	return string(text)
}

// longResponses are those of the application.
var longResponses = map[string]func(t testing.TB, address, token string) *openResponse{
	"a WebSocket": openSocket, "an event stream": openEvents,
}

// openResponse is a response that goes on.
type openResponse struct {
	conn net.Conn
	from *bufio.Reader
}

func openSocket(t testing.TB, address, token string) *openResponse {
	t.Helper()
	o := openLong(t, address, "/socket", "Authorization: Bearer "+token+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", http.StatusSwitchingProtocols)
	if _, err := io.WriteString(o.conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if echo, err := o.from.Peek(5); err != nil || string(echo) != "hello" {
		t.Fatalf("the echo is %q, %v", echo, err)
	}
	_, _ = o.from.Discard(5)
	return o
}

func openEvents(t testing.TB, address, token string) *openResponse {
	t.Helper()
	o := openLong(t, address, "/events", "Authorization: Bearer "+token+"\r\n", http.StatusOK)
	for {
		line, err := o.from.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "data: hello") {
			return o
		}
	}
}

// openLong sends a request, and reads the header of its answer.
func openLong(t testing.TB, address, path, header string, want int) *openResponse {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	o := &openResponse{conn, bufio.NewReader(conn)}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, address, header)
	status, err := o.from.ReadString('\n')
	if err != nil || !strings.Contains(status, fmt.Sprint(want)) {
		t.Fatalf("%s: %q, %v", path, status, err)
	}
	for line := ""; line != "\r\n"; {
		if line, err = o.from.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// awaitEnd waits until the response ends, and returns an error if it doesn't.
func (o *openResponse) awaitEnd() error {
	defer o.conn.Close()
	if _, err := io.Copy(io.Discard, o.from); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// isOpen reports whether the response goes on.
func (o *openResponse) isOpen(t *testing.T) bool {
	t.Helper()
	if err := o.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, o.from)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// TestLongResponsesEndWhenTheLogSaysSo changes users while their responses go on. Without
// the log, the gateway would look after an hour.
func TestLongResponsesEndWhenTheLogSaysSo(t *testing.T) {
	server := startServer(t)
	name := database(t, server, "identified", identifyingTables...)
	address := runIdentifying(t, server, name, "strict on")
	login := tokenFor(t, "p")
	awaitFollowed(t, server, func() int { return ask(t, address, login) })
	for kind, open := range longResponses {
		for _, format := range []string{"binlog_format = 'ROW'", "binlog_format = 'STATEMENT'"} {
			writer := writeAs(t, server, name, format)
			for _, change := range [][2]string{
				{"UPDATE auth_user SET is_active = 0 WHERE id = 1", "UPDATE auth_user SET is_active = 1 WHERE id = 1"},
				{"UPDATE auth_user SET password = 'q' WHERE id = 1", "UPDATE auth_user SET password = 'p' WHERE id = 1"},
				{"DELETE FROM auth_user WHERE id = 1", "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')"},
			} {
				first, other := open(t, address, login), open(t, address, tokenOf(t, 2, "p"))
				write(t, writer, "UPDATE auth_user SET last_login = NOW(6)")
				write(t, writer, change[0])
				if err := first.awaitEnd(); err != nil {
					t.Fatalf("after %s, %s goes on", change[0], kind)
				}
				if !other.isOpen(t) {
					t.Errorf("after %s, %s of another user has ended", change[0], kind)
				}
				write(t, writer, change[1])
			}
		}
	}
}
