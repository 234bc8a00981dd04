package sesame_test

import (
	"net/http"
	"strings"
	"testing"
)

// twoSites are a site with TLS, one without, and one whose handler accepts other
// tokens.
const twoSites = `
app.example.com, *.apps.example.com, bücher.example {
	sesame {
		secret_key SECRET
		userstore mysql {
			dsn DSN
		}
	}
	respond fine
}
http://intern.example.com {
	sesame {
		secret_key SECRET
		userstore mysql {
			dsn DSN
		}
	}
	respond fine
}
other.example.com {
	sesame {
		secret_key SECRET
		key other
		userstore mysql {
			dsn DSN
		}
	}
	respond fine
}
open.example.com {
	respond fine
}
`

// TestTokenCommandURL makes links to the sites of the configuration alone.
func TestTokenCommandURL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, twoSites, db.dsn)
		for _, test := range []struct{ url, want string }{
			{"https://app.example.com/reports/7", ""},
			{"https://APP.example.com:8443/", ""},
			{"https://app.example.com./", ""},
			{"https://a.apps.example.com/", ""},
			{"https://bücher.example/", ""},
			{"https://xn--bcher-kva.example/", ""},
			{"http://intern.example.com/", ""},
			{"https://intern.example.com/", ""},
			{"https://app.exmaple.com/", "no site with sesame serves app.exmaple.com"},
			{"https://open.example.com/", "no site with sesame serves open.example.com"},
			{"https://example.com/", "no site with sesame serves example.com"},
			{"https://app.example.com.evil.example/", "no site with sesame serves"},
			{"https://a.b.apps.example.com/", "no site with sesame serves"},
			{"https://other.example.com/", "served by another sesame handler"},
			{"https://app.example.com@evil.example/", "user name"},
			{"http://app.example.com/", "without encryption"},
			{"ftp://app.example.com/", "no browser opens"},
			{"app.example.com/reports", "no scheme"},
			{"//app.example.com/reports", "no scheme"},
			{"/reports", "no scheme"},
			{"https:///reports", "no host"},
			{"https://:443/reports", "no host"},
			{"https://[fe80::1%25eth0]/reports", "no host"},
		} {
			args := []string{"token", "alice", "--url", test.url, "--route", "app.example.com"}
			r := o.run(t, args...)
			if test.want == "" {
				r.wantStatus(t, 0)
				continue
			}
			if r.status != 1 || r.stdout != "" || !strings.Contains(r.stderr, test.want) || !strings.Contains(r.stderr, "--any-url") {
				t.Errorf("%s: status %d, %q, want %q\n%s", test.url, r.status, r.stdout, test.want, r.stderr)
			}
			o.run(t, append(args, "--any-url")...).wantStatus(t, 0)
		}
	})
}

// TestTokenCommandURLWithoutHost makes links to a site that is for all hosts.
func TestTokenCommandURLWithoutHost(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, strings.Replace(oneSite("", ""), "app.example.com", ":8080", 1), db.dsn)
		for _, url := range []string{"http://localhost:8080/", "https://behind.example.com/"} {
			o.run(t, "token", "alice", "--url", url).wantStatus(t, 0)
		}
		o.run(t, "token", "alice", "--url", "/page").wantStatus(t, 1)
	})
}

// TestTokenCommandURLOfASiteWithoutTLS makes links to sites whose address begins with
// http://, on any port or socket.
func TestTokenCommandURLOfASiteWithoutTLS(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range []struct {
			name, address, more string
			status              int
		}{
			{"on the port of HTTP", "http://app.example.com", "", 0},
			{"on another port", "http://app.example.com:8080", "", 0},
			{"on a socket", "http://app.example.com:8080", "bind unix//run/http.sock", 0},
			{"with TLS on another port", "https://app.example.com:8080", "", 1},
			{"with TLS on a socket", "https://app.example.com:8080", "bind unix//run/https.sock", 1},
		} {
			t.Run(test.name, func(t *testing.T) {
				caddyfile := strings.Replace(oneSite("", ""), "app.example.com {", test.address+" {\n"+test.more, 1)
				o := newOperator(t, caddyfile, db.dsn)
				o.run(t, "token", "alice", "--url", "http://app.example.com:8080/").wantStatus(t, test.status)
			})
		}
	})
}

// TestAdminTokenURL rejects such URLs at the admin endpoint, too.
func TestAdminTokenURL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", ""))
		for body, want := range map[string]int{
			`{"user": "alice", "url": "http://app.example.com/"}`:                     http.StatusOK, // the site has no TLS
			`{"user": "alice", "url": "https://app.exmaple.com/"}`:                    http.StatusBadRequest,
			`{"user": "alice", "url": "app.example.com/x"}`:                           http.StatusBadRequest,
			`{"user": "alice", "url": "https://app.exmaple.com/", "any_url": true}`:   http.StatusOK,
			`{"user": "alice", "url": "https://app.example.com@evil.example/login"}`:  http.StatusBadRequest,
			`{"user": "alice", "url": "https://app.example.com/", "any_url": "true"}`: http.StatusBadRequest,
		} {
			status, answer := a.post(t, "/sesame/token", body)
			if status != want {
				t.Errorf("%s is answered %d, want %d: %v", body, status, want, answer)
			}
		}
	})
}
