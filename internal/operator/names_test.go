package operator

import (
	"slices"
	"strings"
	"testing"
)

// TestReadNames reads users as programs and spreadsheets write them.
func TestReadNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, input string
		want        []string
		err         string
	}{
		{"a line each", "alice\nbob\n", []string{"alice", "bob"}, ""},
		{"no line feed at the end, and empty lines", "alice\r\n\r\n  bob ", []string{"alice", "bob"}, ""},
		{"a byte order mark", "\ufeffalice\nbob\n", []string{"alice", "bob"}, ""},
		{"a byte order mark and quotes", "\ufeff\"alice\"\r\n\"bob\"\r\n", []string{"alice", "bob"}, ""},
		{"quotes with a comma", "\"Doe, Jane\"\n", []string{"Doe, Jane"}, ""},
		{"quotes within quotes", "\"jane \"\"jd\"\" doe\"\n", []string{`jane "jd" doe`}, ""},
		{"further fields", "\"alice\",\"Alice A.\",7\n", []string{"alice"}, ""},
		{"no quotes and a comma", "a,b@example.com\n", []string{"a,b@example.com"}, ""},
		{"quotes that don't end", "\"alice\nbob\n", nil, "no record of CSV"},
		{"UTF-16", "\xff\xfea\x00\n\x00", nil, "UTF-16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			err := readNames(strings.NewReader(test.input), func(names []string, _ int64) bool {
				got = append(got, names...)
				return true
			})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("read %q (%v), want %q", got, err, test.want)
			}
		})
	}
}
