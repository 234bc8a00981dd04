package claim

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// eights reads texts of eight letters that begin with t as tokens.
type eights struct{}

func (eights) IsToken(text string) bool { return len(text) == 8 && text[0] == 't' }

func (e eights) Resembles(text string) bool { return e.IsToken(text) }

// sourcesOf makes the sources of a handler with the tokens of eights.
func sourcesOf(t *testing.T, from ...string) *Sources {
	t.Helper()
	var list []Source
	for _, f := range from {
		list = append(list, Source{From: f})
	}
	s, err := New("", list)
	if err != nil {
		t.Fatal(err)
	}
	s.Recognize(eights{})
	return s
}

// requestOf is a request with values of Authorization, as Caddy has it.
func requestOf(values ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if len(values) > 0 {
		r.Header["Authorization"] = values
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
}

func basic(userpass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userpass))
}

func TestTokenAsThePasswordOfBasic(t *testing.T) {
	t.Parallel()
	raw := base64.RawURLEncoding.EncodeToString([]byte("u?>?:token567"))
	for _, test := range []struct {
		name   string
		values []string
		token  string // "none" where there is none
		left   string
	}{
		{"a token with a user-id", []string{basic("u:token567")}, "token567", ""},
		{"a token without a user-id", []string{basic(":token567")}, "token567", ""},
		{"a token with a user-id that isn't ASCII", []string{basic("ü\x00ü:token567")}, "token567", ""},
		{"the name of the scheme in other letters", []string{strings.Replace(basic("u:token567"), "Basic", "bAsIc", 1)}, "token567", ""},
		{"white space", []string{" Basic \t " + basic("u:token567")[6:] + " "}, "token567", ""},
		{"base64 for URLs, without padding", []string{"Basic " + raw}, "token567", ""},
		{"base64 with characters that aren't", []string{"Basic " + raw[:5] + "\"!" + raw[5:] + "=="}, "token567", ""},
		{"an escaped token", []string{basic("u:t%6fken%3567")}, "token567", ""},
		{"a wrong escape", []string{basic("u:token567%")}, "none", basic("u:token567%")},
		{"a password", []string{basic("u:hunter2")}, "none", basic("u:hunter2")},
		{"a token with more behind it", []string{basic("u:token567:x")}, "none", basic("u:token567:x")},
		{"a token for the user-id", []string{basic("token567:")}, "none", basic("token567:")},
		{"no colon", []string{basic("token567")}, "none", basic("token567")},
		{"nothing", []string{"Basic"}, "none", "Basic"},
		{"what isn't base64", []string{"Basic %%%"}, "none", "Basic %%%"},
		{"another scheme", []string{"Basics " + basic("u:token567")[6:]}, "none", "Basics " + basic("u:token567")[6:]},
		{"a bearer token", []string{"Bearer token567"}, "none", "Bearer token567"},
		{"other credentials in another field", []string{"Bearer eyJ.x.y", basic("u:token567")}, "token567", "Bearer eyJ.x.y"},
		{"other credentials in the same field", []string{"Bearer eyJ.x.y, " + basic("u:token567")}, "token567", "Bearer eyJ.x.y"},
		{"two tokens", []string{basic("u:token567"), basic("u:token568")}, "", ""},
		{"a token and a password", []string{basic("u:token567"), basic("u:hunter2")}, "token567", basic("u:hunter2")},
	} {
		s := sourcesOf(t, FromBasic)
		r := requestOf(test.values...)
		got := s.Take(r, false)
		if got.Value = wordFor(got); got.Value != test.token {
			t.Errorf("%s: took %q, want %q", test.name, got.Value, test.token)
		}
		if left := strings.Join(r.Header["Authorization"], "|"); left != test.left {
			t.Errorf("%s: %q is left, want %q", test.name, left, test.left)
		}
	}
}

func wordFor(token Token) string {
	if !token.Found {
		return "none"
	}
	return token.Value
}

func TestTokensThatAnotherSchemeReadsStayForIt(t *testing.T) {
	t.Parallel()
	s := sourcesOf(t, FromBearer, FromBasic)
	s.AddAuthorization(func(credentials string) bool { return !strings.Contains(credentials, "eyJ") })
	for _, test := range []struct{ value, token, left string }{
		{"Bearer token567", "token567", "Bearer token567"},
		{basic("u:token567"), "token567", basic("u:token567")},
		{`Bearer "token567"`, "none", `Bearer "token567"`}, // which would be a damaged token else
		{"Bearer", "none", "Bearer"},
		{"Bearer eyJ-token567,Bearer token567", "token567", "Bearer eyJ-token567,Bearer token567"},
	} {
		r := requestOf(test.value)
		if got := wordFor(s.Take(r, false)); got != test.token {
			t.Errorf("of %q, %q was taken, want %q", test.value, got, test.token)
		}
		if got := r.Header.Get("Authorization"); got != test.left {
			t.Errorf("of %q, %q is left", test.value, got)
		}
	}
}

// isKey reads `Key …`, in the place of a scheme that tokens know nothing of.
func isKey(credentials string) bool {
	key, ok := AfterScheme(credentials, "Key")
	return ok && key != ""
}

func TestCredentialsOfOtherHandlersAreKeptForThem(t *testing.T) {
	t.Parallel()
	app := new(caddyhttp.App)
	bearers, keys := sourcesOf(t, FromBearer), sourcesOf(t, FromBasic)
	keys.AddAuthorization(isKey)
	t.Cleanup(bearers.Register(app))
	t.Cleanup(keys.Register(app))
	const jwt = "Bearer eyJhbGciOiJub25lIn0.e30."

	r := requestOf(jwt, "Key a,Key b", basic("u:token567"), basic("u:hunter2"), "Bearer token568")
	if got := bearers.Take(r, false); got.Value != "token568" {
		t.Errorf("the first handler took %+v", got)
	}
	if left := strings.Join(r.Header["Authorization"], "|"); left != jwt+"|"+basic("u:hunter2") {
		t.Errorf("the first handler leaves %q", left)
	}
	if got := keys.Take(r, false); got.Value != "token567" {
		t.Errorf("the second handler took %+v", got)
	}
	if taken := TakeAuthorization(r.Header, isKey); !slices.Equal(taken, []string{"Key a", "Key b"}) {
		t.Errorf("the second handler took %q", taken)
	}
	if left := strings.Join(r.Header["Authorization"], "|"); left != jwt+"|"+basic("u:hunter2") {
		t.Errorf("the second handler leaves %q", left)
	}
	if got := keys.Take(r, false); got.Found || len(r.Header["Authorization"]) != 2 {
		t.Errorf("taken once more: %+v, %q", got, r.Header["Authorization"])
	}
}

func TestCredentialsAreRedactedWhereTheyAreLogged(t *testing.T) {
	t.Parallel()
	s := sourcesOf(t, FromBearer, FromBasic)
	s.AddAuthorization(isKey)
	logs := &caddyhttp.Server{Logs: &caddyhttp.ServerLogConfig{ShouldLogCredentials: true}}
	for _, test := range []struct {
		value, want string
		secrets     []string
	}{
		{"Bearer token567", "Bearer REDACTED", []string{"token567"}},
		{basic("u:token567"), "Basic REDACTED", []string{basic("u:token567")[6:], "token567"}},
		{"key\t secret-key ", "key REDACTED", []string{"secret-key"}},
		{"Bearer eyJ.x.y,Key secret-key, Bearer token567", "Bearer eyJ.x.y,Key REDACTED,Bearer REDACTED", []string{"secret-key", "token567"}},
		{"Bearer eyJ.x.y", "Bearer eyJ.x.y", nil},
		{basic("u:hunter2"), basic("u:hunter2"), nil},
	} {
		r := requestOf(test.value)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), logs)
		if isExposed := s.IsExposed(r); isExposed != (test.want != test.value) {
			t.Errorf("%q is exposed: %t", test.value, isExposed)
		}
		if got := s.Redact(r).Header.Get("Authorization"); got != test.want {
			t.Errorf("%q is redacted as %q, want %q", test.value, got, test.want)
		}
		if got := s.Secrets(r); !slices.Equal(got, test.secrets) {
			t.Errorf("the secrets of %q are %q, want %q", test.value, got, test.secrets)
		}
	}
}

func FuzzAuthorizationIsTakenWhole(f *testing.F) {
	for _, value := range []string{"", "Bearer token567", basic("u:token567"), "Key a, Bearer eyJ.x.y,Key", ",,Key\t k,", "Basic " + strings.Repeat("=", 9)} {
		f.Add(value, value)
		f.Add(value, "")
	}
	for _, value := range []string{
		basic("u:token%35%36%37"), basic("token567:"), basic("u:%zz"), basic("\xff\xff>?"), strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(basic("u>>?:token567")),
		"Bearer", "token567", "xx token567 yy", "Bearer eyJhbGciOiJub25lIn0.e30.", "ewJ.e30.x", `Digest username="token567"`,
		strings.Repeat("Key a,", mostCredentials+1) + "Bearer token567",
	} {
		f.Add(value, "")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		s := sourcesOf(t, FromBearer, FromBasic)
		s.AddAuthorization(isKey)
		r := requestOf(one, other)
		if other == "" {
			r = requestOf(one)
		}
		s.Take(r, false)
		TakeAuthorization(r.Header, isKey)
		for _, value := range r.Header["Authorization"] {
			for credentials := range strings.SplitSeq(value, ",") {
				if s.isOurs(credentials) {
					t.Errorf("%q is left of %q and %q", credentials, one, other)
				}
			}
		}
	})
}

func TestReadersOfAuthorizationReadABoundedNumberOfCredentials(t *testing.T) {
	t.Parallel()
	joined := strings.Repeat("JWT x.y.z,", 5000) + " Key secret"
	var fields []string
	for range 5000 {
		fields = append(fields, "JWT x.y.z")
	}
	for name, values := range map[string][]string{"in one field": {joined}, "in many fields": append(fields, "Key secret")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := 0
			isKey := func(credentials string) bool {
				read++
				_, ok := AfterScheme(credentials, "Key")
				return ok
			}
			wantBounded := func(where string) {
				t.Helper()
				if read > mostCredentials {
					t.Errorf("%s has read %d credentials", where, read)
				}
				read = 0
			}
			s := sourcesOf(t, FromBearer)
			s.AddAuthorization(isKey)
			app := new(caddyhttp.App)
			defer s.Register(app)()
			another := sourcesOf(t, FromBearer)
			defer another.Register(app)()

			r := requestOf(values...)
			for _, value := range s.Redact(r).Header["Authorization"] {
				if strings.Contains(value, "secret") {
					t.Error("the logs would show credentials that weren't read")
				}
			}
			wantBounded("Redact")
			s.Secrets(r)
			wantBounded("Secrets")
			if !hasCredentials(r.Header, isKey) {
				t.Error("credentials that weren't read would be logged")
			}
			wantBounded("hasCredentials")
			another.Take(r, false)
			wantBounded("Take of another handler")
			for _, value := range r.Header["Authorization"] {
				if strings.Contains(value, "Key") {
					t.Error("credentials that weren't read would be passed on")
				}
			}
		})
	}
}
