package operator

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// mint makes tokens and links.
type mint struct {
	issuer *issuer
	scope  string
	at     time.Time
	url    string // a link's, without the token; empty for no link
	force  bool   // make tokens of inactive users, too
	site   site
}

// newMint checks an operator's request. scope is nil if it wasn't given: then the
// configuration decides.
func newMint(i *issuer, scope *string, rawURL string, site site, at time.Time) (*mint, error) {
	m := &mint{issuer: i, at: at, url: rawURL, site: site}
	u, err := site.parseLink(rawURL)
	if err != nil {
		return nil, err
	}
	if scope != nil {
		m.scope = *scope
	} else if m.scope, err = i.expectedScope(u); err != nil {
		return nil, fmt.Errorf("the scope can't be told, as the handler's is the template %s: "+
			"name the scope that the token is for (%w)", i.Issues.Scope, err)
	}
	if m.scope != "" && i.tokens.Settings().Versions[0] == token.V1 {
		return nil, fmt.Errorf("%w: the first of tokens in the configuration must be v2", token.ScopeUnsupported)
	}
	return m, nil
}

// token makes a user's token.
func (m *mint) token(user *userstore.User) (string, error) {
	if !user.IsActive && !m.force {
		return "", errInactive
	}
	made, err := m.issuer.tokens.Create(user.PrimaryKey, user.User, m.scope, m.at)
	if err != nil {
		return "", fmt.Errorf("making the token: %w", err)
	}
	return made, nil
}

// link returns the URL with a token; empty if no URL was given.
func (m *mint) link(made string) string {
	if m.url == "" {
		return ""
	}
	return addParameter(m.url, m.issuer.Issues.TokenName, made)
}

// expires is when the tokens are too old; ok is false for never.
func (m *mint) expires() (at time.Time, ok bool) {
	maxAge := m.issuer.tokens.Settings().MaxAge
	if maxAge == nil {
		return time.Time{}, false
	}
	return m.at.Truncate(time.Second).Add(*maxAge).UTC(), true
}

// addParameter adds a parameter to a URL's query, in the place of any of that
// name. The rest stays byte for byte.
func addParameter(rawURL, name, value string) string {
	body, fragment, hasFragment := strings.Cut(rawURL, "#")
	body = rawuri.CutFromURI(body, name)
	separator := "?"
	if _, query, hasQuery := strings.Cut(body, "?"); hasQuery {
		separator = "&"
		if query == "" || strings.HasSuffix(query, "&") {
			separator = ""
		}
	}
	body += separator + url.QueryEscape(name) + "=" + url.QueryEscape(value)
	if hasFragment {
		body += "#" + fragment
	}
	return body
}

// cutToken takes the token out of a URL, from the query parameter with the
// handler's name. Any other text is returned as the token itself.
func (h *Handler) cutToken(text string) (made string, u *url.URL, found bool) {
	trimmed := strings.TrimSpace(text)
	body, _, _ := strings.Cut(trimmed, "#")
	_, query, hasQuery := strings.Cut(body, "?")
	if !hasQuery {
		return text, parseWhole(trimmed), false
	}
	_, value, found := rawuri.CutParameter(query, h.Issues.TokenName)
	if !found {
		return text, parseWhole(trimmed), false
	}
	return value, parseWhole(trimmed), true
}

// The damages of links that the gateway reads all the same.
const (
	damagedHTML    = "html"
	damagedEncoded = "encoded"
)

// cutDamaged takes the token out of a link that a mail program has damaged, if
// there is only one way to read it. Any other text is returned as the token itself.
func (h *Handler) cutDamaged(text string) (made, damage string, found bool) {
	body, _, _ := strings.Cut(strings.TrimSpace(text), "#")
	if parseWhole(strings.TrimSpace(text)) == nil {
		return text, "", false
	}
	_, query, _ := strings.Cut(body, "?")
	value, found := rawuri.DamagedParameter(query, h.Issues.TokenName)
	if !found {
		return text, "", false
	}
	if strings.Contains(strings.ToLower(query), "amp") || strings.Contains(query, "#38") || strings.Contains(strings.ToLower(query), "#x26") {
		return value, damagedHTML, true
	}
	return value, damagedEncoded, true
}

// parseWhole parses a URL with a host, or returns nil.
func parseWhole(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil
	}
	return u
}
