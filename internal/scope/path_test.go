package scope_test

import (
	"bufio"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/scope"
)

func bufioReader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

func TestPathsWithOneReadingHaveAScope(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/reports/7":                              "report:7",
		"/reports/7/":                             "report:7",
		"/reports/7/page.html":                    "report:7",
		"/reports/7?x=/../y//z;a=b":               "report:7",
		"/reports/7.pdf":                          "report:7.pdf",
		"/reports/..7":                            "report:..7",
		"/reports/7..":                            "report:7..",
		"/reports/%37":                            "report:7",
		"/reports/annual%20report":                "report:annual report",
		"/reports/caf%C3%A9":                      "report:café",
		"/reports/%E6%97%A5%E6%9C%AC":             "report:日本",
		"/reports/a+b&c=d@e:f!$'()*,~":            "report:a+b&c=d@e:f!$'()*,~",
		"http://app.example.com/reports/7":        "report:7",
		"HTTPS://app.example.com:8443/reports/7?": "report:7",
	} {
		r, ok := receive(t, target)
		if !ok {
			t.Errorf("%s: not received", target)
			continue
		}
		wantScope(t, r, byPath, want)
	}
}

// TestPathsWithSeveralReadingsAreRejected: rejection by the HTTP server
// counts, too, but it accepts most of these.
func TestPathsWithSeveralReadingsAreRejected(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"dot segments": {
			"/reports/7/../8", "/reports/7/..", "/reports/./7", "/reports/7/.", "/../reports/7", "/reports/7/.../8", "/reports/7/..../",
			"/reports/7/%2e%2e/8", "/reports/7/.%2e/8", "/reports/7/%2E./8", "/reports/7/%2e/8", "/reports/%2e%2E/x",
			"/reports/7/..%20/8", "/reports/7/%20../8", "/reports/7/+../8", "/reports/7/%20/8", "/reports/7/..+/8",
		},
		"encoded twice": {"/reports/7/%252e%252e/8", "/reports/7/%25%32%65%25%32%65/8", "/reports/7/..%252f8", "/reports/7/%25252e/8", "/reports/100%25"},
		"percent signs that begin no escape": {
			"/reports/7/%u002e%u002e/8", "/reports/7/%", "/reports/7/%2", "/reports/7/%zz", "/reports/7/%%32%65",
		},
		"encoded slashes": {"/reports/7/..%2f8", "/reports/7%2f8", "/reports/7%2F..%2F8", "/reports%2f7", "/reports/8/..%2f7"},
		"backslashes":     {`/reports/7\8`, `/reports/7/..\8`, "/reports/7/..%5c8", "/reports/7%5C8", `\reports\7`},
		"empty segments":  {"//reports/7", "/reports//7", "/reports/7//", "/reports/7//..", "//"},
		"parameters":      {"/reports/7;8", "/reports/7/..;/8", "/reports;x=/../7", "/reports/7/..%3b/8", "/reports/7%3Bjsessionid=x"},
		"ends for some":   {"/reports/8%00/7", "/reports/7%00", "/reports/8%23/7", "/reports/8%3f/7", "/reports/8#/../7"},
		"control characters": {
			"/reports/7%0a8", "/reports/7%0d%0aX", "/reports/7%09", "/reports/7%7f", "/reports/%08/7", "/reports/7\x01",
		},
		"not UTF-8": {
			"/reports/7/%c0%ae%c0%ae/8", "/reports/7/%c0%af8", "/reports/7/%e0%80%ae/8", "/reports/7/%f0%80%80%ae/8", "/reports/%ff", "/reports/\xff",
			"/reports/%ed%a0%80", "/reports/7/%c1%9c8", "/reports/7/%fc%80%80%80%80%ae/",
		},
		"separators by normalization": {
			"/reports/7/%ef%bc%8e%ef%bc%8e/8", "/reports/7/..%ef%bc%8f8", "/reports/7%e2%88%958", "/reports/7%ef%bc%bc8", "/reports/7%ef%bc%9b8",
			"/reports/7/%e2%80%a5/8", "/reports/7/.%ef%bc%8e/8",
		},
		"no path": {
			"*", "reports/7", "http:reports/7", "http:/reports/7", "http:///reports/7", "http://user@app.example.com/reports/7", "ftp://app.example.com/reports/7",
			"http://app.example.com", "http://app.example.com/reports/7/../8", "http://app.example.com//reports/7", "https:%2f%2fapp/reports/7",
		},
	}
	for name, targets := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, target := range targets {
				r, ok := receive(t, target+"?x=secret")
				if !ok {
					continue
				}
				for _, template := range []string{
					byPath, byQuery, byOther, "{http.request.uri}", "{http.request.uri.path.file}", "{http.request.uri.path.dir}", "{http.request.orig_uri.path.1}",
					"{http.regexp.report.1}", "{http.matchers.file.relative}", "{http.request.uri_escaped}", "{http.request.uri.query}",
				} {
					wantScope(t, r, template, "")
				}
			}
		})
	}
}

// TestCharactersThatBecomeDotsOrSeparatorsAreRejected takes each by itself.
// Unicode's compatibility forms (UAX 15), and Windows, make them such.
func TestCharactersThatBecomeDotsOrSeparatorsAreRejected(t *testing.T) {
	t.Parallel()
	for name, characters := range map[string]string{
		"slashes": "\u2044\u2215\u29f8\uff0f", "backslashes": "\u2216\u29f5\ufe68\uff3c", "semicolons": "\u037e\ufe54\uff1b",
		"other separators": "\ufe56\uff1f\ufe5f\uff03\ufe6a\uff05",
	} {
		for _, c := range characters {
			r, ok := receive(t, "/reports/7"+url.PathEscape(string(c))+"8")
			if !ok {
				t.Fatalf("%s: %q isn't received", name, c)
			}
			wantScope(t, r, byPath, "")
		}
	}
	for _, c := range ". +\u00a0\u3000\u2024\u2025\u2026\ufe52\uff0e\u3002\uff61" {
		for _, segment := range []string{string(c), "." + string(c), string(c) + "..", string(c) + string(c)} {
			r, ok := receive(t, "/reports/7/"+url.PathEscape(segment)+"/8")
			if !ok {
				t.Fatalf("%q isn't received", segment)
			}
			wantScope(t, r, byPath, "")
		}
		if r, ok := receive(t, "/reports/x"+url.PathEscape(string(c))+"y"); ok { // within a name it is a character
			wantScope(t, r, byPath, "report:x"+string(c)+"y")
		}
	}
	for _, c := range "!-,/0:;<=>@[_`{|}~\u2043\u2045\u2027\u3001\uff0d\uff60" { // next to them, and no dots
		if r, ok := receive(t, "/reports/"+url.PathEscape("x"+string(c))); ok && !strings.ContainsRune("/;", c) {
			wantScope(t, r, byPath, "report:x"+string(c))
		}
	}
}

// TestParametersOfAnyPlainNameHaveAScope: of other names, servers differ in how
// they read them.
func TestParametersOfAnyPlainNameHaveAScope(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "z", "A", "Z", "0", "9", "_", "-", "aZ_0-9"} {
		r, _ := receive(t, "/reports?"+name+"=7")
		wantScope(t, r, "report:{http.request.uri.query."+name+"}", "report:7")
	}
	for _, name := range []string{"a b", "a@", "a[", "a`", "a/", "a:", "ä", "a]", "a+", "a%41"} {
		if _, err := scope.Parse("report:{http.request.uri.query." + name + "}"); err == nil {
			t.Errorf("the name %q has a scope", name)
		}
	}
}
