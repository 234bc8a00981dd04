package session_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/session"
)

// TestReasonsOfSessionsStayTheSame: operators' queries and alerts depend on
// them.
func TestReasonsOfSessionsStayTheSame(t *testing.T) {
	t.Parallel()
	public := map[string]string{
		"malformed":     "malformed",
		"bad_signature": "invalid",
		"wrong_scope":   "invalid",
		"not_yet_valid": "invalid",
		"expired":       "expired",
		"idle_expired":  "expired",
		"unknown_user":  "invalid",
		"inactive_user": "invalid",
		"revoked":       "invalid",
		"ended":         "expired",
		"no_table":      "invalid",
	}
	inWords := map[string]bool{"": true, "unknown reason": true}
	for _, reason := range session.Reasons() {
		want, ok := public[reason.String()]
		if !ok {
			t.Errorf("%q is not documented, or there twice", reason.String())
		}
		delete(public, reason.String())
		if got := reason.Public(); got != want {
			t.Errorf("%s: the public learns %q, want %q", reason.String(), got, want)
		}
		if inWords[reason.Error()] {
			t.Errorf("%s has no words of its own: %q", reason.String(), reason.Error())
		}
		inWords[reason.Error()] = true

		var found session.Reason
		if !errors.As(fmt.Errorf("wrapped: %w", reason), &found) || found != reason {
			t.Errorf("%s is not found in an error that wraps it", reason.String())
		}
	}
	for name := range public {
		t.Errorf("%s is gone", name)
	}
	for _, reason := range []session.Reason{0, 255} {
		if reason.String() != "unknown" || reason.Error() != "unknown reason" || reason.Public() != "invalid" {
			t.Errorf("%d: %q, %q, %q", uint8(reason), reason.String(), reason.Error(), reason.Public())
		}
	}
}
