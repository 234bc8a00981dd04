package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// screenshots is the directory for pictures of the pages, which git ignores.
const screenshots = "screenshots"

// chromium is the browser's process.
type chromium struct {
	ctx  context.Context
	stop func()
}

// findChromium finds the browser by the names that it has.
func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("chromium is not on PATH (Debian: apt-get install chromium)")
}

func startChromium(program, profile string) (*chromium, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.UserDataDir(profile),
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// Caddy's own authority signs the certificates.
		chromedp.Flag("ignore-certificate-errors", true),
		// No name leaves this machine.
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	c := &chromium{ctx: ctx, stop: func() {
		stop()
		stopAllocator()
	}}
	if err := chromedp.Do(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// tab is a tab of a browser profile of its own.
type tab struct {
	t             *testing.T
	ctx           context.Context
	isApplication bool // whose complaints are not ours
	// expected is a part of complaints that the test asks for.
	expected string

	mu       sync.Mutex
	messages []string // of the console, and what the browser complains of
}

// newTab opens a tab of a fresh profile. What the browser complains of there
// fails the test.
func newTab(t *testing.T) *tab {
	t.Helper()
	return openTab(browser.ctx, t, chromedp.WithNewBrowserContext())
}

// sibling opens another tab of the same profile.
func (b *tab) sibling() *tab {
	b.t.Helper()
	return openTab(b.ctx, b.t)
}

func openTab(parent context.Context, t *testing.T, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(func(event any) {
		switch event := event.(type) {
		case *log.EventEntryAdded:
			b.note(event.Entry.Level.String(), event.Entry.Text, event.Entry.URL)
		case *runtime.EventConsoleAPICalled:
			b.note("console", event.Type.String(), fmt.Sprint(event.Args))
		case *runtime.EventExceptionThrown:
			b.note("exception", event.ExceptionDetails.Text, event.ExceptionDetails.URL)
		}
	}))...)
	b.ctx = ctx
	t.Cleanup(func() {
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, message := range b.messages {
			if b.isApplication || b.expected != "" && strings.Contains(message, b.expected) {
				continue
			}
			t.Errorf("the browser complains: %s", message)
		}
	})
	// Without a limit: it would be the tab's.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	return b
}

// note keeps what the browser complains of. That a page is a refusal is no
// complaint.
func (b *tab) note(parts ...string) {
	message := strings.Join(parts, ": ")
	if strings.Contains(message, "Failed to load resource: the server responded with a status of 401") ||
		strings.Contains(message, "Failed to load resource: the server responded with a status of 503") {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, message)
}

// do has the browser do something.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
}

// ask has the browser do something that has a result.
func ask[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
	return result
}

// call runs a command of the DevTools protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// load does what makes the browser load another page, and waits for it.
func (b *tab) load(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, steps...); err != nil {
		b.t.Fatalf("loading a page: %v", err)
	}
}

// open types a URL into the address bar.
func (b *tab) open(url string) {
	b.t.Helper()
	b.load(chromedp.Navigate(url))
}

// click clicks what a selector finds, and waits for the page that it loads.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.load(chromedp.Click(chromedp.CSS(selector)))
}

// pressButton moves to the button with the keyboard alone, and presses it.
func (b *tab) pressButton() {
	b.t.Helper()
	for range 5 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if b.text(`document.activeElement.tagName`) == "BUTTON" {
			b.load(chromedp.KeyEvent(kb.Enter))
			return
		}
	}
	b.t.Fatal("the keyboard doesn't get to the button")
}

// text is what a JavaScript expression says, as a string.
func (b *tab) text(expression string) string {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[string](`String(`+expression+`)`))
}

// script runs statements of JavaScript.
func (b *tab) script(statements string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`{ ` + statements + ` }; undefined`))
}

// back goes to the page before by the browser's button, forward to the one
// after. Neither need load anything: browsers keep pages as they were.
func (b *tab) back()    { b.t.Helper(); b.travel(-1) }
func (b *tab) forward() { b.t.Helper(); b.travel(+1) }

func (b *tab) travel(steps int64) {
	b.t.Helper()
	visited := ask(b, chromedp.NavigationEntries())
	to := visited.Entries[visited.CurrentIndex+steps]
	call(b, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: to.ID})
	poll(b.t, "the page of the history", func() bool {
		now := ask(b, chromedp.NavigationEntries())
		return now.CurrentIndex == visited.CurrentIndex+steps &&
			b.text(`document.readyState`) == "complete" && b.text(`location.href`) == now.Entries[now.CurrentIndex].URL
	})
}

// url is what the address bar shows.
func (b *tab) url() string {
	b.t.Helper()
	return ask(b, chromedp.Location())
}

// history is the URLs of the tab's history, oldest first.
func (b *tab) history() []string {
	b.t.Helper()
	var urls []string
	for _, entry := range ask(b, chromedp.NavigationEntries()).Entries {
		urls = append(urls, entry.URL)
	}
	return urls
}

// wantUser fails the test unless the app's page is shown to a user.
func (b *tab) wantUser(name string) {
	b.t.Helper()
	if got := b.text(`document.querySelector("#user")?.textContent`); got != name {
		b.t.Errorf("the page is for %q, want %q; at %s: %s", got, name, b.url(), b.text(`document.body.innerText`))
	}
}

// wantTitle fails the test unless a page of the gateway's is shown.
func (b *tab) wantTitle(title string) {
	b.t.Helper()
	if got := b.text(`document.title`); got != title {
		b.t.Errorf("the page is %q, want %q; at %s", got, title, b.url())
	}
}

// withoutScripts switches JavaScript off, as some people do.
func (b *tab) withoutScripts() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// screen is what a page is looked at with.
type screen struct {
	name          string
	width, height int64
	scheme        string // light or dark
}

// use makes the tab that of a screen.
func (b *tab) use(s screen) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(s.width, s.height))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}},
	})
}

// screenshot keeps a picture of the page.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	picture := ask(b, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
