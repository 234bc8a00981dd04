package follow_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/token"
)

const gatewayKey = "a secret key that is only for the tests of following"

// TestGatewayFollowsTheBinlog runs a real Caddy with this module. There is one Caddy in
// a process.
func TestGatewayFollowsTheBinlog(t *testing.T) {
	server := startServer(t)
	name := database(t, server, "gateway",
		"CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, email varchar(254) NOT NULL DEFAULT '', password varchar(128) NOT NULL, last_login datetime(6) NULL, is_active bool NOT NULL DEFAULT 1)",
		"INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'pbkdf2_sha256$1$a$b')",
		"CREATE USER sesame IDENTIFIED BY 'sesame'", "GRANT SELECT ON gateway.auth_user TO sesame",
		"CREATE USER sesame_follow IDENTIFIED BY 'follow'", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO sesame_follow",
		"GRANT REFERENCES ON gateway.* TO sesame_follow")
	address := runGateway(t, fmt.Sprintf(`{
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
		userstore mysql {
			dsn %q
			query_timeout 30s
			follow {
				dsn %q
			}
		}
	}
	respond "Hello {http.auth.user.id}"
}`, t.TempDir(), gatewayKey, server.UserDSN("sesame", "sesame", name), server.UserDSN("sesame_follow", "follow", "")))
	db := open(t, server, name)
	login := tokenFor(t, "pbkdf2_sha256$1$a$b")
	awaitFollowed(t, server, func() int { return ask(t, address, login) })

	exec(t, server, name, "UPDATE auth_user SET is_active = 0")
	awaitAnswer(t, address, login, http.StatusUnauthorized)
	exec(t, server, name, "UPDATE auth_user SET is_active = 1")
	awaitAnswer(t, address, login, http.StatusOK)
	exec(t, server, name, "UPDATE auth_user SET password = 'pbkdf2_sha256$1$c$d'")
	awaitAnswer(t, address, login, http.StatusUnauthorized)
	if got := ask(t, address, tokenFor(t, "pbkdf2_sha256$1$c$d")); got != http.StatusOK {
		t.Errorf("with the new password, the answer is %d", got)
	}
	exec(t, server, name, "DELETE FROM auth_user")
	awaitAnswer(t, address, login, http.StatusUnauthorized)
	var streams int
	if err := db.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump' AND USER = 'sesame_follow'").Scan(&streams); err != nil || streams != 1 {
		t.Errorf("there are %d streams: %v", streams, err)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	awaitNoStream(t, server)
}

// runGateway loads a Caddyfile on a free port, until the test ends.
func runGateway(t testing.TB, caddyfile string) (address string) {
	t.Helper()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	// A port that was free may be taken by another program meanwhile.
	var err error
	for range 5 {
		var listener net.Listener
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		address = listener.Addr().String()
		listener.Close()
		_, port, _ := net.SplitHostPort(address)
		adapted, _, adaptErr := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.ReplaceAll(caddyfile, "PORT", port)), nil)
		if adaptErr != nil {
			t.Fatal(adaptErr)
		}
		if err = caddy.Load(adapted, true); err == nil {
			return address
		}
	}
	t.Fatal(err)
	return ""
}

func tokenFor(t testing.TB, password string) string {
	t.Helper()
	return tokenOf(t, 1, password)
}

// tokenOf is a token of a user with a password's hash.
func tokenOf(t testing.TB, id int64, password string) string {
	t.Helper()
	age := time.Hour
	tokens, err := token.New(token.Settings{SecretKey: gatewayKey, MaxAge: &age, Encoding: token.LongPacker})
	if err != nil {
		t.Fatal(err)
	}
	made, err := tokens.Create(token.IntKey(id), token.User{Password: &password}, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// ask sends a request with a token, and returns the status of the answer.
func ask(t *testing.T, address, token string) int {
	t.Helper()
	status, err := statusOf(t.Context(), http.DefaultClient, address, token)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// awaitAnswer waits until a token gets an answer.
func awaitAnswer(t *testing.T, address, token string, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got := ask(t, address, token)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the answer is %d after %s, and not %d", got, patience, want)
		}
	}
}

// awaitFollowed waits until a request takes no query.
func awaitFollowed(t *testing.T, server interface{ DSN(string) string }, request func() int) {
	t.Helper()
	db := openDSN(t, server.DSN(""))
	questions := func() (n int) {
		var ignored string
		if err := db.QueryRow("SHOW GLOBAL STATUS LIKE 'Com_select'").Scan(&ignored, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const requests = 20
	for deadline := time.Now().Add(patience); ; {
		before := questions()
		for range requests {
			if got := request(); got != http.StatusOK {
				t.Fatalf("the answer is %d", got)
			}
		}
		if took := questions() - before; took == 0 {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d requests took %d queries", requests, took)
		}
	}
}

// awaitNoStream waits until the server has no stream any more. It notices that a
// client is gone when it sends something.
func awaitNoStream(t *testing.T, server interface {
	DSN(string) string
	Exec(string, ...string) error
},
) {
	t.Helper()
	db := openDSN(t, server.DSN(""))
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if err := server.Exec("gateway", "INSERT INTO auth_user (id, username, password) VALUES (9, 'x', 'y')", "DELETE FROM auth_user"); err != nil {
			t.Fatal(err)
		}
		var streams int
		if err := db.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'").Scan(&streams); err != nil {
			t.Fatal(err)
		}
		if streams == 0 {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("there are still %d streams", streams)
		}
	}
}
