package limit

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestParseArgs reads limit_failures.
func TestParseArgs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		want *Config // nil for an error
	}{
		{"20 per 1m", &Config{Failures: 20, Per: caddy.Duration(time.Minute)}},
		{"1 per 1d", &Config{Failures: 1, Per: caddy.Duration(24 * time.Hour)}},
		{"off", &Config{Off: true}},
		{"", nil},
		{"on", nil},
		{"20", nil},
		{"20 1m", nil},
		{"20 in 1m", nil},
		{"20 per", nil},
		{"20 per 1m now", nil},
		{"off 20 per 1m", nil},
		{"0 per 1m", nil},
		{"-1 per 1m", nil},
		{"1.5 per 1m", nil},
		{"many per 1m", nil},
		{"20 per minute", nil},
		{"20 per 0", nil},
		{"20 per -1m", nil},
		{"20 per 2d", nil},
		{"99999999999 per 1m", nil},
	} {
		got, err := ParseArgs(strings.Fields(test.args))
		if err == nil {
			err = got.Validate()
		}
		switch {
		case test.want == nil && err == nil:
			t.Errorf("limit_failures %s: no error", test.args)
		case test.want != nil && err != nil:
			t.Errorf("limit_failures %s: %v", test.args, err)
		case test.want != nil && *got != *test.want:
			t.Errorf("limit_failures %s: %+v", test.args, *got)
		}
	}
}

// FuzzParseArgs looks for limits that are accepted and can't work.
func FuzzParseArgs(f *testing.F) {
	for _, args := range []string{"20 per 1m", "off", "1 per 24h", "2147483647 per 1ns", "20 per 1h30m", "0x10 per 1m", "{", "}"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, args string) {
		read, err := ParseArgs(strings.Fields(args))
		if err != nil || read.Validate() != nil {
			return
		}
		limit := read.WithDefaults()
		if limit.Off {
			return
		}
		interval := max(int64(limit.Per)/int64(limit.Failures), 1)
		most := interval * int64(limit.Failures)
		if most <= 0 || most > int64(2*longestPer) {
			t.Errorf("limit_failures %s: %+v", args, limit)
		}
	})
}
