package sesame_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// metricValues are the running Caddy's metrics of the gateway: by name and
// labels, as in `requests_total{outcome="token",reason=""}`. Those of all handlers are
// summed up.
func metricValues(t *testing.T) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	for _, ofHandler := range metricsByHandler(t) {
		for name, value := range ofHandler {
			values[name] += value
		}
	}
	return values
}

// metricsByHandler are metricValues by the handler, which is empty for metrics without.
func metricsByHandler(t *testing.T) map[string]map[string]float64 {
	t.Helper()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]map[string]float64)
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), "caddy_sesame_")
		if !ours {
			continue
		}
		for _, metric := range family.GetMetric() {
			handler, labels := "", []string(nil)
			for _, label := range metric.GetLabel() {
				if label.GetName() == "handler" {
					handler = label.GetValue()
					continue
				}
				labels = append(labels, label.GetName()+`="`+label.GetValue()+`"`)
			}
			key := name
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			if values[handler] == nil {
				values[handler] = make(map[string]float64)
			}
			switch {
			case metric.GetHistogram() != nil:
				values[handler][key] = float64(metric.GetHistogram().GetSampleCount())
			case metric.GetGauge() != nil:
				values[handler][key] = metric.GetGauge().GetValue()
			default:
				values[handler][key] = metric.GetCounter().GetValue()
			}
		}
	}
	return values
}

// wantGrowth compares what metrics have grown by since before.
func wantGrowth(t *testing.T, before, want map[string]float64) {
	t.Helper()
	after := metricValues(t)
	for name := range want {
		if _, ok := after[name]; !ok {
			t.Errorf("there is no metric %s", name)
		}
	}
	for name, value := range after {
		switch {
		case strings.HasPrefix(name, "pool_"), strings.HasPrefix(name, "cache_users"), strings.HasPrefix(name, "batch_size"), strings.HasPrefix(name, "lookup_duration"):
			continue
		}
		if grown := value - before[name]; grown != want[name] {
			t.Errorf("%s has grown by %v, want %v", name, grown, want[name])
		}
	}
}

// TestRequestsAreCountedOnceByWhatBecomesOfThem expects each request to be counted
// once, by its outcome.
func TestRequestsAreCountedOnceByWhatBecomesOfThem(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		hour := withMaxAge(time.Hour)
		g := startGateway(t, db, up, site{options: "max_age 1h\nsession\nconfirm always", global: "metrics"})
		before := metricValues(t)
		valid := tokenFor(t, alice, hour)
		html := []string{"Accept", "text/html"}

		g.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/?sesame=bad").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/?sesame="+tokenFor(t, bob, hour)).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/?sesame="+tokenAt(t, alice, "", time.Now().Add(-2*time.Hour), hour)).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", "Authorization", "Bearer "+valid).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+valid, html...).wantStatus(t, http.StatusOK) // the page
		login := g.get(t, "/?sesame="+valid)
		login.wantStatus(t, http.StatusSeeOther)
		cookie := sessionCookie(t, login)
		g.get(t, "/", "Cookie", cookie).wantStatus(t, http.StatusOK)
		g.get(t, "/", "Cookie", cookie+"x").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/_sesame/whoami", "Cookie", cookie).wantStatus(t, http.StatusOK)
		g.do(t, http.MethodPost, "/_sesame/logout", "Cookie", cookie).wantStatus(t, http.StatusOK)

		wantGrowth(t, before, map[string]float64{
			`credentials_rejected_total{reason="malformed",scheme="token"}`:     1,
			`credentials_rejected_total{reason="inactive_user",scheme="token"}`: 1,
			`credentials_rejected_total{reason="expired",scheme="token"}`:       1,
			`credentials_rejected_total{reason="malformed",scheme="session"}`:   1,

			`requests_total{outcome="refused",reason="missing"}`:          2,
			`requests_total{outcome="refused",reason="malformed"}`:        1,
			`requests_total{outcome="refused",reason="inactive_user"}`:    1,
			`requests_total{outcome="refused",reason="expired"}`:          1,
			`requests_total{outcome="token",reason=""}`:                   1,
			`requests_total{outcome="session",reason=""}`:                 1,
			`requests_total{outcome="login",reason=""}`:                   1,
			`requests_total{outcome="page",reason=""}`:                    3,
			`login_failures_total{method="token",reason="malformed"}`:     1,
			`login_failures_total{method="token",reason="inactive_user"}`: 1,
			`login_failures_total{method="token",reason="expired"}`:       1,
			`logins_total{method="token"}`:                                1,
			`sessions_started_total`:                                      1,
			`sessions_ended_total{reason="logout"}`:                       1,
			`sessions_ended_total{reason="malformed"}`:                    1,
		})
		after := metricValues(t)
		for _, name := range []string{"lookup_duration_seconds", "batch_size"} {
			if after[name] <= before[name] {
				t.Errorf("%s hasn't grown", name)
			}
		}
		if n := after[`pool_connections{state="idle"}`] + after[`pool_connections{state="in_use"}`]; n < 1 {
			t.Errorf("%v connections to MySQL are shown", n)
		}
		up.take()
	})
}

// TestMetricsOfOneTimeTokens counts uses, and that they outlive a reload.
func TestMetricsOfOneTimeTokens(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := site{options: "one_time\nconfirm off\noptional\ncache 5s", global: "metrics"}
		g := startGateway(t, db, up, s)
		before := metricValues(t)
		valid := tokenFor(t, alice, oneTime)
		g.do(t, http.MethodHead, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		g.get(t, "/").wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		if err := tryCaddyfile(g.caddyfile(db, up, s)); err != nil {
			t.Fatal(err)
		}
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)
		wantGrowth(t, before, map[string]float64{
			`requests_total{outcome="ahead",reason=""}`:                1,
			`requests_total{outcome="anonymous",reason=""}`:            1,
			`requests_total{outcome="token",reason=""}`:                1,
			`requests_total{outcome="refused",reason="bad_signature"}`: 1,
			`one_time_consumptions_total{result="used"}`:               1,

			`credentials_rejected_total{reason="bad_signature",scheme="token"}`: 1,
		})
		up.take()
	})
}

// TestMetricsTellHandlersApart by their site, and those of one site by numbers.
func TestMetricsTellHandlersApart(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
		sesame := func(path, options string) string {
			return fmt.Sprintf("sesame %s {\nsecret_key %q\nuserstore mysql {\ndsn %q\n}\n%s\n}\n", path, secretKey, db.dsn, options)
		}
		caddyfile := g.caddyfile(db, up, site{}) + fmt.Sprintf("http://two.example.com:%s {\nbind 127.0.0.1\n%s%s\nrespond ok\n}\n", portOf(g.addr),
			sesame("/a/*", ""), sesame("/b/*", "limit_failures "+ownLimit("1 per 59m")+"\nassertion {\naudience app\n}\n"+passwordSite(int(100+limits.Add(1))).options))
		for range 2 { // counts outlive a reload
			if err := tryCaddyfile(caddyfile); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { _ = caddy.Stop() })
		before := metricsByHandler(t)
		valid := tokenFor(t, alice)
		g.get(t, "/a/", "Host", "two.example.com").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/a/", append(bearer(valid), "Host", "two.example.com")...).wantStatus(t, http.StatusOK)
		g.get(t, "/b/", "Host", "two.example.com").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/b/", append(bearer(valid), "Host", "two.example.com")...).wantStatus(t, http.StatusOK)
		g.get(t, "/b/", append(basicAuth("alice:wrong"), "Host", "two.example.com")...).wantStatus(t, http.StatusUnauthorized)
		forged := valid[:len(valid)-2] + "zz"
		g.get(t, "/b/", append(bearer(forged), "Host", "two.example.com")...).wantStatus(t, http.StatusTooManyRequests)
		after := metricsByHandler(t)
		for metric, want := range map[string][2]float64{
			`requests_total{outcome="refused",reason="missing"}`:                    {1, 1},
			`requests_total{outcome="token",reason=""}`:                             {1, 1},
			`requests_total{outcome="limited",reason=""}`:                           {0, 1},
			`credentials_rejected_total{reason="wrong_password",scheme="password"}`: {0, 1},
			`credentials_rejected_total{reason="bad_signature",scheme="token"}`:     {0, 1},
			`passwords_hashed_total`:                                                {0, 1},
			`clients_limited_total`:                                                 {0, 1},
			`assertions_signed_total`:                                               {0, 1},
		} {
			for i, handler := range []string{"two.example.com", "two.example.com#2"} {
				if got := after[handler][metric] - before[handler][metric]; got != want[i] {
					t.Errorf("%s of %s has grown by %v, want %v", metric, handler, got, want[i])
				}
			}
		}
	})
}

// TestMetricsHoldNoUserData looks for users and tokens in the metrics.
func TestMetricsHoldNoUserData(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "cache 5s", global: "metrics"})
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		for name := range maps.Keys(metricValues(t)) {
			for _, secret := range []string{valid, "alice", "example.com", "auth_user"} {
				if strings.Contains(name, secret) {
					t.Errorf("the metric %s holds %s", name, secret)
				}
			}
		}
		up.take()
	})
}

// sessionCookie is the session that an answer sets.
func sessionCookie(t *testing.T, answer *response) string {
	t.Helper()
	for _, cookie := range (&http.Response{Header: answer.header}).Cookies() {
		if cookie.Name == "sesame" {
			return cookie.Name + "=" + cookie.Value
		}
	}
	t.Fatalf("the answer sets no session: %v", answer.header)
	return ""
}

// TestLoginsAreCountedByMethod counts logins on the login page, and those that fail.
func TestLoginsAreCountedByMethod(t *testing.T) {
	g, up, _ := startRepost(t, 41)
	before := metricValues(t)
	b := newBrowser(g)
	b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
	b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"wrong"}}).wantStatus(t, http.StatusUnauthorized)
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
	after := metricValues(t)
	for name, want := range map[string]float64{
		`logins_total{method="password"}`:                                 1,
		`logins_total{method="token"}`:                                    0,
		`login_failures_total{method="password",reason="wrong_password"}`: 1,
	} {
		if grown := after[name] - before[name]; grown != want {
			t.Errorf("%s has grown by %v, want %v", name, grown, want)
		}
	}
	lines := g.awaitLines(t, "http.handlers.sesame.audit", 1)
	if lines[0]["msg"] != "login" || lines[0]["scheme"] != "password" {
		t.Errorf("the audit log has %v", lines)
	}
	var who map[string]string
	if err := json.Unmarshal([]byte(b.get(t, "/_sesame/whoami").body), &who); err != nil || who["authenticated_by"] != "session" || who["length"] != "default" {
		t.Errorf("whoami: %v, %v", who, err)
	}
	up.takeNone(t)
}
