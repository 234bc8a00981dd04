package page

import (
	"time"

	"golang.org/x/text/feature/plural"
)

// SessionList is what the page of a user's logins shows. Its forms are posted to the
// page's own URL: the field end has the ID of the session to end, or EndOthers.
type SessionList struct {
	Rows []SessionRow

	// Ended is how many sessions the request has ended; HasEnded says that it was to
	// end some.
	Ended    int
	HasEnded bool

	// Now is when the page is shown.
	Now time.Time
}

// EndOthers is the value of the field end for all sessions but the browser's own.
const EndOthers = "others"

// SessionRow is a session of the user.
type SessionRow struct {
	ID string `json:"id"`

	// Browser, Platform and Network are empty where they aren't known.
	Browser  string `json:"browser,omitempty"`
	Platform string `json:"platform,omitempty"`
	Network  string `json:"network,omitempty"`
	Site     string `json:"site,omitempty"`

	Since     time.Time `json:"since"`
	Seen      time.Time `json:"seen"`
	IsCurrent bool      `json:"current"` // the one of the browser that is shown the page
}

// sessionList has a SessionList's texts, as a template uses them.
type sessionList struct {
	Rows                    []sessionRow
	Ended, Only             string // empty where there is nothing to say
	EndOthers, EndOthersKey string // EndOthers is empty without others
}

type sessionRow struct {
	ID, Client, Seen, Since, Network string
	IDText                           string // for operators, who end sessions by it
	This                             string // for the browser's own, else empty
	End, EndLabel                    string
	IsCurrent                        bool
}

// sessions fills in the texts of a list; nil for none.
func (w *words) sessions(list *SessionList) *sessionList {
	if list == nil {
		return nil
	}
	shown := &sessionList{EndOthersKey: EndOthers}
	if list.HasEnded {
		shown.Ended = w.plural("sessions.ended", list.Ended)
	}
	others := 0
	for _, row := range list.Rows {
		client := w.client(row)
		made := sessionRow{
			ID: row.ID, IDText: w.textWith("sessions.id", "id", row.ID), Client: client, IsCurrent: row.IsCurrent,
			Seen:  w.textWith("sessions.seen", "time", w.ago(list.Now.Sub(row.Seen), time.Hour)),
			Since: w.textWith("sessions.since", "time", w.ago(list.Now.Sub(row.Since), time.Minute)),
			End:   w.text("sessions.end"), EndLabel: w.textWith("sessions.end_label", "client", client),
		}
		if row.Network != "" {
			made.Network = w.textWith("sessions.address", "address", row.Network)
		}
		if row.IsCurrent {
			made.This = w.text("sessions.this")
		} else {
			others++
		}
		shown.Rows = append(shown.Rows, made)
	}
	if others > 0 {
		shown.EndOthers = w.text("sessions.end_others")
	} else {
		shown.Only = w.text("sessions.only")
	}
	return shown
}

// client names the browser and the system of a session, as far as they are known.
func (w *words) client(row SessionRow) string {
	switch {
	case row.Browser != "" && row.Platform != "":
		return w.textWith("sessions.client", "browser", row.Browser, "system", row.Platform)
	case row.Browser != "":
		return row.Browser
	case row.Platform != "":
		return row.Platform
	}
	return w.text("sessions.unknown")
}

// ago says how long ago something was; less than the exactness of what is known of it
// is now.
func (w *words) ago(age, exactness time.Duration) string {
	switch {
	case age < exactness:
		return w.text("time.now")
	case age < time.Hour:
		return w.plural("time.minutes", int(age/time.Minute))
	case age < 24*time.Hour:
		return w.plural("time.hours", int(age/time.Hour))
	}
	return w.plural("time.days", int(age/(24*time.Hour)))
}

// textWith is text with more placeholders.
func (w *words) textWith(key string, pairs ...string) string {
	found, ok := w.language.find(key, plural.Other)
	w.lacksText = w.lacksText || !ok
	return fill(found, append(pairs, w.pairs...))
}
