package sesame

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// expiredLink is token.Expired with what helps the person who has the link. It
// is made for links only that would hold but for their age: whoever makes one
// up learns nothing.
type expiredLink struct {
	name    string // of the user
	helpURL string
}

func (e *expiredLink) Error() string { return token.Expired.Error() }
func (e *expiredLink) Unwrap() error { return token.Expired }

// hintAge is how long the hand-off to help_url is good for.
const hintAge = time.Hour

// withHint adds the hint to a refusal, where it is asked for and a person is
// there to see it. It costs a lookup.
func (h *Handler) withHint(r *http.Request, parsed *token.Parsed, refused error) error {
	if refused != token.Expired || !h.pages.Config().ExpiredHint || !asksForPage(r) { //nolint:errorlint // Parse doesn't wrap it
		return refused
	}
	made, err := h.credentials(r.Context())
	if err != nil {
		return refused
	}
	user, err := h.store.Lookup(r.Context(), parsed.PrimaryKey())
	if err != nil || !user.IsActive || !made.tokens.IsAuthentic(parsed, user.User) {
		return refused
	}
	id, until := user.PrimaryKey.String(), strconv.FormatInt(h.now().Add(hintAge).Unix(), 10)
	separator := "?"
	if strings.Contains(h.pages.Config().HelpURL, "?") {
		separator = "&"
	}
	return &expiredLink{
		name: displayName(user),
		helpURL: h.pages.Config().HelpURL + separator + "user=" + url.QueryEscape(id) +
			"&until=" + until + "&signature=" + h.signHint(id, until),
	}
}

// signHint signs the hand-off to help_url. An app that has SECRET_KEY can check
// it: the key is HMAC-SHA256(SECRET_KEY, "caddy-sesame/help/1"), and the
// signature HMAC-SHA256(key, user + "|" + until), in hexadecimal.
func (h *Handler) signHint(id, until string) string {
	return hex.EncodeToString(h.hintKey.sign(id + "|" + until))
}
