package login

import (
	"net/http"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// An e-mailed link proves that its user reads the mailbox. For a user who has a second
// factor, that is half of a login, as the password is. The link isn't used up before the
// code was right: the page can be loaded again, as phones do it when their user comes
// back from the app with the code, and a program that presses the button without a code
// has used up nothing. Of all logins that were begun with one link, one is completed.

// NeedsFactor reports whether an e-mailed link doesn't log its user in alone.
func (p *Page) NeedsFactor(user *userstore.User) bool {
	return p.linkFactor != authn.SecondFactorIgnore && user.HasSecondFactor()
}

// ServeLink answers a request with an e-mailed link that was accepted, and whose user
// NeedsFactor: it asks for the code. The browser's user knows whose session ends.
func (p *Page) ServeLink(w http.ResponseWriter, r *http.Request, visit Visit, link secondfactor.Link, length session.Length) error {
	if p.linkFactor == authn.SecondFactorReject {
		return p.showNoFactor(w, r, visit)
	}
	return p.factor.begin(w, r, visit, p.factor.asker.BeginByLink(link, length))
}
