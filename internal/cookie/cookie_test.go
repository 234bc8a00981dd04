package cookie

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestOwnCookiesAreTakenOutAndOthersStay(t *testing.T) {
	t.Parallel()
	c := Cookie{name: "sesame", path: "/", secure: secureAuto}
	for _, test := range []struct {
		lines, rest, values []string
	}{
		{nil, nil, nil},
		{[]string{"a=b"}, []string{"a=b"}, nil},
		{[]string{"sesame=x"}, nil, []string{"x"}},
		{[]string{"__Host-sesame=x"}, nil, nil}, // planted, over HTTP
		{[]string{"a=1; sesame=x; b=2"}, []string{"a=1; b=2"}, []string{"x"}},
		{[]string{"sesame=x; b=2"}, []string{"b=2"}, []string{"x"}},
		{[]string{"a=1;sesame=x"}, []string{"a=1"}, []string{"x"}},
		{[]string{`a="1;  b=%zz;c; sesame="x";;d=é `}, []string{`a="1;  b=%zz;c;;d=é `}, []string{"x"}},
		{[]string{"sesame=x", "a=1; sesame=y; __Host-sesame=z"}, []string{"a=1"}, []string{"x", "y"}},
		{[]string{"sesame2=x; asesame=y; Sesame=z"}, []string{"sesame2=x; asesame=y; Sesame=z"}, nil},
		{[]string{"sesame"}, nil, []string{""}},
		{[]string{" a=1 ;  sesame = x ; b"}, []string{" a=1 ; b"}, []string{"x"}},
	} {
		r := &http.Request{Header: http.Header{}}
		if test.lines != nil {
			r.Header["Cookie"] = test.lines
		}
		values := c.Take(r)
		if rest := r.Header["Cookie"]; fmt.Sprintf("%q", values) != fmt.Sprintf("%q", test.values) || fmt.Sprintf("%q", rest) != fmt.Sprintf("%q", test.rest) {
			t.Errorf("%q: %q, values %q; want %q, %q", test.lines, rest, values, test.rest, test.values)
		}
	}
}

// TestCookieLastsAtLeastASecond: without Max-Age, a cookie would last as long
// as the browser runs.
func TestCookieLastsAtLeastASecond(t *testing.T) {
	t.Parallel()
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]int{
		-time.Second: 1, 0: 1, time.Nanosecond: 1, 999 * time.Millisecond: 1, time.Second: 1, 1999 * time.Millisecond: 1, 2 * time.Second: 2,
	} {
		w := httptest.NewRecorder()
		c.Set(w, httptest.NewRequest(http.MethodGet, "/", nil), "x", age)
		set := w.Result()
		_ = set.Body.Close()
		if cookies := set.Cookies(); len(cookies) != 1 || cookies[0].MaxAge != want {
			t.Errorf("for %s: %q, want Max-Age=%d", age, w.Header()["Set-Cookie"], want)
		}
	}
}
