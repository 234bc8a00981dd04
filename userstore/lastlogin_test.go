package userstore

import (
	"testing"
	"time"
)

func at(nanoseconds int) time.Time { return time.Date(2024, 2, 29, 23, 59, 58, nanoseconds, time.UTC) }

// lastLogins are texts of a column.
var lastLogins = []struct {
	text string
	want time.Time // the zero time is an error
	null bool
}{
	{text: "2024-02-29 23:59:58", want: at(0)},
	{text: "2024-02-29T23:59:58", want: at(0)},
	{text: "2024-02-29 23:59:58.1", want: at(100_000_000)},
	{text: "2024-02-29 23:59:58.000001", want: at(1000)},
	{text: "2024-02-29 23:59:58.120", want: at(120_000_000)},
	{text: "2024-02-29 23:59:58.999999", want: at(999_999_000)},
	{text: "0001-01-01 00:00:01", want: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)},
	{text: "9999-12-31 23:59:59.999999", want: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
	{text: "0000-00-00 00:00:00", null: true},
	{text: "0000-00-00 00:00:00.000000", null: true},
	{text: ""},
	{text: "2024-02-29"},
	{text: "2024-02-30 23:59:58"},
	{text: "2024-00-00 00:00:00"},
	{text: "2024-13-01 00:00:00"},
	{text: "2023-02-29 00:00:00"},
	{text: "0000-01-01 00:00:00"},
	{text: "0000-00-00 00:00:00.000001"},
	{text: "2024-02-29 24:00:00"},
	{text: "2024-02-29 23:60:00"},
	{text: "2024-02-29 23:59:60"},
	{text: "2024-02-29 23:59:58."},
	{text: "2024-02-29 23:59:58.1234567"},
	{text: "2024-02-29 23:59:58,123"},
	{text: "2024-02-29 23:59:58Z"},
	{text: "2024-02-29 23:59:58+01:00"},
	{text: "2024-02-29 23:59:58 "},
	{text: " 2024-02-29 23:59:58"},
	{text: "2024-02-29_23:59:58"},
	{text: "+024-02-29 23:59:58"},
	{text: "2024-02-29 23:59:5x"},
	{text: "２024-02-29 23:59"},
}

func TestParseLastLogin(t *testing.T) {
	t.Parallel()
	for _, test := range lastLogins {
		got, ok, err := parseLastLogin(test.text)
		wantErr := test.want.IsZero() && !test.null
		if (err != nil) != wantErr || ok != (err == nil && !test.null) || !got.Equal(test.want) {
			t.Errorf("%q is %v, %t, %v", test.text, got, ok, err)
		}
	}
}

func TestNextLastLogin(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 6, 7, 8, 9, 999_999_999, time.UTC)
	chicago, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Skip("this host has no time zone database (tzdata)")
	}
	// Clocks in Chicago go from 01:59:59 back to 01:00:00 here.
	clocksBack := time.Date(2026, 11, 1, 7, 0, 0, 0, time.UTC)
	tests := []struct {
		name      string
		now       time.Time
		old       string
		location  *time.Location
		precision int
		want      string // "" is an error
	}{
		{"never", now, "", time.UTC, 6, "2026-05-06 07:08:09.999999"},
		{"cut, not rounded", now, "", time.UTC, 0, "2026-05-06 07:08:09"},
		{"cut to milliseconds", now, "", time.UTC, 3, "2026-05-06 07:08:09.999000"},
		{"long ago", now, "2020-01-01 00:00:00", time.UTC, 6, "2026-05-06 07:08:09.999999"},
		{"same microsecond", now, "2026-05-06 07:08:09.999999", time.UTC, 6, "2026-05-06 07:08:10.000000"},
		{"same second", now, "2026-05-06 07:08:09", time.UTC, 0, "2026-05-06 07:08:10"},
		{"same millisecond", now, "2026-05-06 07:08:09.999", time.UTC, 3, "2026-05-06 07:08:10.000000"},
		{"text with more digits", now, "2026-05-06 07:08:09.999999", time.UTC, 0, "2026-05-06 07:08:10"},
		{"future", now, "2030-01-01 00:00:00", time.UTC, 6, "2030-01-01 00:00:00.000001"},
		{"end of time", now, "9999-12-31 23:59:59", time.UTC, 0, ""},
		{"another zone", now, "", chicago, 6, "2026-05-06 02:08:09.999999"},
		{"clocks went back", clocksBack, "2026-11-01 01:59:59.5", chicago, 6, "2026-11-01 01:59:59.500001"},
	}
	for _, test := range tests {
		var old *time.Time
		if test.old != "" {
			parsed, ok, err := parseLastLogin(test.old)
			if err != nil || !ok {
				t.Fatal(test.old)
			}
			old = &parsed
		}
		got, err := nextLastLogin(test.now, old, test.location, test.precision)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

func TestParseTable(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"auth_user", "`auth_user`"},
		{"app.auth_user", "`app`.`auth_user`"},
		{"`a.b`", "`a.b`"},
		{"`a.b`.`c.d`", "`a.b`.`c.d`"},
		{"app.`c.d`", "`app`.`c.d`"},
		{"a`b", "`a``b`"},
		{"`a``b`", "`a``b`"},
		{"u; DROP TABLE u", "`u; DROP TABLE u`"},
	}
	for _, test := range tests {
		name, err := parseTable(test.text)
		if err != nil || name.sql() != test.want {
			t.Errorf("%s is %s, want %s (%v)", test.text, name.sql(), test.want, err)
		}
	}
}

func FuzzParseLastLogin(f *testing.F) {
	for _, test := range lastLogins {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, ok, err := parseLastLogin(text)
		if err != nil || !ok {
			return
		}
		// An accepted text means the same after MySQL has written it.
		again, ok, err := parseLastLogin(at.Format(microseconds))
		if err != nil || !ok || !again.Equal(at) {
			t.Errorf("%q is %v, and again %v (%v)", text, at, again, err)
		}
		if at.Format(wholeSeconds) != text[:10]+" "+text[11:19] {
			t.Errorf("%q is %v", text, at)
		}
	})
}

// FuzzQuote holds quote to the rule that a name can't end its quotes.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"a", "a`b", "`", "``", "a`.`b", "\\`"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" {
			return
		}
		back, rest, err := parseQuoted(quote(name)[1:])
		if err != nil || back != name || rest != "" {
			t.Errorf("%q is quoted %s, which reads %q and %q (%v)", name, quote(name), back, rest, err)
		}
	})
}
