package token_test

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestNoTokenIsReturnedWhereNoneCanBeMade checks the token beside each error.
func TestNoTokenIsReturnedWhereNoneCanBeMade(t *testing.T) {
	t.Parallel()
	withAge := func(v token.Version) func(*token.Settings) {
		return func(s *token.Settings) { s.Versions, s.MaxAge = []token.Version{v}, new(time.Minute) }
	}
	withEmail := func(v token.Version) func(*token.Settings) {
		return func(s *token.Settings) { s.Versions, s.InvalidateOnEmailChange = []token.Version{v}, true }
	}
	for name, test := range map[string]struct {
		change func(*token.Settings)
		key    token.PrimaryKey
		user   token.User
		scope  string
		at     time.Time
	}{
		"v1 with a scope":        {versions(token.V1), token.IntKey(1), user, "s", now},
		"v1 of another kind":     {versions(token.V1), token.StringKey("1"), user, "", now},
		"v1 without a password":  {versions(token.V1), token.IntKey(1), token.User{}, "", now},
		"v1 before its time":     {withAge(token.V1), token.IntKey(1), user, "", time.Unix(-1, 0)},
		"v2 of another kind":     {versions(token.V2), token.StringKey("1"), user, "", now},
		"v2 without an e-mail":   {withEmail(token.V2), token.IntKey(1), token.User{}, "", now},
		"v2 a second too early":  {withAge(token.V2), token.IntKey(1), user, "", time.Unix(v2Epoch+math.MinInt32-1, 0)},
		"v2 a second too late":   {withAge(token.V2), token.IntKey(1), user, "", time.Unix(v2Epoch+math.MaxInt32+1, 0)},
		"v2 of a key that's big": {versions(token.V2), token.IntKey(math.MaxInt32 + 1), user, "", now},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made, err := newTokens(t, test.change).Create(test.key, test.user, test.scope, test.at)
			if err == nil || made != "" {
				t.Errorf("made %q, %v", made, err)
			}
		})
	}
}

// v2Epoch is the beginning of v2 timestamps: 2020-01-01T00:00:00Z.
const v2Epoch = 1577836800

// TestTokensHoldTheFirstAndTheLastSecond that their formats can represent.
func TestTokensHoldTheFirstAndTheLastSecond(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		version token.Version
		seconds int64
	}{
		{token.V2, v2Epoch + math.MinInt32},
		{token.V2, v2Epoch + math.MaxInt32},
		{token.V1, 916132832}, // 100000 in base 62, the first that django-sesame recognizes
	} {
		at := time.Unix(test.seconds, 0)
		tokens := newTokens(t, func(s *token.Settings) {
			s.Versions, s.MaxAge = []token.Version{test.version}, new(time.Minute)
		})
		made, err := tokens.Create(token.IntKey(1), user, "", at)
		if err != nil {
			t.Errorf("%v at %d: %v", test.version, test.seconds, err)
			continue
		}
		parsed, err := tokens.Parse(made, token.Expectation{Now: at})
		if err == nil {
			err = tokens.Verify(&parsed, user)
		}
		if created, ok := parsed.Created(); err != nil || !ok || !created.Equal(at) {
			t.Errorf("%v at %d: created %v, %v", test.version, test.seconds, created, err)
		}
	}
}

// TestLastMomentOfV1Counts: v1's clock isn't rounded, and a token is valid
// when it is exactly as old as max_age.
func TestLastMomentOfV1Counts(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, func(s *token.Settings) { s.Versions, s.MaxAge = []token.Version{token.V1}, new(time.Minute) })
	made := create(t, tokens, token.IntKey(1))
	if _, err := tokens.Parse(made, token.Expectation{Now: now.Add(time.Minute)}); err != nil {
		t.Errorf("as old as max_age: %v", err)
	}
	if _, err := tokens.Parse(made, token.Expectation{Now: now.Add(time.Minute + 1)}); !errors.Is(err, token.Expired) {
		t.Errorf("a nanosecond older: %v", err)
	}
}

// TestTokensThatEndBetweenPartsAreRejected checks tokens that end where the
// next part would begin.
func TestTokensThatEndBetweenPartsAreRejected(t *testing.T) {
	t.Parallel()
	withAge := func(s *token.Settings) { s.MaxAge = new(time.Minute) }
	for name, test := range map[string]struct {
		change func(*token.Settings)
		size   int
		want   token.Reason
	}{
		"behind part of a key":       {nil, 3, token.NoPrimaryKey},
		"behind the key":             {nil, 4, token.NoSignature},
		"behind part of a timestamp": {withAge, 7, token.NoTimestamp},
		"behind the timestamp":       {withAge, 8, token.NoSignature},
		"behind more than any key":   {nil, 325, token.Malformed},
	} {
		made := base64.RawURLEncoding.EncodeToString(make([]byte, test.size))
		if _, err := newTokens(t, test.change).Parse(made, token.Expectation{Now: now}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	// A text that is longer than any token is rejected without reading it, not
	// even its signature.
	huge := strings.Repeat("A", 1000) + ":" + strings.Repeat("A", 27)
	if _, err := newTokens(t, nil).Parse(huge, token.Expectation{}); !errors.Is(err, token.Malformed) {
		t.Errorf("a huge token: %v", err)
	}
}

func TestUnpackReturnsTheBytesThatFollow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		packer token.Packer
		key    token.PrimaryKey
	}{
		{token.ShortPacker, token.IntKey(-2)},
		{token.UnsignedShortPacker, token.UintKey(2)},
		{token.LongPacker, token.IntKey(-2)},
		{token.UnsignedLongPacker, token.UintKey(2)},
		{token.LongLongPacker, token.IntKey(-2)},
		{token.UnsignedLongLongPacker, token.UintKey(2)},
		{token.UUIDPacker, uuidKey},
		{token.BytesPacker, token.BytesKey([]byte("ab"))},
		{token.StrPacker, token.StringKey("ab")},
		{mustHexPacker(4), token.StringKey("abcd")},
	} {
		packed, err := test.packer.Pack(nil, test.key)
		if err != nil {
			t.Fatal(err)
		}
		key, rest, err := test.packer.Unpack(packed)
		if err != nil || key != test.key || len(rest) != 0 {
			t.Errorf("%s: unpacked %v and left %x, %v", test.packer.Name(), key, rest, err)
		}
	}
	// The largest key that a signed packer takes from an unsigned column.
	packed, err := token.LongLongPacker.Pack(nil, token.UintKey(math.MaxInt64))
	if err != nil || string(packed) != "\x7f\xff\xff\xff\xff\xff\xff\xff" {
		t.Errorf("packed %x, %v", packed, err)
	}
}

// TestOnlyExpiredTokensAreAuthenticThoughRejected: a rejected token is authentic
// only if its age is the only reason.
func TestOnlyExpiredTokensAreAuthenticThoughRejected(t *testing.T) {
	t.Parallel()
	for _, version := range benchmarkVersions {
		tokens := newTokens(t, func(s *token.Settings) { s.Versions, s.MaxAge = []token.Version{version}, new(time.Minute) })
		parse := func(made string, at time.Time) *token.Parsed {
			parsed, _ := tokens.Parse(made, token.Expectation{Now: at})
			return &parsed
		}
		made, later := create(t, tokens, token.IntKey(1)), now.Add(time.Hour)
		other := token.User{Password: new("another")}
		foreign := create(t, newTokens(t, func(s *token.Settings) {
			*s = tokens.Settings()
			s.SecretKey = "another"
		}), token.IntKey(1))
		for name, test := range map[string]struct {
			parsed *token.Parsed
			user   token.User
			want   bool
		}{
			"expired":                  {parse(made, later), user, true},
			"expired, revoked":         {parse(made, later), other, false},
			"expired, another secret":  {parse(foreign, later), user, false},
			"in time":                  {parse(made, now), user, false},
			"malformed":                {parse("?", later), user, false},
			"never parsed":             {new(token.Parsed), user, false},
			"expired, and cut at last": {parse(made[:len(made)-1], later), user, false},
		} {
			if got := tokens.IsAuthentic(test.parsed, test.user); got != test.want {
				t.Errorf("%v, %s: %v, want %v", version, name, got, test.want)
			}
		}
		// Verify still rejects it.
		expired := parse(made, later)
		tokens.IsAuthentic(expired, user)
		if err := tokens.Verify(expired, user); !errors.Is(err, token.Expired) {
			t.Errorf("%v: Verify: %v", version, err)
		}
	}
}

func TestVersionsHaveNames(t *testing.T) {
	t.Parallel()
	if token.V1.String() != "v1" || token.V2.String() != "v2" {
		t.Errorf("%v %v", token.V1, token.V2)
	}
}

// TestFingerprintsStayTheSame: tables of revoked tokens contain fingerprints.
func TestFingerprintsStayTheSame(t *testing.T) {
	t.Parallel()
	for version, want := range map[token.Version]string{
		token.V1: "72583b629b46d4f66ba2", token.V2: "ffa29ccafadc425f9db9",
	} {
		tokens := newTokens(t, func(s *token.Settings) { s.Versions, s.MaxAge = []token.Version{version}, new(time.Minute) })
		parsed, err := tokens.Parse(create(t, tokens, token.IntKey(1)), token.Expectation{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Fingerprint(); got != want {
			t.Errorf("%v: %s, want %s", version, got, want)
		}
	}
	parsed, _ := newTokens(t, nil).Parse("nothing", token.Expectation{})
	if got := parsed.Fingerprint(); got != "" {
		t.Errorf("of what isn't a token: %q", got)
	}
}
