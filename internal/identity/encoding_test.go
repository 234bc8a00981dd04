package identity

import (
	"encoding/base64"
	"mime"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// decode is what an application does to a value.
func (e encoding) decode(text string) (string, error) {
	switch e {
	case percent:
		return url.PathUnescape(text)
	case base64s:
		value, err := base64.StdEncoding.DecodeString(text)
		return string(value), err
	case rfc2047:
		return new(mime.WordDecoder).DecodeHeader(text)
	default:
		return text, nil
	}
}

func TestValuesAreEncoded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 40)
	for value, want := range map[string][3]string{
		"alice":             {"alice", "YWxpY2U=", "alice"},
		"a.b-c@example.com": {"a.b-c%40example.com", "YS5iLWNAZXhhbXBsZS5jb20=", "a.b-c@example.com"},
		"Jürgen":            {"J%C3%BCrgen", "SsO8cmdlbg==", "=?utf-8?B?SsO8cmdlbg==?="},
		"a b+c":             {"a%20b%2Bc", "YSBiK2M=", "a b+c"},
		"100%":              {"100%25", "MTAwJQ==", "=?utf-8?B?MTAwJQ==?="},
		" bob":              {"%20bob", "IGJvYg==", "=?utf-8?B?IGJvYg==?="},
		"a\r\nX-Admin: 1":   {"a%0D%0AX-Admin%3A%201", "YQ0KWC1BZG1pbjogMQ==", "=?utf-8?B?YQ0KWC1BZG1pbjogMQ==?="},
		"=?utf-8?Q?root?=":  {"%3D%3Futf-8%3FQ%3Froot%3F%3D", "PT91dGYtOD9RP3Jvb3Q/PQ==", "=?utf-8?B?PT91dGYtOD9RP3Jvb3Q/PQ==?="},
		"a,b;c|d":           {"a%2Cb%3Bc%7Cd", "YSxiO2N8ZA==", "=?utf-8?B?YSxiO2N8ZA==?="},
		long: {
			strings.Repeat("%C3%A9", 40), base64.StdEncoding.EncodeToString([]byte(long)),
			"=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(long[:44])) + "?= =?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(long[44:])) + "?=",
		},
	} {
		for i, e := range []encoding{percent, base64s, rfc2047} {
			if text, ok := e.encode(value); text != want[i] || !ok {
				t.Errorf("%s of %q is %q, %t; want %q", e, value, text, ok, want[i])
			}
		}
	}
	for _, e := range encodings {
		if text, ok := e.encode("a\xff"); ok {
			t.Errorf("%s of a value that isn't UTF-8 is %q", e, text)
		}
	}
}

// FuzzEncodedValueIsTheSameDecoded and stands in one header field, as one name of any
// list.
func FuzzEncodedValueIsTheSameDecoded(f *testing.F) {
	for _, seed := range []string{"alice", "Jürgen", "a\r\nX-Admin: 1", "=?utf-8?Q?root?=", " a ", "a,b;c|d", "100%41", strings.Repeat("🙂é", 30), "\x00", "a_b", "a  b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, e := range encodings {
			text, ok := e.encode(value)
			if !utf8.ValidString(value) || value == "" {
				if ok && value != "" {
					t.Errorf("%s has %q for %q", e, text, value)
				}
				continue
			}
			if !ok || !survivesHeader(text) || strings.ContainsAny(text, ",;|") || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("%s has %q for %q", e, text, value)
			}
			if decoded, err := e.decode(text); decoded != value || err != nil {
				t.Errorf("%s has %q for %q, which is %q once it is decoded (%v)", e, text, value, decoded, err)
			}
			for word := range strings.SplitSeq(text, " ") {
				if e == rfc2047 && strings.HasPrefix(word, "=?") && len(word) > 75 {
					t.Errorf("the word %q has more than 75 characters", word)
				}
			}
		}
	})
}

// FuzzListHasTheNamesOfTheUserAlone whatever the names are.
func FuzzListHasTheNamesOfTheUserAlone(f *testing.F) {
	f.Add("editors\nadmins", ";", "percent")
	f.Add("a,b\na|b\n a\n=?utf-8?Q?a?=", "fields", "")
	f.Add("ä\nb,c", "|", "rfc2047")
	f.Add("a b\nc", ",", "base64")
	f.Fuzz(func(t *testing.T, text, separator, name string) {
		l, err := newList(&Header{Separator: separator}, encoding(name))
		if _, known := parseEncoding(name); err != nil || known != nil || l == nil {
			return
		}
		all := strings.Split(text, "\n")
		values, leftOut := l.of(all)
		var read []string
		for _, value := range values {
			if !survivesHeader(value) {
				t.Fatalf("%q can't stand in a header field", value)
			}
			split := separator
			if separator == separatorFields || separator == "" {
				split = "," // as servers join fields
			}
			for part := range strings.SplitSeq(value, split) {
				decoded, err := l.encoding.decode(part)
				if err != nil {
					t.Fatal(err)
				}
				read = append(read, decoded)
			}
		}
		for _, name := range read {
			if !slices.Contains(all, name) {
				t.Errorf("the application reads %q, which isn't in %q", name, all)
			}
		}
		if len(read)+leftOut != len(all) {
			t.Errorf("%d names are read and %d left out of %q", len(read), leftOut, all)
		}
	})
}
