package authn_test

import (
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
)

func TestWrongSettingsOfSecondFactorsAreRejected(t *testing.T) {
	t.Parallel()
	negative, zero := -1, 0
	for option, cfg := range map[string]authn.PasswordConfig{
		"otp_totp_throttle_factor":   {OTPTOTPThrottleFactor: &negative},
		"otp_static_throttle_factor": {OTPStaticThrottleFactor: &negative},
		"mfa_totp_period":            {MFATOTPPeriod: -1},
		"mfa_totp_digits":            {MFATOTPDigits: 100},
		"mfa_totp_tolerance":         {MFATOTPTolerance: -1},
		"mfa_recovery_code_count":    {MFARecoveryCodeCount: 64},
		"mfa_recovery_code_digits":   {MFARecoveryCodeDigits: 1},
		"":                           {OTPTOTPThrottleFactor: &zero, MFATOTPDigits: 8, MFARecoveryCodeCount: 12, MFARecoveryCodeDigits: 6},
	} {
		switch err := cfg.Validate(); {
		case option == "" && err != nil:
			t.Error(err)
		case option != "" && (err == nil || !strings.Contains(err.Error(), option)):
			t.Errorf("%s: %v", option, err)
		}
	}
}
