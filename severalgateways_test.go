package sesame_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"
)

// TestBalancerSendsAUserToOneGateway has the balancer of the guide in front of two
// gateways: a browser stays with a gateway by a cookie, a program by its credentials. If
// a gateway ends, the other one goes on with its sessions.
func TestBalancerSendsAUserToOneGateway(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		gateways := make(map[string]*gateway)
		guide := section(t, readFile(t, "docs/several-gateways.md"), "## Send a user's requests to one gateway")
		balancer, addr := codeBlocks(guide, "caddyfile")[0], freeAddr(t)
		for _, name := range []string{"gateway-1", "gateway-2"} {
			gateways[name] = startGatewayProcess(t, db, up, site{
				options: "max_age 10m\nsession {\nmax_age 1h\n}", before: "header X-Gateway " + name,
			})
			balancer = strings.ReplaceAll(balancer, name+":80", gateways[name].addr)
		}
		loadCaddyfile(t, "{\nadmin off\npersist_config off\nauto_https off\n}\n"+strings.Replace(balancer, "app.example.com", "http://"+addr, 1))

		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		browser := balanced{"http://" + addr, &http.Client{Jar: jar}, ""}
		first := browser.get(t, "/?sesame="+tokenFor(t, alice, withMaxAge(10*time.Minute)))
		for i := range 20 {
			if got := browser.get(t, fmt.Sprint("/", i)); got != first {
				t.Errorf("a browser of %s gets to %s", first, got)
			}
		}
		for _, user := range []testUser{alice, carol} {
			program := balanced{browser.url, http.DefaultClient, "Bearer " + tokenFor(t, user, withMaxAge(10*time.Minute))}
			first := program.get(t, "/")
			for range 10 {
				if got := program.get(t, "/"); got != first {
					t.Errorf("a program of %s gets to %s", first, got)
				}
			}
		}

		gateways[first].stop()
		if got := browser.get(t, "/"); got == first {
			t.Errorf("%s answers after its end", got)
		}
	})
}

// balanced is a client of a balancer.
type balanced struct {
	url           string
	client        *http.Client
	authorization string
}

// get returns the name of the gateway that has accepted a request.
func (b balanced) get(t *testing.T, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if b.authorization != "" {
		r.Header.Set("Authorization", b.authorization)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("%s: status %d", path, answer.StatusCode)
	}
	return answer.Header.Get("X-Gateway")
}
