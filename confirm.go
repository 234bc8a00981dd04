package sesame

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The values of Handler.Confirm.
const (
	confirmAlways  = "always"
	confirmOneTime = "one_time"
	confirmOff     = "off"
	confirmStrict  = "strict"
)

// confirmer shows the page with the button, and recognizes what the button
// sends.
type confirmer struct {
	g      *gate
	cookie cookie.Cookie
	key    signingKey
}

// confirmation is what the page with the button adds to a request.
type confirmation struct {
	signature string   // what the button sends; empty if it wasn't pressed
	cookies   []string // values of the page's cookie, without marks
	isAfter   bool     // a login on the login page has set the mark a moment ago
}

// confirmAge is how long the page may be open before the button is pressed.
const confirmAge = time.Hour

// sign signs the page's cookie together with the token and the user whose session
// the page said would be replaced.
func (b *confirmer) sign(cookie, token string, replaced *userstore.User) string {
	key := ""
	if replaced != nil {
		key = replaced.PrimaryKey.String()
	}
	return base64.RawURLEncoding.EncodeToString(b.key.sign(cookie + "\x00" + key + "\x00" + token)[:16])
}

// newConfirmCookie makes the cookie that the page sets. Only the browser that was
// shown the page has the cookie, so that no other site can press the button for its
// visitors.
func newConfirmCookie(cfg *SessionConfig) (cookie.Cookie, error) {
	confirm := pageCookie(cfg)
	confirm.Name += "-confirm"
	return cookie.New(confirm)
}

// pageCookie is what the cookies of pages have: they are for the host alone, and
// their names begin with that of the session's.
func pageCookie(cfg *SessionConfig) cookie.Config {
	if cfg == nil {
		return cookie.Config{Name: cookie.DefaultName}
	}
	return cookie.Config{Name: cmp.Or(cfg.Name, cookie.DefaultName), Secure: cfg.Secure}
}

// take removes from a request what the page has added to it. The signature only
// counts in a POST request, which the button sends.
func (b *confirmer) take(r *http.Request) confirmation {
	given := confirmation{cookies: b.cookie.Take(r)}
	for i, value := range given.cookies {
		base, mark, _ := strings.Cut(value, loginMark)
		given.cookies[i] = base
		given.isAfter = given.isAfter || b.isRecent(mark)
	}
	signature := b.g.sources.TakeConfirmation(r)
	if r.Method == http.MethodPost {
		given.signature = signature
	}
	return given
}

// isConfirmed reports whether the button was pressed for this token, in a browser
// that was shown the page, and whether the page named the session that would be
// replaced.
func (b *confirmer) isConfirmed(c taken, value string, replaced *userstore.User) bool {
	for _, cookie := range c.confirmation.cookies[:min(len(c.confirmation.cookies), authn.MaxCookies)] {
		if cookie != "" && hmac.Equal([]byte(b.sign(cookie, value, replaced)), []byte(c.confirmation.signature)) {
			return true
		}
	}
	return false
}

// loginMark stands between the value of the page's cookie and the time of a login on
// the login page. A request that has the mark and no session comes from a browser
// that has rejected the session's cookie.
const loginMark = "-"

// markAge is how long a browser may take to ask for the page that a login leads to.
const markAge = time.Minute

// mark sets the mark in the page's cookie.
func (b *confirmer) mark(w http.ResponseWriter, r *http.Request, c *confirmation) {
	b.cookie.Set(w, r, c.newConfirmValue()+loginMark+strconv.FormatInt(b.g.now().Unix(), 36), confirmAge)
}

// unmark removes the mark, since the session has ended.
func (b *confirmer) unmark(w http.ResponseWriter, r *http.Request, c *confirmation) {
	if c.isAfter {
		b.cookie.Set(w, r, c.newConfirmValue(), confirmAge)
	}
}

// isRecent reports whether a mark is of a login a moment ago.
func (b *confirmer) isRecent(mark string) bool {
	at, _ := strconv.ParseInt(mark, 36, 64) // no number is 0, or as large as can be
	age := b.g.now().Unix() - at
	return age >= 0 && age < int64(markAge.Seconds())
}

// newConfirmValue returns a value for the page's cookie: the browser's present one,
// so that the page works in several tabs, or a new one.
func (c *confirmation) newConfirmValue() string {
	if i := slices.IndexFunc(c.cookies, isConfirmValue); i >= 0 {
		return c.cookies[i]
	}
	return rand.Text()
}

// isConfirmValue reports whether a value looks like one of rand.Text.
func isConfirmValue(value string) bool {
	isOther := func(c rune) bool { return (c < 'A' || c > 'Z') && (c < '2' || c > '7') }
	return len(value) == 26 && !strings.ContainsFunc(value, isOther)
}

// ask shows the page with the button. The button sends the token and the signature
// to the page's own URL, so that matchers and the scope, which depend on the URL,
// give the same result.
func (b *confirmer) ask(w http.ResponseWriter, r *http.Request, c taken, given *authn.TokenCredential, user, replaced *userstore.User) error {
	b.g.counts.requests[outcomePage].Add(1)
	value := c.confirmation.newConfirmValue()
	b.cookie.Set(w, r, value, confirmAge)

	uri, separator := ownURI(r), "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	action := uri + separator + url.Values{
		b.g.sources.Name:        {given.Given.Value},
		b.g.sources.ConfirmName: {b.sign(value, given.Given.Value, replaced)},
	}.Encode()
	shown := page.Data{Kind: page.Confirm, Action: action, User: user.DisplayName()}
	if replaced != nil {
		shown.Kind, shown.Current = page.Switch, replaced.DisplayName()
		shown.Ways = shown.Kind.Ways(page.Places{Same: c.loginTarget(r)})
	}
	return b.g.pages.Write(w, r, http.StatusOK, shown)
}

// acceptsHTML reports whether a request prefers HTML. It need not be for a page.
func acceptsHTML(r *http.Request) bool {
	return page.Preferred(r.Header["Accept"]) == page.HTML
}

// turnIntoGet turns the button's request into the GET request of the link.
func turnIntoGet(r *http.Request) {
	r.Method = http.MethodGet
	r.Body, r.ContentLength = http.NoBody, 0
	for _, field := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Origin"} {
		delete(r.Header, field)
	}
}

// Ties implements login.Visit.
func (v *visit) Ties() []string {
	ties := v.c.confirmation.cookies
	return ties[:min(len(ties), authn.MaxCookies)]
}

// Tie implements login.Visit.
func (v *visit) Tie(w http.ResponseWriter) string {
	if v.tie == "" {
		v.tie = v.c.confirmation.newConfirmValue()
		v.g.confirmer.cookie.Set(w, v.r, v.tie, confirmAge)
	}
	return v.tie
}
