package scope_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestParametersWithOneReadingHaveAScope(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"id=7":                                 "report:7",
		"page=2&id=7":                          "report:7",
		"id=7&page=2&page=3&tag[]=a&tag[]=b":   "report:7",
		"id=7&flag&empty=&&x=%20%C3%A9+":       "report:7",
		"id=7&ids=8&i=9&xid=1&id2=3&x.id=4":    "report:7",
		"id=a-b_c.d~e:f@g,h/i=":                "report:a-b_c.d~e:f@g,h/i=",
		"id=a%20b":                             "report:a b",
		"id=a+b":                               "report:a b",
		"id=%37":                               "report:7",
		"id=caf%C3%A9":                         "report:café",
		"id=%26id%3D8":                         "report:&id=8",
		"next=%2Fx%3Fid%3D8&id=7":              "report:7",
		"id=7&text=line%0D%0Aline&more=%22%3C": "report:7",
	} {
		r, ok := receive(t, "/?"+query)
		if !ok {
			t.Fatal(query)
		}
		wantScope(t, r, byQuery, want)
	}
}

func TestParametersWithSeveralReadingsAreRejected(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"more than once":            {"id=7&id=8", "id=7&id=7", "id=7&id", "id=7&id=", "id=&id=7", "id=7&a=1&id=8"},
		"encoded names":             {"%69d=7", "i%64=7", "id=7&%69d=8", "id=7&i%44=8", "id=7&%2569d=8"},
		"spaces that PHP trims":     {"id=7&+id=8", "id=7&%20id=8", "+id=7", "id=7&%20%20+id=8", "id=7&id+=8", "id=7&%C2%A0id=8", "id=7&%EF%BB%BFid=8"},
		"lists and structures":      {"id[]=7", "id=7&id[]=8", "id=7&id[x]=8", "id=7&id%5B%5D=8", "id=7&id[=8", "id=7&id]=8", "id=7&[id]=8", "id=7&[]id=8", "id=7&id.x=8", "id=7&id%255B%255D=8", "id=7&id[x][y]=8"},
		"letter case":               {"ID=7", "id=7&ID=8", "id=7&Id=8"},
		"semicolons":                {"id=7;id=8", "id=7&id=8;x", "id=7&x=1;id=8", "id=7;x=1", "x=1;id=7", "id=7&amp;id=8", "id=7;"},
		"a second question mark":    {"?id=7", "id=7&?id=8", "id=7&x=1?id=8", "id=7?x"},
		"invalid escapes":           {"id=7&id=8%zz", "id=7&id=8%", "id=7%", "id=7%4", "id=%zz", "id=7&x=%zz", "id=7&%=1", "id=%u0037", "id=7&%u0069d=8"},
		"not UTF-8":                 {"id=%ff", "id=7&x=%ff", "id=7&%ff=1", "id=%c0%b7", "id=7\xff", "id=\xc3\xa9"},
		"control characters":        {"id=7%00", "id=7%00&id=8", "id%00=7", "id=7&id%00=8", "id=7&id%00x=8", "id=7&%00id=8", "id=7&x=%00", "id=7%0a", "id=7&%09id=8", "id=7%7f", "id=7&%0aid=8"},
		"no value":                  {"", "id", "id=", "x=1", "&&", "ids=7", "=7"},
		"a number sign":             {"id=7#&id=8", "id=7#", "x=#&id=7"},
		"raw characters in a value": {"id=7|8", "id=<7>", `id="7"`, "id=[7]", "id={7}", "id=7\\8"},
		"too many parameters":       {strings.Repeat("a&", 200) + "id=7", strings.Repeat("&", 1000) + "id=7"},
	}
	for name, queries := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, query := range queries {
				if r, ok := receive(t, "/?"+query); ok {
					wantScope(t, r, byQuery, "")
				}
			}
		})
	}
}

func TestNamesThatPHPTakesForOneWithAnUnderscore(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"a_b=7&a.b=8", "a_b=7&a+b=8", "a_b=7&a%20b=8", "a_b=7&a[b=8", "a_b=7&a%5Bb=8", "a_b=7&+a.b=8", "a.b=8"} {
		r, _ := receive(t, "/?"+query)
		wantScope(t, r, "{http.request.uri.query.a_b}", "")
	}
	for query, want := range map[string]string{"a_b=7&a-b=8": "7", "a_b=7&a=1&b=2": "7"} {
		r, _ := receive(t, "/?"+query)
		wantScope(t, r, "{http.request.uri.query.a_b}", want)
	}
}

// TestUnknownPlaceholdersNeedAnUnambiguousQuery: a variable may come from any
// parameter, under another name.
func TestUnknownPlaceholdersNeedAnUnambiguousQuery(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                        "report:7",
		"id=7&page=2&flag&a[]=1&": "report:7",
		"id=7&id=8":               "",
		"id=7&+id=8":              "",
		"id=7&id[]=8":             "",
		"id=7&ID=8":               "",
		"id=7;id=8":               "",
		"id=7&x=%zz":              "",
		"id=7&x=1?id=8":           "",
	} {
		for _, template := range []string{byOther, "report:{http.regexp.report.1}", "report:{my.map}"} {
			r, _ := receive(t, "/?"+query)
			caddyhttp.SetVar(r.Context(), "report", "7")
			if template != byOther {
				setPlaceholder(r, strings.Trim(strings.TrimPrefix(template, "report:"), "{}"), "7")
			}
			wantScope(t, r, template, want)
		}
	}
}
