package e2e_test

import (
	"fmt"
	"io"
	"mime/quotedprintable"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

// mailServer builds the program of a mail server once.
var mailServer = sync.OnceValues(func() (*testsmtp.Program, error) { return testsmtp.Build("../internal/devsmtp", programs) })

// startMailedLinks starts a gateway whose users get links by e-mail, and the server
// that gets the mails. more are further options of sesame.
func startMailedLinks(t *testing.T, more string) (*gateway, *testsmtp.Server) {
	t.Helper()
	program, err := mailServer()
	if err != nil {
		t.Fatal(err)
	}
	server := program.Start(t, testsmtp.Options{})
	port := freePort(t)
	g := startGateway(t, startUpstream(t), site{port: port, options: fmt.Sprintf(`login {
		remember 30d
		email_link {
			smtp %s
			smtp_tls off
			from "Example archive <no-reply@example.com>"
			base_url https://%s:%s
		}
	}
	pages {
		name "Example archive"
	}
	%s`, server.URL, appHost, port, more)})
	return g, server
}

var (
	linkInMail = regexp.MustCompile(`(?m)^https://\S+`)
	codeInMail = regexp.MustCompile(`(?m)^ *([0-9A-Z]{4}-[0-9A-Z]{4})\r?$`)
)

// receive returns the link and the code of the next mail.
func receive(t *testing.T, server *testsmtp.Server) (link, code string) {
	t.Helper()
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(server.WaitMail(t).Content)))
	if err != nil {
		t.Fatal(err)
	}
	link, found := linkInMail.FindString(string(text)), codeInMail.FindSubmatch(text)
	if link == "" || found == nil {
		t.Fatalf("the mail has no link or no code:\n%s", text)
	}
	return strings.TrimSpace(link), string(found[1])
}

// askForLink has a link sent to an address.
func (b *tab) askForLink(url, address string) {
	b.t.Helper()
	b.open(url)
	b.enter("[name=email]", address)
	b.submit("[name=email]")
}

// TestMailedLinkLogsInWhereItWasAskedFor: in the browser that asked, the link logs in
// at once, and in another one the button comes first. Scripts are off.
func TestMailedLinkLogsInWhereItWasAskedFor(t *testing.T) {
	g, server := startMailedLinks(t, "")
	b := newTab(t)
	b.withoutScripts()
	b.askForLink(g.origin+"/reports/7?x=1", "ALICE@example.com")
	link, _ := receive(t, server)
	b.open(startMail(t, link))
	b.click("#link")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/reports/7?x=1"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}

	b = newTab(t)
	b.askForLink(g.origin+"/", "carol@example.com")
	link, _ = receive(t, server)
	other := newTab(t)
	other.open(startMail(t, link))
	other.click("#link")
	other.wantTitle("Log in – Example archive")
	other.pressButton()
	other.wantUser("carol")
	other.open(link) // is used up, but this browser is logged in
	other.wantUser("carol")
	b.open(link)
	if got := b.text(`document.querySelector("#user")?.textContent`); got == "carol" {
		t.Error("a link that was used up has logged in")
	}
}

// TestMailedCodeLogsInTheFirstDevice types the code from the mail, after a wrong one.
func TestMailedCodeLogsInTheFirstDevice(t *testing.T) {
	g, server := startMailedLinks(t, "")
	b := newTab(t)
	b.askForLink(g.origin+"/reports/7", "alice@example.com")
	b.look("link-sent")
	_, code := receive(t, server)
	b.enter("[name=code]", "AAAA-AAAA")
	b.submit("[name=code]")
	b.wantError("[name=code]")
	b.look("link-sent-wrong")
	b.enter("[name=code]", strings.ToLower(code))
	b.submit("[name=code]")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/reports/7"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}
}

// TestStrangersAddressShowsTheSamePage: nothing on the page tells that an address
// belongs to no user.
func TestStrangersAddressShowsTheSamePage(t *testing.T) {
	g, server := startMailedLinks(t, "")
	read := func(address string) string {
		b := newTab(t)
		b.askForLink(g.origin+"/", address)
		return strings.ReplaceAll(b.text(`document.title + document.body.innerText`), address, "ADDRESS")
	}
	stranger, known := read("mallory@example.com"), read("alice@example.com")
	if stranger != known {
		t.Errorf("the page for a stranger's address says %q, for a user's %q", stranger, known)
	}
	receive(t, server)
	if mails := server.Mails(t); len(mails) != 1 {
		t.Errorf("%d mails were sent, want the user's alone", len(mails))
	}
}

// TestPressReplacesAnExpiredLink: the new link leads to the page that the old one was
// for.
func TestPressReplacesAnExpiredLink(t *testing.T) {
	g, server := startMailedLinks(t, "max_age 1h")
	b := newTab(t)
	b.open(g.origin + "/reports/7?sesame=" + tokenAt(t, alice, time.Now().Add(-2*time.Hour), withMaxAge(time.Hour)))
	if got := b.text(`document.querySelector("form[action*=resend] button, form[action*=expired] button")?.textContent`); got != "Send me a new link" {
		t.Fatalf("the button says %q: %s", got, b.text(`document.body.innerHTML`))
	}
	b.click("form[action*=resend] button, form[action*=expired] button")
	link, _ := receive(t, server)
	b.open(startMail(t, link))
	b.click("#link")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/reports/7"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}
}
