package operator

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// The gateway makes, and users paste, other texts that have the characters of a
// token. No request gets in by one of them alone.

// recognized is what a text is, other than a credential of the handler.
type recognized struct {
	what, remedy string
	certainty    token.Certainty
}

// The forms of texts that the gateway makes.
var (
	// pageValue is one of crypto/rand.Text, in the cookie of pages.
	pageValue = regexp.MustCompile(`^[A-Z2-7]{26}(?:-[0-9a-z]{1,13})?$`)
	// fingerprint is one of token.Parsed.Fingerprint.
	fingerprint = regexp.MustCompile(`^[0-9a-f]{20}$`)
	// mailedCode has two halves in Crockford's Base32.
	mailedCode = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)
	signedJSON = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)
)

// recognize returns what a text is that no key of the handler's tokens has signed.
// ok is false if it has the form of nothing that the gateway knows.
func (i *issuer) recognize(text string) (what recognized, ok bool) {
	text = strings.TrimSpace(text)
	if i.isAssertion(text) {
		return recognized{
			"it is an assertion that this gateway has signed for an application", "verify it in the application; the gateway takes no assertions from clients", token.Certain,
		}, true
	}
	if name, value := lastPair(text); name != "" {
		return i.recognizeNamed(name, value)
	}
	_, isSession := session.ParseID(text)
	switch {
	case isSession:
		return recognized{
			"it looks like the ID of a session in a table, as the page of a user's logins and the table have it", "give the session's cookie; to end the session, call caddy sesame revoke --session with the ID", token.Likely,
		}, true
	case pageValue.MatchString(text):
		return recognized{pageCookieText, pageCookieRemedy, token.Likely}, true
	case fingerprint.MatchString(text):
		return recognized{
			"it looks like the fingerprint of a token, as logs and the table of revoked tokens have it", "give the token itself, which can't be found out from its fingerprint", token.Likely,
		}, true
	case mailedCode.MatchString(text):
		return recognized{
			"it looks like a code that the login page has mailed", "type it into the page that has asked for it, in the same browser", token.Likely,
		}, true
	case isNameAndPassword(text):
		return recognized{
			"it looks like a user name and a password in base64, as HTTP Basic authentication sends them", "put Basic in front; passwords themselves aren't checked here", token.Likely,
		}, true
	}
	return recognized{}, false
}

// What explain says of the value of the cookie of pages.
const (
	pageCookieText   = "it is the value of the cookie by which the gateway's pages know the browser that they were shown in, and is no login"
	pageCookieRemedy = "give the token of the link, or the session's cookie"
)

// lastPair cuts the name and the value of the last cookie, or parameter, of a text.
// The name is empty if there is none.
func lastPair(text string) (name, value string) {
	pair := text[strings.LastIndexAny(text, ";&?\t ")+1:]
	name, value, ok := strings.Cut(pair, "=")
	if !ok || strings.Trim(value, "=") == "" {
		return "", ""
	}
	return strings.TrimPrefix(name, "__Host-"), value
}

// recognizeNamed recognizes a cookie or a parameter by its name.
func (i *issuer) recognizeNamed(name, value string) (what recognized, ok bool) {
	switch {
	case i.Sessions != nil && name == i.SessionCookie.Name()+"-confirm" && pageValue.MatchString(value):
		return recognized{pageCookieText, pageCookieRemedy, token.Certain}, true
	case name == i.Issues.TokenName+"_confirm":
		return recognized{
			"it is what the button of the page that confirms a login sends, and is bound to the browser and the token", pageCookieRemedy, token.Certain,
		}, true
	case name == "csrftoken":
		return recognized{"it is a CSRF token of Django, and no login", "give the cookie of the session, or the token", token.Certain}, true
	}
	return recognized{}, false
}

// isAssertion reports whether a text has an assertion with the ID of one of the
// handler's keys.
func (i *issuer) isAssertion(text string) bool {
	jwt := signedJSON.FindString(text)
	if jwt == "" || i.AssertionKeys == nil {
		return false
	}
	header, _, _ := strings.Cut(jwt, ".")
	data, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return false
	}
	var parsed struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(data, &parsed) != nil || parsed.KeyID == "" {
		return false
	}
	ids, _, err := i.AssertionKeys(i.tokens.Settings())
	return err == nil && slices.Contains(ids, parsed.KeyID)
}

// isNameAndPassword reports whether a text is what follows the word Basic.
func isNameAndPassword(text string) bool {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) < 3 || !utf8.Valid(data) {
		return false
	}
	name, password, ok := strings.Cut(string(data), ":")
	isUnprintable := func(c rune) bool { return !unicode.IsPrint(c) }
	return ok && name != "" && password != "" && !strings.ContainsFunc(string(data), isUnprintable)
}

// addRecognized replaces guesses about a token by what the text is.
func (i *issuer) addRecognized(e *explained, text string) {
	what, ok := i.recognize(text)
	if !ok {
		return
	}
	reason := token.Malformed
	e.Explanation = &token.Explanation{
		Reason: reason, Verdict: reason.String(), Summary: reason.Error(), Length: e.Length,
		Findings: []token.Finding{{Cause: token.CauseNotAToken, Certainty: what.certainty, Text: "no token: " + what.what, Remedy: what.remedy}},
	}
}
