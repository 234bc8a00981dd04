package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// explainCase is a token that django-sesame made, and the causes of its
// rejection. See testdata/explain.py, which makes them.
type explainCase struct {
	Name          string         `json:"name"`
	Here          vectorSettings `json:"here"`
	Token         string         `json:"token"`
	Made          string         `json:"made"`
	Now           int64          `json:"now"`
	ExpectedScope string         `json:"expected_scope"`
	User          *struct {
		vectorUser
		Inactive bool `json:"inactive"`
	} `json:"user"`
	Candidates struct {
		Scopes     []string          `json:"scopes"`
		Keys       []string          `json:"keys"`
		SecretKeys []string          `json:"secret_keys"`
		Fields     []string          `json:"fields"`
		Salts      []string          `json:"salts"`
		Iterations []int             `json:"iterations"`
		Packers    map[string]string `json:"packers"`
		User       *vectorKey        `json:"user"`
	} `json:"candidates"`
	Verdict  string        `json:"verdict"` // * for any except valid
	Certain  []token.Cause `json:"certain"`
	Likely   []token.Cause `json:"likely"`
	Possible []token.Cause `json:"possible"`
}

func TestExplainNamesTheCauses(t *testing.T) {
	t.Parallel()
	for _, c := range explainCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			explained := c.explain(t)
			if explained.Verdict != c.Verdict && (c.Verdict != "*" || explained.Reason == 0) {
				t.Errorf("verdict %s, want %s", explained.Verdict, c.Verdict)
			}
			if got := causes(explained, token.Certain); !slices.Equal(got, c.Certain) {
				t.Errorf("certain: %s, want %s", got, c.Certain)
			}
			for certainty, want := range map[token.Certainty][]token.Cause{token.Likely: c.Likely, token.Possible: c.Possible} {
				got := causes(explained, certainty)
				for _, cause := range want {
					if !slices.Contains(got, cause) {
						t.Errorf("%s: %s, want %s among them", certainty, got, cause)
					}
				}
			}
			if len(c.Likely) > 0 && len(c.Certain) == 0 && !slices.Contains(c.Likely, explained.Findings[0].Cause) {
				t.Errorf("the first finding is %s, want one of %s", explained.Findings[0].Cause, c.Likely)
			}
			if t.Failed() {
				t.Log(explained)
			}
			c.checkSecrets(t, explained)
		})
	}
}

// causes returns the causes of a certainty, in order.
func causes(e *token.Explanation, certainty token.Certainty) []token.Cause {
	found := []token.Cause{}
	for _, f := range e.Findings {
		if f.Certainty == certainty && !slices.Contains(found, f.Cause) {
			found = append(found, f.Cause)
		}
	}
	slices.Sort(found)
	return found
}

func explainCases(tb testing.TB) []explainCase {
	tb.Helper()
	raw, err := os.ReadFile("testdata/explain.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct {
		Cases []explainCase `json:"cases"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		tb.Fatal(err)
	}
	return file.Cases
}

func (c *explainCase) explain(t *testing.T) *token.Explanation {
	t.Helper()
	tokens, err := token.New((&vectorCase{Settings: c.Here}).settings(t))
	if err != nil {
		t.Fatal(err)
	}
	candidates := token.ExplainCandidates{
		Scopes: c.Candidates.Scopes, Keys: c.Candidates.Keys, SecretKeys: c.Candidates.SecretKeys,
		PrimaryKeyFields: c.Candidates.Fields, Salts: c.Candidates.Salts, Iterations: c.Candidates.Iterations,
	}
	candidates.Packers = make(map[string]token.Packer)
	for path, name := range c.Candidates.Packers {
		if candidates.Packers[path], err = token.PackerByName(name); err != nil {
			t.Fatal(err)
		}
	}
	if c.Candidates.User != nil {
		candidates.User = c.Candidates.User.key(t)
	}
	lookup := func(pk token.PrimaryKey) (*token.Row, error) {
		if c.User == nil || c.User.PrimaryKey.key(t).String() != pk.String() {
			return nil, nil
		}
		return &token.Row{User: c.User.user(t), Active: !c.User.Inactive}, nil
	}
	want := token.Expectation{Scope: c.ExpectedScope, Now: time.Unix(c.Now, 0)}
	explained, err := tokens.Explain(c.Token, want, candidates, lookup)
	if err != nil {
		t.Fatal(err)
	}
	return explained
}

// checkSecrets searches an explanation for secrets.
func (c *explainCase) checkSecrets(t *testing.T, e *token.Explanation) {
	t.Helper()
	encoded, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(encoded) + e.String()
	secrets := []string{c.Here.SecretKey, c.Here.Key, c.Token, c.Made}
	if len(c.Made) > 12 {
		secrets = append(secrets, c.Made[len(c.Made)-12:])
	}
	if c.User != nil && c.User.Password != nil {
		secrets = append(secrets, *c.User.Password, (*c.User.Password)[len(*c.User.Password)-20:])
	}
	for _, secret := range append(secrets, c.Candidates.SecretKeys...) {
		if len(secret) > 3 && strings.Contains(shown, secret) {
			t.Errorf("a secret is shown:\n%s", shown)
		}
	}
}

// TestExplainCasesAreDjangoSesames generates the cases again with the real
// django-sesame.
func TestExplainCasesAreDjangoSesames(t *testing.T) {
	t.Parallel()
	source := testprogram.Sesame(t)
	cmd := exec.Command(testprogram.Python(t, "django"), "testdata/explain.py")
	cmd.Env = testprogram.SesameEnv(source)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	made, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	committed, err := os.ReadFile("testdata/explain.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, committed) {
		t.Error("testdata/explain.json isn't what testdata/explain.py makes with this django-sesame")
	}
}

func TestExplainReturnsTheErrorOfALookup(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, nil)
	made := create(t, tokens, token.IntKey(42))
	away := errors.New("the database is away")
	_, err := tokens.Explain(made, token.Expectation{Now: now}, token.ExplainCandidates{}, func(token.PrimaryKey) (*token.Row, error) {
		return nil, away
	})
	if !errors.Is(err, away) {
		t.Errorf("got %v, want the lookup's error", err)
	}
}

// A column of integers can't be asked for a UUID.
func TestExplainIgnoresErrorsForKeysOfAnotherKind(t *testing.T) {
	t.Parallel()
	uuids := newTokens(t, func(s *token.Settings) { s.Encoding = token.UUIDPacker })
	id := token.UUIDKey([16]byte{6: 0x4f, 8: 0x8a})
	made := create(t, uuids, id)
	explained, err := newTokens(t, nil).Explain(made, token.Expectation{Now: now}, token.ExplainCandidates{}, func(pk token.PrimaryKey) (*token.Row, error) {
		if pk.Kind() == token.KindUUID {
			return nil, errors.New("the column holds no UUIDs")
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := explained.Findings[0]; got.Cause != token.CausePacker || got.Certainty != token.Likely {
		t.Errorf("first finding: %+v", got)
	}
}

// The numbers of signatures, iterations and lookups are bounded.
func TestExplainIsBounded(t *testing.T) {
	t.Parallel()
	candidates := token.ExplainCandidates{User: token.IntKey(7)}
	for range 2000 {
		candidates.Scopes = append(candidates.Scopes, strings.Repeat("s", len(candidates.Scopes)+1))
		candidates.Iterations = append(candidates.Iterations, 100_000+len(candidates.Iterations))
	}
	for name, version := range map[string]token.Version{"v1": token.V1, "v2": token.V2} {
		other := newTokens(t, func(s *token.Settings) {
			s.SecretKey, s.Versions, s.Iterations = "other", []token.Version{version}, 2
		})
		made := create(t, other, token.IntKey(42))
		lookups := 0
		explained, err := newTokens(t, nil).Explain(made, token.Expectation{Now: now}, candidates, func(token.PrimaryKey) (*token.Row, error) {
			lookups++
			return &token.Row{User: user, Active: true}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !explained.Incomplete || lookups > 40 {
			t.Errorf("%s: incomplete %v, %d lookups", name, explained.Incomplete, lookups)
		}
	}
}

// A signature of one byte matches by accident once in 256 times: nothing is
// certain.
func TestExplainIsNotCertainByShortSignatures(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, func(s *token.Settings) { s.SignatureSize = 1 })
	other := newTokens(t, func(s *token.Settings) { s.SignatureSize, s.SecretKey = 1, "other" })
	for id := range int64(50) {
		made := create(t, other, token.IntKey(id+1))
		explained, err := tokens.Explain(made, token.Expectation{Now: now}, token.ExplainCandidates{}, func(token.PrimaryKey) (*token.Row, error) {
			return &token.Row{User: user, Active: true}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if certain := causes(explained, token.Certain); len(certain) > 0 {
			t.Errorf("key %d: certain of %s", id, certain)
		}
	}
}

// A max_age that the caller overrides applies to the age, in v2 only.
func TestExplainUsesAnOverriddenMaxAge(t *testing.T) {
	t.Parallel()
	for version, want := range map[token.Version]token.Cause{token.V1: token.CauseMaxAgeOfV1, token.V2: token.CauseExpired} {
		tokens := newTokens(t, func(s *token.Settings) {
			s.MaxAge, s.Versions = new(time.Hour), []token.Version{version}
		})
		made := create(t, tokens, token.IntKey(42))
		expectation := token.Expectation{Now: now.Add(2 * time.Minute), MaxAge: new(time.Minute)}
		explained, err := tokens.Explain(made, expectation, token.ExplainCandidates{}, func(token.PrimaryKey) (*token.Row, error) {
			return &token.Row{User: user, Active: true}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(causes(explained, token.Certain), want) {
			t.Errorf("%s: %s", version, explained)
		}
	}
}

func TestExplanationIsWrittenAsText(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, func(s *token.Settings) { s.MaxAge = new(10 * time.Minute) })
	made := create(t, tokens, token.IntKey(42))
	lookup := func(token.PrimaryKey) (*token.Row, error) { return &token.Row{User: user, Active: true}, nil }
	for name, test := range map[string]struct {
		at   time.Duration
		want string
	}{
		"valid": {time.Minute, "valid\nit holds: version v2, primary key 42 (LongPacker), made at 2024-05-06T07:08:09Z, 1m ago, good for another 9m\n"},
		"expired": {time.Hour, "refused: expired (expired)\n" +
			"it holds: version v2, primary key 42 (LongPacker), made at 2024-05-06T07:08:09Z, 1h ago\n" +
			"certain   expired: expired 50m ago: made at 2024-05-06T07:08:09Z, and max_age is 10m\n" +
			"          remedy: send a new link, or set a longer max_age and SESAME_MAX_AGE\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			explained, err := tokens.Explain(made, token.Expectation{Now: now.Add(test.at)}, token.ExplainCandidates{}, lookup)
			if err != nil {
				t.Fatal(err)
			}
			if got := explained.String(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// FuzzExplain explains any text: it never panics, and agrees with Parse and Verify.
func FuzzExplain(f *testing.F) {
	for i, c := range explainCases(f) {
		if i%7 == 0 {
			f.Add(uint8(i), c.Token, "")
		}
	}
	maxAges := []*time.Duration{nil, new(10 * time.Minute)}
	packers := []token.Packer{token.LongPacker, token.StrPacker, token.UUIDPacker, token.BytesPacker}
	f.Fuzz(func(t *testing.T, which uint8, text, scope string) {
		tokens := newTokens(t, func(s *token.Settings) {
			s.MaxAge = maxAges[which&1]
			s.Encoding = packers[which>>1&3]
			s.OneTime = which&8 != 0
			s.SignatureSize = 1 + int(which>>4)
		})
		row := &token.Row{User: user, Active: which&4 == 0}
		want := token.Expectation{Scope: scope, Now: now}
		explained, err := tokens.Explain(text, want, token.ExplainCandidates{Scopes: []string{"x"}}, func(pk token.PrimaryKey) (*token.Row, error) {
			if strings.HasPrefix(pk.String(), "9") {
				return nil, nil
			}
			return row, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var reason token.Reason
		parsed, err := tokens.Parse(text, want)
		switch {
		case err != nil:
			errors.As(err, &reason)
		case strings.HasPrefix(parsed.PrimaryKey().String(), "9"):
			reason = token.UnknownUser
		case !row.Active:
			reason = token.InactiveUser
		default:
			errors.As(tokens.Verify(&parsed, user), &reason)
		}
		if explained.Reason != reason {
			t.Errorf("verdict %s, Parse and Verify say %s", explained.Verdict, reason)
		}
		if reason != 0 && len(explained.Findings) == 0 {
			t.Errorf("nothing is said about a refusal: %s", reason)
		}
		if _, err := json.Marshal(explained); err != nil {
			t.Error(err)
		}
	})
}

// explainKeys has a key for each packer.
var explainKeys = map[token.Packer]token.PrimaryKey{
	token.ShortPacker:            token.IntKey(42),
	token.UnsignedShortPacker:    token.UintKey(60_000),
	token.LongPacker:             token.IntKey(70_000),
	token.UnsignedLongPacker:     token.UintKey(4_000_000_000),
	token.LongLongPacker:         token.IntKey(1 << 40),
	token.UnsignedLongLongPacker: token.UintKey(7),
	token.UUIDPacker:             token.UUIDKey([16]byte{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11}),
	token.StrPacker:              token.StringKey("alice"),
	token.BytesPacker:            token.BytesKey([]byte{1, 2, 3, 255}),
}

// explainTo explains a token on a site with one user.
func explainTo(t *testing.T, tokens *token.Tokens, made string, key token.PrimaryKey) *token.Explanation {
	t.Helper()
	candidates := token.ExplainCandidates{Scopes: []string{"x"}}
	explained, err := tokens.Explain(made, token.Expectation{Now: now}, candidates, func(pk token.PrimaryKey) (*token.Row, error) {
		if pk.String() != key.String() {
			return nil, nil
		}
		return &token.Row{User: user, Active: true}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return explained
}

// TestExplainNamesCausesForEveryPacker breaks tokens with keys of every kind.
func TestExplainNamesCausesForEveryPacker(t *testing.T) {
	t.Parallel()
	withAge := func(s *token.Settings) { s.MaxAge = new(time.Hour) }
	withPath := func(s *token.Settings) { s.Packer = "sesame.packers." + s.Encoding.Name() }
	oneTime := func(s *token.Settings) { s.OneTime = true }
	v1 := versions(token.V1)
	for name, test := range map[string]struct {
		there []func(*token.Settings)
		here  func(*token.Settings)
		scope string
		edit  func(string) string
		want  token.Cause
	}{
		"scope":            {scope: "x", want: token.CauseScope},
		"max_age here":     {here: withAge, want: token.CauseMaxAge},
		"max_age there":    {there: []func(*token.Settings){withAge}, want: token.CauseMaxAge},
		"packer here":      {here: withPath, want: token.CausePacker},
		"packer there":     {there: []func(*token.Settings){withPath}, want: token.CausePacker},
		"signature_size":   {there: []func(*token.Settings){func(s *token.Settings) { s.SignatureSize = 16 }}, want: token.CauseSignatureSize},
		"key":              {here: func(s *token.Settings) { s.Key = "k" }, want: token.CauseKey},
		"one_time":         {there: []func(*token.Settings){oneTime}, want: token.CauseOneTime},
		"cut short":        {edit: func(s string) string { return s[:len(s)-4] }, want: token.CauseCutShort},
		"letters behind":   {edit: func(s string) string { return s + "abc" }, want: token.CauseTrailing},
		"altered":          {edit: swapLetter, want: token.CauseAltered},
		"v1, max_age":      {there: []func(*token.Settings){v1, withAge}, want: token.CauseMaxAge},
		"v1, one_time":     {there: []func(*token.Settings){v1, oneTime}, want: token.CauseOneTime},
		"v1, digest":       {there: []func(*token.Settings){v1, func(s *token.Settings) { s.Digest = "sha256" }}, want: token.CauseDigest},
		"v1, secret":       {there: []func(*token.Settings){v1, func(s *token.Settings) { s.SecretKey = "other" }}, want: token.CauseSecretKey},
		"v1, no signature": {there: []func(*token.Settings){v1}, edit: func(s string) string { return s[:len(s)-28] }, want: token.CauseCutShort},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for pack, key := range explainKeys {
				there := newTokens(t, func(s *token.Settings) {
					s.Encoding = pack
					for _, change := range test.there {
						change(s)
					}
				})
				here := newTokens(t, func(s *token.Settings) {
					s.Encoding = pack
					if test.here != nil {
						test.here(s)
					}
				})
				made, err := there.Create(key, user, test.scope, now)
				if err != nil {
					t.Fatal(err)
				}
				if test.edit != nil {
					made = test.edit(made)
				}
				explained := explainTo(t, here, made, key)
				if got := causes(explained, token.Certain); !slices.Equal(got, []token.Cause{test.want}) {
					t.Errorf("%s: certain of %s, want %s\n%s", pack.Name(), got, test.want, explained)
				}
			}
		})
	}
}

// swapLetter replaces a letter of the signature.
func swapLetter(s string) string {
	letter := "A"
	if s[len(s)-3] == 'A' {
		letter = "B"
	}
	return s[:len(s)-3] + letter + s[len(s)-2:]
}

// TestExplainNamesAnotherPacker reads the tokens of every packer with every
// other packer.
func TestExplainNamesAnotherPacker(t *testing.T) {
	t.Parallel()
	for there, key := range explainKeys {
		made, err := newTokens(t, func(s *token.Settings) { s.Encoding = there }).Create(key, user, "", now)
		if err != nil {
			t.Fatal(err)
		}
		for here := range explainKeys {
			explained := explainTo(t, newTokens(t, func(s *token.Settings) { s.Encoding = here }), made, key)
			if explained.Reason == 0 {
				continue // both write the same
			}
			if got := causes(explained, token.Certain); !slices.Equal(got, []token.Cause{token.CausePacker}) {
				t.Errorf("%s there, %s here: certain of %s\n%s", there.Name(), here.Name(), got, explained)
			}
		}
	}
}
