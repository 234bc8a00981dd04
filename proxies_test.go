package sesame_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInventedAddressesAreWarnedOfAtStart loads servers that trust proxies.
func TestInventedAddressesAreWarnedOfAtStart(t *testing.T) {
	up := startUpstream(t)
	db := anyDatabase(t)
	for _, test := range []struct {
		name, servers, before string
		want                  int
	}{
		{"no proxy is trusted", "", "", 0},
		{"a proxy is trusted", "trusted_proxies static 127.0.0.1/32", "", 1},
		{"a proxy is trusted strictly", "trusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict", "", 0},
		{"a proxy is trusted that sends one address", "trusted_proxies static 127.0.0.1/32\nclient_ip_headers Cf-Connecting-Ip", "", 0},
		{"a proxy is trusted by a server with several handlers", "trusted_proxies static 127.0.0.1/32", `handle /inner* {
			sesame {
				secret_key another
				token_name inner
				userstore mysql {
					dsn "` + db.dsn + `"
				}
			}
			respond inner
		}`, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := site{logLevel: "WARN", before: test.before}
			if test.servers != "" {
				s.global = "servers {\n" + test.servers + "\n}"
			}
			g := startGateway(t, db, up, s)
			log, err := os.ReadFile(g.logs)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if got := strings.Count(string(log), "clients can invent their addresses"); got != test.want {
				t.Errorf("it is warned of %d times, want %d: %s", got, test.want, log)
			}
		})
	}
}

// TestStrictProxiesKeepClientsFromInventingAddresses has a client send addresses
// in front of the one that its proxy appends.
func TestStrictProxiesKeepClientsFromInventingAddresses(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, limited(ownLimit("3 per 48m")))
	for i := range 5 {
		want := http.StatusUnauthorized
		if i >= 3 {
			want = http.StatusTooManyRequests
		}
		g.get(t, "/?sesame="+bad(t), from(fmt.Sprintf("198.51.100.%d, 203.0.113.1", 1+i))...).wantStatus(t, want)
	}
	g.get(t, "/?sesame="+bad(t), from("198.51.100.1")...).wantStatus(t, http.StatusUnauthorized)
}

// TestExamplesTrustProxiesStrictly looks at all configurations that a reader may
// copy.
func TestExamplesTrustProxiesStrictly(t *testing.T) {
	t.Parallel()
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "Caddyfile*", "examples/*/*", "packaging/*", "packaging/*/*", "soak/internal/gateway/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a directory
		}
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			if !strings.HasPrefix(strings.TrimLeft(line, "\t #"), "trusted_proxies ") {
				continue
			}
			if i+1 == len(lines) || strings.TrimLeft(lines[i+1], "\t #") != "trusted_proxies_strict" {
				t.Errorf("%s:%d: trusted_proxies without trusted_proxies_strict in the next line", name, 1+i)
			}
		}
	}
}
