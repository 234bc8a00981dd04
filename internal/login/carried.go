package login

import (
	"net/http"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/repost"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Posted is what a browser has posted after its session had ended. The forms carry
// it, so that the user can send it again after the login.
type Posted struct {
	Body *repost.Body

	// Owner is the primary key of the user whose session has ended, empty where that
	// isn't known. Another user doesn't get what the owner has posted.
	Owner string
}

// fieldCarried is the field that has what was posted, sealed.
const fieldCarried = "carried"

// carrying is a visit whose forms carry what was posted.
type carrying struct {
	Visit
	page   *Page
	r      *http.Request
	sealed string
}

// carry has a visit carry on what a form has carried.
func (p *Page) carry(r *http.Request, form Form, visit Visit) Visit {
	sealed := form.Value(fieldCarried)
	if sealed == "" {
		return visit
	}
	return &carrying{Visit: visit, page: p, r: r, sealed: sealed}
}

// Begin implements Visit. It shows the user what was posted, with a button that sends
// it again: the login itself sends nothing.
func (c *carrying) Begin(w http.ResponseWriter, user *userstore.User, by Login) error {
	body, err := c.page.keeper.Open(c.sealed, c.Ties(), user.PrimaryKey.String(), time.Now())
	if err != nil {
		return c.Visit.Begin(w, user, by)
	}
	by.Then = func() error {
		shown := page.Data{
			Kind: page.Repost, Action: body.Target, User: user.DisplayName(),
			Repost: &page.RepostForm{Encoding: body.Encoding, Fields: body.Fields},
		}
		shown.Ways = shown.Kind.Ways(page.Places{Same: c.Next()})
		return c.page.pages.Write(w, c.r, http.StatusOK, shown)
	}
	return c.Visit.Begin(w, user, by)
}

// carriedBy is what the forms of a visit carry, sealed; empty for nothing.
func (p *Page) carriedBy(visit Visit, posted *Posted, tie string) string {
	if carrying, ok := visit.(*carrying); ok {
		return carrying.sealed
	}
	if posted == nil {
		return ""
	}
	sealed, ok := p.keeper.Seal(posted.Body, tie, posted.Owner, time.Now())
	if !ok {
		return ""
	}
	return sealed
}

// Carries reports whether the page can carry on what was posted.
func (p *Page) Carries() bool { return p.pages.CanRepost() }
