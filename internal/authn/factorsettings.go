package authn

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// FactorSettings are the settings of django-otp and allauth by which codes of second
// factors are right or wrong.
type FactorSettings struct {
	TOTP           otp.TOTPSettings
	StaticThrottle int64 // OTP_STATIC_THROTTLE_FACTOR
	Period         int64 // MFA_TOTP_PERIOD, in seconds
	Allauth        *otp.Allauth
}

// The libraries' defaults.
const (
	defaultThrottleFactor = 1
	defaultAllauthPeriod  = 30
)

// FactorSettings returns the settings that the options name, and the libraries'
// defaults for the others. The error names the option.
func (c *PasswordConfig) FactorSettings() (FactorSettings, error) {
	s := FactorSettings{
		TOTP:           otp.TOTPSettings{ThrottleFactor: defaultThrottleFactor, WithoutSync: c.OTPTOTPSync != nil && !*c.OTPTOTPSync},
		StaticThrottle: defaultThrottleFactor,
		Period:         defaultAllauthPeriod,
	}
	for _, factor := range []struct {
		option string
		value  *int
		to     *int64
	}{
		{"otp_totp_throttle_factor", c.OTPTOTPThrottleFactor, &s.TOTP.ThrottleFactor},
		{"otp_static_throttle_factor", c.OTPStaticThrottleFactor, &s.StaticThrottle},
	} {
		if factor.value == nil {
			continue
		}
		if *factor.value < 0 || *factor.value > math.MaxInt32 {
			return s, setting.Errorf(factor.option, "%s %d: it must be a number of seconds, or 0 for no lock", factor.option, *factor.value)
		}
		*factor.to = int64(*factor.value)
	}
	if c.MFATOTPPeriod != 0 {
		s.Period = int64(c.MFATOTPPeriod)
	}
	// Each is checked by itself, so that the error names the option.
	for _, one := range []struct {
		option   string
		settings otp.AllauthSettings
	}{
		{"mfa_totp_period", otp.AllauthSettings{TOTPPeriod: int64(c.MFATOTPPeriod)}},
		{"mfa_totp_digits", otp.AllauthSettings{TOTPDigits: c.MFATOTPDigits}},
		{"mfa_totp_tolerance", otp.AllauthSettings{TOTPTolerance: int64(c.MFATOTPTolerance)}},
		{"mfa_recovery_code_count", otp.AllauthSettings{RecoveryCodeCount: c.MFARecoveryCodeCount}},
		{"mfa_recovery_code_digits", otp.AllauthSettings{RecoveryCodeDigits: c.MFARecoveryCodeDigits}},
	} {
		if _, err := otp.NewAllauth(one.settings); err != nil {
			if invalid, ok := errors.AsType[*otp.SettingError](err); ok {
				return s, setting.Errorf(one.option, "%s %s", one.option, invalid.Must)
			}
			return s, setting.Of(one.option, err)
		}
	}
	var err error
	s.Allauth, err = otp.NewAllauth(otp.AllauthSettings{
		TOTPPeriod: s.Period, TOTPDigits: c.MFATOTPDigits, TOTPTolerance: int64(c.MFATOTPTolerance),
		RecoveryCodeCount: c.MFARecoveryCodeCount, RecoveryCodeDigits: c.MFARecoveryCodeDigits,
	})
	return s, err
}

// factorOptions are the options with those settings.
func factorOptions(cfg *PasswordConfig, options directive.Options) directive.Options {
	options["otp_totp_sync"] = directive.SwitchPointer(&cfg.OTPTOTPSync)
	options["otp_totp_throttle_factor"] = throttleOption("otp_totp_throttle_factor", &cfg.OTPTOTPThrottleFactor)
	options["otp_static_throttle_factor"] = throttleOption("otp_static_throttle_factor", &cfg.OTPStaticThrottleFactor)
	options["mfa_totp_period"] = directive.Positive(&cfg.MFATOTPPeriod)
	options["mfa_totp_digits"] = directive.Positive(&cfg.MFATOTPDigits)
	options["mfa_totp_tolerance"] = directive.NotNegative(&cfg.MFATOTPTolerance)
	options["mfa_recovery_code_count"] = directive.Positive(&cfg.MFARecoveryCodeCount)
	options["mfa_recovery_code_digits"] = directive.Positive(&cfg.MFARecoveryCodeDigits)
	return options
}

// throttleOption reads a factor, which may be 0.
func throttleOption(name string, to **int) directive.Option {
	const form = "a whole number of seconds, or 0 for no lock"
	return directive.Values(1, 1, form, func(args []string) error {
		factor, err := strconv.Atoi(args[0])
		if err != nil {
			return fmt.Errorf("%s must be %s, not %q", name, form, args[0])
		}
		*to = &factor
		return nil
	})
}
