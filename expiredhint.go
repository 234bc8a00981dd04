package sesame

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// hints tell a user whose link is rejected where to get a new one.
type hints struct {
	g      *gate
	key    signingKey
	warned atomic.Bool // that help_url leads to a page behind this handler
}

// expiredLink is token.Expired with a hint for the user. Only a link that would be
// valid but for its age gets one, so that a forged link reveals nothing.
type expiredLink struct {
	user    *userstore.User
	name    string // of the user, if the page may show it
	helpURL string
}

func (e *expiredLink) Error() string { return token.Expired.Error() }
func (e *expiredLink) Unwrap() error { return token.Expired }

// hintAge is how long the hand-off to help_url is valid.
const hintAge = time.Hour

// with adds the hint to a refusal if expired_hint is on, or a new link can be sent by
// mail, and the request is for a page. The hint takes a lookup, so that a token that
// proves to be forged counts as a guess.
func (x *hints) with(r *http.Request, given *authn.TokenCredential, refused error) error {
	names := x.g.pages.Config().ExpiredHint
	if refused != token.Expired || !names && (x.g.login == nil || !x.g.login.SendsLinks()) || !asksForPage(r) { //nolint:errorlint // Parse doesn't wrap it
		return refused
	}
	user, err := x.findExpired(r, given)
	if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
		return err
	}
	if err != nil {
		return refused
	}
	if !names {
		return &expiredLink{user: user}
	}
	id, until := user.PrimaryKey.String(), strconv.FormatInt(x.g.now().Add(hintAge).Unix(), 10)
	helpURL, separator := x.helpURL(r), "?"
	if strings.Contains(helpURL, "?") {
		separator = "&"
	}
	return &expiredLink{
		user: user,
		name: user.DisplayName(),
		helpURL: helpURL + separator + "user=" + url.QueryEscape(id) +
			"&until=" + until + "&signature=" + x.sign(id, until),
	}
}

// helpURL is where the user of a request gets a new link.
func (x *hints) helpURL(r *http.Request) string {
	return x.g.pages.HelpURL(r, func(text string) string { return withoutTokens(text, x.g.sources.Name) })
}

// withoutTokens takes the tokens out of a URI, or a part of one. If the URI is
// damaged, so that a token may remain, the query is removed as well.
func withoutTokens(uri, name string) string {
	uri = rawuri.Cut(uri, rawuri.Field, []string{name})
	if !rawuri.HasTrace(uri, name) {
		return uri
	}
	path, _, _ := strings.Cut(uri, "?")
	if rawuri.HasTrace(path, name) {
		return "/"
	}
	return path
}

// warnOfHelp tells the operator, once, that help_url leads to a page that this
// handler protects: users without a valid link, who need that page, can't read it.
func (x *hints) warnOfHelp(r *http.Request) {
	if x.g.pages.IsHelp(r) && !x.warned.Swap(true) {
		x.g.logger.Warn("help_url leads to a page behind sesame, which users without a valid link can't read: "+
			"let requests for it pass with a matcher, such as `@protected not path "+r.URL.Path+"` and `sesame @protected`",
			zap.String("help_url", x.g.pages.Config().HelpURL))
	}
}

// findExpired finds the user of a token that would be valid but for its age.
func (x *hints) findExpired(r *http.Request, given *authn.TokenCredential) (*userstore.User, error) {
	check := func(user *userstore.User) error {
		switch {
		case user == nil:
			return token.UnknownUser
		case !given.IsAuthentic(user):
			return token.BadSignature
		case !user.IsActive:
			return authn.Stale{Reason: token.InactiveUser}
		}
		return nil
	}
	key := userstore.ByPrimaryKey(given.Parsed().PrimaryKey())
	if x.g.limiter == nil {
		return x.g.users.Find(r.Context(), key, true, check)
	}
	user, err := x.g.limiter.findInTurn(r, given.Traits().Guess, key, true, check)
	if _, isReason := errors.AsType[token.Reason](err); isReason {
		err = x.g.limiter.chargeToken(r, x.g.limiter.credentialOf(r, given), err)
	}
	return user, err
}

// sign signs the hand-off to help_url. An app that has SECRET_KEY can check
// it: the key is HMAC-SHA256(SECRET_KEY, "caddy-sesame/help/1"), and the
// signature HMAC-SHA256(key, user + "|" + until), in hexadecimal.
func (x *hints) sign(id, until string) string {
	return hex.EncodeToString(x.key.sign(id + "|" + until))
}

// signingKey signs what the gateway hands out besides tokens and sessions.
type signingKey []byte

// newSigningKey derives the key for a purpose from Django's SECRET_KEY.
func newSigningKey(secretKey, purpose string) signingKey {
	return signingKey(secretKey).sign(purpose)
}

// sign returns the HMAC-SHA256 of a message.
func (k signingKey) sign(message string) []byte {
	mac := hmac.New(sha256.New, k)
	_, _ = mac.Write([]byte(message)) // a hash never fails
	return mac.Sum(nil)
}
