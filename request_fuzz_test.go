package sesame

import (
	"bufio"
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	whatwg "github.com/nlnwa/whatwg-url/url"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// fuzzHandler takes tokens from everywhere, and logs in.
func fuzzHandler(f *testing.F) *gate {
	f.Helper()
	g, err := newRequestGate(&Handler{
		Session:   new(SessionConfig),
		TokenFrom: []TokenSource{{From: claim.FromQuery}, {From: claim.FromBearer}, {From: claim.FromHeader, Name: "X-Token"}},
	}, new(tally))
	if err != nil {
		f.Fatal(err)
	}
	g.confirmer.key = newSigningKey("secret", "confirm")
	return g
}

// receive reads a request as Caddy's server does, or returns nil. The
// fields are lines.
func receive(method, target, fields string) *http.Request {
	fields = strings.ReplaceAll(strings.Trim(fields, "\n"), "\n", "\r\n")
	if fields != "" {
		fields += "\r\n"
	}
	raw := method + " " + target + " HTTP/1.1\r\nHost: site.example\r\n" + fields + "\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil || r.URL == nil {
		return nil
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
}

// FuzzTake takes what identifies the user out of any request. No upstream may be
// able to read a credential that is left, in whatever way it parses; the rest of the
// request must stay as it is.
func FuzzTake(f *testing.F) {
	g := fuzzHandler(f)
	for _, seed := range [][2]string{
		{"/", ""},
		{"/a%2Fb?sesame=T&b=%7e&c=+x&&d", "Cookie: a=1; sesame=S; b=2"},
		{"/?a=1&%73es%61me=%54&sesame=", "Referer: https://site.example/?sesame=T\nX-Original-Url: /?a&sesame=T"},
		{"/?a;sesame=T;b&amp;sesame=T", "Authorization: Bearer T"},
		{"/?b#&sesame=T", "Authorization: Basic dTpw\nauthorization:  bearer T \nAuthorization: Bearerish x"},
		{"/#?sesame=T#&x", "X-Token: T\nRemote_User: admin\nremote.user-id: 1"},
		{"http://other.example//?sesame=T", "X-Token: T\nX-Token: U\nConnection: close, Remote-User,x, remote_email"},
		{"/?sesame=T&sesame_confirm=C", "Cookie: sesame-confirm=N; __Host-sesame=P; sesame = \"S\"\nCookie: sesame"},
		{"/?%zz&sesame=%4", "Trailer: X, Remote-User\nTransfer-Encoding: chunked"},
		{"*", "Content-Length: 3"},
		{"/a;sesame=T/b?page=2&amp%3Bsesame=T&SESAME=U", "Authorization: Basic dTpw, Bearer T\nReferer: /?u=https%3A%2F%2Fx%2F%3Fsesame%3DT"},
		{"/a%3Fsesame%3DT?sesame%253DT&n=%2Fx%3Fsesame%3DT%26b", "Authorization: Bearer eyJh.T.T\nX-A: a;sesame=TTTTTTTT\nCookie: a=%2F%3Fsesame%3DT; b"},
		{"/?+sesame[x]=T&a=1?sesame=T&sesame%00x=T", "Authorization: Bearer \"T\""},
		{"/0", " sesAme=0"}, // goes on with the field Host
	} {
		f.Add(true, seed[0], seed[1])
		f.Add(false, seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, posts bool, target, fields string) {
		method := http.MethodGet
		if posts {
			method = http.MethodPost
		}
		r := receive(method, target, fields)
		if r == nil {
			return // nor does the server take it
		}
		before := r.Clone(r.Context())
		isExposed := g.sources.IsExposed(r)
		c := g.take(r, isExposed)
		g.identity.Remove(r)

		wantTaken(t, before, c)
		wantNothingLeft(t, r)
		wantRestUntouched(t, before, r)
		if given := c.token(); given != nil && given.Given.From != claim.FromBearer && !isExposed {
			t.Errorf("a token from the %s isn't noticed", given.Given.From)
		}
		if again := g.take(r, g.sources.IsExposed(r)); !again.isEmpty() || len(again.confirmation.cookies) > 0 || again.confirmation.signature != "" {
			t.Errorf("taken once more: %+v", again)
		}
	})
}

// parameter is a parameter of a query as a tolerant application reads it.
type parameter struct{ name, value string }

// parametersOf splits a query at the separators and decodes it.
func parametersOf(query, separators string) []parameter {
	var all []parameter
	for _, piece := range strings.FieldsFunc(query, func(c rune) bool { return strings.ContainsRune(separators, c) }) {
		name, value, _ := strings.Cut(piece, "=")
		all = append(all, parameter{decodeLeniently(name), decodeLeniently(value)})
	}
	return all
}

var escapes = regexp.MustCompile("%[0-9A-Fa-f]{2}")

func decodeLeniently(s string) string {
	return escapes.ReplaceAllStringFunc(strings.ReplaceAll(s, "+", " "), func(escape string) string {
		decoded, err := url.PathUnescape(escape)
		if err != nil {
			panic(err)
		}
		return decoded
	})
}

var bearerField = regexp.MustCompile(`(?is)^[ \t]*bearer(?:[ \t]+(.*?))?[ \t]*$`)

// credentialsIn are the elements of Authorization.
func credentialsIn(header http.Header) (all []string) {
	for _, value := range header["Authorization"] {
		all = append(all, strings.Split(value, ",")...)
	}
	return all
}

var tokenCharacters = regexp.MustCompile(`^[A-Za-z0-9_:-]*$`)

// resemblesToken reports whether credentials could be a token's, or hold one.
func resemblesToken(credentials string) bool {
	isJWT := regexp.MustCompile(`^e[yw][A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*\.[A-Za-z0-9_-]*$`).MatchString(credentials)
	return tokenCharacters.MatchString(credentials) || !isJWT && regexp.MustCompile(`[A-Za-z0-9_:-]`).MatchString(credentials)
}

// wantTaken fails the test unless the first source that has a token gave it.
func wantTaken(t *testing.T, before *http.Request, c taken) {
	t.Helper()
	want := claim.Token{}
	for _, p := range parametersOf(before.URL.RawQuery, "&") {
		if p.name == "sesame" {
			want = claim.Token{Value: p.value, From: claim.FromQuery, Found: true}
		}
	}
	if value, ok := rawuri.DamagedParameter(before.URL.RawQuery, "sesame"); ok && !want.Found {
		want = claim.Token{Value: value, From: claim.FromQuery, Found: true}
	}
	for _, value := range credentialsIn(before.Header) {
		bearer := bearerField.FindStringSubmatch(value)
		if bearer != nil && !resemblesToken(bearer[1]) {
			continue
		}
		switch {
		case bearer == nil || want.From == claim.FromQuery:
		case want.Found:
			want.Value = "" // if there are several, none counts
		default:
			want = claim.Token{Value: bearer[1], From: claim.FromBearer, Found: true}
		}
	}
	if values := before.Header["X-Token"]; !want.Found && len(values) > 0 {
		want = claim.Token{From: claim.FromHeader, Found: true}
		if len(values) == 1 {
			want.Value = values[0]
		}
	}
	var got claim.Token
	if given := c.token(); given != nil {
		got = given.Given
	}
	if !want.Found {
		want.From = got.From
	}
	if got != want {
		t.Errorf("took %+v, want %+v", got, want)
	}
	var cookies []string
	for _, credential := range c.ambient {
		cookies = append(cookies, credential.(*authn.SessionCookie).Value())
	}
	for _, cookie := range before.Cookies() {
		if cookie.Name == "sesame" && !slices.Contains(cookies, strings.Trim(cookie.Value, " \t\"")) {
			t.Errorf("the cookie %q is not among %q", cookie.Value, cookies)
		}
	}
	if c.confirmation.signature != "" && before.Method != http.MethodPost {
		t.Error("confirmed without a button")
	}
}

// A token that is left behind a name, in a target and in a header field, where
// short values may be the field's own: a token has seven characters at least.
var (
	leftToken   = regexp.MustCompile(`(?i)(?:^|[^a-z0-9_.-])sesame(?:\[[a-z0-9]*\])?(?:\x00[^=&;?#/]*)?=[a-z0-9]`)
	leftInField = regexp.MustCompile(`(?i)(?:[?&]sesame=[a-z0-9]|(?:^|[^a-z0-9_.-])sesame=[a-z0-9]{7})`)
)

// decodeFully decodes as long as there is something to decode.
func decodeFully(s string) string {
	for {
		decoded := escapes.ReplaceAllStringFunc(s, func(escape string) string {
			c, err := url.PathUnescape(escape)
			if err != nil {
				panic(err)
			}
			return c
		})
		if decoded == s {
			return s
		}
		s = decoded
	}
}

// wantNothingLeft fails the test if an upstream could still read a token, a session,
// or an identity that the gateway hasn't set.
func wantNothingLeft(t *testing.T, r *http.Request) {
	t.Helper()
	original, ok := claim.OriginalRequest(r)
	if !ok {
		t.Fatal("there is no original request")
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	uris := []string{
		r.RequestURI, r.URL.RequestURI(), original.RequestURI, original.URL.RequestURI(),
		repl.ReplaceAll("{http.request.uri}", ""), repl.ReplaceAll("{http.request.orig_uri}", ""),
		"?" + repl.ReplaceAll("{http.request.orig_uri.query}", ""),
	}
	for field, values := range r.Header {
		for _, value := range values {
			if plain := decodeFully(value); field != "Cookie" && leftInField.MatchString(plain) {
				t.Errorf("a token is left in %s: %q, which is %q", field, value, plain)
			}
			if field == "Cookie" && rawuri.Has(value, rawuri.Cookie, []string{"sesame"}) {
				t.Errorf("a token is left in a cookie: %q", value)
			}
		}
	}
	for _, uri := range uris {
		if plain := decodeFully(uri); leftToken.MatchString(plain) {
			t.Errorf("a token is left in %q, which is %q", uri, plain)
		}
		_, query, _ := strings.Cut(uri, "?")
		for _, separators := range []string{"&", "&;"} {
			for _, p := range parametersOf(query, separators) {
				if p.name == "sesame" {
					t.Errorf("a token is left in %q", uri)
				}
			}
		}
	}
	for name, values := range r.Header {
		if isIdentityName(name) {
			t.Errorf("%s: %q is left", name, values)
		}
	}
	for _, value := range credentialsIn(r.Header) {
		if bearer := bearerField.FindStringSubmatch(value); bearer != nil && resemblesToken(bearer[1]) {
			t.Errorf("Authorization: %q is left", value)
		}
	}
	if values, ok := r.Header["X-Token"]; ok {
		t.Errorf("X-Token: %q is left", values)
	}
	for _, value := range r.Header["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			if isIdentityName(option) {
				t.Errorf("Connection: %q is left", value)
			}
		}
	}
	for _, cookie := range r.Cookies() {
		switch cookie.Name {
		case "sesame", "__Host-sesame", "sesame-confirm", "__Host-sesame-confirm":
			t.Errorf("the cookie %s is left", cookie)
		}
	}
	for name := range r.Trailer {
		if isIdentityName(name) {
			t.Errorf("the trailer %s is left", name)
		}
	}
}

var noLetterOrDigit = regexp.MustCompile("[^a-z0-9]+")

// isIdentityName reports whether a server could read a field of this name as an
// identity header field.
func isIdentityName(name string) bool {
	switch noLetterOrDigit.ReplaceAllString(strings.ToLower(name), "") {
	case "remoteuser", "remoteuserid", "remoteemail":
		return true
	}
	return false
}

// wantRestUntouched fails the test unless everything else is as it was.
func wantRestUntouched(t *testing.T, before, after *http.Request) {
	t.Helper()
	names := []string{"sesame", "sesame_confirm"}
	if rawuri.Has(before.URL.RawQuery, rawuri.Query, names) || rawuri.Has(before.URL.EscapedPath(), rawuri.Path, names) {
		for _, name := range names {
			before.URL.RawQuery, _, _ = rawuri.CutParameter(before.URL.RawQuery, name)
		}
		before.URL.RawQuery = rawuri.Cut(before.URL.RawQuery, rawuri.Query, names)
		path := before.URL.EscapedPath()
		if asCame := cmp.Or(before.URL.RawPath, before.URL.Path); rawuri.Has(asCame, rawuri.Path, names) {
			path = rawuri.Blank(path, rawuri.Path, names)
		}
		if path != before.URL.EscapedPath() {
			before.URL.Path, _ = url.PathUnescape(path)
			before.URL.RawPath = path
		}
	}
	before.Host = rawuri.Blank(before.Host, rawuri.Path, names)
	for i, line := range before.Header["Cookie"] {
		before.Header["Cookie"][i] = rawuri.Cut(line, rawuri.Cookie, names)
	}
	changing := []string{"authorization", "proxyauthorization", "connection", "cookie", "xtoken"}
	folded := func(name string) string { return noLetterOrDigit.ReplaceAllString(strings.ToLower(name), "") }
	hasToken := func(value string) bool { return rawuri.Has(value, rawuri.Field, []string{"sesame", "sesame_confirm"}) }
	for name, values := range before.Header {
		if slices.Contains(changing, folded(name)) || isIdentityName(name) || identity.IsTrusted(name) || slices.ContainsFunc(values, hasToken) {
			continue
		}
		if !slices.Equal(values, after.Header[name]) {
			t.Errorf("%s: %q became %q", name, values, after.Header[name])
		}
	}
	var kept []string
	for _, p := range parametersOf(before.URL.RawQuery, "&;") {
		if p.name != "sesame" && p.name != "sesame_confirm" {
			kept = append(kept, p.name)
		}
	}
	if !strings.Contains(before.URL.RawQuery, ";") { // a token behind it may be a part of a value
		var left []string
		for _, p := range parametersOf(after.URL.RawQuery, "&") {
			left = append(left, p.name)
		}
		if !slices.Equal(kept, left) {
			t.Errorf("the query %q became %q", before.URL.RawQuery, after.URL.RawQuery)
		}
	}
	if before.URL.Path != after.URL.Path || before.URL.EscapedPath() != after.URL.EscapedPath() || before.Host != after.Host {
		t.Errorf("%v became %v", before.URL, after.URL)
	}
	isOurs := func(c *http.Cookie) bool {
		name := strings.TrimPrefix(c.Name, "__Host-")
		return name == "sesame" || name == "sesame-confirm"
	}
	others := slices.DeleteFunc(before.Cookies(), isOurs)
	if fmt.Sprint(others) != fmt.Sprint(after.Cookies()) {
		t.Errorf("the cookies %v became %v", others, after.Cookies())
	}
}

// FuzzConfirmed presses the button with any values: only those of the page for this
// token in this browser confirm.
func FuzzConfirmed(f *testing.F) {
	g := fuzzHandler(f)
	f.Add("cookie", "token", "signature")
	f.Add("", "", "")
	f.Add("c", "\x00t", g.confirmer.sign("c", "t", nil))
	f.Fuzz(func(t *testing.T, cookie, made, signature string) {
		if strings.Contains(cookie, "\x00") {
			return // no header field can hold it
		}
		confirmed := func(cookie, made, signature string) bool {
			return g.confirmer.isConfirmed(taken{confirmation: confirmation{signature: signature, cookies: []string{"another", cookie}}}, made, nil)
		}
		right := g.confirmer.sign(cookie, made, nil)
		if got, want := confirmed(cookie, made, right), cookie != ""; got != want {
			t.Errorf("with its own signature: %v, want %v", got, want)
		}
		if signature != right && signature != g.confirmer.sign("another", made, nil) && confirmed(cookie, made, signature) {
			t.Errorf("confirmed by %q", signature)
		}
		if confirmed(cookie+"x", made, right) || confirmed(cookie, made+"x", right) || confirmed("", made, right) {
			t.Error("confirmed for another token, or in another browser")
		}
	})
}

// FuzzOwnURI redirects to any request's own URI. A browser stays on the site,
// and gets to the same path.
func FuzzOwnURI(f *testing.F) {
	g := fuzzHandler(f)
	for _, target := range []string{
		"/", "/a?b", "//evil.example/x", "///evil.example", `/\evil.example`, `\\evil.example`, "/%2fevil.example", "/.//evil.example", "/a/..//evil.example",
		"http://evil.example//evil.example", "http:evil.example", "*", "/?sesame=x", "//evil.example?sesame=x", "/#?sesame=x", "/;@evil.example", "/é\u2028", "/\u3002",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r := receive(http.MethodGet, target, "")
		if r == nil {
			return
		}
		g.take(r, g.sources.IsExposed(r))
		location := ownURI(r)
		wantOnSite(t, location)
		if strings.ContainsFunc(location, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Errorf("%q has a control character", location)
		}
	})
}

// wantOnSite fails the test if a browser that is redirected leaves the site:
// as the WHATWG's URL standard has it, and as net/url does.
func wantOnSite(t *testing.T, location string) {
	t.Helper()
	const page = "https://site.example/dir/page"
	seen, err := whatwg.ParseRef(page, location)
	if err == nil && (seen.Protocol() != "https:" || seen.Host() != "site.example" || seen.Username()+seen.Password() != "") {
		t.Errorf("%q leads to %s", location, seen)
	}
	base, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := base.Parse(location)
	if err == nil && (resolved.Scheme != "https" || resolved.Host != "site.example" || resolved.User != nil) {
		t.Errorf("%q leads to %s", location, resolved)
	}
}

// FuzzChallenge makes a refusal of any reason for any realm: a client must be able
// to parse the challenge.
func FuzzChallenge(f *testing.F) {
	f.Add("the \"app\"", uint8(token.Expired))
	f.Add(`\`, uint8(token.Missing))
	f.Fuzz(func(t *testing.T, realm string, reason uint8) {
		g := &gate{config: &Handler{Realm: realm}}
		g.refuser.g = g
		challenge := g.refuser.bearerChallenge(token.Reason(reason))
		rest, ok := strings.CutPrefix(challenge, "Bearer")
		if !ok {
			t.Fatalf("challenge %q", challenge)
		}
		if realm != "" {
			read, after, ok := cutQuoted(strings.TrimPrefix(rest, " realm="))
			if !ok || read != realm {
				t.Fatalf("challenge %q: realm %q, want %q", challenge, read, realm)
			}
			rest = strings.TrimPrefix(after, ",")
		}
		if rest != "" && !strings.HasPrefix(rest, ` error="invalid_token", error_description="The token is `) {
			t.Errorf("challenge %q", challenge)
		}
	})
}

// cutQuoted reads a quoted string of RFC 9110, section 5.6.4.
func cutQuoted(s string) (text, after string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	var read []byte
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return string(read), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		read = append(read, s[i])
	}
	return "", "", false
}
