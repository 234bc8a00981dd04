package page

import (
	"math"
	"time"
)

// A Way leads on from a page: by a link, or by a button that posts.
type Way struct {
	Key  string // of the text
	URL  string // of this site, without a token
	Post bool
}

// The keys of the ways' texts.
const (
	wayStay       = "way.stay"
	wayLogIn      = "way.log_in"
	wayLogInAgain = "way.log_in_again"
	wayOther      = "way.other_account"
	wayLogOut     = "way.log_out"
	waySite       = "way.site"
	wayTryAgain   = "way.try_again"
	wayOpenAgain  = "way.open_again"
	wayDiscard    = "way.discard"
)

// Places are the pages of this site that ways lead to. A place that isn't there is
// empty.
type Places struct {
	// Same is the page that the browser asked for, or the one that it came from if
	// the request was to change something.
	Same string

	// Login is the page for logging in, which leads to Same. Other is the same page
	// for users who are logged in and want another account.
	Login, Other string

	// Logout ends the browser's session if it is posted to.
	Logout string

	// Site is a page of the site that users see who are logged out.
	Site string
}

// Ways are the ways on from a page of the kind, the most useful one first. Pages that
// have forms of their own to go on with have none.
func (k Kind) Ways(to Places) (ways []Way) {
	add := func(key, place string) {
		if place != "" {
			ways = append(ways, Way{Key: key, URL: place, Post: key == wayLogOut})
		}
	}
	switch k {
	case Switch:
		add(wayStay, to.Same)
	case Logout:
		add(waySite, to.Same)
	case LoggedOut:
		add(wayLogInAgain, to.Login)
		add(waySite, to.Site)
	case Forbidden, OtherLogin:
		add(wayOther, to.Other)
		add(wayLogOut, to.Logout)
	case CrossSite:
		add(wayOpenAgain, to.Same)
	case Repost:
		add(wayDiscard, to.Same)
	case Unavailable, Limited:
		add(wayTryAgain, to.Same)
	case Missing, Malformed, Expired, Invalid, SecondFactor:
		add(wayLogIn, to.Login)
	}
	return ways
}

// Resending is the way to a new link for one that has expired.
func Resending(to string) Way { return Way{Key: "expired.resend", URL: to, Post: true} }

// Staying is the way of a user who is logged in, and asks for the page for logging
// in.
func Staying(to string) []Way { return []Way{{Key: wayStay, URL: to}} }

// way is a Way as a template uses it.
type way struct {
	Text, URL string
	Post      bool
}

// ways fills in the texts of ways.
func (w *words) ways(ways []Way) (shown []way) {
	for _, to := range ways {
		shown = append(shown, way{Text: w.text(to.Key), URL: to.URL, Post: to.Post})
	}
	return shown
}

// wait says how long a client has to wait, in whole minutes from one minute on.
func (w *words) wait(wait time.Duration) string {
	if n := int(math.Ceil(wait.Seconds())); n <= 60 {
		return w.plural("wait.seconds", n)
	}
	return w.plural("wait.minutes", int(math.Ceil(wait.Minutes())))
}
