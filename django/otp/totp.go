package otp

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Throttle has the columns in which django-otp counts wrong codes.
type Throttle struct {
	FailureTimestamp *time.Time // throttling_failure_timestamp
	FailureCount     int64      // throttling_failure_count
}

// LockedUntil returns when the device may be tried again, and whether that is
// after now. The n-th wrong code in a row locks it for factor·2ⁿ⁻¹ seconds:
// OTP_TOTP_THROTTLE_FACTOR or OTP_STATIC_THROTTLE_FACTOR, 1 by default in
// Django. A factor of 0 never locks.
func (t Throttle) LockedUntil(factor int64, now time.Time) (time.Time, bool) {
	const longest = 60 * 60 * 24 * 365 * 100 // seconds: a century
	if factor <= 0 || t.FailureCount <= 0 || t.FailureTimestamp == nil {
		return time.Time{}, false
	}
	seconds := int64(longest)
	if doublings := t.FailureCount - 1; doublings < 32 && factor < longest>>doublings {
		seconds = factor << doublings
	}
	until := t.FailureTimestamp.Add(time.Duration(seconds) * time.Second)
	return until, now.Before(until)
}

// Failed is the throttle after a wrong code.
func (t Throttle) Failed(now time.Time) Throttle {
	return Throttle{FailureTimestamp: &now, FailureCount: t.FailureCount + 1}
}

// TOTPDevice is a row of otp_totp_totpdevice. The caller checks whether it is
// confirmed.
type TOTPDevice struct {
	Key       string // in hexadecimal
	Step      int64  // in seconds
	T0        int64  // when steps start, in Unix seconds
	Digits    int
	Tolerance int64 // steps before and after
	Drift     int64 // steps that the user's clock is known to differ
	LastT     int64 // the step of the last code that was accepted; -1 at first
	Throttle
}

// TOTPSettings are django-otp's.
type TOTPSettings struct {
	ThrottleFactor int64 // OTP_TOTP_THROTTLE_FACTOR; see Throttle.LockedUntil
	WithoutSync    bool  // OTP_TOTP_SYNC = False: Drift stays as it is
}

// Verify checks a code like TOTPDevice.verify_token, and returns the row that
// is to be written. The error is ErrMismatch, which changes the throttle,
// ErrThrottled, or ErrRow.
//
// Like there, a code is a number: leading zeros can be left out.
func (d TOTPDevice) Verify(code string, settings TOTPSettings, now time.Time) (TOTPDevice, error) {
	key, err := hex.DecodeString(d.Key)
	if err != nil || d.Step <= 0 || d.Digits < 1 || d.Digits > maxDigits || d.Tolerance < 0 || d.Tolerance > maxTolerance {
		return d, ErrRow
	}
	if _, isLocked := d.LockedUntil(settings.ThrottleFactor, now); isLocked {
		return d, ErrThrottled
	}
	if number, isNumber := parseCode(code); isNumber {
		for offset := -d.Tolerance; offset <= d.Tolerance; offset++ {
			t := floorDiv(now.Unix()-d.T0, d.Step) + d.Drift + offset
			if t <= d.LastT || t < 0 || subtle.ConstantTimeCompare(codeBytes(hotp(key, uint64(t), d.Digits)), codeBytes(number)) != 1 {
				continue
			}
			d.LastT, d.Throttle = t, Throttle{}
			if !settings.WithoutSync {
				d.Drift += offset
			}
			return d, nil
		}
	}
	d.Throttle = d.Failed(now)
	return d, ErrMismatch
}

func codeBytes(code int64) []byte { return strconv.AppendInt(nil, code, 10) }

// parseCode reads digits, with white space around them.
func parseCode(code string) (int64, bool) {
	digits := strings.TrimSpace(code)
	number, err := strconv.ParseUint(digits, 10, 63)
	return int64(number), err == nil
}

// MatchStatic returns which of a device's static tokens (otp_static_statictoken)
// a code is, comparing all of them in constant time, or -1. The row of the
// token is to be deleted.
func MatchStatic(tokens []string, code string) int {
	match := -1
	for i, token := range tokens {
		if subtle.ConstantTimeCompare([]byte(token), []byte(code)) == 1 && code != "" {
			match = i
		}
	}
	return match
}

// NewStaticToken makes a static token as django-otp does: eight characters.
func NewStaticToken() string {
	var random [5]byte
	_, _ = rand.Read(random[:]) // it never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
}
