package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestReasonsOfTokensStayTheSame: operators' queries and alerts depend on
// them.
func TestReasonsOfTokensStayTheSame(t *testing.T) {
	t.Parallel()
	public := map[string]string{
		"missing":             "missing",
		"malformed":           "malformed",
		"no_scope":            "invalid",
		"scope_unsupported":   "invalid",
		"max_age_unsupported": "invalid",
		"no_primary_key":      "malformed",
		"no_timestamp":        "malformed",
		"no_signature":        "malformed",
		"expired":             "expired",
		"unknown_user":        "invalid",
		"inactive_user":       "invalid",
		"incomplete_user":     "invalid",
		"bad_signature":       "invalid",
		"consumed":            "invalid",
		"revoked":             "invalid",
	}
	inWords := map[string]token.Reason{}
	for _, reason := range token.Reasons() {
		want, ok := public[reason.String()]
		if !ok {
			t.Errorf("%q is not documented, or there twice", reason)
		}
		delete(public, reason.String())
		if got := reason.Public(); got != want {
			t.Errorf("%s: the public learns %q, want %q", reason.String(), got, want)
		}
		if other, ok := inWords[reason.Error()]; ok {
			t.Errorf("%s and %s are both %q", reason.String(), other.String(), reason.Error())
		}
		inWords[reason.Error()] = reason
		if strings.Contains(reason.Error(), "unknown reason") || reason.Error() == "" {
			t.Errorf("%s has no words", reason.String())
		}

		var found token.Reason
		if !errors.As(fmt.Errorf("wrapped: %w", reason), &found) || found != reason {
			t.Errorf("%s is not found in an error that wraps it", reason.String())
		}
	}
	for name := range public {
		t.Errorf("%s is gone", name)
	}
}

func TestUnknownReasonsHaveAName(t *testing.T) {
	t.Parallel()
	for _, reason := range []token.Reason{0, 255} {
		if reason.String() != "unknown" || reason.Error() != "unknown reason" || reason.Public() != "invalid" {
			t.Errorf("%d: %q, %q, %q", uint8(reason), reason.String(), reason.Error(), reason.Public())
		}
	}
}
