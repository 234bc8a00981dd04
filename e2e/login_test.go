package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestLinkInAnEMailLogsIn has a person click a link in an e-mail. Over HTTP browsers send
// less of what tells where a request comes from, and the cookie is another.
func TestLinkInAnEMailLogsIn(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			up := startUpstream(t)
			g := startGateway(t, up, site{scheme: scheme, options: "session"})
			made := tokenFor(t, alice)
			mail := startMail(t, g.origin+"/reports/7?x=1&sesame="+made+"&y=%7e")

			b := newTab(t)
			b.open(mail)
			b.click("#link")
			b.wantUser("alice")
			if got, want := b.url(), g.origin+"/reports/7?x=1&y=%7e"; got != want {
				t.Errorf("the address bar shows %s, want %s", got, want)
			}
			b.awaitScripts()
			b.wantNoToken(made)
			up.wantNoToken(t, made)

			b.click("#next")
			b.wantUser("alice")
			b.wantNoToken(made)
			up.wantNoToken(t, made)

			b.back()
			b.wantUser("alice")
			b.back()
			if got := b.url(); got != mail {
				t.Errorf("two steps back is %s, want the mail", got)
			}
			b.forward()
			b.wantUser("alice")
			b.wantNoToken(made)
		})
	}
}

// awaitScripts waits until the app's page has done all of its requests, which
// are the ones that could tell the token.
func (b *tab) awaitScripts() {
	b.t.Helper()
	poll(b.t, "the page's script", func() bool { return b.text(`document.body.dataset.ready`) == "yes" })
}

// wantNoToken fails the test if the token is anywhere where a script of the
// page, or who uses the browser next, could find it.
func (b *tab) wantNoToken(secret string) {
	b.t.Helper()
	for _, expression := range []string{
		`location.href`,
		`document.referrer`,
		`JSON.stringify(performance.getEntries())`,
		`JSON.stringify(history.state)`,
		`document.cookie`,
		`document.documentElement.outerHTML`,
	} {
		if got := b.text(expression); strings.Contains(got, secret) {
			b.t.Errorf("%s has the token: %s", expression, got)
		}
	}
	if got := b.text(`document.cookie`); got != "" {
		b.t.Errorf("scripts can read the cookie %s", got)
	}
	for _, url := range b.history() {
		// The link in the mail is where it came from.
		if strings.Contains(url, secret) {
			b.t.Errorf("the history has the token: %s", url)
		}
	}
}

// TestLinkWithoutRedirect leaves the token in the address bar. The page's own
// requests don't tell it, though the app asks for that.
func TestLinkWithoutRedirect(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, up, site{options: "session {\n redirect off\n}"})
	made := tokenFor(t, alice)
	b := newTab(t)
	b.open(startMail(t, g.origin+"/?sesame="+made))
	b.click("#link")
	b.wantUser("alice")
	b.awaitScripts()
	b.click("#next")
	b.wantUser("alice")
	if got := b.text(`document.referrer`); got != "" {
		t.Errorf("the next page knows where it is linked from: %s", got)
	}
	up.wantNoToken(t, made)
}

// TestOneTimeLinkSurvivesScanners has scanners come first, and the person use the keyboard.
func TestOneTimeLinkSurvivesScanners(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			up := startUpstream(t)
			g := startGateway(t, up, site{scheme: scheme, options: "session\none_time"})
			made := tokenFor(t, alice, oneTime)
			link := g.origin + "/reports/7?x=1&sesame=" + made
			// On the same scheme, else the browser doesn't look ahead.
			mail := startPage(t, scheme, mailHost, "unsafe-url", mailText(link))
			scan(t, g, mail, link)
			if got := up.take(); len(got) > 0 {
				t.Errorf("a scanner gets to the app: %v", got)
			}

			b := newTab(t)
			b.open(mail)
			b.click("#link")
			b.wantTitle("Log in")
			if got := b.text(`document.body.innerText`); !strings.Contains(got, "alice") {
				t.Errorf("the page doesn't say who is logged in: %s", got)
			}
			b.pressButton()
			b.wantUser("alice")
			if got, want := b.url(), g.origin+"/reports/7?x=1"; got != want {
				t.Errorf("the address bar shows %s, want %s", got, want)
			}
			b.awaitScripts()
			up.wantNoToken(t, made)
			if got := b.text(`document.referrer`); got != "" {
				t.Errorf("the app's page knows the page before: %s", got)
			}

			// Back is the page with the button, whose link is used up: that is no
			// reason to be locked out.
			b.back()
			b.wantUser("alice")
			if got, want := b.url(), g.origin+"/reports/7?x=1"; got != want {
				t.Errorf("back shows %s, want %s", got, want)
			}
			// So is the link in the mail.
			b.open(mail)
			b.click("#link")
			b.wantUser("alice")

			// In another browser it opens nothing.
			other := newTab(t)
			other.open(mail)
			other.click("#link")
			other.wantTitle("This link is not valid")
		})
	}
}

// scan does what mail scanners, link previews and browsers that look ahead do
// with a link.
func scan(t *testing.T, g *gateway, mail, link string) {
	t.Helper()
	client := g.client()
	request := func(method, accept, agent string) {
		r, err := http.NewRequest(method, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		r.Header.Set("User-Agent", agent)
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("a scanner's %s: status %d, %v", method, answer.StatusCode, err)
		}
	}
	const html = "text/html,application/xhtml+xml,*/*;q=0.8"
	for range 20 {
		request(http.MethodGet, html, "Mozilla/5.0 (compatible; LinkScanner/1.0)")
	}
	for range 3 {
		request(http.MethodHead, "*/*", "curl/8")
		request(http.MethodHead, html, "Mozilla/5.0")
	}

	// One that renders the page, scrolls and looks at a picture of it.
	scanner := newTab(t)
	scanner.open(link)
	scanner.wantTitle("Log in")
	scanner.script(`scrollTo(0, document.body.scrollHeight)`)
	_ = ask(scanner, chromedp.CaptureScreenshot())

	// A browser that loads ahead what the person may click.
	ahead := newTab(t)
	ahead.open(mail)
	ahead.script(`let l = document.createElement("link");
		l.rel = "prefetch"; l.href = document.querySelector("#link").href; document.head.append(l)`)
	poll(t, "the browser to look ahead", func() bool {
		return ahead.text(`performance.getEntriesByType("resource").length`) != "0"
	})
}

// TestButtonPressedTwiceLogsInOnce has people press the button twice, and again after they went
// back to the page.
func TestButtonPressedTwiceLogsInOnce(t *testing.T) {
	t.Run("twice", func(t *testing.T) {
		up := startUpstream(t)
		g := startGateway(t, up, site{options: "session\none_time"})
		b := newTab(t)
		b.open(startMail(t, g.origin+"/?sesame="+tokenFor(t, alice, oneTime)))
		b.click("#link")
		b.load(chromedp.DoubleClick(chromedp.CSS("button")))
		poll(t, "the app", func() bool { return b.text(`document.title`) != "Log in" })
		b.wantUser("alice")
	})
	t.Run("again", func(t *testing.T) {
		up := startUpstream(t)
		g := startGateway(t, up, site{options: "session\none_time"})
		link := g.origin + "/reports/7?sesame=" + tokenFor(t, alice, oneTime)
		first, second := newTab(t), ""
		first.open(link)
		// The page as it was, as if it had been kept.
		second = first.text(`document.querySelector("form").outerHTML`)
		first.click("button")
		first.wantUser("alice")
		first.awaitScripts()
		up.take()
		first.script(`document.body.insertAdjacentHTML("beforeend", ` + fmt.Sprintf("%q", second) + `)`)
		first.click("form button")
		first.wantUser("alice")
		for _, got := range up.take() {
			if got.method != http.MethodGet {
				t.Errorf("the app got %s %s", got.method, got.uri)
			}
		}
	})
}

// TestWithoutScripts is for users who have switched JavaScript off.
func TestWithoutScripts(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, up, site{options: "session\none_time"})
	b := newTab(t)
	b.withoutScripts()
	b.open(startMail(t, g.origin+"/?sesame="+tokenFor(t, alice, oneTime)))
	b.click("#link")
	b.wantTitle("Log in")
	b.click("button")
	b.wantUser("alice")
	b.click("#out")
	b.wantTitle("Log out")
	b.click("button")
	b.open(g.origin + "/")
	b.wantTitle("You need a link to get in")
}

// TestAppThatRedirects has an app whose start page leads to another site, as
// apps with a central login or a storefront of their own have.
func TestAppThatRedirects(t *testing.T) {
	for name, options := range map[string]string{
		"session":             "session\none_time",
		"session, no confirm": "session\none_time\nconfirm off",
		"no session":          "one_time",
	} {
		t.Run(name, func(t *testing.T) {
			up := startUpstream(t)
			elsewhere := startPage(t, "https", otherHost, "no-referrer", "elsewhere")
			up.Handle("/start", http.RedirectHandler(elsewhere, http.StatusFound))
			g := startGateway(t, up, site{options: options})
			b := newTab(t)
			b.open(startMail(t, g.origin+"/start?sesame="+tokenFor(t, alice, oneTime)))
			b.click("#link")
			if !strings.HasSuffix(name, "no confirm") {
				b.wantTitle("Log in")
				b.click("button")
			}
			if got := b.url(); !strings.HasPrefix(got, elsewhere) {
				t.Errorf("the person is at %s, want %s", got, elsewhere)
			}
		})
	}
}

// TestSwitchingAccounts opens another user's link in the browser of a user who
// is logged in.
func TestSwitchingAccounts(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, up, site{options: "session"})
	b := newTab(t)
	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.wantUser("alice")

	mail := startMail(t, g.origin+"/?sesame="+tokenFor(t, carol))
	b.open(mail)
	b.click("#link")
	b.wantTitle("Switch to another account?")
	if got := b.text(`document.body.innerText`); !strings.Contains(got, "alice") || !strings.Contains(got, "carol") {
		t.Errorf("the page doesn't say who is who: %s", got)
	}
	b.open(g.origin + "/")
	b.wantUser("alice") // they went on with what they were doing

	b.open(mail)
	b.click("#link")
	b.pressButton()
	b.wantUser("carol")
	b.open(g.origin + "/")
	b.wantUser("carol")
}

func TestLogoutShowsTheLoginPageAgain(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, up, site{options: "session\noptional"})
	b := newTab(t)
	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.wantUser("alice")
	b.click("#out")
	b.wantTitle("Log out")
	b.open(g.origin + "/")
	b.wantUser("alice") // looking at the page isn't enough

	b.click("#out")
	b.pressButton()
	b.wantUser("")
	if got, want := b.url(), g.origin+"/bye"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}

	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.wantUser("alice")
	b.open(g.origin + "/_sesame/logout")
	b.pressButton()
	b.wantTitle("You are logged out")
	b.open(g.origin + "/")
	b.wantUser("")
}

// TestOthersCantLogOut has a page of another site press the button.
func TestOthersCantLogOut(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		for _, policy := range []string{"no-referrer", "unsafe-url"} {
			t.Run(scheme+" "+policy, func(t *testing.T) {
				up := startUpstream(t)
				g := startGateway(t, up, site{scheme: scheme, options: "session"})
				b := newTab(t)
				b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
				b.wantUser("alice")
				b.expected = "status of 403"
				hostile := startPage(t, scheme, otherHost, policy, `<form method="post" action="`+g.origin+`/_sesame/logout"></form>`)
				b.open(hostile)
				b.script(`document.forms[0].submit()`)
				poll(t, "the answer", func() bool {
					// Between two pages there is none to ask.
					visited, err := chromedp.Run(b.ctx, chromedp.NavigationEntries())
					return err == nil && strings.HasSuffix(visited.Entries[visited.CurrentIndex].URL, "/logout")
				})
				b.open(g.origin + "/")
				b.wantUser("alice")
			})
		}
	}
}

// TestChangedRowEndsTheSession changes the user's row under a session.
func TestChangedRowEndsTheSession(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, up, site{options: "session"})
	for name, end := range map[string]string{
		"a new password": "UPDATE auth_user SET password = 'new' WHERE id = 1",
		"deactivated":    "UPDATE auth_user SET is_active = 0 WHERE id = 1",
		"deleted":        "DELETE FROM auth_user WHERE id = 1",
	} {
		t.Run(name, func(t *testing.T) {
			db.reset(t)
			b := newTab(t)
			b.open(g.origin + "/a?sesame=" + tokenFor(t, alice))
			b.click("#next")
			b.wantUser("alice")
			b.awaitScripts()
			up.take()
			db.exec(t, end)
			b.click("#next")
			b.wantTitle("You need a link to get in")
			for _, got := range up.take() {
				if got.uri != "/icon.svg" {
					t.Errorf("the app got %v", got)
				}
			}
		})
	}
}

// TestSessionEndsByAge waits for the end of a short one, which lasts long enough for
// this machine to load two pages.
func TestSessionEndsByAge(t *testing.T) {
	for age := 6 * time.Second; age < patience; age *= 3 {
		up := startUpstream(t)
		g := startGateway(t, up, site{options: fmt.Sprintf("session {\n max_age %s\n}", age)})
		b := newTab(t)
		asked := time.Now()
		b.open(g.origin + "/plain?sesame=" + tokenFor(t, alice))
		start := time.Now()
		// No page must be on its way when the session ends: it would be cut off.
		if time.Since(asked) > age/2 {
			continue
		}
		b.wantTitle("Plain")
		b.load(chromedp.Reload())
		if time.Since(asked) > age {
			continue
		}
		b.wantTitle("Plain")
		poll(t, "the end of the session", func() bool { return time.Since(start) > age })
		b.load(chromedp.Reload())
		b.wantTitle("You need a link to get in")
		return
	}
	t.Fatal("no session lasted for two pages")
}
