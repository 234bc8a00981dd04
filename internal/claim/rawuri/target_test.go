package rawuri

import (
	"net/url"
	"regexp"
	"testing"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

func TestTargetsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	for next, isOwn := range map[string]bool{
		"/":                           true,
		"/a/b?c=d&e=%2f%2fx#f":        true,
		"/é%20?q=a%0Ab":               true,
		"/a//b":                       true,
		"/?next=//evil.example":       true,
		"":                            false,
		"a":                           false,
		"?a":                          false,
		"//evil.example":              false,
		"///evil.example":             false,
		"/\\evil.example":             false,
		"\\\\evil.example":            false,
		"/a\\b":                       false,
		"/\t/evil.example":            false,
		"/ /evil.example":             false,
		"/\x7f":                       false,
		"\n//evil.example":            false,
		"https://evil.example":        false,
		"https:evil.example":          false,
		"javascript:alert(1)":         false,
		"/%2fevil.example":            false,
		"/%5Cevil.example":            false,
		"/%252fevil.example":          false,
		"/%25252fevil.example":        false,
		"/%09/evil.example":           false,
		"/%250d%250a/evil.example":    false,
		"/%252f%25zz":                 false,
		"/%zz":                        false,
		"/" + string(make([]byte, 9)): false,
	} {
		want := "fallback"
		if isOwn {
			want = next
		}
		if got := OwnTarget(next, "fallback"); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
	long := make([]byte, maxTarget+1)
	for i := range long {
		long[i] = '/'
		if i%2 == 1 {
			long[i] = 'a'
		}
	}
	if got := OwnTarget(string(long[:maxTarget]), ""); len(got) != maxTarget {
		t.Error("the longest target isn't taken")
	}
	if got := OwnTarget(string(long), ""); got != "" {
		t.Error("a target that is too long is taken")
	}
}

var escapes = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// FuzzOwnTarget follows targets as browsers do, and as they would if an app
// decoded them before: they stay on the site.
func FuzzOwnTarget(f *testing.F) {
	for _, next := range []string{
		"/", "/a?b#c", "//x", `/\x`, "/%2fx", "https:x", "/\t/x", "/a/../..//x", "/.//x", "/%252fx", "/%5cx", "/%09/x", "/\u3000/x", "/@x", "/:x@y", "/%252f%25zz", "/;//x", "/x:/y",
	} {
		f.Add(next)
	}
	f.Fuzz(func(t *testing.T, next string) {
		target := OwnTarget(next, "/")
		wantOnSite(t, next, target)
		parsed, err := url.Parse(target)
		if err != nil {
			t.Fatalf("%q leads to %q: %v", next, target, err)
		}
		decoded := parsed.Path
		for range maxDecodings {
			wantOnSite(t, next, decoded)
			decoded = escapes.ReplaceAllStringFunc(decoded, func(escape string) string {
				unescaped, err := url.PathUnescape(escape)
				if err != nil {
					t.Fatal(err)
				}
				return unescaped
			})
		}
	})
}

// wantOnSite fails the test if a browser that is redirected leaves the site: as
// the WHATWG's URL standard has it, and as net/url does.
func wantOnSite(t *testing.T, next, location string) {
	t.Helper()
	const page = "https://site.example/dir/page"
	seen, err := whatwg.ParseRef(page, location)
	if err == nil && (seen.Protocol() != "https:" || seen.Host() != "site.example" || seen.Username()+seen.Password() != "") {
		t.Errorf("%q leads to %q, which is %s", next, location, seen)
	}
	base, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := base.Parse(location)
	if err == nil && (resolved.Scheme != "https" || resolved.Host != "site.example" || resolved.User != nil) {
		t.Errorf("%q leads to %q, which is %s", next, location, resolved)
	}
}
