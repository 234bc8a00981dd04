package python_test

import (
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/internal/python"
)

// TestJSONIsReadAsPythonReadsIt: what Python 3.12's json.loads makes of these.
func TestJSONIsReadAsPythonReadsIt(t *testing.T) {
	t.Parallel()
	for value, isRead := range map[string]bool{
		"NaN": true, "Infinity": true, "-Infinity": true, "-NaN": false, "nan": false, "True": false,
		"-0": true, "01": false, "+1": false, "1.": false, ".5": false, "1e5": true, "1E+5": true, "1e": false,
		strings.Repeat("9", 4300): true, strings.Repeat("9", 4301): false, strings.Repeat("9", 5000) + ".5": true,
		`"\u00e4"`: true, `"\ud800"`: true, `"\u12"`: false, `"\x"`: false, "\"\n\"": false, "\"\xe4\"": true,
		"[1 , 2]": true, "[1,]": false, `{"a":1,}`: false, `{"a":{"b":[]}}`: true, "{}x": false, "": false,
		strings.Repeat("[", 100) + strings.Repeat("]", 100): true, strings.Repeat("[", 100_000): false,
	} {
		var got string
		err := python.Object(` {"x" : `+value+"} ", func(m python.Member) { got = m.Value })
		if (err == nil) != isRead || isRead && got != value {
			t.Errorf("%.40s: %.40s, %v", value, got, err)
		}
	}
}

func TestStringSurvivesQuoting(t *testing.T) {
	t.Parallel()
	for text, quoted := range map[string]string{
		"": `""`, "a\"\\\n\x01\x7f": `"a\"\\\n\u0001` + "\x7f" + `"`, "ä€😀": `"\u00e4\u20ac\ud83d\ude00"`,
	} {
		if got := string(python.AppendQuoted(nil, text)); got != quoted {
			t.Errorf("%q: %s", text, got)
		}
		if back, ok := python.Unquote(quoted, python.Latin1); !ok || back != text {
			t.Errorf("%s: %q, %v", quoted, back, ok)
		}
	}
	for quoted, encoding := range map[string]python.Encoding{`"\ud83d"`: python.UTF8, `"\ud83dx"`: python.UTF8, `1`: python.UTF8, "": python.Latin1} {
		if text, ok := python.Unquote(quoted, encoding); ok {
			t.Errorf("%s: %q", quoted, text)
		}
	}
	for encoding, want := range map[python.Encoding]string{python.UTF8: "ü", python.Latin1: "Ã¼"} {
		if text, ok := python.Unquote(`"ü"`, encoding); !ok || text != want {
			t.Errorf("%v: %q", encoding, text)
		}
	}
}

// TestBase64IsReadAsPythonReadsIt: what Python 3.12's urlsafe_b64decode makes
// of these, padded to a multiple of four.
func TestBase64IsReadAsPythonReadsIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "eA": "x", "eA==": "x", "eA=": "x", "-_-_": "\xfb\xff\xbf", "+/+/": "\xfb\xff\xbf", "eAA=A": "x\x00", "eA\u0080A": "x\x00",
	} {
		if data, err := python.DecodeBase64(text); err != nil || string(data) != want {
			t.Errorf("%q: %q, %v", text, data, err)
		}
	}
	for _, text := range []string{"e", "e A", "=eA", "e=A", "eA=A"} {
		if data, err := python.DecodeBase64(text); err == nil {
			t.Errorf("%q: %q", text, data)
		}
	}
}
