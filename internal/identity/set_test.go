package identity

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

var (
	seven = &userstore.User{PrimaryKey: token.IntKey(7)}
	eight = &userstore.User{PrimaryKey: token.IntKey(8)}
)

func newFields(t *testing.T, headers ...Header) *Fields {
	t.Helper()
	fields, err := New(headers, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// newHandled returns a request that Caddy handles, and its replacer.
func newHandled(t *testing.T, header http.Header) (*http.Request, *caddy.Replacer) {
	t.Helper()
	r := newRequest(t, "X-Other", "stays")
	for name, values := range header {
		r.Header[name] = values
	}
	repl := caddy.NewEmptyReplacer()
	return r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)), repl
}

func TestFieldsAndPlaceholdersAreTheUsers(t *testing.T) {
	t.Parallel()
	fields := newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"}, Header{Name: "X-Name", Value: "{http.auth.user.username}"}, Header{Name: "X-Both", Value: "{http.auth.user.id}/{http.auth.user.username}"}, Header{Name: "X-Empty", Value: "{nothing}"})
	r, repl := newHandled(t, nil)
	repl.Set(Placeholder+"id", "set by basic_auth")
	if _, ok := UserOf(r); ok {
		t.Error("there is a user before one is set")
	}
	fields.Set(r, seven, zap.NewNop())
	for name, want := range map[string][]string{"X-Who": {"7"}, "X-Name": {"7"}, "X-Both": {"7/7"}, "X-Empty": nil, "X-Other": {"stays"}} {
		if got := r.Header[name]; !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"id": "7", "username": "7", "email": "", "password": ""} {
		if got, _ := repl.GetString(Placeholder + name); got != want {
			t.Errorf("the placeholder of %s is %q, want %q", name, got, want)
		}
	}
	for _, other := range []string{"http.auth.users", "username", "id"} {
		if value, known := repl.Get(other); known {
			t.Errorf("{%s}, which is another module's, is %v", other, value)
		}
	}
	// A later handler has another user, or a newer row of this one.
	fields.Set(r, eight, zap.NewNop())
	if user, ok := UserOf(r); !ok || user != eight || r.Header.Get("X-Both") != "8/8" {
		t.Errorf("after another user: %v, %q", user, r.Header)
	}
	SetUser(r, seven)
	if got, _ := repl.GetString(Placeholder + "username"); got != "7" {
		t.Errorf("after a newer row the placeholder is %q", got)
	}
	r.Header.Del("X-Who")
	if fields.Restore(r, zap.NewNop()); r.Header.Get("X-Who") != "7" {
		t.Errorf("restored: %q", r.Header)
	}
	alone, repl := newHandled(t, nil) // without basic_auth
	fields.Set(alone, seven, zap.NewNop())
	SetUser(alone, eight)
	if got, _ := repl.GetString(Placeholder + "id"); got != "8" {
		t.Errorf("after a newer row the id is %q", got)
	}
	nobody, _ := newHandled(t, nil)
	if fields.Restore(nobody, zap.NewNop()); len(nobody.Header) != 1 {
		t.Errorf("restored for nobody: %q", nobody.Header)
	}
}

func TestValuesThatNoFieldCarriesAreLeftOutWithAWarning(t *testing.T) {
	t.Parallel()
	for value, isPassed := range map[string]bool{
		"a b": true, "ü": true, "a": true, "a,b": true, "": false,
		" a": false, "a ": false, " ": false, "a\tb": false, "a\nb": false, "a\rb": false, "\x00": false, "a\x7f": false, "\ta": false,
	} {
		logs, seen := observer.New(zapcore.WarnLevel)
		fields := newFields(t, Header{Name: "X-First", Value: "{custom}"}, Header{Name: "X-Second", Value: "{custom}"}, Header{Name: "X-Who", Value: "{http.auth.user.id}"})
		for _, user := range []*userstore.User{seven, seven, eight} {
			r, repl := newHandled(t, nil)
			repl.Set("custom", value)
			fields.Set(r, user, zap.New(logs))
			if got := r.Header["X-Second"]; slices.Equal(got, []string{value}) != isPassed || !isPassed && got != nil {
				t.Errorf("%q is passed as %q", value, got)
			}
			if r.Header.Get("X-Who") != user.ID() {
				t.Errorf("%q: the other field is %q", value, r.Header)
			}
		}
		var warned []string
		for _, entry := range seen.All() {
			context := entry.ContextMap()
			warned = append(warned, context["header"].(string)+" "+context["user"].(string))
		}
		want := []string{"X-First 7", "X-Second 7", "X-First 8", "X-Second 8"}
		if isPassed || value == "" {
			want = nil
		}
		if !slices.Equal(warned, want) {
			t.Errorf("%q: warned of %q, want %q", value, warned, want)
		}
	}
}

// TestFieldsOfHandlersInFrontStay: the client's fields are removed.
func TestFieldsOfHandlersInFrontStay(t *testing.T) {
	t.Parallel()
	outer, inner, third := newFields(t, Header{Name: "Remote-User", Value: "{http.auth.user.id}"}), newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"}), newFields(t, Header{Name: "Remote-Group", Value: "staff"})
	client := http.Header{"Remote-User": {"admin"}, "X-Who": {"admin"}, "Remote-Group": {"admins"}, "Remote-Name": {"admin"}}
	r, _ := newHandled(t, client.Clone())
	for range 2 { // as in a handler that is passed twice
		outer.Remove(r)
		outer.Set(r, seven, zap.NewNop())
	}
	third.Remove(r)
	third.Set(r, seven, zap.NewNop())
	inner.Remove(r)
	if want := (http.Header{"Remote-User": {"7"}, "Remote-Group": {"staff"}, "X-Other": {"stays"}}); !equalHeader(r.Header, want) {
		t.Errorf("%q, want %q", r.Header, want)
	}
	inner.Set(r, seven, zap.NewNop())
	outer.Remove(r) // its own, which it sets again
	if want := (http.Header{"X-Who": {"7"}, "Remote-Group": {"staff"}, "X-Other": {"stays"}}); !equalHeader(r.Header, want) {
		t.Errorf("%q, want %q", r.Header, want)
	}
	known := 0
	for s, _ := caddyhttp.GetVar(r.Context(), settersVar).(*setters); s != nil; s = s.before {
		known++
	}
	if known != 3 {
		t.Errorf("%d handlers are known to have set fields, want 3", known)
	}
}

// TestAssertionOfAHandlerInFrontStays in a field that applications trust, and no
// other such field does.
func TestAssertionOfAHandlerInFrontStays(t *testing.T) {
	t.Parallel()
	outer, inner := newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"}), newFields(t, Header{Name: "X-Me", Value: "{http.auth.user.id}"})
	if err := outer.UseAssertions(newTestAssertions(t, AssertionConfig{Header: "Remote-Assertion"}, nil)); err != nil {
		t.Fatal(err)
	}
	r, _ := newHandled(t, http.Header{"Remote-Assertion": {"client's"}, "Remote-Other": {"client's"}})
	outer.Remove(r)
	outer.Set(r, seven, zap.NewNop())
	r.Header["Remote-Other"] = []string{"another handler's, which is no gateway"}
	inner.Remove(r)
	if got := r.Header.Get("Remote-Assertion"); !strings.HasPrefix(got, "ey") || r.Header["Remote-Other"] != nil || r.Header.Get("X-Who") != "7" {
		t.Errorf("%q", r.Header)
	}
}

// TestTrailersAreRemovedWhenTheyArrive, which is at the end of the body.
func TestTrailersAreRemovedWhenTheyArrive(t *testing.T) {
	t.Parallel()
	fields := newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"})
	r, _ := newHandled(t, nil)
	r.Trailer = http.Header{"X-Checksum": nil, "Remote_User": nil}
	r.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader("body")))
	fields.Remove(r)
	if _, has := r.Trailer["X-Checksum"]; !has || len(r.Trailer) != 1 {
		t.Errorf("announced: %q", r.Trailer)
	}
	trailer := r.Trailer
	for _, name := range []string{"X-Checksum", "X-Who", "remote.user", "Authorization", "Proxy_Authorization"} {
		trailer[name] = []string{"x"} // as net/http does
	}
	first := make([]byte, 1)
	if _, err := r.Body.Read(first); err != nil || len(trailer) != 5 {
		t.Errorf("before the end of the body, %q; %v", trailer, err)
	}
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != "ody" || !equalHeader(trailer, http.Header{"X-Checksum": {"x"}}) {
		t.Errorf("%q, %v; trailers %q", rest, err, trailer)
	}
	r.Body = http.NoBody
	if fields.Remove(r); r.Body != http.NoBody {
		t.Error("a request without a body gets one")
	}
}

func TestConnectionNamesNoFieldOfTheGateway(t *testing.T) {
	t.Parallel()
	fields := newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"})
	for _, test := range []struct{ given, want []string }{
		{[]string{"close,  keep-alive"}, []string{"close,  keep-alive"}},
		{[]string{"X-Who"}, nil},
		{[]string{" x_who\t, remote.user"}, nil},
		{[]string{"close, X-Who", "Keep-Alive,,"}, []string{"close, Keep-Alive"}},
		{[]string{"close", "\tX-WHO"}, []string{"close"}},
		{[]string{"close ,\tX-Who,  keep-alive"}, []string{"close, keep-alive"}},
	} {
		r, _ := newHandled(t, http.Header{"Connection": test.given})
		fields.Remove(r)
		if got, has := r.Header["Connection"]; !slices.Equal(got, test.want) || has != (test.want != nil) {
			t.Errorf("%q became %q, want %q", test.given, got, test.want)
		}
	}
}

func equalHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}

func TestCredentialsOfAProvenUserAreRemovedUnlessTheyArePassed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pass      []string
		name      string
		given     []string
		want      []string
		wantProxy bool
	}{
		{nil, "Basic in a line of its own, and Bearer", []string{"Basic eDp5", "Bearer app"}, []string{"Bearer app"}, false},
		{nil, "Bearer, and Basic in a line of its own", []string{"Bearer app", "Basic eDp5"}, []string{"Bearer app"}, false},
		{nil, "both in one field", []string{"Basic eDp5, Bearer app"}, []string{"Bearer app"}, false},
		{nil, "Basic alone", []string{"basic eDp5"}, nil, false},
		{nil, "Bearer alone", []string{"Bearer app"}, []string{"Bearer app"}, false},
		{nil, "Digest beside another", []string{`Digest username="a, b"`, "Bearer app"}, []string{"Bearer app"}, false},
		{[]string{"Authorization"}, "passed", []string{"Basic eDp5", "Bearer app"}, []string{"Basic eDp5", "Bearer app"}, true},
	} {
		fields := newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"})
		if err := fields.Pass(test.pass); err != nil {
			t.Fatal(err)
		}
		r, _ := newHandled(t, http.Header{"Authorization": test.given, "Proxy-Authorization": {"Basic eDp5"}})
		fields.Set(r, seven, zap.NewNop())
		if got := r.Header["Authorization"]; !slices.Equal(got, test.want) || (r.Header.Get("Proxy-Authorization") != "") != test.wantProxy {
			t.Errorf("%s: %q, want %q; Proxy-Authorization %q", test.name, got, test.want, r.Header["Proxy-Authorization"])
		}
	}
}

func TestNamesThatCantCarryAnIdentityAreRejected(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Host": "another meaning", "content-length": "another meaning", "Transfer-Encoding": "another meaning", "Connection": "another meaning", "Upgrade": "another meaning",
		"Trailer": "another meaning", "TE": "another meaning", "Keep-Alive": "another meaning", "Proxy-Connection": "another meaning", "Content-Type": "another meaning", "Cookie": "another meaning",
		"-X-User": "begins with -", "+X-User": "begins with +", "_": "needs a letter or a digit", "": "not a valid header field name", "X User": "not a valid header field name", "X-User:": "not a valid header field name",
	} {
		_, err := New([]Header{{Name: name, Value: "x"}}, Columns{})
		if err == nil || !strings.HasPrefix(err.Error(), "identity") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	for _, same := range []string{"X-Who", "x_who", "XWho", "X.WHO"} {
		if _, err := New([]Header{{Name: "X-Who", Value: "x"}, {Name: same, Value: "y"}}, Columns{}); err == nil || !strings.Contains(err.Error(), "named twice") {
			t.Errorf("X-Who and %s: %v", same, err)
		}
	}
	for value, want := range map[string]string{
		"{http.auth.user.id": "lacks a brace: write {http.auth.user.id}", "http.auth.user.id}": "lacks a brace: write {http.auth.user.id}", "http.auth.user.}": "write {http.auth.user.}",
		"{http.auth.user.id x}": "lacks a brace: write {http.auth.user.id}", "{http.auth.user.id} {http.auth.user.email": "write {http.auth.user.email}",
		"{username}": "did you mean {http.auth.user.username}", "{user.email}": "did you mean {http.auth.user.email}", "{auth.user.id}": "did you mean {http.auth.user.id}",
	} {
		if _, err := New([]Header{{Name: "X-Who", Value: value}}, Columns{}); err == nil || !strings.HasPrefix(err.Error(), "identity X-Who: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
	for _, value := range []string{
		"{http.request.tls.client.subject}", "{http.request.local.host}", "{http.request.body}", "{http.request.uuid}", "{http.request.header.X-A}", "{http.request.remote.host}",
		"{http.vars.x}", "{http.regexp.x.1}", "{env.X}", "{file./x}", "{system.hostname}", "{time.now}", "{another.module}", "text", "{http.auth.user.id}",
	} {
		if _, err := New([]Header{{Name: "X-Who", Value: value}}, Columns{}); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	groups := Columns{Store: userstore.Config{Groups: new(userstore.GroupsConfig)}}
	fields, err := New(nil, groups)
	if err != nil || !fields.IsOurs("remote_groups") || len(fields.folded) != 4 {
		t.Errorf("with groups the default fields are %q, %v", fields.folded, err)
	}
	if fields, err = New([]Header{{Name: "X-Who", Value: "x"}}, groups); err != nil || !fields.IsOurs("Remote.Groups") {
		t.Errorf("with groups a client can set their default field: %v", err)
	}
}

func TestNamesThatProxiesDropAreTold(t *testing.T) {
	t.Parallel()
	asserting := newTestAssertions(t, AssertionConfig{Header: "X_Assertion"}, nil)
	fields := newFields(t, Header{Name: "X-Who", Value: "x"}, Header{Name: "x_name", Value: "x"}, Header{Name: "X.Mail", Value: "x"}, Header{Name: "X-2", Value: "x"})
	if got := fields.Dropped(); !slices.Equal(got, []string{"X_name", "X.mail"}) {
		t.Errorf("%q", got)
	}
	if err := fields.UseAssertions(asserting); err != nil {
		t.Fatal(err)
	}
	if got := fields.Dropped(); !slices.Equal(got, []string{"X_name", "X.mail", "X_assertion"}) {
		t.Errorf("with an assertion: %q", got)
	}
	if err := newFields(t, Header{Name: "X-Assertion", Value: "x"}).UseAssertions(asserting); err == nil || !strings.HasPrefix(err.Error(), "assertion: header ") {
		t.Errorf("the assertion in the field of another: %v", err)
	}
}
