package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestPageOfLoginsTellsThemApart: by the browser, the system, the network and the
// times, in each language, and with what ends each of them.
func TestPageOfLoginsTellsThemApart(t *testing.T) {
	t.Parallel()
	pages, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	list := &SessionList{Now: now, HasEnded: true, Ended: 2, Rows: []SessionRow{
		{ID: "first", Browser: "Firefox", Platform: "Windows", Network: "192.0.2.0/24", Since: now.Add(-50 * time.Hour), Seen: now.Add(-59 * time.Minute), IsCurrent: true},
		{ID: "second", Browser: "curl", Since: now.Add(-30 * time.Second), Seen: now.Add(-3 * time.Hour)},
		{ID: "third", Platform: "Linux", Since: now.Add(-45 * time.Minute), Seen: now},
		{ID: "fourth<", Since: now.Add(-time.Hour), Seen: now.Add(-25 * time.Hour)},
	}}
	for _, tag := range testedLanguages {
		r := httptest.NewRequest(http.MethodGet, "/_sesame/sessions", nil)
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Accept-Language", tag)
		w := httptest.NewRecorder()
		if err := pages.Write(w, r, http.StatusOK, Data{Kind: Sessions, Sessions: list}); err != nil {
			t.Fatal(err)
		}
		body := w.Body.String()
		l := newLanguage(tag, links, nil)
		for _, part := range []string{
			l.Text("sessions.this"), l.Plural("time.days", 2), l.Plural("time.hours", 3), l.Plural("time.minutes", 45), l.Plural("sessions.ended", 2),
			"Firefox", "Windows", "192.0.2.0/24", `value="second"`, `value="fourth&lt;"`, `value="others"`, l.Text("sessions.unknown"),
			l.Text("sessions.id", "id", "second"),
		} {
			if !strings.Contains(body, part) {
				t.Errorf("%s: the page doesn't say %q: %s", tag, part, body)
			}
		}
		if n := strings.Count(body, l.Text("sessions.this")); n != 1 {
			t.Errorf("%s: %d of the logins are this one", tag, n)
		}
	}
	only := pages.view(pages.languages[0], Data{Kind: Sessions, Sessions: &SessionList{Now: now, Rows: list.Rows[:1]}})
	if only.Sessions.EndOthers != "" || only.Sessions.Only == "" || only.Sessions.Ended != "" {
		t.Errorf("with one login: %+v", only.Sessions)
	}
}
