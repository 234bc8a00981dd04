// Package sessionlist is the page on which users see where they are logged in, and
// log out of their account on other devices.
package sessionlist

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Page is the page.
type Page struct {
	Pages *page.Pages
	List  *authn.SessionList
	Now   func() time.Time
}

// A Visit is a request for the page by a user who is logged in, as the gateway sees
// it.
type Visit interface {
	User() *userstore.User

	// Session is the browser's own; zero if it is in no table.
	Session() session.ID

	// Ended ends the open responses of a session that has ended.
	Ended(session.ID)

	// LogOut ends the browser's own session, and answers the request.
	LogOut(w http.ResponseWriter) error

	// Fail answers if the store has no answer.
	Fail(w http.ResponseWriter, err error) error
}

// fieldEnd is the field of the page's forms that names the session to end.
const fieldEnd = "end"

// maxForm is how many bytes a form may have.
const maxForm = 1 << 10

// Serve answers a request for the page. The buttons count only if a page of this
// origin has sent them, as that of the page for logging out.
func (p *Page) Serve(w http.ResponseWriter, r *http.Request, visit Visit) error {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return p.show(w, r, visit, http.StatusOK, page.SessionList{})
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	case origin.Of(r).IsOther(): // this page is the gateway's own, so its buttons work
		return p.show(w, r, visit, http.StatusForbidden, page.SessionList{})
	}
	end, ok := readForm(r)
	if end == page.EndOthers {
		return p.endOthers(w, r, visit)
	}
	id, isID := session.ParseID(end)
	switch {
	case !ok || !isID:
		return p.show(w, r, visit, http.StatusBadRequest, page.SessionList{})
	case id == visit.Session():
		return visit.LogOut(w)
	}
	isEnded, err := p.List.EndOne(r.Context(), visit.User(), id)
	switch {
	case err != nil:
		return visit.Fail(w, err)
	case !isEnded: // it has ended already, or is another user's, whose responses go on
		return p.show(w, r, visit, http.StatusOK, page.SessionList{})
	}
	visit.Ended(id)
	return p.show(w, r, visit, http.StatusOK, page.SessionList{HasEnded: true, Ended: 1})
}

// readForm returns the session that a form is to end.
func readForm(r *http.Request) (end string, ok bool) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return "", false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil || len(body) > maxForm {
		return "", false
	}
	values, err := url.ParseQuery(string(body))
	if err != nil || len(values[fieldEnd]) != 1 {
		return "", false
	}
	return values[fieldEnd][0], true
}

// endOthers ends all sessions of the user but the browser's own.
func (p *Page) endOthers(w http.ResponseWriter, r *http.Request, visit Visit) error {
	all, err := p.List.Of(r.Context(), visit.User())
	if err != nil {
		return visit.Fail(w, err)
	}
	ended, err := p.List.EndOthers(r.Context(), visit.User(), visit.Session())
	if err != nil {
		return visit.Fail(w, err)
	}
	for _, row := range all {
		if id, ok := session.ParseID(row.ID); ok && id != visit.Session() {
			visit.Ended(id)
		}
	}
	return p.show(w, r, visit, http.StatusOK, page.SessionList{HasEnded: true, Ended: ended})
}

// show writes the page with the user's sessions, the browser's own first.
func (p *Page) show(w http.ResponseWriter, r *http.Request, visit Visit, status int, list page.SessionList) error {
	all, err := p.List.Of(r.Context(), visit.User())
	if err != nil {
		return visit.Fail(w, err)
	}
	list.Now = p.Now()
	for _, row := range all {
		id, ok := session.ParseID(row.ID)
		shown := page.SessionRow{
			ID: row.ID, Browser: row.Browser, Platform: row.Platform, Network: row.Address, Site: row.Site,
			Since: row.Created, Seen: row.Seen, IsCurrent: ok && id == visit.Session(),
		}
		if shown.IsCurrent {
			list.Rows = append([]page.SessionRow{shown}, list.Rows...)
		} else {
			list.Rows = append(list.Rows, shown)
		}
	}
	return p.Pages.Write(w, r, status, page.Data{Kind: page.Sessions, Sessions: &list, Current: visit.User().DisplayName()})
}
