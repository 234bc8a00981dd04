package rawuri

import "testing"

func TestTracesOfATokenAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                                    false,
		"/a?b=1":                              false,
		"/sesame-street?x=open+sesame":        false,
		"/a?sesame=T":                         true,
		"/a?SeSaMe=T":                         true,
		"/a?b=1&amp;sesame=T":                 true,
		"/a?sesame%3DT":                       true,
		"/a?next=%2Fx%3Fsesame%3DT":           true,
		"/a?next=%252Fx%253F%2573esame%253DT": true,
		"/a?%zz=1&next=%2Fx%3Fsesame%3DT":     true,
		"/a%3fses%61me=T":                     true,
		"%25252525253Dsesame":                 false,
	} {
		if got := HasTrace(text, "sesame"); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
