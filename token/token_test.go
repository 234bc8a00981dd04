package token_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// now is when tokens are made in these tests.
var now = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// user is the user that they are made for.
var user = token.User{
	Password:  new("pbkdf2_sha256$1$salt$6kJAJyOLkPyzBLvWd0n4EsuTnQBkiF6bmYqDa1cZtbM="),
	Email:     new("someone@example.com"),
	LastLogin: new(time.Date(2024, 1, 2, 3, 4, 5, 678901000, time.UTC)),
}

// newTokens makes Tokens of few iterations, with one change to the settings.
func newTokens(tb testing.TB, change func(*token.Settings)) *token.Tokens {
	tb.Helper()
	settings := token.Settings{SecretKey: "secret", Encoding: token.LongPacker, Iterations: 1}
	if change != nil {
		change(&settings)
	}
	tokens, err := token.New(settings)
	if err != nil {
		tb.Fatal(err)
	}
	return tokens
}

func create(tb testing.TB, tokens *token.Tokens, key token.PrimaryKey) string {
	tb.Helper()
	made, err := tokens.Create(key, user, "", now)
	if err != nil {
		tb.Fatal(err)
	}
	return made
}

// check parses and verifies, at the time of making.
func check(tokens *token.Tokens, made string) error {
	parsed, err := tokens.Parse(made, token.Expectation{Now: now})
	if err != nil {
		return err
	}
	return tokens.Verify(&parsed, user)
}

func versions(v ...token.Version) func(*token.Settings) {
	return func(s *token.Settings) { s.Versions = v }
}

func TestParseRejectsWithTheDocumentedReason(t *testing.T) {
	t.Parallel()
	v1 := create(t, newTokens(t, versions(token.V1)), token.IntKey(42))
	v2 := create(t, newTokens(t, nil), token.IntKey(42))
	withAge := func(s *token.Settings) { s.MaxAge = new(time.Minute) }
	v2WithAge := create(t, newTokens(t, withAge), token.IntKey(42))
	for name, test := range map[string]struct {
		change func(*token.Settings)
		token  string
		want   token.Expectation
		reason token.Reason
	}{
		"empty":                      {nil, "", token.Expectation{}, token.Malformed},
		"too short":                  {nil, "AAA", token.Expectation{}, token.Malformed},
		"not base64":                 {nil, v2 + "=", token.Expectation{}, token.Malformed},
		"impossible base64":          {nil, "AAAAA", token.Expectation{}, token.Malformed},
		"line feed":                  {nil, v2 + "\n", token.Expectation{}, token.Malformed},
		"v1 where only v2 passes":    {versions(token.V2), v1, token.Expectation{}, token.Malformed},
		"v2 where only v1 passes":    {versions(token.V1), v2, token.Expectation{}, token.Malformed},
		"v1 without its timestamp":   {withAge, v1, token.Expectation{}, token.Malformed},
		"v1 with a scope":            {nil, v1, token.Expectation{Scope: "s"}, token.ScopeUnsupported},
		"v1 with an age":             {nil, v1, token.Expectation{MaxAge: new(time.Hour)}, token.MaxAgeUnsupported},
		"v1 with another signature":  {nil, v1[:len(v1)-3] + "AAA", token.Expectation{}, token.BadSignature},
		"no key":                     {nil, "AAAA", token.Expectation{}, token.NoPrimaryKey},
		"no timestamp":               {withAge, "AAAAAAAA", token.Expectation{}, token.NoTimestamp},
		"no signature":               {nil, v2[:len(v2)-1], token.Expectation{}, token.NoSignature},
		"timestamp where none is":    {nil, v2WithAge, token.Expectation{}, token.NoSignature},
		"no timestamp where one is":  {withAge, v2, token.Expectation{}, token.NoSignature},
		"expired":                    {withAge, v2WithAge, token.Expectation{Now: now.Add(time.Minute)}, token.Expired},
		"expired by an override":     {withAge, v2WithAge, token.Expectation{Now: now.Add(time.Second), MaxAge: new(time.Second)}, token.Expired},
		"in time":                    {withAge, v2WithAge, token.Expectation{Now: now.Add(59 * time.Second)}, 0},
		"in time by an override":     {withAge, v2WithAge, token.Expectation{Now: now.Add(time.Hour), MaxAge: new(2 * time.Hour)}, 0},
		"override without timestamp": {nil, v2, token.Expectation{Now: now.Add(time.Hour), MaxAge: new(time.Second)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newTokens(t, test.change)
			parsed, err := tokens.Parse(test.token, test.want)
			if test.reason == 0 {
				if err != nil {
					t.Fatalf("Parse: %v", err)
				}
				if err := tokens.Verify(&parsed, user); err != nil {
					t.Errorf("Verify: %v", err)
				}
				return
			}
			if !errors.Is(err, test.reason) {
				t.Errorf("Parse: %v, want %v", err, test.reason)
			}
			// Verify must reject the token with the right row, too, for
			// callers that ignore Parse's error.
			if err := tokens.Verify(&parsed, user); !errors.Is(err, test.reason) {
				t.Errorf("Verify: %v, want %v", err, test.reason)
			}
		})
	}
}

// TestVerifyRejectsWhatWasNotParsed checks the zero value of Parsed.
func TestVerifyRejectsWhatWasNotParsed(t *testing.T) {
	t.Parallel()
	if err := newTokens(t, nil).Verify(new(token.Parsed), user); !errors.Is(err, token.Malformed) {
		t.Errorf("Verify: %v", err)
	}
}

func TestNullInASignedColumnIsIncompleteUser(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version token.Version
		email   bool
		user    token.User
		ok      bool
	}{
		"v2 without password": {token.V2, false, token.User{}, true},
		"v2 without e-mail":   {token.V2, true, token.User{Password: user.Password}, false},
		"v1 without password": {token.V1, false, token.User{}, false},
		"v1 without e-mail":   {token.V1, true, token.User{Password: user.Password}, false},
		"v1 without login":    {token.V1, false, token.User{Password: user.Password}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := newTokens(t, func(s *token.Settings) {
				s.Versions, s.InvalidateOnEmailChange, s.OneTime = []token.Version{test.version}, test.email, true
			})
			if _, err := tokens.Create(token.IntKey(1), test.user, "", now); (err == nil) != test.ok {
				t.Errorf("Create: %v", err)
			} else if err != nil && !errors.Is(err, token.IncompleteUser) {
				t.Errorf("Create: %v is no IncompleteUser", err)
			}
			parsed, err := tokens.Parse(create(t, tokens, token.IntKey(1)), token.Expectation{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			want := token.IncompleteUser
			if test.ok {
				want = token.BadSignature
			}
			if err := tokens.Verify(&parsed, test.user); !errors.Is(err, want) {
				t.Errorf("Verify: %v, want %v", err, want)
			}
		})
	}
}

func TestCreatedIsReadBackFromTokens(t *testing.T) {
	t.Parallel()
	for _, version := range benchmarkVersions {
		t.Run(version.String(), func(t *testing.T) {
			t.Parallel()
			tokens := newTokens(t, versions(version))
			parsed, err := tokens.Parse(create(t, tokens, token.IntKey(1)), token.Expectation{Now: now})
			if at, ok := parsed.Created(); err != nil || ok || !at.IsZero() {
				t.Errorf("without max_age: created %v %v, %v", at, ok, err)
			}
			if parsed.Version() != version {
				t.Errorf("version %v", parsed.Version())
			}

			tokens = newTokens(t, func(s *token.Settings) {
				s.Versions, s.MaxAge = []token.Version{version}, new(time.Minute)
			})
			parsed, err = tokens.Parse(create(t, tokens, token.IntKey(1)), token.Expectation{Now: now.Add(time.Hour)})
			if !errors.Is(err, token.Expired) {
				t.Errorf("Parse: %v", err)
			}
			if at, ok := parsed.Created(); !ok || !at.Equal(now) {
				t.Errorf("with max_age: created %v %v", at, ok)
			}
		})
	}
}

// TestTimesThatATokenCannotHoldAreRejected: the timestamp of v2 has 32 bits from 2020 on, that of
// v1 starts in 1970.
func TestTimesThatATokenCannotHoldAreRejected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		version token.Version
		year    int
		ok      bool
	}{
		{token.V2, 1951, false},
		{token.V2, 1953, true},
		{token.V2, 2087, true},
		{token.V2, 2089, false},
		{token.V1, 1969, false},
		{token.V1, 2089, true},
	} {
		tokens := newTokens(t, func(s *token.Settings) {
			s.Versions, s.MaxAge = []token.Version{test.version}, new(time.Minute)
		})
		_, err := tokens.Create(token.IntKey(1), user, "", time.Date(test.year, 1, 1, 0, 0, 0, 0, time.UTC))
		if (err == nil) != test.ok {
			t.Errorf("%v in %d: %v", test.version, test.year, err)
		}
	}
}

// TestWorkDoesNotGrowWithTheToken measures the work for very long tokens.
func TestWorkDoesNotGrowWithTheToken(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, func(s *token.Settings) { s.Encoding = token.StrPacker })
	for _, made := range []string{
		strings.Repeat("A", 433), // longer than the largest v2 token
		strings.Repeat("A", 1<<20),
		strings.Repeat("A", 1<<20) + ":" + strings.Repeat("A", 27),
		strings.Repeat(":", 1<<20),
	} {
		if err := check(tokens, made); err == nil {
			t.Errorf("accepted %d characters", len(made))
		}
	}

	largest := newTokens(t, func(s *token.Settings) {
		s.Encoding, s.SignatureSize, s.MaxAge, s.Digest = token.StrPacker, 64, new(time.Minute), "sha512"
	})
	settings := largest.Settings()
	settings.Versions = []token.Version{token.V1, token.V2}
	largestV1, err := token.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, tokens := range []*token.Tokens{largest, largestV1} {
		made := create(t, tokens, token.StringKey(strings.Repeat("x", 255)))
		if err := check(tokens, made); err != nil {
			t.Errorf("the largest token, of %d characters: %v", len(made), err)
		}
	}
}

func TestTokensOfFormerKeysAreAccepted(t *testing.T) {
	t.Parallel()
	for _, version := range benchmarkVersions {
		t.Run(version.String(), func(t *testing.T) {
			t.Parallel()
			keys := func(secret string, fallbacks ...string) *token.Tokens {
				return newTokens(t, func(s *token.Settings) {
					s.Versions, s.SecretKey, s.SecretKeyFallbacks = []token.Version{version}, secret, fallbacks
				})
			}
			before := create(t, keys("old"), token.IntKey(1))
			for name, test := range map[string]struct {
				tokens *token.Tokens
				ok     bool
			}{
				"same key":        {keys("old"), true},
				"fallback":        {keys("new", "old"), true},
				"second fallback": {keys("new", "other", "old"), true},
				"rotated out":     {keys("new", "other"), false},
			} {
				switch err := check(test.tokens, before); {
				case test.ok && err != nil:
					t.Errorf("%s: %v", name, err)
				case !test.ok && !errors.Is(err, token.BadSignature):
					t.Errorf("%s: %v, want %v", name, err, token.BadSignature)
				}
			}
			if err := check(keys("old"), create(t, keys("new", "old"), token.IntKey(1))); err == nil {
				t.Error("a fallback has signed")
			}
		})
	}
}

// TestSmallKeysStartWithAA: users often ask why tokens begin so.
func TestSmallKeysStartWithAA(t *testing.T) {
	t.Parallel()
	for _, version := range benchmarkVersions {
		tokens := newTokens(t, versions(version))
		for _, n := range []int64{1, 42, 1<<12 - 1, 1<<20 - 1} {
			if made := create(t, tokens, token.IntKey(n)); !strings.HasPrefix(made, "AA") {
				t.Errorf("%v for %d: %s", version, n, made)
			}
		}
	}
}

// TestTokensAreSharedAmongGoroutines uses one Tokens in several goroutines,
// for the race detector, and checks that they don't share scratch memory.
func TestTokensAreSharedAmongGoroutines(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, func(s *token.Settings) { s.SecretKeyFallbacks = []string{"old"} })
	v1 := newTokens(t, versions(token.V1, token.V2))
	var group sync.WaitGroup
	for n := range int64(16) {
		group.Go(func() {
			user := token.User{Password: new(strings.Repeat("p", int(n)))}
			other := token.User{Password: new(strings.Repeat("p", int(n)+1))}
			for range 200 {
				for _, from := range []*token.Tokens{tokens, v1} {
					made, err := from.Create(token.IntKey(n), user, "", now)
					if err != nil {
						t.Error(err)
						return
					}
					parsed, err := tokens.Parse(made, token.Expectation{Now: now})
					if err != nil || parsed.PrimaryKey() != token.IntKey(n) {
						t.Errorf("user %d: parsed %v, %v", n, parsed.PrimaryKey(), err)
						return
					}
					if err := tokens.Verify(&parsed, user); err != nil {
						t.Errorf("user %d: %v", n, err)
					}
					if err := tokens.Verify(&parsed, other); !errors.Is(err, token.BadSignature) {
						t.Errorf("another row than %d: %v", n, err)
					}
				}
			}
		})
	}
	group.Wait()
}
