package operator

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	input, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()

	var terminal bytes.Buffer
	bar := &progress{terminal: &terminal}
	bar.start(input)
	bar.show(50, 500)
	if got := terminal.String(); !strings.HasPrefix(got, "\r[###############...............]  50%  50 users, ") {
		t.Errorf("half of it is %q", got)
	}
	terminal.Reset()
	bar.show(60, 600) // too soon after that
	if terminal.Len() > 0 {
		t.Errorf("drawn again at once: %q", terminal.String())
	}
	bar.shown = time.Time{}
	bar.show(120, 1001) // the last line has no end
	if got := terminal.String(); !strings.HasPrefix(got, "\r["+strings.Repeat("#", 30)+"] 100%  120 users, ") {
		t.Errorf("all of it is %q", got)
	}
	terminal.Reset()
	bar.end()
	if got := terminal.String(); got != "\r\x1b[K" {
		t.Errorf("the end is %q", got)
	}

	terminal.Reset()
	stream := &progress{terminal: &terminal}
	stream.start(strings.NewReader("alice"))
	stream.show(7, 50)
	if got := terminal.String(); !strings.HasPrefix(got, "\r7 users, ") {
		t.Errorf("of a stream it is %q", got)
	}

	var none *progress
	none.start(input)
	none.show(1, 1)
	none.end()
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 20, 15, 0, 0, time.UTC)
	tests := []struct {
		text string
		want time.Time // zero for an error
	}{
		{"2026-01-02T03:04:05Z", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{"2026-01-02T03:04:05.5+02:00", time.Date(2026, 1, 2, 1, 4, 5, 500_000_000, time.UTC)},
		{"2026-01-02 03:04:05", time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)},
		{"2026-01-02 03:04", time.Date(2026, 1, 2, 3, 4, 0, 0, time.Local)},
		{"2026-01-02", time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local)},
		{"1795464900", time.Unix(1795464900, 0)},
		{"-10m", now.Add(-10 * time.Minute)},
		{"+1h30m", now.Add(90 * time.Minute)},
		{"-5", time.Time{}},
		{"10m", time.Time{}},
		{"tomorrow", time.Time{}},
	}
	for _, test := range tests {
		got, err := parseTime(test.text, now)
		if (err != nil) != test.want.IsZero() || err == nil && !got.Equal(test.want) {
			t.Errorf("%s is %v (%v), want %v", test.text, got, err, test.want)
		}
	}
}
