package page

import (
	"net/http"
	"strings"
	"testing"
)

func TestPagesComeInTheTypeThatIsPreferred(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		accept      []string
		ofNavigator Type // with Sec-Fetch-Mode: navigate, or without the field
		ofScript    Type
	}{
		{"nothing is said", nil, Text, Text},
		{"anything", []string{"*/*"}, Text, Text},
		{"a browser", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, HTML, Text},
		{"JSON", []string{"application/json"}, JSON, JSON},
		{"JSON of a kind", []string{"application/problem+json"}, JSON, JSON},
		{"JSON by another name", []string{"text/json"}, JSON, JSON},
		{"XHTML", []string{"application/xhtml+xml"}, HTML, Text},
		{"another type", []string{"image/png"}, Text, Text},
		{"an end of JSON that is no application", []string{"image/x+json"}, Text, Text},
		{"in capitals and with spaces", []string{" Text/HTML ; q=1"}, HTML, Text},
		{"JSON before HTML", []string{"application/json, text/html"}, JSON, JSON},
		{"HTML before JSON", []string{"text/html, application/json"}, HTML, JSON},
		{"JSON rather than HTML", []string{"text/html;q=0.5, application/json;q=0.6"}, JSON, JSON},
		{"HTML rather than JSON, in two lines", []string{"application/json;q=0.5", "text/html"}, HTML, JSON},
		{"a weight that is none", []string{"text/html;q=x, application/json;q=0.1"}, JSON, JSON},
		{"a weight beyond all numbers", []string{"text/html;q=1e999, application/json;q=0.1"}, JSON, JSON},
		{"a weight among other parameters", []string{"text/html;level=1; Q=0.2;x, application/json;q=0.3"}, JSON, JSON},
		{"another type with more weight", []string{"image/png, application/json;q=0.5"}, JSON, JSON},
		{"JSON is excluded", []string{"application/json;q=0"}, Text, Text},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for mode, want := range map[string]Type{"navigate": test.ofNavigator, "": test.ofNavigator, "cors": test.ofScript} {
				r := &http.Request{Header: http.Header{"Accept": test.accept}}
				if mode != "" {
					r.Header.Set("Sec-Fetch-Mode", mode)
				}
				if got := Wanted(r); got != want {
					t.Errorf("with mode %q it is %d, want %d", mode, got, want)
				}
			}
		})
	}
}

func TestColoursAreNamesOrHexadecimal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"teal": true, "Teal": true, "AZaz": true, "#0fa": true, "#00FFaa": true,
		"": false, "#": false, "#0f": false, "#0faa": false, "#0faaaaa": false, "#ggg": false, "#+12": false,
		"te al": false, "teal;": false, "teal}": false, "url(x)": false, "@": false, "[": false, "`": false, "{": false, "0": false,
	} {
		if got := isColor(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

func TestColorNamesAreThoseOfCSS(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields("brown darksalmon dimgray green lemonchiffon lightsalmon limegreen mediumslateblue navy papayawhip sandybrown tan Transparent highlighttext CurrentColor Canvas") {
		if _, err := New(&Config{Colors: map[string][]string{"accent": {name}}}); err != nil {
			t.Error(err)
		}
	}
}
