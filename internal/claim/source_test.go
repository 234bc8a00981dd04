package claim

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestInvalidSourcesAreRejectedWithASuggestion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		source Source
		want   string
	}{
		{Source{From: "query", Name: "x"}, "token_from query takes no name"},
		{Source{From: "bearer", Name: "x"}, "token_from bearer takes no name"},
		{Source{From: "basic", Name: "x"}, "token_from basic takes no name"},
		{Source{From: "header"}, `token_from header "": it is not a valid header field name`},
		{Source{From: "header", Name: "a b"}, "it is not a valid header field name"},
		{Source{From: "header", Name: "host"}, "token_from header host: this header field has another meaning"},
		{Source{From: "header", Name: "COOKIE"}, "this header field has another meaning"},
		{Source{From: "header", Name: "content-Length"}, "this header field has another meaning"},
		{Source{From: "header", Name: "Transfer-Encoding"}, "this header field has another meaning"},
		{Source{From: "header", Name: "Connection"}, "this header field has another meaning"},
		{Source{From: "header", Name: "Content-Type"}, "this header field has another meaning"},
		{Source{From: ""}, `token_from "": it must be query, bearer, basic or header`},
		{Source{From: "Query"}, "; did you mean query?"},
		{Source{From: "beare"}, "; did you mean bearer?"},
		{Source{From: "basics"}, "; did you mean basic?"},
		{Source{From: "heder"}, "; did you mean header?"},
		{Source{From: "X-Token"}, "; did you mean header X-Token?"},
		{Source{From: "header:X-Token"}, "; did you mean header X-Token?"},
		{Source{From: "X-To ken"}, "basic or header$"},
		{Source{From: "cookie"}, "basic or header$"},
	} {
		_, err := New("", []Source{{From: FromQuery}, test.source})
		if err == nil || !strings.HasPrefix(err.Error(), "token_from ") || !strings.Contains(err.Error()+"$", test.want) {
			t.Errorf("%+v: %v, want %q", test.source, err, test.want)
		}
	}
	for _, twice := range [][]Source{
		{{From: FromBearer}, {From: FromQuery}, {From: FromBearer}}, {{From: FromHeader, Name: "X-Token"}, {From: FromHeader, Name: "x-token"}},
	} {
		if _, err := New("", twice); err == nil || !strings.Contains(err.Error(), "the same source twice") {
			t.Errorf("%v: %v", twice, err)
		}
	}
}

func TestSourcesHaveDefaults(t *testing.T) {
	t.Parallel()
	s, err := New("", nil)
	if err != nil || s.Name != "sesame" || s.ConfirmName != "sesame_confirm" || !slices.Equal(s.Ordered, []Source{{From: FromQuery}, {From: FromBearer}}) {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = New("key", []Source{{From: FromHeader, Name: "x-token"}, {From: FromHeader, Name: "X-Other"}, {From: FromBasic}})
	if err != nil || s.Name != "key" || s.ConfirmName != "key_confirm" || !slices.Equal(s.Ordered, []Source{{FromHeader, "X-Token"}, {FromHeader, "X-Other"}, {From: FromBasic}}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestFirstSourceOfTheConfigurationCounts: tokens in the other sources are taken
// out as well.
func TestFirstSourceOfTheConfigurationCounts(t *testing.T) {
	t.Parallel()
	request := func(query string, header http.Header) *http.Request {
		r := requestOf(header["Authorization"]...)
		r.URL.RawQuery, r.RequestURI = query, "/?"+query
		for name, values := range header {
			r.Header[name] = values
		}
		return r
	}
	all := func() *http.Request {
		return request("a=1&sesame=tquery12&sesame_confirm=pressed", http.Header{"X-Token": {" theader1 "}, "Authorization": {"Bearer tbearer1", basic("u:tbasic12")}, "X-Other": {"stays"}})
	}
	for _, test := range []struct {
		name    string
		sources []Source
		r       *http.Request
		want    Token
		left    []string // query and Authorization
	}{
		{"the query", []Source{{From: FromQuery}, {From: FromBearer}, {From: FromBasic}, {FromHeader, "X-Token"}}, all(), Token{"tquery12", FromQuery, true}, []string{"a=1"}},
		{"a header", []Source{{FromHeader, "X-Token"}, {From: FromBearer}, {From: FromBasic}, {From: FromQuery}}, all(), Token{"theader1", FromHeader, true}, []string{"a=1"}},
		{"bearer", []Source{{From: FromBearer}, {From: FromQuery}, {From: FromBasic}, {FromHeader, "X-Token"}}, all(), Token{"tbearer1", FromBearer, true}, []string{"a=1"}},
		{"Basic", []Source{{From: FromBasic}, {From: FromBearer}, {From: FromQuery}, {FromHeader, "X-Token"}}, all(), Token{"tbasic12", FromBasic, true}, []string{"a=1"}},
		{"the second where the first has none", []Source{{From: FromQuery}, {FromHeader, "X-Token"}}, request("a=1", http.Header{"X-Token": {"theader1"}}), Token{"theader1", FromHeader, true}, []string{"a=1"}},
		{"an empty one", []Source{{From: FromQuery}, {FromHeader, "X-Token"}}, request("sesame=", http.Header{"X-Token": {"theader1"}}), Token{"", FromQuery, true}, []string{""}},
		{"none", []Source{{From: FromBearer}}, request("a=1", http.Header{"Authorization": {"Bearer application"}}), Token{}, []string{"a=1", "Bearer application"}},
		{"a header that is repeated", []Source{{FromHeader, "X-Token"}}, request("", http.Header{"X-Token": {"theader1", "theader2"}}), Token{"", FromHeader, true}, []string{""}},
		{"two bearer tokens", []Source{{From: FromBearer}}, request("", http.Header{"Authorization": {"Bearer tbearer1, Bearer tbearer2"}}), Token{"", FromBearer, true}, []string{""}},
	} {
		s, err := New("", test.sources)
		if err != nil {
			t.Fatal(err)
		}
		s.Recognize(eights{})
		defer s.Register(new(caddyhttp.App))()
		if got := s.Take(test.r, s.IsExposed(test.r)); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		if left := append([]string{test.r.URL.RawQuery}, test.r.Header["Authorization"]...); !slices.Equal(left, test.left) {
			t.Errorf("%s: %q are left, want %q", test.name, left, test.left)
		}
		if test.r.Header["X-Token"] != nil {
			t.Errorf("%s: X-Token %q is left", test.name, test.r.Header["X-Token"])
		}
	}
}

func TestConfirmationIsThatOfTheRequest(t *testing.T) {
	t.Parallel()
	s, err := New("", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Register(new(caddyhttp.App))()
	r := requestOf()
	r.URL.RawQuery, r.RequestURI = "sesame=t&x=1&sesame_confirm=pressed", "/?sesame=t&x=1&sesame_confirm=pressed"
	if got := s.Take(r, s.IsExposed(r)); got.Value != "t" {
		t.Errorf("%+v", got)
	}
	if got := s.TakeConfirmation(r); got != "pressed" || r.URL.RawQuery != "x=1" || r.RequestURI != "/?x=1" {
		t.Errorf("%q; %s, %s", got, r.URL.RawQuery, r.RequestURI)
	}
	if got := s.TakeConfirmation(r); got != "" {
		t.Errorf("taken twice: %q", got)
	}
	if got := s.TakeConfirmation(requestOf()); got != "" {
		t.Errorf("of a request without one: %q", got)
	}
}

// TestCredentialsOfAnotherHandlerAreKeptForIt, and no upstream in between gets
// them, whichever of the handlers was provisioned first.
func TestCredentialsOfAnotherHandlerAreKeptForIt(t *testing.T) {
	t.Parallel()
	for _, secondIsFirst := range []bool{false, true} {
		first, err := New("one", []Source{{From: FromQuery}})
		if err != nil {
			t.Fatal(err)
		}
		second, err := New("two", []Source{{From: FromQuery}, {FromHeader, "X-Two"}, {From: FromBearer}})
		if err != nil {
			t.Fatal(err)
		}
		second.Recognize(eights{})
		second.AddCookies("two")
		app, order := new(caddyhttp.App), []*Sources{first, second}
		if secondIsFirst {
			slices.Reverse(order)
		}
		for _, s := range order {
			defer s.Register(app)()
		}
		r := requestOf("Bearer tbearer1", "Bearer application")
		r.URL.RawQuery, r.RequestURI = "one=1&two=2&a=b", "/?one=1&two=2&a=b"
		r.Header["X-Two"], r.Header["Cookie"] = []string{"header"}, []string{"a=1; __Host-two=session"}
		r.Header["Referer"] = []string{"https://app.example.com/?two=2&one=1&a=b"}
		if got := first.Take(r, first.IsExposed(r)); got != (Token{"1", FromQuery, true}) {
			t.Errorf("the first handler's token is %+v", got)
		}
		if r.URL.RawQuery != "a=b" || r.Header["X-Two"] != nil || !slices.Equal(r.Header["Cookie"], []string{"a=1"}) || !slices.Equal(r.Header["Authorization"], []string{"Bearer application"}) {
			t.Errorf("between the two there are %s and %q", r.RequestURI, r.Header)
		}
		if referer := r.Header.Get("Referer"); strings.Contains(referer, "one=1") || strings.Contains(referer, "two=2") {
			t.Errorf("Referer %s", referer)
		}
		if got := second.Take(r, second.IsExposed(r)); got != (Token{"2", FromQuery, true}) {
			t.Errorf("the second handler's token is %+v", got)
		}
		if r.Header["X-Two"] != nil || !slices.Equal(r.Header["Cookie"], []string{"a=1", "__Host-two=session"}) || !slices.Equal(r.Header["Authorization"], []string{"Bearer application"}) {
			t.Errorf("the second handler, which takes its cookie itself, leaves %q", r.Header)
		}
	}
}

// TestParameterOfAnotherHandlerIsNotTakenByItsName: a handler that reads no query
// leaves the parameter to a handler that does.
func TestParameterOfAnotherHandlerIsNotTakenByItsName(t *testing.T) {
	t.Parallel()
	first, err := New("", []Source{{From: FromBearer}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := New("", []Source{{From: FromQuery}})
	if err != nil {
		t.Fatal(err)
	}
	app := new(caddyhttp.App)
	defer first.Register(app)()
	defer second.Register(app)()
	r := requestOf()
	r.URL.RawQuery, r.RequestURI = "sesame=t", "/?sesame=t"
	if got := first.Take(r, first.IsExposed(r)); got.Found || r.URL.RawQuery != "" {
		t.Errorf("%+v, and %q is left", got, r.URL.RawQuery)
	}
	if got := second.Take(r, second.IsExposed(r)); got != (Token{"t", FromQuery, true}) {
		t.Errorf("%+v", got)
	}
}
