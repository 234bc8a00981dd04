package sesame_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// adminGateway is a gateway whose admin endpoint is on.
type adminGateway struct {
	*gateway
	admin string // host:port
}

// startAdmin runs a Caddy with an admin endpoint, and sites.
func startAdmin(t *testing.T, db *database, sites string) *adminGateway {
	t.Helper()
	a := &adminGateway{&gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}, freeAddr(t)}
	// The next test may use the port again.
	for a.admin == a.addr {
		a.admin = freeAddr(t)
	}
	loadCaddyfile(t, fmt.Sprintf("{\nadmin %s\npersist_config off\nauto_https off\nlog {\noutput file %s\nlevel DEBUG\n}\n}\n", a.admin, a.logs)+
		strings.NewReplacer("PORT", portOf(a.addr), "SECRET", fmt.Sprintf("%q", secretKey), "DSN", fmt.Sprintf("%q\nquery_timeout 20s", db.dsn)).Replace(sites))
	return a
}

// adminSite is a site of startAdmin's.
func adminSite(host, options string) string {
	return fmt.Sprintf("http://%s:PORT {\nlog\nsesame {\nsecret_key SECRET\n%s\nuserstore mysql {\ndsn DSN\n}\n}\nrespond {http.auth.user.username}\n}\n", host, options)
}

// call sends a request to the admin endpoint, with a body if there is one.
func (a *adminGateway) call(t *testing.T, method, path, body string, header ...string) *response {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+a.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &response{status: answer.StatusCode, header: answer.Header, body: string(text)}
}

// post sends JSON, and reads that of the answer.
func (a *adminGateway) post(t *testing.T, path, body string) (status int, answer map[string]any) {
	t.Helper()
	r := a.call(t, http.MethodPost, path, body)
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		t.Fatalf("%s %s: %v in %q", path, body, err, r.body)
	}
	return r.status, answer
}

func TestAdminEndpointMintsTokens(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "max_age 10m\nsession")+adminSite("reports.example.com", "max_age 10m\nscope report:{http.request.uri.path.1}"))
		tests := []struct {
			name, body string
			status     int
			user       string // the user whom the gateway lets in; empty for none
			want       string // in the body
		}{
			{"user name", `{"user": "alice", "handler": "app.example.com"}`, 200, "alice", `"expires":"20`},
			{"number", `{"user": 3, "handler": "app.example.com"}`, 200, "carol", ""},
			{"primary key", `{"user": "1", "by": "pk", "handler": "app.example.com"}`, 200, "alice", `"id":"1"`},
			{"e-mail address", `{"user": "alice@example.com", "by": "email", "handler": "app.example.com"}`, 200, "alice", ""},
			{"link", `{"user": "alice", "url": "http://app.example.com/x?a=1#b"}`, 200, "alice", `"link":"http://app.example.com/x?a=1&sesame=`},
			{"link with a scope", `{"user": "alice", "url": "http://reports.example.com/reports/7"}`, 200, "alice", `"scope":"report:7"`},
			{"scope", `{"user": "alice", "handler": "reports.example.com", "scope": "x"}`, 200, "", `"scope":"x"`},
			{"inactive, all the same", `{"user": "bob", "force": true, "handler": "app.example.com"}`, 200, "", `"id":"2"`},
			{"inactive", `{"user": "bob", "handler": "app.example.com"}`, 422, "", "inactive"},
			{"nobody", `{"user": "nobody", "handler": "app.example.com"}`, 404, "", "no such user"},
			{"no user", `{"handler": "app.example.com"}`, 400, "", "name a user"},
			{"kind of name", `{"user": "alice", "by": "id", "handler": "app.example.com"}`, 400, "", "username"},
			{"no handler", `{"user": "alice"}`, 400, "", "reports.example.com"},
			{"unknown handler", `{"user": "alice", "handler": "nobody"}`, 400, "", "app.example.com"},
			{"number of a handler that isn't there", `{"user": "alice", "handler": 3}`, 400, "", "app.example.com"},
			{"no scope", `{"user": "alice", "handler": "reports.example.com"}`, 400, "", "name the scope"},
			{"no URL", `{"user": "alice", "handler": "app.example.com", "url": "mailto:x"}`, 400, "", "URL"},
			{"unknown field", `{"user": "alice", "name": 1}`, 400, "", "documented"},
			{"no JSON", `user=alice`, 400, "", "documented"},
			{"two objects", `{"user": "alice"} {"user": "bob"}`, 400, "", "documented"},
			{"too much", `{"user": "` + strings.Repeat("x", 70_000) + `"}`, 413, "", "65536"},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				r := a.call(t, http.MethodPost, "/sesame/token", test.body)
				r.wantStatus(t, test.status)
				wantText(t, r.body, test.want)
				if test.user == "" {
					return
				}
				var answer struct{ Token, Link string }
				if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
					t.Fatal(err)
				}
				host, path := "app.example.com", "/?sesame="+answer.Token
				if answer.Link != "" {
					link, err := url.Parse(answer.Link)
					if err != nil {
						t.Fatal(err)
					}
					host, path = link.Host, link.RequestURI()
				}
				if got := a.get(t, path, "Host", host, "Accept", "*/*"); got.status != 200 && got.status != 303 {
					t.Errorf("the gateway answers %d: %s", got.status, got.body)
				} else if got.status == 200 && got.body != test.user {
					t.Errorf("the gateway takes it for %q", got.body)
				}
			})
		}
		a.wantNoToken(t)
	})
}

// TestAdminTokenOneTime makes a token for one use with the running handler's store.
func TestAdminTokenOneTime(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "one_time\nconfirm off"))
		status, answer := a.post(t, "/sesame/token", `{"user": "alice"}`)
		if status != 200 {
			t.Fatalf("%d %v", status, answer)
		}
		path := "/?sesame=" + answer["token"].(string)
		a.get(t, path, "Host", "app.example.com").wantStatus(t, 200)
		a.get(t, path, "Host", "app.example.com").wantStatus(t, 401)
		_, explanation := a.post(t, "/sesame/explain", fmt.Sprintf(`{"token": %q}`, answer["token"]))
		if explanation["verdict"] != "bad_signature" || !strings.Contains(fmt.Sprint(explanation["findings"]), "used") {
			t.Errorf("%v", explanation)
		}
	})
}

func TestAdminEndpointExplainsTokens(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "max_age 10m")+adminSite("reports.example.com", "max_age 10m\nscope report:{http.request.uri.path.1}"))
		made := tokenFor(t, alice, withMaxAge(time.Minute))
		scoped := tokenAt(t, alice, "report:7", time.Now(), withMaxAge(time.Minute))
		withoutAge := tokenFor(t, alice)
		tests := []struct {
			name, body string
			status     int
			verdict    string
			want       string
		}{
			{"valid", `{"token": "` + made + `", "handler": "app.example.com"}`, 200, "valid", `"primary_key":"1"`},
			{"link", `{"token": "http://app.example.com/?sesame=` + made + `"}`, 200, "valid", ""},
			{"later", `{"token": "` + made + `", "handler": "app.example.com", "at": "+1h"}`, 200, "expired", ""},
			{"link with a scope", `{"token": "http://reports.example.com/reports/7?sesame=` + scoped + `"}`, 200, "valid", ""},
			{"scopes", `{"token": "` + scoped + `", "handler": "app.example.com", "scopes": ["report:7"]}`, 200, "bad_signature", "other_scope"},
			{"scope that isn't known", `{"token": "` + scoped + `", "handler": "reports.example.com"}`, 200, "bad_signature", `"scope_unknown":true`},
			{"without max_age", `{"token": "` + withoutAge + `", "handler": "app.example.com"}`, 200, "no_signature", "other_max_age"},
			{"whose", `{"token": "` + made + `", "handler": "app.example.com", "user": "alice"}`, 200, "valid", ""},
			{"nobody's", `{"token": "` + made + `", "handler": "app.example.com", "user": "nobody"}`, 400, "", "no such user"},
			{"no time", `{"token": "` + made + `", "handler": "app.example.com", "at": "x"}`, 400, "", "at: "},
			{"no handler", `{"token": "` + made + `"}`, 400, "", "reports.example.com"},
			{"no JSON", `{"token": "` + made + `"`, 400, "", "documented"},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				r := a.call(t, http.MethodPost, "/sesame/explain", test.body)
				r.wantStatus(t, test.status)
				wantText(t, r.body, test.want)
				var answer struct{ Verdict string }
				if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
					t.Fatal(err)
				}
				if answer.Verdict != test.verdict {
					t.Errorf("verdict %q, want %q: %s", answer.Verdict, test.verdict, r.body)
				}
			})
		}
		a.wantNoToken(t, made, scoped, withoutAge)
	})
}

func TestAdminEndpointTellsTheStatus(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "max_age 10m\ncache 5s")+adminSite("long.app.example.com", "max_age 20m"))
		for range 3 {
			a.get(t, "/?sesame="+tokenFor(t, alice, withMaxAge(time.Minute)), "Host", "app.example.com").wantStatus(t, 200)
		}
		a.get(t, "/", "Host", "app.example.com").wantStatus(t, 401)
		r := a.call(t, http.MethodGet, "/sesame/status", "")
		r.wantStatus(t, 200)
		var answer struct {
			Handlers []struct {
				Number int
				Route  string
				Hosts  []string
				Store  struct {
					Healthy bool
					Seconds float64
				}
				Pool    struct{ Open, MaxOpen int }
				Lookups struct {
					Users   int
					Queries map[string]int
				}
				Cache *struct{ Users, Hits, Misses int }
			}
			Requests map[string]int
		}
		if err := json.Unmarshal([]byte(strings.ReplaceAll(r.body, "max_open", "MaxOpen")), &answer); err != nil {
			t.Fatal(err)
		}
		if len(answer.Handlers) != 2 {
			t.Fatalf("%s", r.body)
		}
		// Caddy has the longer host first.
		first, second := answer.Handlers[0], answer.Handlers[1]
		if first.Number != 1 || strings.Join(first.Hosts, " ") != "long.app.example.com" || first.Cache != nil ||
			first.Route != "apps.http.servers.srv0.routes.0.handle.0.routes.0.handle.0" {
			t.Errorf("%+v", first)
		}
		if !second.Store.Healthy || second.Pool.Open < 1 || second.Pool.MaxOpen != 20 || second.Lookups.Users < 1 || second.Lookups.Queries["1"] < 1 {
			t.Errorf("%+v", second)
		}
		if second.Cache == nil || second.Cache.Users != 1 || second.Cache.Hits+second.Cache.Misses != 3 {
			t.Errorf("%+v", second.Cache)
		}
		if answer.Requests["token"] < 3 || answer.Requests["refused: missing"] < 1 {
			t.Errorf("%v", answer.Requests)
		}
		for _, secret := range []string{secretKey, alice.password} {
			if strings.Contains(r.body, secret) {
				t.Errorf("%q is in %s", secret, r.body)
			}
		}
	})
}

// TestAdminStatusWithoutMySQL: the status comes soon even where MySQL hangs.
func TestAdminStatusWithoutMySQL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "max_age 10m")+adminSite("b.example.com", "max_age 20m"))
		if err := mariadb.Freeze(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(mariadb.Thaw)
		r := a.call(t, http.MethodGet, "/sesame/status", "")
		r.wantStatus(t, 503)
		if got := strings.Count(r.body, `"healthy":false`); got != 2 {
			t.Errorf("%d of 2 are unhealthy: %s", got, r.body)
		}
		answers := fmt.Sprintf(`"servers":[{"role":"primary","address":%q,"answers":true`, mariadb.Addr()) // the status call itself may have stalled a read
		if got := strings.Count(r.body, answers); got != 2 {
			t.Errorf("%d of 2 are said to answer, which no request has disproved: %s", got, r.body)
		}
		mariadb.Thaw()
		poll(t, "health", func() bool {
			r := a.call(t, http.MethodGet, "/sesame/status", "")
			return strings.Count(r.body, `"healthy":true`) == 2 && r.status == 200
		})
	})
}

// TestAdminProtection checks which clients the admin endpoint answers.
func TestAdminProtection(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "max_age 10m"))
		const body = `{"user": "alice"}`
		tests := []struct {
			name, method, path, body string
			header                   []string
			status                   int
		}{
			{"token", "POST", "/sesame/token", body, nil, 200},
			{"token with a charset", "POST", "/sesame/token", body, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
			{"token by GET", "GET", "/sesame/token", "", nil, 405},
			{"token by PUT", "PUT", "/sesame/token", body, nil, 405},
			{"explain by GET", "GET", "/sesame/explain", "", nil, 405},
			{"revoke by GET", "GET", "/sesame/revoke", "", nil, 405},
			{"revoke by a form", "POST", "/sesame/revoke", body, []string{"Content-Type", "text/plain"}, 415},
			{"status by POST", "POST", "/sesame/status", "{}", nil, 405},
			{"form", "POST", "/sesame/token", body, []string{"Content-Type", "text/plain"}, 415},
			{"no content type", "POST", "/sesame/token", body, []string{"Content-Type", ""}, 415},
			{"page of another site", "POST", "/sesame/token", body, []string{"Origin", "https://evil.example"}, 403},
			{"page of the same name", "POST", "/sesame/token", body, []string{"Sec-Fetch-Mode", "no-cors"}, 400},
			{"no such path", "GET", "/sesame/", "", nil, 404},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				r := a.call(t, test.method, test.path, test.body, test.header...)
				r.wantStatus(t, test.status)
				if test.status != 200 && strings.Contains(r.body, `"token"`) {
					t.Errorf("%s", r.body)
				}
				if test.status == 405 && r.header.Get("Allow") == "" {
					t.Error("no Allow")
				}
			})
		}
	})
}

// TestAdminFollowsReloads asks for the handlers of a configuration after its reload.
func TestAdminFollowsReloads(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("old.example.com", "max_age 10m"))
		b := startAdmin(t, db, adminSite("new.example.com", "max_age 20m"))
		if a.admin == b.admin {
			t.Skip("the same port")
		}
		r := b.call(t, http.MethodGet, "/sesame/status", "")
		r.wantStatus(t, 200)
		if !strings.Contains(r.body, "new.example.com") || strings.Contains(r.body, "old.example.com") || strings.Count(r.body, `"number"`) != 1 {
			t.Errorf("%s", r.body)
		}
	})
}
