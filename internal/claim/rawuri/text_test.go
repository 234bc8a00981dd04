package rawuri

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ cut, redacted string }{
		"":                                  {"", ""},
		"text/html;s=1, */*;q=0.8":          {"text/html;s=1, */*;q=0.8", "text/html;s=1, */*;q=0.8"},
		"/a?b=1":                            {"/a?b=1", "/a?b=1"},
		"/a?s=T":                            {"/a", "/a?s=REDACTED"},
		"/a?s":                              {"/a", "/a?s"},
		"/a?s=":                             {"/a", "/a?s="},
		"/a?s=T&b=1":                        {"/a?b=1", "/a?s=REDACTED&b=1"},
		"/a?b=1&s=T":                        {"/a?b=1", "/a?b=1&s=REDACTED"},
		"/a?b=1&s=T&c=2#d":                  {"/a?b=1&c=2#d", "/a?b=1&s=REDACTED&c=2#d"},
		"/a?b=1&s=T#d":                      {"/a?b=1#d", "/a?b=1&s=REDACTED#d"},
		"/a?s=T&s=U&%73=V":                  {"/a", "/a?s=REDACTED&s=REDACTED&%73=REDACTED"},
		"/a?b;s=T":                          {"/a?b", "/a?b;s=REDACTED"},
		"/a#s=T":                            {"/a", "/a#s=REDACTED"},
		"/#/a?s=T":                          {"/#/a", "/#/a?s=REDACTED"},
		"/a?S=T&ss=T":                       {"/a?S=T&ss=T", "/a?S=T&ss=T"},
		"<https://x/a?s=T> ([\"e\"])":       {"<https://x/a?> ([\"e\"])", "<https://x/a?s=REDACTED> ([\"e\"])"},
		"Reader (+http://x/?s=T; n) ?s=U x": {"Reader (+http://x/? n) ? x", "Reader (+http://x/?s=REDACTED; n) ?s=REDACTED x"},
		"{\"u\":\"/a?s=T\",\"n\":1}":        {"{\"u\":\"/a?\",\"n\":1}", "{\"u\":\"/a?s=REDACTED\",\"n\":1}"},
		"?s=T\"&s=U":                        {"?\"", "?s=REDACTED\"&s=REDACTED"},
		"?s=T?s=U":                          {"", "?s=REDACTED?s=REDACTED"},
	} {
		if got := CutFromText(text, "s"); got != want.cut {
			t.Errorf("cut from %q: %q, want %q", text, got, want.cut)
		}
		if got := RedactInText(text, "s"); got != want.redacted {
			t.Errorf("redacted in %q: %q, want %q", text, got, want.redacted)
		}
		if got := IsInText(text, "s"); got != (want.redacted != text || strings.HasPrefix(text, "/a?s")) {
			t.Errorf("is in %q: %v", text, got)
		}
	}
}

// FuzzText looks for what is left of a parameter.
func FuzzText(f *testing.F) {
	for _, text := range []string{"/a?s=T&b", "<x?%73=T#s=U>;s", "a#?s&s=T;s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if rest := CutFromText(text, "s"); IsInText(rest, "s") {
			t.Errorf("%q still has it: %q", text, rest)
		}
		if redacted := RedactInText(text, "s"); IsInText(text, "s") != IsInText(redacted, "s") {
			t.Errorf("%q is redacted to %q", text, redacted)
		}
	})
}
