package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
)

func TestWrongSettingsAreRejected(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*session.Settings)
		want   string // in the error, or empty for none
	}{
		"minimal":               {nil, ""},
		"no key":                {func(s *session.Settings) { s.SecretKey = "" }, "secret_key is empty"},
		"empty fallback":        {func(s *session.Settings) { s.SecretKeyFallbacks = []string{"older", ""} }, "secret_key_fallbacks"},
		"no packer":             {func(s *session.Settings) { s.Encoding = nil }, "no packer"},
		"no audience":           {func(s *session.Settings) { s.Audience = "" }, "no audience"},
		"negative max_age":      {func(s *session.Settings) { s.MaxAge = -time.Hour }, "max_age -1h0m0s"},
		"tiny max_age":          {func(s *session.Settings) { s.MaxAge = time.Second - 1 }, "max_age 999.999999ms"},
		"smallest max_age":      {func(s *session.Settings) { s.MaxAge = time.Second }, ""},
		"negative idle":         {func(s *session.Settings) { s.Idle = -1 }, "idle -1ns"},
		"tiny idle":             {func(s *session.Settings) { s.Idle = time.Millisecond }, "idle 1ms"},
		"smallest idle":         {func(s *session.Settings) { s.Idle = time.Second }, ""},
		"idle of the default":   {func(s *session.Settings) { s.Idle = 12 * time.Hour }, "less than max_age (12h0m0s)"},
		"idle under max_age":    {func(s *session.Settings) { s.MaxAge, s.Idle = time.Hour, time.Hour-1 }, ""},
		"idle beyond the given": {func(s *session.Settings) { s.MaxAge, s.Idle = time.Hour, 2*time.Hour }, "less than max_age (1h0m0s)"},
		"short remember":        {remember(12 * time.Hour), "more than the max_age of other sessions (12h0m0s)"},
		"negative remember":     {remember(-time.Hour), "remember -1h0m0s"},
		"longest remember":      {remember(session.MaxRemember), ""},
		"endless remember":      {remember(session.MaxRemember + 1), "400 days"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := newSessions(t, nil).Settings()
			settings.MaxAge = 0
			settings.SecretKey = "s3cret"
			if test.change != nil {
				test.change(&settings)
			}
			sessions, err := session.New(settings)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if want := max(settings.MaxAge, time.Second); settings.MaxAge != 0 && sessions.Settings().MaxAge != want {
					t.Errorf("max_age %s, want %s", sessions.Settings().MaxAge, want)
				}
				if settings.MaxAge == 0 && sessions.Settings().MaxAge != session.DefaultMaxAge {
					t.Errorf("max_age %s by default", sessions.Settings().MaxAge)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "older") {
				t.Errorf("the error holds a key: %v", err)
			}
		})
	}
}
