package sesame_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// TestCodesAfterOneLinkAreOneLogin: of several browsers that send a right code at once
// after one link and its code, through two gateways, exactly one is logged in.
func TestCodesAfterOneLinkAreOneLogin(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.db.mustExec(t, "DELETE FROM otp_totp_totpdevice")
		tokens := []string{"token1", "token2", "token3", "token4"} // five codes of a user are tried at once
		s.giveTokens(t, tokens...)
		other := startGatewayProcess(t, s.db, s.up, askingSite(s.smtp, "http://"+s.g.addr, "", ""))
		asker, got := s.ask(t, "/reports/7")
		tie := asker.cookies["sesame-confirm"]
		var browsers []*browser
		for i := range tokens {
			b := &browser{gateway: []*gateway{s.g, other}[i%2], cookies: map[string]string{"sesame-confirm": tie}, last: asker.last}
			if i < 2 {
				b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
			} else {
				b.typeCode(t, got.code).wantStatus(t, http.StatusOK)
			}
			b.wantCodeAsked(t)
			browsers = append(browsers, b)
		}
		var loggedIn atomic.Int32
		var requests sync.WaitGroup
		start := make(chan struct{})
		for i, b := range browsers {
			requests.Go(func() {
				<-start
				b.fillCode(t, tokens[i])
				if b.isLoggedIn() {
					loggedIn.Add(1)
				} else if b.last.status != http.StatusUnauthorized {
					t.Errorf("a browser got status %d: %s", b.last.status, b.last.body)
				}
			})
		}
		close(start)
		requests.Wait()
		if n := loggedIn.Load(); n != 1 {
			t.Errorf("%d browsers are logged in, want 1", n)
		}
	})
}

// TestPageForACodeDoesntTellWhoHasASecondFactor: for a user with one, a user without and
// an address of no user, a wrong code of the mail gets the same answer.
func TestPageForACodeDoesntTellWhoHasASecondFactor(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.db.mustExec(t, "UPDATE auth_user SET email = 'carol@example.com' WHERE username = 'carol'")
		var first string
		for _, address := range []string{alice.email, "carol@example.com", "nobody@example.com"} {
			b := newBrowser(s.g)
			sent := b.askForLink(t, "/reports/7", address)
			wrong := b.typeCode(t, "0000-0000")
			wrong.wantStatus(t, http.StatusUnauthorized)
			shown := strings.ReplaceAll(secretOfForm.ReplaceAllString(sent.body+wrong.body, "value"), address, "ADDRESS")
			if first == "" {
				first = shown
			}
			if shown != first {
				t.Errorf("%s: the pages differ: %s\nand\n%s", address, shown, first)
			}
		}
	})
}

// TestCodeAfterAMailedCodeBringsAPostedFormBack: both pages carry the form on.
func TestCodeAfterAMailedCodeBringsAPostedFormBack(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.giveTokens(t, "first1")
		b := newBrowser(s.g)
		send := func(form url.Values) *response {
			t.Helper()
			carried := carriedForm.FindStringSubmatch(b.last.body)
			if carried == nil {
				t.Fatalf("the page carries nothing: %s", b.last.body)
			}
			form.Set("carried", html.UnescapeString(carried[1]))
			if pending := formPending.FindStringSubmatch(b.last.body); pending != nil {
				form.Set("pending", html.UnescapeString(pending[1]))
			}
			return b.fill(t, form)
		}
		b.postForm(t, "/comments/new", postedBody).wantStatus(t, http.StatusUnauthorized)
		send(url.Values{"method": {"email_link"}, "email": {alice.email}}).wantStatus(t, http.StatusOK)
		send(url.Values{"method": {"email_code"}, "code": {readMail(t, s.smtp.WaitMail(t)).code}}).wantStatus(t, http.StatusOK)
		b.wantCodeAsked(t)
		send(url.Values{"method": {"second_factor"}, "code": {"first1"}}).wantStatus(t, http.StatusOK)
		s.up.takeNone(t)
		b.resend(t).wantStatus(t, http.StatusOK)
		if sent := s.up.takeOne(t); sent.uri != "/comments/new" || sent.body != postedBody {
			t.Errorf("the upstream got %s with %q", sent.uri, sent.body)
		}
	})
}

// TestLoginByLinkAndCodeIsOneByLink in the metrics and in the browser's memory, also
// beside a form for passwords: a wrong code of the second factor counts as such.
func TestLoginByLinkAndCodeIsOneByLink(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.giveTokens(t, "first1", "second2")
		site := askingSite(s.smtp, "http://"+s.g.addr, passwordSite(61, "second_factor ask").options, "")
		site.options = strings.Replace(site.options, "email_link {", "password\nemail_link {", 1)
		if err := tryCaddyfile(s.g.caddyfile(s.db, s.up, site)); err != nil {
			t.Fatal(err)
		}
		s.db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		before := metricValues(t)
		b, got := s.ask(t, "/reports/7")
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.fillCode(t, "wrong").wantStatus(t, http.StatusUnauthorized)
		s.unlock(t)
		b.fillCode(t, "first1").wantStatus(t, http.StatusSeeOther)
		b.forgetSession(t)
		b.wantFirst(t, "email_link")
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		b.fillCode(t, "second2").wantStatus(t, http.StatusSeeOther)
		b.forgetSession(t)
		b.wantFirst(t, "password")
		after := metricValues(t)
		for metric, want := range map[string]float64{
			`logins_total{method="email_link+static"}`:                         1,
			`logins_total{method="password+static"}`:                           1,
			`logins_total{method="email_link"}`:                                0,
			`login_failures_total{method="second_factor",reason="wrong_code"}`: 1,
			`login_failures_total{method="email_link",reason="wrong_code"}`:    0,
		} {
			if n := after[metric] - before[metric]; n != want {
				t.Errorf("%s has grown by %v, want %v: %v", metric, n, want, after)
			}
		}
	})
}
