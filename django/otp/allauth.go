package otp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/internal/python"
)

// AllauthSettings are the settings of allauth.mfa, MFA_*. Zero values mean
// allauth's defaults. Secrets that MFA_ADAPTER encrypts can't be read.
type AllauthSettings struct {
	TOTPPeriod         int64 // in seconds; default: 30
	TOTPDigits         int   // default: 6
	TOTPTolerance      int64 // steps before and after; default: 0
	RecoveryCodeCount  int   // default: 10
	RecoveryCodeDigits int   // default: 8
}

// Allauth checks codes under given settings. It is safe for concurrent use.
type Allauth struct{ settings AllauthSettings }

// A SettingError says which of AllauthSettings can't be right, and what it must be.
type SettingError struct{ Setting, Must string }

func (e *SettingError) Error() string { return e.Setting + " " + e.Must }

// NewAllauth returns an Allauth, or a SettingError.
func NewAllauth(s AllauthSettings) (*Allauth, error) {
	if s.TOTPPeriod == 0 {
		s.TOTPPeriod = 30
	}
	if s.TOTPDigits == 0 {
		s.TOTPDigits = 6
	}
	if s.RecoveryCodeCount == 0 {
		s.RecoveryCodeCount = 10
	}
	if s.RecoveryCodeDigits == 0 {
		s.RecoveryCodeDigits = 8
	}
	switch {
	case s.TOTPPeriod < 0:
		return nil, &SettingError{"TOTPPeriod", "can't be negative"}
	case s.TOTPDigits < 1 || s.TOTPDigits > maxDigits:
		return nil, &SettingError{"TOTPDigits", fmt.Sprintf("must be from 1 to %d", maxDigits)}
	case s.TOTPTolerance < 0 || s.TOTPTolerance > maxTolerance:
		return nil, &SettingError{"TOTPTolerance", fmt.Sprintf("must be from 0 to %d", maxTolerance)}
	case s.RecoveryCodeCount < 1 || s.RecoveryCodeCount > 63:
		return nil, &SettingError{"RecoveryCodeCount", "must be from 1 to 63"}
	case s.RecoveryCodeDigits < 2 || s.RecoveryCodeDigits > 16:
		return nil, &SettingError{"RecoveryCodeDigits", "must be from 2 to 16"}
	}
	return &Allauth{s}, nil
}

// VerifyTOTP checks a code against the column data of a row of the type totp. It
// returns the code's step. The caller must accept only one code for each step:
// allauth itself remembers used codes in Django's cache, which other programs can't
// read. The error is ErrMismatch or ErrRow.
func (a *Allauth) VerifyTOTP(data, code string, now time.Time) (step int64, err error) {
	row, err := parseAllauth(data)
	if err != nil {
		return 0, err
	}
	key, err := base32.StdEncoding.DecodeString(strings.ToUpper(row.secret))
	if err != nil || len(key) == 0 || strings.ContainsAny(row.secret, "\r\n") {
		return 0, ErrRow
	}
	current := floorDiv(now.Unix(), a.settings.TOTPPeriod)
	for step := current - a.settings.TOTPTolerance; step <= current+a.settings.TOTPTolerance; step++ {
		if step < 0 {
			continue
		}
		expected := fmt.Sprintf("%0*d", a.settings.TOTPDigits, hotp(key, uint64(step), a.settings.TOTPDigits))
		if subtle.ConstantTimeCompare([]byte(expected), []byte(code)) == 1 {
			return step, nil
		}
	}
	return 0, ErrMismatch
}

// UseRecoveryCode checks a code against the column data of a row of the type
// recovery_codes, and returns the data that is to be written, in which the code
// is used. The error is ErrMismatch or ErrRow.
func (a *Allauth) UseRecoveryCode(data, code string) (string, error) {
	row, err := parseAllauth(data)
	if err != nil {
		return "", err
	}
	if row.isMigrated {
		at := MatchStatic(row.migrated, code)
		if at < 0 {
			return "", ErrMismatch
		}
		return replaceMember(data, "migrated_codes", quoteList(append(row.migrated[:at:at], row.migrated[at+1:]...))), nil
	}
	if row.seed == "" || row.usedMask < 0 {
		return "", ErrRow
	}
	match := -1
	for i, expected := range a.recoveryCodes(row.seed) {
		isUsed := row.usedMask>>i&1 == 1
		if subtle.ConstantTimeCompare([]byte(expected), []byte(code)) == 1 && !isUsed && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return "", ErrMismatch
	}
	return replaceMember(data, "used_mask", strconv.FormatInt(row.usedMask|1<<match, 10)), nil
}

// recoveryCodes are all codes that follow from a seed, used or not.
func (a *Allauth) recoveryCodes(seed string) []string {
	digits := a.settings.RecoveryCodeDigits
	mac := hmac.New(sha1.New, []byte(seed))
	codes := make([]string, a.settings.RecoveryCodeCount)
	for i := range codes {
		_, _ = fmt.Fprintf(mac, "%3d,", i) // each code depends on all that was written so far
		var number [8]byte
		size := min(digits/2, len(number))
		copy(number[len(number)-size:], mac.Sum(nil)[:size])
		codes[i] = fmt.Sprintf("%0*d", digits, binary.BigEndian.Uint64(number[:])%uint64(powerOf10(digits)))
	}
	return codes
}

// allauthRow is the column data, of either type.
type allauthRow struct {
	secret, seed string
	usedMask     int64
	migrated     []string // codes of another library, kept as they are
	isMigrated   bool
}

func parseAllauth(data string) (allauthRow, error) {
	var row allauthRow
	isTyped := true
	err := python.Object(data, func(m python.Member) {
		text, isText := python.Unquote(m.Value, python.UTF8)
		switch name, _ := python.Unquote(m.Name, python.UTF8); name {
		case "secret":
			row.secret, isTyped = text, isTyped && isText
		case "seed":
			row.seed, isTyped = text, isTyped && isText
		case "used_mask":
			mask, err := strconv.ParseInt(m.Value, 10, 64)
			row.usedMask, isTyped = mask, isTyped && err == nil
		case "migrated_codes":
			if m.Value == "null" {
				return
			}
			row.isMigrated = true
			row.migrated = nil
			err := python.List(m.Value, func(element string) {
				code, isText := python.Unquote(element, python.UTF8)
				isTyped = isTyped && isText
				row.migrated = append(row.migrated, code)
			})
			isTyped = isTyped && err == nil
		}
	})
	if err != nil || !isTyped {
		return allauthRow{}, ErrRow
	}
	return row, nil
}

// replaceMember sets a member of a JSON object, and leaves the others as they
// are written.
func replaceMember(object, name, value string) string {
	b := []byte{'{'}
	_ = python.Object(object, func(m python.Member) { // it was parsed before
		if memberName, _ := python.Unquote(m.Name, python.UTF8); memberName != name {
			b = append(append(append(append(b, m.Name...), ':'), m.Value...), ',')
		}
	})
	b = append(append(python.AppendQuoted(b, name), ':'), value...)
	return string(append(b, '}'))
}

func quoteList(texts []string) string {
	b := []byte{'['}
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = python.AppendQuoted(b, text)
	}
	return string(append(b, ']'))
}
