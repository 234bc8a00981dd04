package sesame_test

import (
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

// mailServer builds the program of a mail server once.
var mailServer = sync.OnceValues(func() (*testsmtp.Program, error) { return testsmtp.Build("internal/devsmtp", programs) })

// startMailServer runs a real mail server with TLS.
func startMailServer(t *testing.T, faults ...testsmtp.Fault) *testsmtp.Server {
	t.Helper()
	program, err := mailServer()
	if err != nil {
		t.Fatal(err)
	}
	return program.Start(t, testsmtp.Options{TLS: testsmtp.ImplicitTLS, Faults: faults})
}

// mailingSite is a site on which users get in by links that a server sends. more are
// further options of email_link. Second factors are ignored: the accounts of tests may
// not read their tables.
func mailingSite(smtp *testsmtp.Server, base, options, more string) site {
	return askingSite(smtp, base, options, more+"\nsecond_factor ignore")
}

// askingSite is a mailingSite whose links ask for a second factor, unless more says
// otherwise.
func askingSite(smtp *testsmtp.Server, base, options, more string) site {
	return site{options: fmt.Sprintf(`%s
login {
	remember 30d
	email_link {
		smtp %s
		smtp_ca %s
		from "Example Ltd <no-reply@example.com>"
		base_url %s
		%s
	}
}`, options, smtp.URL, smtp.CAFile, base, more)}
}

// mailingGateway starts a gateway of mailingSite.
func mailingGateway(t *testing.T, db *database, up *upstream, smtp *testsmtp.Server, options, more string) *gateway {
	t.Helper()
	g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
	loadCaddyfile(t, g.caddyfile(db, up, mailingSite(smtp, "http://"+g.addr, options, more)))
	return g
}

// receivedMail is a mail as its reader sees it.
type receivedMail struct {
	to, subject, text, html, language string
	link, code                        string
}

var (
	linkInMail = regexp.MustCompile(`(?m)^https?://\S+`)
	codeInMail = regexp.MustCompile(`(?m)^ *([0-9A-Z]{4}-[0-9A-Z]{4})\r?$`)
)

// readMail reads a mail that the server has accepted.
func readMail(t *testing.T, m testsmtp.Mail) receivedMail {
	t.Helper()
	message, err := mail.ReadMessage(strings.NewReader(m.Content))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	read := receivedMail{to: m.To, subject: subject, language: message.Header.Get("Content-Language")}
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			break
		}
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			read.html = string(text)
		} else {
			read.text = string(text)
		}
	}
	code := codeInMail.FindStringSubmatch(read.text)
	read.link = strings.TrimSpace(linkInMail.FindString(read.text))
	if read.link == "" || code == nil {
		t.Fatalf("the mail has no link, or no code: %s", m.Content)
	}
	read.code = code[1]
	return read
}

// uriOf is the path and the query of a link.
func uriOf(t *testing.T, link string) string {
	t.Helper()
	parsed, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.RequestURI()
}

// askForLink opens a page, and asks there for a link to an address.
func (b *browser) askForLink(t *testing.T, page, address string, more ...string) *response {
	t.Helper()
	b.get(t, page)
	form := url.Values{"method": {"email_link"}, "email": {address}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return b.fill(t, form)
}

var formPending = regexp.MustCompile(`name="pending" value="([^"]*)"`)

// typeCode types a code into the form that the browser shows.
func (b *browser) typeCode(t *testing.T, code string) *response {
	t.Helper()
	pending := formPending.FindStringSubmatch(b.last.body)
	if pending == nil {
		t.Fatalf("the page has no form for a code: %s", b.last.body)
	}
	return b.fill(t, url.Values{"method": {"email_code"}, "pending": {html.UnescapeString(pending[1])}, "code": {code}})
}

// isLoggedIn reports whether the browser has a session.
func (b *browser) isLoggedIn() bool {
	_, ok := b.cookies["sesame"]
	return ok
}

// TestEmailedLinkLogsInAtOnceWhereItWasAskedFor: after the fetchers of mail programs
// and messengers have opened it, and once.
func TestEmailedLinkLogsInAtOnceWhereItWasAskedFor(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "")
		b := newBrowser(g)
		b.askForLink(t, "/reports/7?x=1", strings.ToUpper(alice.email)).wantStatus(t, http.StatusOK)
		if again := `<a href="/_sesame/login?next=%2Freports%2F7%3Fx%3D1">Use another address</a>`; strings.Count(b.last.body, again) != 1 {
			t.Errorf("%s isn't in there once: %s", again, b.last.body)
		}
		got := readMail(t, smtp.WaitMail(t))
		if got.to != alice.email || got.language != "en" || !strings.Contains(html.UnescapeString(got.html), got.link) {
			t.Errorf("the mail is %+v", got)
		}
		wantNothingUsed(t, g, up, uriOf(t, got.link))
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/reports/7?x=1")
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		used := newBrowser(g).get(t, uriOf(t, got.link))
		used.wantStatus(t, http.StatusUnauthorized)
		for _, want := range []string{"This link is not valid", `action="/_sesame/login?next=%2Freports%2F7%3Fx%3D1"`} {
			if !strings.Contains(used.body, want) {
				t.Errorf("%s is missing on the page of a used link: %s", want, used.body)
			}
		}
		wantAudited(t, g, "link mailed", "one-time token used", "login")
	})
}

// wantAudited compares the messages of the audit log, which are all about links by
// e-mail.
func wantAudited(t *testing.T, g *gateway, messages ...string) {
	t.Helper()
	for i, line := range g.awaitLines(t, "http.handlers.sesame.audit", len(messages)) {
		if line["msg"] != messages[i] || line["scheme"] != "email_link" || line["user"] != "1" {
			t.Errorf("line %d of the audit log is %v, want %q", i, line, messages[i])
		}
	}
}

// TestEmailedLinkAsksInAnotherBrowser: the button logs in there, and the code is then
// worth nothing.
func TestEmailedLinkAsksInAnotherBrowser(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "")
		b, phone := newBrowser(g), newBrowser(g)
		sent := b.askForLink(t, "/reports/7", alice.email)
		got := readMail(t, smtp.WaitMail(t))
		phone.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		if phone.isLoggedIn() {
			t.Error("the link logs in without the button")
		}
		phone.press(t).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, phone.last.header, "Location", "/reports/7")
		phone.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		b.last = sent
		b.typeCode(t, got.code).wantStatus(t, http.StatusUnauthorized)
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusUnauthorized)
	})
}

// withAskedLink runs a test with each database, after alice has asked for a link in a
// browser: sent is the page that asks for the code, and got the mail.
func withAskedLink(t *testing.T, test func(t *testing.T, db *database, up *upstream, b *browser, sent *response, got receivedMail)) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		b := newBrowser(mailingGateway(t, db, up, smtp, "", ""))
		sent := b.askForLink(t, "/reports/7", alice.email)
		test(t, db, up, b, sent, readMail(t, smtp.WaitMail(t)))
	})
}

// TestCodeLogsInWhereItWasAskedFor: there alone, and the link is then worth nothing.
func TestCodeLogsInWhereItWasAskedFor(t *testing.T) {
	withAskedLink(t, func(t *testing.T, _ *database, up *upstream, b *browser, sent *response, got receivedMail) {
		g := b.gateway
		other := newBrowser(g)
		other.get(t, "/_sesame/login")
		other.last = &response{status: sent.status, header: sent.header, body: strings.Replace(sent.body, formCSRF.FindString(sent.body), formCSRF.FindString(other.last.body), 1)}
		other.typeCode(t, got.code).wantStatus(t, http.StatusForbidden)
		b.typeCode(t, "0000-0000").wantStatus(t, http.StatusUnauthorized)
		b.typeCode(t, strings.ToLower(got.code)).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/reports/7")
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		wantAudited(t, g, "link mailed", "one-time token used", "login")
		b.cookies = map[string]string{"sesame-confirm": b.cookies["sesame-confirm"]}
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestFiveWrongCodesEndALink's code, and not the link.
func TestFiveWrongCodesEndTheCode(t *testing.T) {
	withAskedLink(t, func(t *testing.T, _ *database, up *upstream, b *browser, sent *response, got receivedMail) {
		for range 5 {
			b.last = sent
			b.typeCode(t, "0000-0000").wantStatus(t, http.StatusUnauthorized)
		}
		b.last = sent
		b.typeCode(t, got.code).wantStatus(t, http.StatusUnauthorized)
		if b.isLoggedIn() {
			t.Error("the sixth code logs in")
		}
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusSeeOther)
		up.takeNone(t)
	})
}

// TestNewPasswordEndsACode as it ends the link in the same mail.
func TestNewPasswordEndsACode(t *testing.T) {
	withAskedLink(t, func(t *testing.T, db *database, _ *upstream, b *browser, sent *response, got receivedMail) {
		db.setPassword(t, alice, hashOf(t, password.MD5, "another"))
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusUnauthorized)
		b.last = sent
		b.typeCode(t, got.code).wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		db.reset(t)
	})
}

// TestCodeEndsNoSessionUntold: a page that was shown before another user's login is
// shown again, and names that user.
func TestCodeEndsNoSessionUntold(t *testing.T) {
	withAskedLink(t, func(t *testing.T, _ *database, up *upstream, b *browser, sent *response, got receivedMail) {
		b.get(t, "/?sesame="+tokenFor(t, carol)).wantStatus(t, http.StatusSeeOther)
		carols := b.cookies["sesame"]
		b.last = sent
		b.typeCode(t, got.code).wantStatus(t, http.StatusConflict)
		if b.cookies["sesame"] != carols || !strings.Contains(b.last.body, "You are logged in as "+carol.username) {
			t.Errorf("the page doesn't tell of the session, or it has ended: %s", b.last.body)
		}
		b.typeCode(t, got.code).wantStatus(t, http.StatusSeeOther)
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	})
}

// TestMailedCodeBringsAPostedFormBack: the page that asks for the code carries the form
// on. The link in the same mail doesn't have it.
func TestMailedCodeBringsAPostedFormBack(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		b := newBrowser(mailingGateway(t, db, up, smtp, "", ""))
		carried := func() string {
			t.Helper()
			found := carriedForm.FindStringSubmatch(b.last.body)
			if found == nil {
				t.Fatalf("the page carries nothing: %s", b.last.body)
			}
			return html.UnescapeString(found[1])
		}
		b.postForm(t, "/comments/new", postedBody).wantStatus(t, http.StatusUnauthorized)
		b.fill(t, url.Values{"method": {"email_link"}, "email": {alice.email}, "carried": {carried()}}).wantStatus(t, http.StatusOK)
		got := readMail(t, smtp.WaitMail(t))
		if strings.Contains(got.link, "carried") || len(got.link) > 1000 {
			t.Errorf("the link is %s", got.link)
		}
		pending := formPending.FindStringSubmatch(b.last.body)
		b.fill(t, url.Values{"method": {"email_code"}, "pending": {html.UnescapeString(pending[1])}, "code": {got.code}, "carried": {carried()}}).wantStatus(t, http.StatusOK)
		up.takeNone(t)
		b.resend(t).wantStatus(t, http.StatusOK)
		if sent := up.takeOne(t); sent.uri != "/comments/new" || sent.body != postedBody {
			t.Errorf("the upstream got %s with %q", sent.uri, sent.body)
		}
	})
}
