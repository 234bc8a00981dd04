package token_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// settingsOf returns the settings of a site with the given changes.
type settingsOf []func(*token.Settings)

func (changes settingsOf) tokens(t *testing.T) *token.Tokens {
	t.Helper()
	return newTokens(t, func(s *token.Settings) {
		for _, change := range changes {
			change(s)
		}
	})
}

func aged(s *token.Settings)    { s.MaxAge = new(10 * time.Minute) }
func oneTime(s *token.Settings) { s.OneTime = true }
func onlyV1(s *token.Settings)  { s.Versions = []token.Version{token.V1} }
func onlyV2(s *token.Settings)  { s.Versions = []token.Version{token.V2} }
func uuids(s *token.Settings)   { s.Encoding = token.UUIDPacker }
func bigint(s *token.Settings)  { s.Encoding = token.LongLongPacker }
func otherSecret(s *token.Settings) {
	s.SecretKey = "another"
}

func otherKey(s *token.Settings) { s.Key = "another" }

// hashed returns a user with this password hash.
func hashed(hash string) token.User {
	return token.User{Password: new("pbkdf2_sha256$1$salt$" + hash), LastLogin: user.LastLogin}
}

var someUUID = token.UUIDKey([16]byte{0x2f, 0x1d, 0x9b, 0x1e, 0x9d, 0x2e, 0x4b, 0xd0, 0xa6, 0xb3, 0x2d, 0x6d, 0x2b, 0x1f, 0x0e, 0x6e})

// lookupBroken has user 1, user 2, and user 3, who is inactive.
func lookupBroken(pk token.PrimaryKey) (*token.Row, error) {
	if pk.Kind() != token.KindInt || pk.Int() < 1 || pk.Int() > 3 {
		return nil, nil
	}
	return &token.Row{User: hashed([]string{"one", "two", "three"}[pk.Int()-1]), Active: pk.Int() < 3}, nil
}

// broken is a token, and all causes that its explanation must have.
type broken struct {
	name  string
	here  settingsOf
	made  settingsOf // by default, as here
	pk    token.PrimaryKey
	user  *token.User
	scope string
	age   time.Duration // by default a minute
	edit  func(made string) string
	want  string   // certain or likely causes, in alphabetical order
	maybe []string // some of the possible causes
	none  bool     // there must be no possible causes
}

func (b *broken) explain(t *testing.T) *token.Explanation {
	t.Helper()
	if b.made == nil {
		b.made = b.here
	}
	if b.pk.IsZero() {
		b.pk = token.IntKey(1)
	}
	if b.user == nil {
		b.user = new(hashed("one"))
	}
	if b.age == 0 {
		b.age = time.Minute
	}
	text, err := b.made.tokens(t).Create(b.pk, *b.user, b.scope, now.Add(-b.age))
	if err != nil {
		t.Fatal(err)
	}
	if b.edit != nil {
		text = b.edit(text)
	}
	explained, err := b.here.tokens(t).Explain(text, token.Expectation{Now: now}, token.ExplainCandidates{}, lookupBroken)
	if err != nil {
		t.Fatal(err)
	}
	return explained
}

func (b *broken) check(t *testing.T) {
	t.Helper()
	explained := b.explain(t)
	sure := append(causes(explained, token.Certain), causes(explained, token.Likely)...)
	slices.Sort(sure)
	possible := causes(explained, token.Possible)
	var got []string
	for _, cause := range slices.Compact(sure) {
		got = append(got, string(cause))
	}
	if strings.Join(got, " ") != b.want {
		t.Errorf("certain or likely are %q, want %q", got, b.want)
	}
	for _, cause := range b.maybe {
		if !slices.Contains(possible, token.Cause(cause)) {
			t.Errorf("%s isn't possible", cause)
		}
	}
	if b.none && len(possible) > 0 {
		t.Errorf("%s is possible", possible)
	}
	for _, finding := range explained.Findings {
		if finding.Remedy == "" {
			t.Errorf("%s has no remedy", finding.Cause)
		}
	}
	if t.Failed() {
		t.Log(explained)
	}
}

// TestExplainNamesOnlyPossibleCauses explains tokens that are broken in one way: it
// names this cause, and no impossible one.
func TestExplainNamesOnlyPossibleCauses(t *testing.T) {
	t.Parallel()
	plain := settingsOf{}
	withAge := settingsOf{aged}
	deleted, changed := token.IntKey(7), new(hashed("former"))
	afterLogin := token.User{Password: hashed("one").Password, LastLogin: new(user.LastLogin.Add(-time.Hour))}
	tests := []broken{
		{name: "deleted user", here: withAge, pk: deleted, want: "unknown_user", none: true},
		{name: "deleted user without max_age", here: plain, pk: deleted, want: "unknown_user", none: true},
		{name: "deleted user with a large key", here: withAge, pk: token.IntKey(70000), want: "unknown_user", none: true},
		{name: "deleted user and a scope", here: withAge, pk: deleted, scope: "report", want: "unknown_user", none: true},
		{name: "deleted user, expired", here: withAge, pk: deleted, age: time.Hour, want: "expired unknown_user", none: true},
		{name: "deleted user, one-time", here: settingsOf{aged, oneTime}, pk: deleted, want: "unknown_user", none: true},
		{name: "deleted user and another secret", here: withAge, made: settingsOf{aged, otherSecret}, pk: deleted, want: "unknown_user", none: true},
		{name: "deleted user of a bigint", here: settingsOf{aged, bigint}, pk: deleted, want: "unknown_user", none: true},
		{name: "deleted user of a UUID", here: settingsOf{aged, uuids}, pk: someUUID, want: "unknown_user", none: true},
		{name: "deleted user, max_age there only", here: plain, made: withAge, pk: deleted, want: "other_max_age unknown_user"},
		{name: "deleted user, max_age here only", here: withAge, made: plain, pk: deleted, want: "other_max_age unknown_user"},
		{name: "deleted user, bigint there", here: withAge, made: settingsOf{aged, bigint}, pk: deleted, want: "other_packer unknown_user", none: true},
		{name: "deleted user, v1", here: settingsOf{aged, onlyV1}, pk: deleted, want: "unknown_user", none: true},
		{name: "another secret", here: withAge, made: settingsOf{aged, otherSecret}, want: "", maybe: []string{"other_secret_key", "password_changed"}},
		{name: "another SESAME_KEY", here: withAge, made: settingsOf{aged, otherKey}, want: "", maybe: []string{"other_key"}},
		{name: "another scope", here: withAge, scope: "unknown", want: "", maybe: []string{"other_scope"}},
		{name: "max_age there only", here: plain, made: withAge, want: "other_max_age", none: true},
		{name: "max_age here only", here: withAge, made: plain, want: "other_max_age", none: true},
		{name: "expired", here: withAge, age: time.Hour, want: "expired", none: true},
		{name: "from a clock that is ahead", here: withAge, age: -3 * time.Hour, want: "from_future", none: true},
		{name: "new password", here: withAge, user: changed, want: "", maybe: []string{"password_changed"}},
		{name: "new password, v1", here: settingsOf{aged, onlyV1}, user: changed, want: "password_changed"},
		{name: "inactive user", here: withAge, pk: token.IntKey(3), user: new(hashed("three")), want: "inactive_user", none: true},
		{name: "inactive user, expired", here: withAge, pk: token.IntKey(3), user: new(hashed("three")), age: time.Hour, want: "expired inactive_user", none: true},
		{name: "used", here: settingsOf{oneTime}, user: &afterLogin, want: "", maybe: []string{"used"}},
		{name: "v1 where only v2 is accepted", here: settingsOf{aged, onlyV2}, made: settingsOf{aged, onlyV1}, want: "version_not_accepted", none: true},
		{name: "v2 where only v1 is accepted", here: settingsOf{aged, onlyV1}, made: withAge, want: "version_not_accepted", none: true},
		{name: "UUIDs there", here: withAge, made: settingsOf{aged, uuids}, pk: someUUID, want: "other_packer"},
		{name: "UUIDs here", here: settingsOf{aged, uuids}, made: withAge, want: "other_packer", none: true},
		{name: "bigint there", here: withAge, made: settingsOf{aged, bigint}, want: "other_packer", none: true},
		{name: "another size of signatures", here: withAge, made: settingsOf{aged, func(s *token.Settings) { s.SignatureSize = 16 }}, want: "other_signature_size", none: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.check(t)
		})
	}
}

// TestExplainNamesDamageOnTheWay explains tokens and links that mail programs,
// browsers or users have changed.
func TestExplainNamesDamageOnTheWay(t *testing.T) {
	t.Parallel()
	link := func(text string) func(string) string {
		return func(made string) string { return strings.ReplaceAll(text, "TOKEN", made) }
	}
	cut := func(n int) func(string) string { return func(made string) string { return made[:len(made)-n] } }
	v1 := settingsOf{aged, onlyV1}
	both := settingsOf{aged}
	tests := []broken{
		{name: "one character cut", edit: cut(1), want: "cut_short", none: true},
		{name: "half cut", edit: cut(10), want: "cut_short", none: true},
		{name: "nearly all cut", edit: cut(18), want: "cut_short", maybe: []string{"not_a_token"}},
		{name: "v1 cut in its signature", here: both, made: v1, edit: cut(5), want: "cut_short", none: true},
		{name: "v1 cut at the second colon", here: both, made: v1, edit: cut(28), want: "cut_short", none: true},
		{name: "v1 cut in its data", here: both, made: v1, edit: cut(38), want: "cut_short", none: true},
		{name: "wrapped", edit: func(s string) string { return s[:9] + "\r\n  " + s[9:] }, want: "whitespace", none: true},
		{name: "wrapped in a reply", edit: func(s string) string { return "> https://a.example/?sesame=" + s[:9] + "\n> " + s[9:] }, want: "url whitespace", none: true},
		{name: "source of a mail", edit: func(s string) string { return "https://a.example/?sesame=3D" + s[:9] + "=\r\n" + s[9:] }, want: "quoted_printable url", none: true},
		{name: "3D of a mail's source", edit: link("3DTOKEN"), want: "quoted_printable", none: true},
		{name: "full stop", edit: link("TOKEN."), want: "trailing_characters", none: true},
		{name: "angle brackets", edit: link("<https://a.example/?sesame=TOKEN>"), want: "trailing_characters url", none: true},
		{name: "quotation marks", edit: link("“TOKEN”"), want: "leading_characters trailing_characters", none: true},
		{name: "Markdown", edit: link("[log in](https://a.example/?sesame=TOKEN)."), want: "trailing_characters url", none: true},
		{name: "a letter behind it", edit: link("TOKENx"), want: "trailing_characters", none: true},
		{name: "a word behind it", edit: link("TOKENHello"), want: "trailing_characters", none: true},
		{name: "given twice", edit: link("TOKENTOKEN"), want: "trailing_characters", none: true},
		{name: "HTML", edit: link("https://a.example/?a=b&amp;sesame=TOKEN&amp;c=d"), want: "html_escaped url", none: true},
		{name: "HTML in numbers", edit: link("https://a.example/?a=b&#38;sesame&#61;TOKEN"), want: "html_escaped url", none: true},
		{name: "percent-encoded separator", edit: link("https://a.example/?sesame%3DTOKEN"), want: "percent_encoded url", none: true},
		{name: "percent-encoded twice", edit: link("https%253A%252F%252Fa.example%252F%253Fsesame%253DTOKEN"), want: "percent_encoded url", none: true},
		{name: "nested in another parameter", edit: link("https://a.example/login?next=%2Fx%3Fsesame%3DTOKEN"), want: "percent_encoded url", none: true},
		{name: "v1 percent-encoded twice", here: both, made: v1, edit: func(s string) string { return strings.ReplaceAll(s, ":", "%253A") }, want: "percent_encoded", none: true},
		{name: "lower case", edit: strings.ToLower, want: "case_changed", none: true},
		{name: "upper case", edit: strings.ToUpper, want: "case_changed", none: true},
		{name: "padding", edit: link("TOKEN=="), want: "padding", none: true},
		{name: "appended with ?", edit: link("https://a.example/?sesame=TOKEN?utm_source=news&utm_medium=mail"), want: "appended_parameters url", none: true},
		{name: "appended with ?, percent-encoded", edit: link("https://a.example/?sesame=TOKEN%3Futm_source%3Dnews"), want: "appended_parameters percent_encoded url", none: true},
		{name: "appended to the token", edit: link("TOKEN?utm_source=news"), want: "appended_parameters", none: true},
		{name: "appended to the token with &", edit: link("TOKEN&utm_source=news"), want: "appended_parameters", none: true},
		{name: "parameter of another name", edit: link("https://a.example/?token=TOKEN"), want: "other_parameter url", none: true},
		{name: "parameter in capital letters", edit: link("https://a.example/?SESAME=TOKEN"), want: "other_parameter url", none: true},
		{name: "parameter of django-sesame before 2.0", edit: link("https://a.example/?url_auth_token=TOKEN"), want: "other_parameter url", none: true},
		{name: "in the path", edit: link("https://a.example/login/TOKEN"), want: "other_parameter url", none: true},
		{name: "behind #", edit: link("https://a.example/#sesame=TOKEN"), want: "other_parameter url", none: true},
		{name: "header field", edit: link("Authorization: Bearer TOKEN"), want: "header_field", none: true},
		{name: "letter replaced", edit: func(s string) string { return s[:15] + string(s[15]^1) + s[16:] }, want: "altered", none: true},
		{name: "letters swapped", edit: func(s string) string { return s[:11] + s[12:13] + s[11:12] + s[13:] }, want: "altered", none: true},
		{name: "first letter missing", edit: func(s string) string { return s[1:] }, want: "cut_start", none: true},
	}
	for _, test := range tests {
		if test.here == nil {
			test.here = both
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.check(t)
		})
	}
}

// TestExplainRecognizesOtherKindsOfText explains texts that aren't tokens.
func TestExplainRecognizesOtherKindsOfText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"JWT", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "JSON Web Token"},
		{"Bearer and a JWT", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "JSON Web Token"},
		{"Authorization with a JWT", "Authorization: bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "JSON Web Token"},
		{"Basic", "Basic YWxpY2U6c2VjcmV0", "HTTP Basic"},
		{"password hash", *user.Password, "password hash"},
		{"Argon2", "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdA$aGFzaA", "password hash"},
		{"unusable password", "!mDvFZbq1Xe0VbhC3Y2nJm8bCkqHJd0r1nTQw6xEo", "unusable password"},
		{"signed cookie", ".eJxVjDsOwjAQBe_iGlle_-JQ0ucM0a53:1rXyzA:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "Django has signed"},
		{"password reset", "c5x8k2-8a1f4b2c3d4e5f60718293a4b5c6d7e8", "password reset"},
		{"session ID", "gq3hcbfzs1rdpqhpn4wmz1k5r2qvw9xa", "sessionid"},
		{"CSRF token", "dHk2vE8hC4VxJd0T7s1mKf3ZbQ9wRYuNpLoIaXgSjAqWeMn6BzP5UcDtGrFyHiOk", "CSRF"},
		{"REST framework", "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", "REST framework"},
		{"UUID", "2f1d9b1e-9d2e-4bd0-a6b3-2d6d2b1f0e6e", "UUID"},
		{"number", "42", "number"},
		{"address", "alice@example.com", "e-mail address"},
		{"template", "https://a.example/?sesame={{ token }}", "wasn't filled in"},
		{"None", "https://a.example/?sesame=None", "had none"},
		{"URL", "https://a.example/reports/7", "no token is in it"},
		{"empty parameter", "https://a.example/?sesame=", "no token is in it"},
		{"nothing", "", "is empty"},
		{"white space", " \r\n", "is empty"},
		{"base64 of text", base64.StdEncoding.EncodeToString([]byte("hello world, this is")), "characters of a token"},
		{"sentence", "please log me in", "sentence"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			explained, err := settingsOf{aged}.tokens(t).Explain(test.text, token.Expectation{Now: now}, token.ExplainCandidates{}, lookupBroken)
			if err != nil {
				t.Fatal(err)
			}
			last := explained.Findings[len(explained.Findings)-1]
			if explained.Reason != token.Malformed && explained.Reason.Public() != "malformed" || !strings.Contains(last.Text, test.want) {
				t.Errorf("not explained by %q:\n%s", test.want, explained)
			}
		})
	}
}
