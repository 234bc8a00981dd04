package login

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/emaillink"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A user whose link has expired gets a new one at the press of a button. The URL that
// the button posts to says whose link it was, sealed for the browser, so that it is
// also what keeps other sites from pressing the button.

// resendParameter is the parameter of that URL.
const resendParameter = "resend"

// resendAge is how long the button works.
const resendAge = time.Hour

// expired is whose link has expired.
type expired struct {
	User    string `json:"u"` // the primary key
	Address string `json:"a"` // as it is stored
	Until   int64  `json:"t"`
}

// Resend is the way to a new link for a user whose link has expired, in the browser
// of a visit. There is none where the page sends no links, or the user has no address.
func (p *Page) Resend(w http.ResponseWriter, visit Visit, user *userstore.User) []page.Way {
	if p.links == nil || user.Email == nil || !emaillink.IsAddress(*user.Email) {
		return nil
	}
	to := p.URL(visit.Next())
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	of := expired{user.PrimaryKey.String(), *user.Email, time.Now().Add(resendAge).Unix()}
	return []page.Way{page.Resending(to + separator + url.Values{resendParameter: {p.sealExpired(of, visit.Tie(w))}}.Encode())}
}

// resend has a new link sent to the user whose link has expired.
func (p *Page) resend(w http.ResponseWriter, r *http.Request, visit Visit, sealed string) error {
	of, ok := p.openExpired(sealed, visit.Ties())
	if !ok || p.links == nil || origin.Of(r).IsOther() {
		return p.show(w, r, visit, http.StatusForbidden, Shown{Error: "stale"})
	}
	m := &emailMethod{page: p, links: p.links}
	return m.send(w, r, visit, emaillink.Request{User: of.User, Address: of.Address}, masked(of.Address))
}

func (p *Page) sealExpired(of expired, tie string) string {
	plain, _ := json.Marshal(of) // texts and a number
	return p.expired.Seal(plain, tie, "")
}

// openExpired opens what sealExpired has sealed for a browser with one of the ties.
func (p *Page) openExpired(sealed string, ties []string) (of expired, ok bool) {
	plain, ok := p.expired.Open(sealed, ties, "")
	if !ok || json.Unmarshal(plain, &of) != nil || time.Now().Unix() > of.Until {
		return expired{}, false
	}
	return of, true
}
