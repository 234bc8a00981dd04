package rawuri

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzOwnTarget follows targets as browsers do: they stay on the site.
func FuzzOwnTarget(f *testing.F) {
	for _, next := range []string{"/", "/a?b#c", "//x", `/\x`, "/%2fx", "https:x", "/\t/x", "/a/../..//x", "/.//x"} {
		f.Add(next)
	}
	f.Fuzz(func(t *testing.T, next string) {
		target := OwnTarget(next, "/")
		// Browsers drop tabs and line breaks, and take \ for / (URL standard).
		seen := strings.Map(func(r rune) rune {
			switch r {
			case '\t', '\n', '\r':
				return -1
			case '\\':
				return '/'
			}
			return r
		}, target)
		base, err := url.Parse("https://site.example/dir/")
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := base.Parse(strings.TrimSpace(seen))
		if err != nil {
			return // no browser goes there
		}
		if resolved.Scheme != "https" || resolved.Host != "site.example" || resolved.User != nil {
			t.Errorf("%q leads to %s", next, resolved)
		}
	})
}
