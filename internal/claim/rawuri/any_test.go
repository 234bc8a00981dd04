package rawuri

import (
	"strings"
	"testing"
)

// In each text, s is the parameter. The results are for each place.
var anywhere = []struct {
	name, text    string
	at            Place
	cut, redacted string
}{
	{"nothing", "", Field, "", ""},
	{"a parameter of the field's own", "text/html;s=1, */*;q=0.8", Field, "text/html;s=1, */*;q=0.8", "text/html;s=1, */*;q=0.8"},
	{"a long one, without a URI", "a;s=TTTTTTT,b", Field, "a,b", "a;s=REDACTED,b"},
	{"another parameter", "/a?b=1", Field, "/a?b=1", "/a?b=1"},
	{"alone", "/a?s=T", Field, "/a", "/a?s=REDACTED"},
	{"without a value", "/a?s", Field, "/a?s", "/a?s"},
	{"with an empty value", "/a?s=", Field, "/a?s=", "/a?s="},
	{"first", "/a?s=T&b=1", Field, "/a?b=1", "/a?s=REDACTED&b=1"},
	{"last", "/a?b=1&s=T", Field, "/a?b=1", "/a?b=1&s=REDACTED"},
	{"between", "/a?b=1&s=T&c=2#d", Field, "/a?b=1&c=2#d", "/a?b=1&s=REDACTED&c=2#d"},
	{"before a fragment", "/a?b=1&s=T#d", Field, "/a?b=1#d", "/a?b=1&s=REDACTED#d"},
	{"three times", "/a?s=T&s=U&%73=V", Field, "/a", "/a?s=REDACTED&s=REDACTED&%73=REDACTED"},
	{"in a fragment", "/a#s=T", Field, "/a", "/a#s=REDACTED"},
	{"in capitals", "/a?S=T&ss=T", Field, "/a?ss=T", "/a?S=REDACTED&ss=T"},
	{"in brackets", "<https://x/a?s=T> ([\"e\"])", Field, "<https://x/a> ([\"e\"])", "<https://x/a?s=REDACTED> ([\"e\"])"},
	{"in JSON", "{\"u\":\"/a?s=T\",\"n\":1}", Field, "{\"u\":\"/a\",\"n\":1}", "{\"u\":\"/a?s=REDACTED\",\"n\":1}"},
	{"encoded in the value of another", "/?u=https%3A%2F%2Fx%2F%3Fs%3DT%26b%3D1&c", Field, "/?u=https%3A%2F%2Fx%2F%3Fb%3D1&c", "/?u=https%3A%2F%2Fx%2F%3Fs%3DREDACTED%26b%3D1&c"},
	{"the last of a link in the value of another", "n=%2Fx%3Fs%3DT&b=1", Query, "n=%2Fx&b=1", "n=%2Fx%3Fs%3DREDACTED&b=1"},
	{"encoded twice", "n=%252Fx%253Fs%253DT%2526b%253D1", Query, "n=%252Fx%253Fb%253D1", "n=%252Fx%253Fs%253DREDACTED%2526b%253D1"},
	{"with digits of escapes encoded", "n=%%33Fs%3%44T", Query, "n=", "n=%%33Fs%3%44REDACTED"},
	{"its ampersand as an entity", "a=1&amp;s=T", Query, "a=1&amp", "a=1&amp;s=REDACTED"},
	{"its ampersand as half an entity", "a=1&amps=T&AMPs=T&camps=T", Query, "a=1&amp&AMP&camps=T", "a=1&amps=REDACTED&AMPs=REDACTED&camps=T"},
	{"its ampersand as an encoded entity", "a=1&amp%3Bs=T", Query, "a=1&amp", "a=1&amp%3Bs=REDACTED"},
	{"its equals sign encoded", "s%3DT&b", Query, "b", "s%3DREDACTED&b"},
	{"behind a second question mark", "a=1?s=T&b", Query, "a=1?b", "a=1?s=REDACTED&b"},
	{"behind a plus", "+s=T", Query, "", "+s=REDACTED"},
	{"as a list of PHP's", "s[]=T&S%5B0%5D%5Bx%5D=U", Query, "", "s[]=REDACTED&S%5B0%5D%5Bx%5D=REDACTED"},
	{"behind NUL, where PHP stops", "s%00x=T", Query, "", "s%00REDACTED"},
	{"an encoded ampersand in its value", "s=T%26b&c", Query, "c", "s=REDACTED&c"},
	{"as a list of PHP's with a long index", "s[" + strings.Repeat("x", 200) + "]=T&b", Query, "b", "s[" + strings.Repeat("x", 200) + "]=REDACTED&b"},
	{"with an equals sign in its index", "b&s[x%3Dy]=T", Query, "b", "b&s[x%3Dy]=REDACTED"},
	{"as the index of a list", "f[s]=T&f['S'][x]=U&f[x][s]=V&f[ss]=W", Query, "f[&f['&f[x][&f[ss]=W", "f[s]=REDACTED&f['S'][x]=REDACTED&f[x][s]=REDACTED&f[ss]=W"},
	{"with a list as its value", "?s[]=s[]=T&s[]=s[s]=T", Field, "[", "?s[]=REDACTED[]=REDACTED&s[]=REDACTED[s]=REDACTED"},
	{"with white space behind its name", "a&s%20=T&s+=T&s%09 =T&s%C2%A0=T&s%E2%80%8B=T", Query, "a", "a&s%20=REDACTED&s+=REDACTED&s%09 =REDACTED&s%C2%A0=REDACTED&s%E2%80%8B=REDACTED"},
	{"as JSON escapes it", `a\u0026s\u003dT&b`, Query, "a&b", `a\u0026s\u003dREDACTED&b`},
	{"as JavaScript escapes it", "a%u0026s%u003DT", Query, "a", "a%u0026s%u003DREDACTED"},
	{"its equals sign as an entity", "a?s&#61;T&s&#X3D;T&s%26equals%3BT", Query, "a", "a?s&#61;REDACTED&s&#X3D;REDACTED&s%26equals%3BREDACTED"},
	{"its value in quotes", `for=1;s="TTTTTTT";by='2', s='TTTTTTT'`, Field, "for=1;by='2', ", `for=1;s="REDACTED";by='2', s='REDACTED'`},
	{"its value in brackets, behind a space", "<x>; s= <TTTTTTT>", Field, "<x>; ", "<x>; s= <REDACTED>"},
	{"in quotes", `{"s" = "TTTTTTT"}`, Field, `{"}`, `{"s" = "REDACTED"}`},
	{"behind a letter", "as=T&a-s=T&a_s=T", Query, "as=T&a-s=T&a_s=T", "as=T&a-s=T&a_s=T"},
	{"in a path", "/a;s=T/b", Path, "", "/a;s=REDACTED/b"},
	{"in a path, encoded", "/a%3Fs%3DT%2Fb/c", Path, "", "/a%3Fs%3DREDACTED%2Fb/c"},
	{"a cookie of that name", "a=1; s=TTTTTTT; b=2", Cookie, "a=1; s=TTTTTTT; b=2", "a=1; s=TTTTTTT; b=2"},
	{"in a cookie's value, without a URI", `a=s=TTTTTTT; b="s=TTTTTTT"; c=x|s=TTTTTTT; d=s=1`, Cookie, `a=; b=""; c=x|; d=s=1`, `a=s=REDACTED; b="s=REDACTED"; c=x|s=REDACTED; d=s=1`},
	{"as the index of a list whose value went with its separator", "s[]=sTs&]=T", Query, "", "s[]=REDACTED&]=REDACTED"},
	{"in a cookie's value", "a=%2F%3Fs%3DT; b=/?s=T; s=U", Cookie, "a=%2F; b=/; s=U", "a=%2F%3Fs%3DREDACTED; b=/?s=REDACTED; s=U"},
}

func TestCutAndRedactAnywhere(t *testing.T) {
	t.Parallel()
	for _, test := range anywhere {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			names := []string{"s"}
			if got := Cut(test.text, test.at, names); test.at != Path && got != test.cut {
				t.Errorf("cut from %q: %q, want %q", test.text, got, test.cut)
			}
			if got := Redact(test.text, test.at, names); got != test.redacted {
				t.Errorf("redacted in %q: %q, want %q", test.text, got, test.redacted)
			}
			if got := Has(test.text, test.at, names); got != (test.redacted != test.text) {
				t.Errorf("is in %q: %v", test.text, got)
			}
			if got, want := Blank(test.text, test.at, names), strings.ReplaceAll(test.redacted, Redacted, ""); got != want {
				t.Errorf("blanked in %q: %q, want %q", test.text, got, want)
			}
		})
	}
}

// FuzzRedact looks for a value of a parameter that is left, and for anything else
// that is lost.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{"?s[]=s[]=T", `s="T"s='T"`, "a[s]=T&s%5B=%3DT", `\u0026s\u003dT`, "s=&#61;&#61;T", "%2573=%25", "s[]=sTs&]=T", `s[&s='&]'=(;`, "a]=T"} {
		f.Add(seed, uint8(Field))
	}
	for _, test := range anywhere {
		f.Add(test.text, uint8(test.at))
	}
	for _, test := range damaged {
		f.Add(strings.ReplaceAll(test.query, "sesame", "s"), uint8(Query))
	}
	f.Add("s=TTTTTTT", uint8(Cookie))
	f.Add("a=b;\t s=TTTTTTT#s=T;s=T", uint8(Cookie))
	f.Fuzz(func(t *testing.T, text string, place uint8) {
		at, names := Place(place%4), []string{"s"}
		redacted, blanked := Redact(text, at, names), Blank(text, at, names)
		if isSame := redacted == text; isSame == Has(text, at, names) && !strings.Contains(text, Redacted) {
			t.Errorf("%q was redacted to %q", text, redacted)
		}
		if !strings.Contains(text, Redacted) && strings.ReplaceAll(redacted, Redacted, "") != blanked {
			t.Errorf("%q was redacted to %q, and blanked to %q", text, redacted, blanked)
		}
		if values := Values(text, at, names); (len(values) > 0) != Has(text, at, names) {
			t.Errorf("%q has the values %q", text, values)
		}
		if value, found := DamagedParameter(text, "s"); found && (value == "" || !Has(text, Query, names)) {
			t.Errorf("%q has the value %q, and no parameter", text, value)
		}
		if isTraced := HasTrace(text, "s"); !isTraced && strings.Contains(strings.ToLower(text), "s=") {
			t.Errorf("%q has no trace of a parameter", text)
		}
		if cut := Cut(text, at, names); len(cut) > len(text) || cut == text && blanked != text {
			t.Errorf("%q was cut to %q", text, cut)
		}
	})
}
