package identity

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestListOfGroups(t *testing.T) {
	t.Parallel()
	odd := []string{" x", "a,b", "a;b", "a|b", "editors", "x\u00a0", "ä", "\n"}
	for name, test := range map[string]struct {
		header  Header
		groups  []string
		want    []string
		leftOut int
	}{
		"semicolons":         {Header{Separator: ";"}, odd, []string{"a,b;a|b;editors;ä"}, 4},
		"bars":               {Header{Separator: "|"}, odd, []string{"a,b|a;b|editors|ä"}, 4},
		"fields":             {Header{Separator: "fields"}, odd, []string{"a;b", "a|b", "editors", "ä"}, 4},
		"encoded fields":     {Header{Separator: "fields", Encoding: "percent"}, odd[1:3], []string{"a%2Cb", "a%3Bb"}, 0},
		"encoded":            {Header{Encoding: "percent"}, odd, []string{"%20x,a%2Cb,a%3Bb,a%7Cb,editors,x%C2%A0,%C3%A4,%0A"}, 0},
		"not UTF-8":          {Header{Encoding: "base64"}, []string{"a", "\xff"}, []string{"YQ=="}, 1},
		"none":               {Header{Separator: ";"}, nil, nil, 0},
		"mapped":             {Header{Map: []GroupMapping{{"ä", "umlauts"}, {"editors", "authors"}}}, odd, []string{"authors,umlauts"}, 0},
		"two to one":         {Header{Map: []GroupMapping{{"ä", "x"}, {"editors", "x"}}}, odd, []string{"x"}, 0},
		"the rest kept":      {Header{Map: []GroupMapping{{"editors", "authors"}}, Unmapped: "keep", Separator: ";"}, []string{"a;b", "editors", "readers"}, []string{"authors;readers"}, 1},
		"the rest dropped":   {Header{Map: []GroupMapping{{"editors", "authors"}}, Unmapped: "drop"}, []string{"authors", "editors"}, []string{"authors"}, 0},
		"a target's name":    {Header{Map: []GroupMapping{{"editors", "admins"}}, Unmapped: "keep"}, []string{"admins", "readers"}, []string{"readers"}, 1},
		"mapped to itself":   {Header{Map: []GroupMapping{{"editors", "editors"}}}, []string{"editors", "readers"}, []string{"editors"}, 0},
		"mapped and encoded": {Header{Map: []GroupMapping{{"a,b", "c,d"}}, Encoding: "percent"}, odd, []string{"c%2Cd"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as, err := parseEncoding(test.header.Encoding)
			if err != nil {
				t.Fatal(err)
			}
			l, err := newList(&test.header, as)
			if err != nil {
				t.Fatal(err)
			}
			values, leftOut := l.of(test.groups)
			if !slices.Equal(values, test.want) || leftOut != test.leftOut {
				t.Errorf("%q without %d, want %q without %d", values, leftOut, test.want, test.leftOut)
			}
		})
	}
}

func TestOptionsOfFieldsThatCanNotBeRight(t *testing.T) {
	t.Parallel()
	columns := Columns{}
	columns.Store.Groups = newGroups()
	groups := Header{Name: "X-Groups", Value: "{http.auth.user.groups}"}
	for part, change := range map[string]func(*Header){
		`encoding "utf-8": it must be percent`:       func(h *Header) { h.Encoding = "utf-8" },
		`separator " ": it must be one of`:           func(h *Header) { h.Separator = " " },
		`unmapped "no": it must be keep or drop`:     func(h *Header) { h.Map, h.Unmapped = []GroupMapping{{"a", "b"}}, "no" },
		"unmapped is for names without a line":       func(h *Header) { h.Unmapped = "keep" },
		`map "a": this group has a line already`:     func(h *Header) { h.Map = []GroupMapping{{"a", "b"}, {"a", "c"}} },
		"map: a name is missing":                     func(h *Header) { h.Map = []GroupMapping{{"a", ""}} },
		`map "a" "b,c": in a list`:                   func(h *Header) { h.Map = []GroupMapping{{"a", "b,c"}} },
		`map "a" " b": in a list`:                    func(h *Header) { h.Map = []GroupMapping{{"a", " b"}} },
		"max_size -1: it must be at most":            func(h *Header) { h.MaxSize = -1 },
		"max_size 64001: it must be at most":         func(h *Header) { h.MaxSize = 64_001 },
		"separator, map and unmapped are for":        func(h *Header) { h.Value, h.Separator = "{http.auth.user.id}", ";" },
		"that is a list alone: {http.auth.user.grou": func(h *Header) { h.Value, h.Map = "in {http.auth.user.groups}", []GroupMapping{{"a", "b"}} },
	} {
		header := groups
		change(&header)
		if _, err := New([]Header{header}, columns); err == nil || !strings.Contains(err.Error(), "identity X-Groups: ") || !strings.Contains(err.Error(), part) {
			t.Errorf("%+v: %v, want %q", header, err, part)
		}
	}
}

// TestValuesOverTheBoundAreLeftOutWithAWarning: no part of a list goes on, which would
// be another list.
func TestValuesOverTheBoundAreLeftOutWithAWarning(t *testing.T) {
	t.Parallel()
	logs, seen := observer.New(zapcore.WarnLevel)
	fields := newFields(t, Header{Name: "X-Short", Value: "{custom}"}, Header{Name: "X-Long", Value: "{custom}", MaxSize: 9000}, Header{Name: "X-Coded", Value: "{custom}", Encoding: "base64", MaxSize: 9000})
	for _, size := range []int{8000, 8001, 9000, 9001} {
		for range 2 {
			r, repl := newHandled(t, nil)
			repl.Set("custom", strings.Repeat("x", size))
			fields.Set(r, seven, zap.New(logs))
			for name, most := range map[string]int{"X-Short": 8000, "X-Long": 9000, "X-Coded": 6750} {
				if isPassed := r.Header[name] != nil; isPassed != (size <= most) {
					t.Errorf("%d bytes: %s is passed: %t", size, name, isPassed)
				}
			}
		}
	}
	var warned []string
	for _, entry := range seen.All() {
		warned = append(warned, entry.ContextMap()["header"].(string))
	}
	if want := []string{"X-Coded", "X-Short", "X-Long"}; !slices.Equal(warned, want) {
		t.Errorf("warned of %q, want %q, each once", warned, want)
	}
}
