package secondfactor

import (
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// verdict is what became of a code.
type verdict struct {
	accepted userstore.FactorKind // empty for none
	wait     time.Duration        // until a factor may be tried that is locked now; 0 if one was tried
	isWrong  bool                 // a factor was tried
	isBroken bool                 // a row can't be read, as one whose secret is encrypted
}

// verify checks a code against factors, as their libraries do, and marks those whose
// rows change. The first factor that accepts the code is the only one to change: a
// recovery code is no wrong code of the app.
func verify(with *authn.FactorSettings, factors []*userstore.Factor, code string, now time.Time) verdict {
	var v verdict
	var failed []func()
	for _, f := range factors {
		fail, err := try(with, f, code, now)
		switch {
		case err == nil:
			return verdict{accepted: f.Kind}
		case errors.Is(err, otp.ErrThrottled):
			until, _ := f.LockedUntil(throttleOf(with, f.Kind), now)
			if wait := until.Sub(now); v.wait == 0 || wait < v.wait {
				v.wait = wait
			}
		case errors.Is(err, otp.ErrRow):
			v.isBroken = true
		default:
			v.isWrong = true
			failed = append(failed, fail)
		}
	}
	for _, fail := range failed {
		fail()
	}
	if v.isWrong {
		v.wait = 0
	}
	return v
}

// throttleOf is the factor by which wrong codes lock a factor of a kind.
func throttleOf(with *authn.FactorSettings, kind userstore.FactorKind) int64 {
	if kind == userstore.StaticTokens {
		return with.StaticThrottle
	}
	return with.TOTP.ThrottleFactor
}

// try checks a code against one factor, and marks it as used if the code is right.
// If it is wrong, fail has that written.
func try(with *authn.FactorSettings, f *userstore.Factor, code string, now time.Time) (fail func(), err error) {
	switch f.Kind {
	case userstore.TOTP:
		return tryTOTP(with, f, compact(code), now)
	case userstore.StaticTokens:
		return tryStatic(with, f, strings.TrimSpace(code), now)
	case userstore.AllauthTOTP:
		return nothing, tryAllauthTOTP(with, f, compact(code), now)
	}
	data, err := with.Allauth.UseRecoveryCode(f.Data, strings.TrimSpace(code))
	if err != nil {
		return nothing, err
	}
	f.Data = data
	f.Use(now)
	return nothing, nil
}

func nothing() {}

// compact is a code without the spaces that apps show within it.
func compact(code string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return -1
		}
		return c
	}, code)
}

func tryTOTP(with *authn.FactorSettings, f *userstore.Factor, code string, now time.Time) (fail func(), err error) {
	after, err := f.Device.Verify(code, with.TOTP, now)
	if err == nil {
		f.Device = after
		f.Use(now)
	}
	return func() {
		f.Device = after
		f.Change()
	}, err
}

func tryStatic(with *authn.FactorSettings, f *userstore.Factor, code string, now time.Time) (fail func(), err error) {
	if _, isLocked := f.LockedUntil(with.StaticThrottle, now); isLocked {
		return nothing, otp.ErrThrottled
	}
	if token := otp.MatchStatic(f.Tokens, code); token >= 0 {
		f.Throttle = otp.Throttle{}
		f.Spend(token)
		f.Use(now)
		return nothing, nil
	}
	return func() {
		f.Throttle = f.Failed(now)
		f.Change()
	}, otp.ErrMismatch
}

// tryAllauthTOTP accepts a code once. allauth itself keeps used codes in Django's
// cache, which the gateway can't read. But it writes the time of each use, as the
// gateway does: a code of a period in which the factor was used doesn't count, nor
// one of an earlier period. So a code that was used in Django doesn't count here.
func tryAllauthTOTP(with *authn.FactorSettings, f *userstore.Factor, code string, now time.Time) error {
	step, err := with.Allauth.VerifyTOTP(f.Data, code, now)
	if err != nil {
		return err
	}
	if f.LastUsed != nil && f.LastUsed.Unix() >= step*with.Period {
		return otp.ErrMismatch
	}
	f.Use(now)
	return nil
}
