package rawuri

import "testing"

// In each query, sesame is the parameter.
var damaged = []struct{ name, query, want string }{
	{"good", "sesame=T", ""},
	{"absent", "a=1&amp;b=2", ""},
	{"behind an entity", "a=1&amp;sesame=T", "T"},
	{"behind an entity, first", "amp;sesame=T&b=2", "T"},
	{"behind an entity in capitals", "a=1&AMP;sesame=T", "T"},
	{"behind a numeric entity", "a=1&#38;sesame=T", "T"},
	{"behind an entity written twice", "a=1&amp;amp;sesame=T", "T"},
	{"behind an entity with an encoded semicolon", "a=1&amp%3Bsesame=T&b", "T"},
	{"behind an entity encoded twice", "a=1&amp%253Bsesame=T", "T"},
	{"with an encoded equals sign", "a=1&sesame%3DT", "T"},
	{"with an equals sign encoded twice", "sesame%253DT", "T"},
	{"with all of it encoded", "sesame%3DT%26b%3D2", "T"},
	{"with both", "a&amp%3Bsesame%3DT", "T"},
	{"the same twice", "amp;sesame=T&sesame%3DT", "T"},
	{"two of them", "amp;sesame=T&sesame%3DU", ""},
	{"behind a semicolon", "a=1;sesame=T", ""},
	{"behind an entity that is the value of another", "a=amp;sesame=T", ""},
	{"in capitals", "SESAME=T", ""},
	{"in capitals behind an entity", "a&amp;SESAME=T", ""},
	{"in the value of another", "next=%2Fx%3Fsesame%3DT", ""},
	{"behind an encoded ampersand", "a=1%26sesame%3DT", ""},
	{"with its name encoded twice", "s%2565same=T", ""},
	{"without a value", "sesame%3D", ""},
}

func TestDamagedParameter(t *testing.T) {
	t.Parallel()
	for _, test := range damaged {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if value, found := DamagedParameter(test.query, "sesame"); value != test.want || found != (test.want != "") {
				t.Errorf("%q: %q, %v; want %q", test.query, value, found, test.want)
			}
		})
	}
}
