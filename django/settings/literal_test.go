package settings

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// literals are what Python writes for values.
var literals = map[string]any{
	`None`:                   nil,
	`True`:                   true,
	`False`:                  false,
	`600`:                    int64(600),
	`-1`:                     int64(-1),
	`600.5`:                  600.5,
	`1e-06`:                  1e-06,
	`'text'`:                 "text",
	`"it's"`:                 "it's",
	`'a\'b"c\\d\n\x00\xe9ü'`: "a'b\"c\\d\n\x00éü",
	`'\u20ac\U0001f600'`:     "€😀",
	`b'\xff\'"'`:             pyBytes("\xff'\""),
	`[]`:                     []any{},
	`[1, 'a', None]`:         []any{int64(1), "a", nil},
	`('a',)`:                 []any{"a"},
	`()`:                     []any{},
	`{}`:                     pyDict{},
	`{'a': {'b': [1]}, 2: 3}`: pyDict{
		"a": pyDict{"b": []any{int64(1)}},
	},
	`{'x', 'y'}`:                                    []any{"x", "y"},
	`datetime.timedelta(days=1, seconds=30)`:        pyCall{name: "datetime.timedelta", args: []any{}, keywords: map[string]any{"days": int64(1), "seconds": int64(30)}},
	`datetime.timedelta(0)`:                         pyCall{name: "datetime.timedelta", args: []any{int64(0)}, keywords: map[string]any{}},
	`PosixPath('/srv/app')`:                         pyCall{name: "PosixPath", args: []any{"/srv/app"}, keywords: map[string]any{}},
	`<built-in function openssl_md5>`:               pyCall{shorthand: "built-in function openssl_md5"},
	`<function <lambda> at 0x7f>`:                   pyCall{shorthand: "function <lambda> at 0x7f"},
	`[<class 'a.B'>, 1]`:                            []any{pyCall{shorthand: "class 'a.B'"}, int64(1)},
	`OrderedDict([('a', 1)])`:                       pyCall{name: "OrderedDict", args: []any{[]any{[]any{"a", int64(1)}}}, keywords: map[string]any{}},
	" [ 1 ,\n 2 ] ":                                 []any{int64(1), int64(2)},
	`'\a\b\f\r\t\v\0'`:                              "\a\b\f\r\t\v\x00",
	`Ellipsis`:                                      pyCall{name: "Ellipsis"},
	`{'a': datetime.timedelta(seconds=1), 'b': ''}`: pyDict{"a": pyCall{name: "datetime.timedelta", args: []any{}, keywords: map[string]any{"seconds": int64(1)}}, "b": ""},
}

func TestParseLiteral(t *testing.T) {
	t.Parallel()
	for text, want := range literals {
		got, err := parseLiteral(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", text, got, err, want)
		}
	}
}

// noLiterals are no values that Python writes.
var noLiterals = []string{
	``, `'`, `'a`, "'a\nb'", `{[: 1}`, `'a\`, `'\q'`, `'\x4'`, `'\ud800'`, `b'\u20ac'`, `[`, `[1`, `[1 2]`, `{1:}`, `{1 2}`, `f(`, `<a`,
	`1x`, `--1`, `'a' 'b'`, `1 + 1`, `__import__('os').system('x')`, `lambda: 1`,
	strings.Repeat("[", 1000), strings.Repeat("f(", 1000), strings.Repeat("<", 1000),
}

func TestParseLiteralRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range noLiterals {
		if got, err := parseLiteral(text); err == nil {
			t.Errorf("%s: %#v", text, got)
		}
	}
}

// FuzzRead reads anything, and writes the block where it can be.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"SECRET_KEY = 'x'\nDATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'NAME': 'app'}}",
		"+ SECRET_KEY = 'x'\n- USE_TZ = False\n+ USE_TZ = True\n  TIME_ZONE = 'UTC'",
		"### USE_TZ = False\nSESAME_MAX_AGE = datetime.timedelta(days=1)  ###\nSECRET_KEY = b'\\xff'",
		`{"django_project": 3, "settings": {"SECRET_KEY": {"@secret": "str"}}, "databases": {"write": {"alias": "default", "settings": {"ENGINE": "django.db.backends.mysql", "NAME": "a` + "`" + `b"}}}, "user": {"table": ["t"], "columns": {}, "view": {"select": "SELECT 1", "columns": ["id"]}}}`,
	} {
		f.Add(seed)
	}
	for _, text := range slices.Sorted(maps.Keys(literals)) {
		f.Add(text)
	}
	for _, text := range noLiterals {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseLiteral(text) // it doesn't panic
		project, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		var block strings.Builder
		report, err := project.Caddyfile(&block)
		if err != nil {
			if block.Len() > 0 || report != nil {
				t.Error("something was written besides the error")
			}
			return
		}
		if !strings.HasPrefix(block.String(), "sesame {\n") || !strings.Contains(block.String(), "\tsecret_key {env.DJANGO_SECRET_KEY}\n") || !strings.HasSuffix(block.String(), "\n}\n") {
			t.Errorf("got %s", block.String())
		}
	})
}
