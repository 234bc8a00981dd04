package sesame_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fleetNames are the gateways behind the balancer of the guide, which has two.
var fleetNames = []string{"gateway-1", "gateway-2", "gateway-3", "gateway-4"}

// balancer is the balancer of the guide in front of gateways, each in a process of its
// own.
type balancer struct {
	t        *testing.T
	db       *database
	up       *upstream
	options  string // of sesame in all gateways
	addr     string
	gateways map[string]*gateway
}

// startBalancer runs gateways, and the balancer in this process.
func startBalancer(t *testing.T, db *database, options string) *balancer {
	t.Helper()
	b := &balancer{t: t, db: db, up: startUpstream(t), options: options, addr: freeAddr(t), gateways: make(map[string]*gateway)}
	for _, name := range fleetNames {
		b.start(name, freeAddr(t))
	}
	loadCaddyfile(t, b.caddyfile())
	return b
}

// start runs a gateway that says its name in answers.
func (b *balancer) start(name, addr string) {
	b.t.Helper()
	b.gateways[name] = startGatewayProcessAt(b.t, addr, b.db, b.up, site{
		options: b.options, before: "header X-Gateway " + name, logLevel: "INFO",
	})
}

// caddyfile is the guide's configuration with all gateways. A gateway that failed is
// asked again sooner, so that the test doesn't wait for long.
func (b *balancer) caddyfile() string {
	b.t.Helper()
	guide := codeBlocks(section(b.t, readFile(b.t, "docs/several-gateways.md"), "## Send a user's requests to one gateway"), "caddyfile")[0]
	addrs := make([]string, len(fleetNames))
	for i, name := range fleetNames {
		addrs[i] = b.gateways[name].addr
	}
	for _, change := range [][2]string{
		{"app.example.com", "http://" + b.addr},
		{"gateway-1:80 gateway-2:80", strings.Join(addrs, " ")},
		{"fail_duration 10s", "fail_duration 1s"},
	} {
		if !strings.Contains(guide, change[0]) {
			b.t.Fatalf("the guide's balancer has no %q:\n%s", change[0], guide)
		}
		guide = strings.ReplaceAll(guide, change[0], change[1])
	}
	return "{\nadmin off\npersist_config off\nauto_https off\n}\n" + guide
}

// stopRouting has the balancer send each request to the next gateway.
func (b *balancer) stopRouting() {
	b.t.Helper()
	policy := regexp.MustCompile(`lb_policy .*`)
	if err := tryCaddyfile(policy.ReplaceAllString(b.caddyfile(), "lb_policy round_robin")); err != nil {
		b.t.Fatal(err)
	}
}

// balanced is a client of a balancer, and the gateway that answered it last.
type balanced struct {
	*balancer
	name          string
	client        *http.Client
	authorization string
	gateway       string
}

// program is a client that sends its token with each request, and keeps no cookies.
func (b *balancer) program(u testUser) *balanced {
	b.t.Helper()
	p := &balanced{balancer: b, name: "the program of " + u.username, client: new(http.Client), authorization: "Bearer " + tokenFor(b.t, u, withMaxAge(10*time.Minute))}
	p.gateway = p.get("/")
	return p
}

// browser is a client that has followed a link, and goes on with the cookies of the
// session and of the balancer.
func (b *balancer) browser(u testUser) *balanced {
	b.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	p := &balanced{balancer: b, name: "the browser of " + u.username, client: &http.Client{Jar: jar}}
	p.gateway = p.get("/?sesame=" + tokenFor(b.t, u, withMaxAge(10*time.Minute)))
	return p
}

// get returns the name of the gateway that has accepted a request.
func (p *balanced) get(path string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.addr+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if p.authorization != "" {
		r.Header.Set("Authorization", p.authorization)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		p.t.Errorf("%s: %s: status %d", p.name, path, answer.StatusCode)
	}
	return answer.Header.Get("X-Gateway")
}

// wantGateway fails the test unless all of so many requests reach one gateway.
func (p *balanced) wantGateway(want string, requests int) {
	p.t.Helper()
	for i := range requests {
		if got := p.get(fmt.Sprint("/", i)); got != want {
			p.t.Errorf("%s came to %s, want %s", p.name, got, want)
		}
	}
}

// addUsers adds users with numbers.
func addUsers(t *testing.T, db *database, first, n int) []testUser {
	t.Helper()
	users := make([]testUser, n)
	for i := range users {
		users[i] = testUser{id: int64(first + i), username: fmt.Sprint("user-", first+i), password: "!unusable", isActive: true}
		db.insert(t, users[i])
	}
	return users
}

// TestBalancerSendsAUserToOneGateway has the balancer of the guide in front of four
// gateways: a browser stays with a gateway by a cookie, a program by its credentials. If
// a gateway dies, its users go on with another one, and no other user is moved. Once it
// is back, programs return to it, and browsers stay where they are.
func TestBalancerSendsAUserToOneGateway(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		b := startBalancer(t, db, "max_age 10m\nsession {\nmax_age 1h\n}")
		var programs, browsers []*balanced
		for _, u := range addUsers(t, db, 10, 16) {
			programs, browsers = append(programs, b.program(u)), append(browsers, b.browser(u))
		}
		dead := sharedGateway(t, programs, browsers)
		everyClient := slices.Concat(programs, browsers)
		for _, c := range everyClient {
			c.wantGateway(c.gateway, 6)
		}

		b.gateways[dead].kill()
		former := make(map[*balanced]string)
		for _, c := range everyClient {
			if former[c] = c.gateway; c.gateway == dead {
				c.gateway = c.get("/")
			}
			if c.gateway == dead {
				t.Errorf("%s got an answer of %s after its end", c.name, dead)
			}
			c.wantGateway(c.gateway, 3)
		}

		b.start(dead, b.gateways[dead].addr)
		for _, c := range programs {
			poll(t, c.name+" at its former gateway", func() bool { return c.get("/") == former[c] })
			c.wantGateway(former[c], 3)
		}
		for _, c := range browsers {
			c.wantGateway(c.gateway, 3)
		}
	})
}

// sharedGateway is a gateway with clients of both kinds. It fails the test unless both
// kinds use several gateways.
func sharedGateway(t *testing.T, programs, browsers []*balanced) string {
	t.Helper()
	gateways := func(clients []*balanced) []string {
		var names []string
		for _, c := range clients {
			names = append(names, c.gateway)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	ofPrograms, ofBrowsers := gateways(programs), gateways(browsers)
	shared := slices.IndexFunc(ofPrograms, func(name string) bool { return slices.Contains(ofBrowsers, name) })
	if len(ofPrograms) < 2 || len(ofBrowsers) < 2 || shared < 0 {
		t.Fatalf("programs use %v, browsers %v", ofPrograms, ofBrowsers)
	}
	return ofPrograms[shared]
}

// TestRoutedUsersAreReadByOneGateway counts MariaDB's queries with rows that each gateway
// keeps: behind the balancer of the guide, a user's row is read by one of four gateways,
// and by each of them if the balancer uses them in turn.
func TestRoutedUsersAreReadByOneGateway(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		b := startBalancer(t, db, "max_age 10m\ncache 5m\nsession {\nmax_age 1h\n}")
		const users = 8
		count := func(first int, start func(testUser) *balanced) int {
			var clients []*balanced
			for _, u := range addUsers(t, db, first, users) {
				clients = append(clients, start(u))
			}
			before := questions(t, db)
			for _, c := range clients {
				for range 2 * len(fleetNames) {
					c.get("/")
				}
			}
			return questions(t, db) - before
		}
		if n := count(100, b.program); n != 0 {
			t.Errorf("%d queries for programs whose rows were read", n)
		}
		if n := count(200, b.browser); n != 0 {
			t.Errorf("%d queries for browsers whose rows were read", n)
		}
		b.stopRouting()
		// The gateway of the first request has read the row already. With a link, a
		// second has: that of the redirect to the URL without the token.
		if n, want := count(300, b.program), users*(len(fleetNames)-1); n != want {
			t.Errorf("%d queries for programs that are sent to each gateway, want %d", n, want)
		}
		if n, want := count(400, b.browser), users*(len(fleetNames)-2); n != want {
			t.Errorf("%d queries for browsers that are sent to each gateway, want %d", n, want)
		}
	})
}
