package token

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// scopeChange returns the change of a token for another scope.
func scopeChange(here, there string) change {
	return change{
		cause: CauseScope, setting: "scope", here: here, there: there,
		text: fmt.Sprintf("made for %s, and %s is expected here", scopeInWords(there), scopeInWords(here)),
	}
}

func scopeInWords(scope string) string {
	if scope == "" {
		return "the default scope"
	}
	return fmt.Sprintf("the scope %q", scope)
}

func maxAgeChange(isSetHere bool) change {
	if isSetHere {
		return change{
			cause: CauseMaxAge, setting: "max_age", here: "set", there: "not set",
			text: "it has no timestamp: max_age is set here, and SESAME_MAX_AGE wasn't where it was made",
		}
	}
	return change{
		cause: CauseMaxAge, setting: "max_age", here: "not set", there: "set",
		text: "it has a timestamp: SESAME_MAX_AGE was set where it was made, and max_age isn't here",
	}
}

func switchChange(cause Cause, option string, here bool) change {
	return change{
		cause: cause, setting: option, here: onOff(here), there: onOff(!here),
		text: fmt.Sprintf("made with SESAME_%s = %s, and %s is %s here",
			strings.ToUpper(option), pythonBool(!here), option, onOff(here)),
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func pythonBool(on bool) string {
	if on {
		return "True"
	}
	return "False"
}

func fieldChange(here, there string) change {
	if there == noField {
		return change{
			cause: CauseRelease,
			text:  "made by a django-sesame older than 3.1, whose v2 tokens no later one accepts",
		}
	}
	return change{
		cause: CausePrimaryKeyField, setting: "primary_key_field", here: here, there: there,
		text: fmt.Sprintf("made with SESAME_PRIMARY_KEY_FIELD = %q, and primary_key_field is %q here", there, here),
	}
}

func sizeChange(here, there int) change {
	return change{
		cause: CauseSignatureSize, setting: "signature_size", here: strconv.Itoa(here), there: strconv.Itoa(there),
		text: fmt.Sprintf("made with SESAME_SIGNATURE_SIZE = %d, and signature_size is %d here", there, here),
	}
}

func secretChange(cause Cause, option, setting string, o secretOption) change {
	return change{
		cause: cause, setting: option,
		text: fmt.Sprintf("%s, where it was made, is %s", setting, o.form),
	}
}

// secretForms returns the values that a secret may have on the other side: the
// keys here, which are one option; the named candidates; and forms that files,
// shells and environments make of a key here.
func secretForms(here, named []string) []secretOption {
	all := []secretOption{{values: here}}
	known := make(map[string]bool)
	for _, value := range here {
		known[value] = true
	}
	add := func(value, form string) {
		if !known[value] {
			known[value] = true
			all = append(all, secretOption{values: []string{value}, form: form})
		}
	}
	for _, value := range named {
		if value == "" {
			add(value, "empty, and has a value here")
		} else {
			add(value, "another one, which is among the given candidates")
		}
	}
	for _, s := range here {
		if s == "" {
			continue
		}
		add(strings.TrimSpace(s), "the one here without the white space around it")
		if n := len(s); n > 2 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') {
			add(s[1:n-1], "the one here without the quotes around it")
		}
		add(s+"\n", "the one here with a line feed behind it")
		add(s+"\r\n", "the one here with a line break behind it")
		add(`"`+s+`"`, "the one here in quotes, which are part of it")
		add("'"+s+"'", "the one here in quotes, which are part of it")
		add(pythonBytes(s), "the one here as bytes, which django-sesame signs as b'…'")
		add(strings.ReplaceAll(s, "$$", "$"), "the one here with $ for $$")
		add(strings.ReplaceAll(s, "$", "$$"), "the one here with $$ for $")
	}
	return all
}

// pythonBytes returns Python's str() of a secret that is bytes.
func pythonBytes(s string) string {
	quote := byte('\'')
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	b := []byte{'b', quote}
	for _, c := range []byte(s) {
		switch {
		case c == quote, c == '\\':
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < 0x20 || c >= 0x7f:
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, quote))
}

// loginChanges returns the causes for a last_login that was signed in another
// form.
func (x *explainer) loginChanges(here, there loginForm, version Version, r reading, row *Row) []change {
	if here == there {
		return nil
	}
	oneTime := switchChange(CauseOneTime, "one_time", here != noLogin)
	zoned := change{
		cause: CauseUseTZ, setting: "use_tz", here: onOff(*x.t.settings.UseTZ), there: onOff(there == awareLogin),
		text: fmt.Sprintf("made with USE_TZ = %s, and use_tz is %s here", pythonBool(there == awareLogin), onOff(*x.t.settings.UseTZ)),
	}
	isZoneOther := there == awareLogin != *x.t.settings.UseTZ
	switch {
	case there == nullLogin && here == noLogin:
		// The user had not logged in when the token was made.
		return []change{oneTime}
	case there == nullLogin:
		return []change{used("the token was made before the user's first login, and the user has logged in since", row)}
	case there == noLogin && version == V1:
		return []change{oneTime}
	case there == noLogin:
		// A v2 token from before the first login is the same with and without
		// one_time, unless its time tells.
		if r.dated && row != nil && row.User.LastLogin != nil && r.created > row.User.LastLogin.Unix()+60 && *x.t.settings.UseTZ {
			return []change{oneTime}
		}
		ended := used("made before the user's first login, and the user has logged in since", row)
		ended.atMost, oneTime.atMost = Likely, Possible
		return []change{ended, oneTime}
	case here == noLogin && isZoneOther:
		return []change{oneTime, zoned}
	case here == noLogin:
		return []change{oneTime}
	default:
		return []change{zoned}
	}
}

// used returns the cause of a one-time token that a login has ended.
func used(how string, row *Row) change {
	c := change{cause: CauseUsed, text: "already used: it is one-time, " + how}
	if row != nil && row.User.LastLogin != nil {
		c.text += fmt.Sprintf(" (last_login is %s)", row.User.LastLogin.Format(time.DateTime))
	}
	return c
}

// isExpired checks the age as Parse does for the version.
func (x *explainer) isExpired(r reading) bool {
	maxAge := *x.maxAge()
	if r.version == V1 {
		return x.want.Now.Sub(time.Unix(r.created, 0)) > maxAge
	}
	return float64(x.want.Now.Unix()-r.created) >= maxAge.Seconds()
}

// expired adds the cause of an expired token, with its age.
func (x *explainer) expired(r reading) Finding {
	maxAge := *x.maxAge()
	created := time.Unix(r.created, 0).UTC()
	age := time.Duration(0)
	over := "long ago"
	if seconds := x.want.Now.Unix() - r.created; seconds < int64(100*365*24*time.Hour/time.Second) {
		age = time.Duration(seconds) * time.Second
		over = roundDuration(age-maxAge) + " ago"
	}
	return Finding{
		Cause: CauseExpired, Certainty: Certain, Setting: "max_age", Here: maxAge.String(),
		Text: fmt.Sprintf("expired %s: made at %s, and max_age is %s", over, created.Format(time.RFC3339), roundDuration(maxAge)),
	}
}

// roundDuration writes a duration in its largest units.
func roundDuration(d time.Duration) string {
	const day = 24 * time.Hour
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	if d >= 2*day {
		text := strconv.FormatInt(int64(d/day), 10) + "d"
		if hours := d % day / time.Hour; hours > 0 {
			text += strconv.FormatInt(int64(hours), 10) + "h"
		}
		return sign + text
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return sign + text
}
