package userstore

import (
	"errors"
	"time"
)

// tokenValues is the memory that the pointers of a User's token.User point to.
type tokenValues struct {
	password, email string
	lastLogin       time.Time
}

// The forms of a date and time in MySQL. Their length tells the precision.
const (
	wholeSeconds = "2006-01-02 15:04:05"
	microseconds = "2006-01-02 15:04:05.000000"
)

// errLastLogin doesn't quote the value, because last_login is a part of tokens'
// keys.
var errLastLogin = errors.New("last_login isn't a date and time: it must read like " + microseconds +
	", without a time zone")

// parseLastLogin reads a DATETIME, TIMESTAMP or the same written as text:
// YYYY-MM-DD hh:mm:ss with up to six digits of a fraction. The time is taken
// as it stands, and called UTC. ok is false for MySQL's zero date, which Django
// reads as NULL.
//
// time.Parse would not do: it accepts commas and fractions of any length.
func parseLastLogin(text string) (t time.Time, ok bool, err error) {
	if len(text) < len(wholeSeconds) || len(text) > len(microseconds) {
		return time.Time{}, false, errLastLogin
	}
	if text[4] != '-' || text[7] != '-' || text[10] != ' ' && text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return time.Time{}, false, errLastLogin
	}
	fraction, good := parseFraction(text[len(wholeSeconds):])
	if !good {
		return time.Time{}, false, errLastLogin
	}
	var fields [6]int
	for i, span := range [6][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		if fields[i], good = digits(text[span[0]:span[1]]); !good {
			return time.Time{}, false, errLastLogin
		}
	}
	if fields == [6]int{} && fraction == 0 {
		return time.Time{}, false, nil
	}
	t = time.Date(fields[0], time.Month(fields[1]), fields[2], fields[3], fields[4], fields[5],
		fraction*int(time.Microsecond), time.UTC)
	// time.Date turns 30 February into March: then the text is no date.
	if t.Year() != fields[0] || int(t.Month()) != fields[1] || t.Day() != fields[2] ||
		t.Hour() != fields[3] || t.Minute() != fields[4] || t.Second() != fields[5] {
		return time.Time{}, false, errLastLogin
	}
	if fields[0] == 0 {
		return time.Time{}, false, errLastLogin // Python has no year 0
	}
	return t, true, nil
}

// parseFraction reads a dot and one to six digits, or nothing, as microseconds.
func parseFraction(text string) (micros int, ok bool) {
	if text == "" {
		return 0, true
	}
	if text[0] != '.' || len(text) == 1 {
		return 0, false
	}
	micros, ok = digits(text[1:])
	for range 7 - len(text) {
		micros *= 10
	}
	return micros, ok
}

// digits reads decimal digits only, where strconv.Atoi would take a sign too.
func digits(text string) (n int, ok bool) {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = n*10 + int(text[i]-'0')
	}
	return n, true
}

// nextLastLogin returns the value that consumes a token whose row has old: now, as
// the column can hold it, but always later than old. So the value changes even if
// the clock stands still, moves back, or is behind old, and never repeats a value
// that an earlier token was made for.
func nextLastLogin(now time.Time, old *time.Time, location *time.Location, precision int) (string, error) {
	unit := time.Second
	for range precision {
		unit /= 10
	}
	// The wall clock of the zone, in UTC so that no further shift happens: the
	// column has no zone.
	local := now.In(location)
	next := time.Date(local.Year(), local.Month(), local.Day(),
		local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC).Truncate(unit)
	if old != nil {
		if least := old.Truncate(unit).Add(unit); next.Before(least) {
			next = least
		}
	}
	if next.Year() > 9999 {
		return "", errors.New("last_login is at the end of time and can't be increased: " +
			"set it to NULL or to a date in the past")
	}
	form := microseconds
	if precision == 0 {
		form = wholeSeconds
	}
	return next.Format(form), nil
}
