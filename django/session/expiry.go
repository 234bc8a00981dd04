package session

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// ErrExpiry means that the session has an expiry of its own that Django couldn't read.
var ErrExpiry = errors.New("_session_expiry is neither a number of seconds nor a time in ISO 8601")

// Layouts of Python's isoformat, which leaves out a fraction of zero.
const (
	layoutAware = "2006-01-02T15:04:05.999999Z07:00"
	layoutNaive = "2006-01-02T15:04:05.999999"
)

// ExpireDate is Django's get_expiry_date: when a session ends that is saved
// now. A session can have an expiry of its own (set_expiry), in seconds after
// it is saved or as a point in time; otherwise it has CookieAge. The error is
// ErrExpiry.
func (s *Sessions) ExpireDate(data Data, now time.Time) (time.Time, error) {
	switch data.expiry {
	case "", "null", "false", "[]", "{}", "0": // false in Python
		return now.Add(s.settings.CookieAge), nil
	case "true": // which is 1 in Python
		return now.Add(time.Second), nil
	}
	if text, isText := unquote(data.expiry); isText {
		return s.parseTime(text)
	}
	seconds, err := strconv.ParseFloat(data.expiry, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > math.MaxInt64/1e9 {
		return time.Time{}, ErrExpiry
	}
	if seconds == 0 {
		return now.Add(s.settings.CookieAge), nil
	}
	whole, fraction := math.Modf(seconds)
	return now.Add(time.Duration(whole)*time.Second + time.Duration(math.RoundToEven(fraction*1e6))*time.Microsecond), nil
}

func (s *Sessions) parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(layoutAware, text); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(layoutNaive, text, s.settings.TimeZone)
	if err != nil {
		return time.Time{}, ErrExpiry
	}
	return t, nil
}

// ExpiresAtBrowserClose is Django's get_expire_at_browser_close: whether the
// cookie has neither Max-Age nor Expires.
func (s *Sessions) ExpiresAtBrowserClose(data Data) bool {
	switch data.expiry {
	case "", "null":
		return s.settings.ExpireAtBrowserClose
	case "false":
		return true // it equals 0 in Python
	}
	seconds, err := strconv.ParseFloat(data.expiry, 64)
	return err == nil && seconds == 0
}
