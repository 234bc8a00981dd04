package e2e_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
)

// screens are what people look at the pages with.
var screens = []screen{
	{"desktop-light", 1280, 800, "light"},
	{"desktop-dark", 1280, 800, "dark"},
	{"phone-light", 390, 844, "light"},
	{"phone-dark", 390, 844, "dark"},
	{"narrow", 320, 568, "light"},
}

// TestPagesAreReadableOnEveryScreen looks at every page on every screen, and keeps pictures of them.
func TestPagesAreReadableOnEveryScreen(t *testing.T) {
	const help = "https://example.com/help"
	up := startUpstream(t)
	age := withMaxAge(time.Hour)
	options := "max_age 1h\nsession\nconfirm always\npages {\n help_url " + help + "\n expired_hint\n}"
	g := startGateway(t, up, site{options: options})
	expired := tokenAt(t, alice, time.Now().Add(-2*time.Hour), age)

	for _, page := range []struct {
		name   string
		path   string
		user   testUser // who is logged in before, if a user is
		title  string
		button string
		link   link
	}{
		{"confirm", "/?sesame=" + tokenFor(t, alice, age), testUser{}, "Log in", "Continue as alice", link{}},
		{"confirm-long", "/?sesame=" + tokenFor(t, long, age), testUser{}, "Log in", "Continue as " + long.username, link{}},
		{"switch", "/?sesame=" + tokenFor(t, carol, age), alice, "Switch to another account?", "Continue as carol", link{"Stay logged in as alice", g.origin + "/"}},
		{"logout", "/_sesame/logout", alice, "Log out", "Log out", link{"Back to the site", g.origin + "/"}},
		{"missing", "/", testUser{}, "You need a link to get in", "", link{"Get a new link", help}},
		{"malformed", "/?sesame=bad", testUser{}, "This link is incomplete", "", link{"Get a new link", help}},
		{"expired", "/?sesame=" + expired, testUser{}, "This link has expired", "", link{"Get a new link", help + "?user=1&"}},
		{"invalid", "/?sesame=" + tokenFor(t, testUser{id: 99}, age), testUser{}, "This link is not valid", "", link{"Get a new link", help}},
	} {
		t.Run(page.name, func(t *testing.T) {
			b := newTab(t)
			if page.user.id != 0 {
				b.open(g.origin + "/plain?sesame=" + tokenFor(t, page.user, age))
				b.click("button")
				b.wantTitle("Plain")
			}
			b.open(g.origin + page.path)
			b.wantTitle(page.title)
			b.look(page.name)
			b.wantAccessible(page.title, page.button, page.link)
		})
	}

	t.Run("logged_out", func(t *testing.T) {
		b := newTab(t)
		b.open(g.origin + "/_sesame/logout")
		b.click("button")
		b.wantTitle("You are logged out")
		b.look("logged_out")
		b.wantAccessible("You are logged out", "", link{})
	})
}

// TestUnavailablePage has no database.
func TestUnavailablePage(t *testing.T) {
	g := startGateway(t, startUpstream(t), site{
		options: "session",
		dsn:     "user@tcp(127.0.0.1:" + freePort(t) + ")/none",
	})
	b := newTab(t)
	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.wantTitle("Please try again in a moment")
	b.look("unavailable")
	b.wantAccessible("Please try again in a moment", "", link{"Try again", g.origin + "/"})
}

// TestOwnColorsAreAllowedByThePolicy has an operator's colours, which the policy must allow.
func TestOwnColorsAreAllowedByThePolicy(t *testing.T) {
	g := startGateway(t, startUpstream(t), site{options: `confirm always
		pages {
			color accent "#0a7f5a" "#5fd3a8"
			color background "#fff7e8" "#1d1408"
			language de
			text confirm.title Anmelden
			text confirm.message "Sie melden sich als {user} an."
			text confirm.button "Weiter als {user}"
		}`})
	b := newTab(t)
	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.wantTitle("Anmelden")
	if got := b.text(`document.documentElement.lang`); got != "de" {
		t.Errorf("the language is %s", got)
	}
	b.look("colors")
	b.use(screens[0])
	if got := b.text(`getComputedStyle(document.querySelector("button")).backgroundColor`); got != "rgb(10, 127, 90)" {
		t.Errorf("the button is %s", got)
	}
}

// link is the only link of a page: its name, and what its URL begins with. The zero
// value is none.
type link struct{ name, target string }

// look looks at the page on every screen.
func (b *tab) look(name string) {
	b.t.Helper()
	for _, s := range screens {
		b.use(s)
		b.screenshot(name + "-" + s.name)
		b.wantNoViolations(s.name)
		if got := b.text(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); got != "0" {
			b.t.Errorf("%s: the page is %s pixels too wide", s.name, got)
		}
		for _, text := range ask(b, chromedp.Evaluate[[]coloredText](coloredTexts)) {
			if ratio := contrast(text.Color, text.Background); ratio < text.Least {
				b.t.Errorf("%s: the contrast of %s is %.2f, want %.1f at least: %v on %v", s.name, text.What, ratio, text.Least, text.Color, text.Background)
			}
		}
		// A thumb's width (WCAG 2.5.5).
		if got := b.text(`[...document.querySelectorAll("button")].every(e => e.getBoundingClientRect().height >= 44)`); got != "true" {
			b.t.Errorf("%s: the button is too small", s.name)
		}
	}
}

// coloredText is a text's colour, or a line's, and the one behind it.
type coloredText struct {
	What       string
	Color      [3]float64
	Background [3]float64
	Least      float64 // what WCAG AA asks for
}

// coloredTexts finds them: each text, and what shows where the focus is.
const coloredTexts = `(() => {
	const parse = c => {
		const n = c.match(/[\d.]+/g).map(Number);
		return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3);
	};
	const behind = e => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c) return c;
		}
		return [255, 255, 255];
	};
	const found = [];
	for (const e of document.body.querySelectorAll("*")) {
		const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
		if (own) found.push({What: e.tagName, Color: parse(getComputedStyle(e).color), Background: behind(e), Least: 4.5});
		if (e.matches("input:not([type=hidden])")) {
			found.push({What: "the line of " + e.id, Color: parse(getComputedStyle(e).borderTopColor), Background: behind(e.parentElement), Least: 3});
		}
		if (e.matches("button, a, summary, input:not([type=hidden])")) {
			e.focus({focusVisible: true});
			const s = getComputedStyle(e);
			const visible = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
			found.push({What: "the focus of " + e.tagName, Color: visible ? parse(s.outlineColor) : behind(e.parentElement), Background: behind(e.parentElement), Least: 3});
			e.blur();
		}
		if (e.matches("button, a")) {
			// What shows where the button is: its area, or else its line.
			const s = getComputedStyle(e);
			const line = parseFloat(s.borderTopWidth) > 0 && parse(s.borderTopColor);
			found.push({What: "the area of " + e.tagName, Color: parse(s.backgroundColor) || line || behind(e), Background: behind(e.parentElement), Least: 3});
		}
	}
	return found;
})()`

// contrast is WCAG 2's contrast ratio of two colours.
func contrast(a, b [3]float64) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is WCAG 2's relative luminance of an sRGB colour.
func luminance(color [3]float64) float64 {
	linear := func(c float64) float64 {
		c /= 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(color[0]) + 0.7152*linear(color[1]) + 0.0722*linear(color[2])
}

// wantAccessible fails the test unless a screen reader gets all of the page,
// from the browser's accessibility tree. button is the button's name, if there is
// one.
func (b *tab) wantAccessible(title, button string, way link) {
	b.t.Helper()
	named := make(map[string][]string) // names by role
	for _, node := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if !node.Ignored && node.Role != nil && node.Name != nil {
			role := strings.Trim(string(node.Role.Value), `"`)
			named[role] = append(named[role], strings.Trim(string(node.Name.Value), `"`))
		} else if !node.Ignored && node.Role != nil {
			role := strings.Trim(string(node.Role.Value), `"`)
			named[role] = append(named[role], "")
		}
	}
	want := func(role string, names ...string) {
		b.t.Helper()
		if fmt.Sprint(named[role]) != fmt.Sprint(names) {
			b.t.Errorf("the accessibility tree has as %s: %q, want %q", role, named[role], names)
		}
	}
	want("RootWebArea", title)
	want("main", "")
	want("heading", title)
	if button == "" {
		want("button")
	} else {
		want("button", button)
	}
	if way == (link{}) {
		want("link")
	} else {
		want("link", way.name)
		if got := b.text(`document.querySelector("a").href`); !strings.HasPrefix(got, way.target) {
			b.t.Errorf("%s leads to %s, want %s", way.name, got, way.target)
		}
	}
	for expression, value := range map[string]string{
		`document.documentElement.lang`:                           "en",
		`document.querySelectorAll("h1").length`:                  "1",
		`document.querySelectorAll("h2, h3, h4, h5, h6").length`:  "0",
		`document.querySelectorAll("main").length`:                "1",
		`document.querySelectorAll("script, img, iframe").length`: "0",
		`document.compatMode`:                                     "CSS1Compat",
	} {
		if got := b.text(expression); got != value {
			b.t.Errorf("%s is %s, want %s", expression, got, value)
		}
	}
	// What isn't in the style isn't needed for the page to be read.
	b.script(`document.querySelector("style").remove()`)
	if got := b.text(`document.querySelector("h1").getBoundingClientRect().height > 0`); got != "true" {
		b.t.Error("without its style the page shows nothing")
	}
}
