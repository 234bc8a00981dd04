package e2e_test

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// siblingHost is another host of the app's site: browsers send cookies along
// with what its pages ask for, even those of SameSite=Strict.
const siblingHost = "evil.example.com"

// forcedBy are pages that have their visitor's browser ask for a URL. TARGET is
// the URL, and SOCKET the same for a WebSocket.
var forcedBy = map[string]string{
	"form":                   `<form method="post" action="TARGET"></form><script>document.forms[0].submit()</script>`,
	"form of a frame":        `<iframe sandbox="allow-scripts allow-forms" srcdoc="SUBMIT"></iframe>`,
	"form for the whole tab": `<iframe sandbox="allow-scripts allow-forms allow-top-navigation" srcdoc="SUBMIT-TOP"></iframe>`,
	"WebSocket of a frame":   `<iframe sandbox="allow-scripts" srcdoc="CONNECT"></iframe>`,
	"WebSocket":              `<script>new WebSocket("SOCKET")</script>`,
	"frame":                  `<iframe src="TARGET"></iframe>`,
	"sandboxed frame":        `<iframe sandbox src="TARGET"></iframe>`,
	"object":                 `<object data="TARGET"></object>`,
	"image":                  `<img src="TARGET" alt="">`,
	"script":                 `<script>fetch("TARGET", {mode: "no-cors", credentials: "include"})</script>`,
}

// forcing is a page that has its visitor's browser ask for a URL of the gateway.
func (g *gateway) forcing(kind, target string) string {
	const submit = `<form method="post" action="TARGET"></form><script>document.forms[0].submit()</script>`
	page := strings.NewReplacer(
		"SUBMIT-TOP", html.EscapeString(strings.Replace(submit, "<form", `<form target="_top"`, 1)),
		"SUBMIT", html.EscapeString(submit),
		"CONNECT", html.EscapeString(`<script>new WebSocket("SOCKET")</script>`),
	).Replace(forcedBy[kind])
	return strings.NewReplacer("TARGET", g.origin+target, "SOCKET", "ws"+strings.TrimPrefix(g.origin, "http")+target).Replace(page)
}

// awaitRequest waits until the gateway has answered a request for a path.
func (g *gateway) awaitRequest(t *testing.T, path string) {
	t.Helper()
	poll(t, "the request for "+path, func() bool {
		text, err := os.ReadFile(g.logs)
		return err == nil && strings.Contains(string(text), path)
	})
}

// TestOtherPagesCantLogIn has a page of another site, or of a sibling host, send
// carol's token while alice is logged in.
func TestOtherPagesCantLogIn(t *testing.T) {
	for scheme, options := range map[string]string{
		"http":  "session\none_time",
		"https": "session {\n same_site none\n}\nconfirm always",
	} {
		t.Run(scheme, func(t *testing.T) { // which closes its tabs before the next gateway starts
			up := startUpstream(t)
			g := startGateway(t, up, site{scheme: scheme, options: options})
			victim, stranger := newTab(t), newTab(t)
			victim.expected, stranger.expected = ": ", ": " // whatever the browser has to say of it
			looks := map[*tab]*tab{victim: victim.sibling(), stranger: stranger.sibling()}
			changes := oneTimeIf(strings.Contains(options, "one_time"))
			victim.open(g.origin + "/?sesame=" + tokenFor(t, alice, changes...))
			victim.pressButton()
			victim.wantUser("alice")
			made := tokenFor(t, carol, changes...)
			n := 0
			for _, host := range []string{otherHost, siblingHost} {
				for kind := range forcedBy {
					n++
					path := fmt.Sprintf("/forced-%d-", n)
					t.Run(host+", "+kind, func(t *testing.T) {
						for b, look := range looks {
							b.t, look.t = t, t
							path += "x" // for each its own
							page := startPage(t, scheme, host, "no-referrer", g.forcing(kind, path+"?sesame="+made))
							_ = chromedp.Do(b.ctx, chromedp.Navigate(page)) // which another navigation may cut off
							g.awaitRequest(t, path)
						}
						looks[victim].open(g.origin + "/")
						looks[victim].wantUser("alice")
						looks[stranger].open(g.origin + "/")
						looks[stranger].wantTitle("You need a link to get in")
					})
				}
			}
			// The token is as good as before.
			look := looks[stranger]
			look.t = t
			look.open(g.origin + "/?sesame=" + made)
			look.wantTitle("Log in")
			look.pressButton()
			look.wantUser("carol")
		})
	}
}

// TestSiblingsCantLogOut has a page of a sibling host press the button, with
// which the browser sends the session.
func TestSiblingsCantLogOut(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			up := startUpstream(t)
			g := startGateway(t, up, site{scheme: scheme, options: "session"})
			b := newTab(t)
			b.expected = ": "
			b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
			look := b.sibling()
			n := 0
			for _, policy := range []string{"no-referrer", "unsafe-url"} {
				for _, kind := range []string{"form", "form of a frame", "form for the whole tab"} {
					n++
					target := fmt.Sprintf("/_sesame/logout?forced=%d-", n)
					_ = chromedp.Do(b.ctx, chromedp.Navigate(startPage(t, scheme, siblingHost, policy, g.forcing(kind, target))))
					g.awaitRequest(t, target)
					look.open(g.origin + "/")
					look.wantUser("alice")
				}
			}
		})
	}
}

// TestButtonsWorkInTwoTabs presses the button of the page in one, and then that
// of the other.
func TestButtonsWorkInTwoTabs(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			up := startUpstream(t)
			g := startGateway(t, up, site{scheme: scheme, options: "session"})
			first := newTab(t)
			first.open(g.origin + "/?sesame=" + tokenFor(t, alice))
			first.wantUser("alice")
			second := first.sibling()
			first.open(g.origin + "/?sesame=" + tokenFor(t, carol))
			second.open(g.origin + "/?sesame=" + tokenFor(t, long))
			for _, b := range []*tab{first, second} {
				b.wantTitle("Switch to another account?")
			}
			first.pressButton()
			first.wantUser("carol")
			// The page was about alice, whose session this isn't any more.
			second.pressButton()
			second.wantTitle("Switch to another account?")
			if got := second.text(`document.body.innerText`); !strings.Contains(got, "logged in as carol") {
				t.Errorf("the page doesn't say who is logged in: %s", got)
			}
			second.pressButton()
			second.wantUser(long.username)
		})
	}
}

// TestButtonOfAnOwnTemplate says where it was pressed, as the built-in one does.
func TestButtonOfAnOwnTemplate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	const own = `<title>{{.Title}}</title><link rel="icon" href="data:,"><form method="post" action="{{.Action}}"><button>{{.Button}}</button></form>`
	if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, startUpstream(t), site{scheme: "http", options: "session\nconfirm always\npages {\n template " + file + "\n}"})
	b := newTab(t)
	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.wantTitle("Log in")
	b.pressButton()
	b.wantUser("alice")
	if got := b.text(`document.referrer`); got != "" {
		t.Errorf("the app's page knows the page before: %s", got)
	}
}
