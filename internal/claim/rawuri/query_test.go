package rawuri

import (
	"net/url"
	"testing"
)

func TestParameterIsCutFromQueries(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		query, rest, value string
		found              bool
	}{
		{"", "", "", false},
		{"a=1", "a=1", "", false},
		{"s=x", "", "x", true},
		{"s", "", "", true},
		{"s=", "", "", true},
		{"s=x&s=", "", "", true},
		{"s=x&s=y", "", "y", true},
		{"a=1&s=x&b=2", "a=1&b=2", "x", true},
		{"&&s=x&&a&", "&&&a&", "x", true},
		{"%73=x", "", "x", true},
		{"%7", "%7", "", false},
		{"s=%41+%zz%4", "", "A %zz%4", true},
		{"s=a=b", "", "a=b", true},
		{"S=x&ss=y&as=z", "S=x&ss=y&as=z", "", false},
		{"a=1;s=x", "a=1", "", false},
		{"a=1;s=x;b=2&s=y", "a=1;b=2", "y", true},
		{"s=x;a=1", "", "x;a=1", true},
		{"a&amp;s=x", "a&amp", "", false},
	} {
		rest, value, found := CutParameter(test.query, "s")
		if rest != test.rest || value != test.value || found != test.found {
			t.Errorf("%q: %q, %q, %v; want %q, %q, %v", test.query, rest, value, found, test.rest, test.value, test.found)
		}
	}
}

func TestRedactInURI(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"/a":                         "/a",
		"/a?":                        "/a?",
		"/a?b=c":                     "/a?b=c",
		"/a?s=x":                     "/a?s=REDACTED",
		"/a?b=c&s=x&s=y;s=z&d":       "/a?b=c&s=REDACTED&s=REDACTED;s=REDACTED&d",
		"/a?%73=x#s=y":               "/a?%73=REDACTED",
		"/a?b#&s=x":                  "/a?b#&s=REDACTED",
		"/a#?s=x":                    "/a#?s=REDACTED",
		"/a?s":                       "/a?s",
		"http://h/?s=x":              "http://h/?s=REDACTED",
		"https://h/p?a=1&amp;s=x#/?": "https://h/p?a=1&amp;s=REDACTED",
	} {
		if got := RedactInURI(uri, "s"); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

func TestParameterIsCutFromURIs(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"":                      "",
		"/a":                    "/a",
		"/a?":                   "/a?",
		"/a?b=c":                "/a?b=c",
		"/a?s=x":                "/a",
		"/a?b=c&s=x":            "/a?b=c",
		"/a?s=x&b=c":            "/a?b=c",
		"/a?b=c&s=x&d?&s":       "/a?b=c&d?",
		"/a?b#&s=x":             "/a?b#",
		"/a?s=x#y&b":            "/a?b",
		"/a#?s=x":               "/a#",
		"https://h/?s=x;b#&c=d": "https://h/?c=d",
	} {
		if got := CutFromURI(uri, "s"); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

// FuzzCutParameter compares the rest with what an application would read.
func FuzzCutParameter(f *testing.F) {
	for _, query := range []string{"", "sesame=x", "a=1&sesame=x&b", "%73esame=x", "a;sesame=x&c=%2", "&&=&sesame", "a+b=+&sesame=%", "a;b;sesame=x;c&d&e;sesame", "a&sesame=x&sesame=%41%4a%4A+&b", "s%6Asame=x&sesam=y&sesame=z"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		rest, value, found := CutParameter(query, "sesame")
		if HasParameter(rest, "sesame") {
			t.Errorf("%q: a token is left in %q", query, rest)
		}
		if !found && value != "" {
			t.Errorf("%q: a value %q that isn't there", query, value)
		}
		if !HasParameter(query, "sesame") && rest != query {
			t.Errorf("%q became %q", query, rest)
		}
		if got := CutFromURI("/a?"+query, "sesame"); got != "/a?"+rest && (rest != "" || got != "/a") {
			t.Errorf("%q: the URI became %q, and the query %q", query, got, rest)
		}
		before, err := url.ParseQuery(query)
		if err != nil {
			return // an application that is as strict reads nothing
		}
		if values, ok := before["sesame"]; ok != found || ok && values[len(values)-1] != value {
			t.Errorf("%q: %q, %v; an application reads %q", query, value, found, values)
		}
		_, redacted := split(RedactInURI("/a?"+query, "sesame"))
		logged, err := url.ParseQuery(redacted)
		if err != nil {
			t.Fatalf("%q is logged as %q: %v", query, redacted, err)
		}
		for _, value := range logged["sesame"] {
			if value != "" && value != Redacted {
				t.Errorf("%q is logged as %q", query, redacted)
			}
		}
		after, err := url.ParseQuery(rest)
		if err != nil {
			t.Fatalf("%q became %q: %v", query, rest, err)
		}
		delete(before, "sesame")
		if before.Encode() != after.Encode() {
			t.Errorf("%q became %q", query, rest)
		}
	})
}

func BenchmarkCutParameter(b *testing.B) {
	const token = "sesame=AAAAAgz5DrGVMp5-BDEDrWqb"
	for _, bench := range []struct{ name, query string }{
		{"absent", "page=2&sort=name&q=some+words"},
		{"alone", token},
		{"first", token + "&page=2&sort=name"},
		{"last", "page=2&sort=name&" + token},
		{"between", "page=2&" + token + "&sort=name"},
		{"encoded", "page=2&s%65same=AAAAAgz5DrGVMp5%2DBDEDrWqb&sort=name"},
	} {
		b.Run("token="+bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				CutParameter(bench.query, "sesame")
			}
		})
	}
}
