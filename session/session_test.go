package session_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// login is when sessions are made in these tests.
var login = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// user is the user that they are made for.
var user = token.User{Password: new("pbkdf2_sha256$870000$Xb1mHjcvVuUR4dJmzWZ5Xq$6kJAJyOLkPyzBLvWd0n4EsuTnQBkiF6bmYqDa1cZtbM=")}

// newSessions makes Sessions of defaults, with one change to the settings.
func newSessions(tb testing.TB, change func(*session.Settings)) *session.Sessions {
	tb.Helper()
	settings := session.Settings{SecretKey: "secret", Encoding: token.LongPacker, Audience: "app.example.com/auth_user"}
	if change != nil {
		change(&settings)
	}
	sessions, err := session.New(settings)
	if err != nil {
		tb.Fatal(err)
	}
	return sessions
}

func idle(d time.Duration) func(*session.Settings) {
	return func(s *session.Settings) { s.Idle = d }
}

// create makes the session of user 42.
func create(tb testing.TB, sessions *session.Sessions, scope string) string {
	tb.Helper()
	value, err := sessions.Create(token.IntKey(42), user, scope, login)
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// parse parses a value that must be valid.
func parse(tb testing.TB, sessions *session.Sessions, value string, now time.Time) session.Parsed {
	tb.Helper()
	parsed, err := sessions.Parse(value, "", now)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

// check parses and verifies.
func check(sessions *session.Sessions, value, scope string, now time.Time) error {
	parsed, err := sessions.Parse(value, scope, now)
	if err != nil {
		return err
	}
	return sessions.Verify(&parsed, user)
}

// expect compares errors, of which nil is one.
func expect(tb testing.TB, what string, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestSessionOfEachKindOfKeyIsReadBack(t *testing.T) {
	t.Parallel()
	hexPacker, err := token.HexPacker(24)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		packer token.Packer
		key    token.PrimaryKey
		scope  string
	}{
		"integer":          {token.LongPacker, token.IntKey(42), ""},
		"negative":         {token.ShortPacker, token.IntKey(-1), ""},
		"zero":             {token.LongLongPacker, token.IntKey(0), ""},
		"unsigned":         {token.UnsignedLongLongPacker, token.UintKey(1 << 63), "a scope"},
		"UUID":             {token.UUIDPacker, token.UUIDKey([16]byte{1, 15: 2}), ""},
		"string":           {token.StrPacker, token.StringKey("someone@example.com"), ""},
		"empty string":     {token.StrPacker, token.StringKey(""), ""},
		"longest string":   {token.StrPacker, token.StringKey(strings.Repeat("x", 255)), ""},
		"bytes":            {token.BytesPacker, token.BytesKey([]byte{0, 255}), ""},
		"hexadecimal":      {hexPacker, token.StringKey("0123456789abcdef01234567"), ""},
		"odd scope":        {token.LongPacker, token.IntKey(42), "é\x00\xff;,=\r\n"},
		"very large scope": {token.LongPacker, token.IntKey(42), strings.Repeat("scope", 10000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, func(s *session.Settings) { s.Encoding = test.packer })
			value, err := sessions.Create(test.key, user, test.scope, login.Add(999*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				t.Errorf("not safe in a cookie: %q", value)
			}
			parsed, err := sessions.Parse(value, test.scope, login.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, "Verify", sessions.Verify(&parsed, user), nil)
			if parsed.PrimaryKey() != test.key {
				t.Errorf("primary key %s, want %s", parsed.PrimaryKey(), test.key)
			}
			if parsed.Issued() != login {
				t.Errorf("issued %s, want %s", parsed.Issued(), login)
			}
			if want := login.Add(session.DefaultMaxAge); parsed.Expires() != want {
				t.Errorf("expires %s, want %s", parsed.Expires(), want)
			}
			if parsed.Scope() != test.scope {
				t.Errorf("scope %q, want %q", parsed.Scope(), test.scope)
			}
		})
	}
}

func TestSessionThatCannotBeHeldIsNotMade(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		packer token.Packer
		key    token.PrimaryKey
		now    time.Time
		want   string
	}{
		"a key of another kind":   {token.LongPacker, token.StringKey("42"), login, "LongPacker can't pack"},
		"a key that doesn't fit":  {token.ShortPacker, token.IntKey(1 << 15), login, "doesn't fit"},
		"no key":                  {token.LongPacker, token.PrimaryKey{}, login, "LongPacker can't pack"},
		"a key that is too large": {hugePacker{}, token.IntKey(1), login, "257 bytes of at most 256"},
		"before 1970":             {token.LongPacker, token.IntKey(1), time.Unix(-1, 0), "before 1970"},
		"after 2105":              {token.LongPacker, token.IntKey(1), time.Unix(1<<32, 0), "after 2105"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, func(s *session.Settings) { s.Encoding = test.packer })
			value, err := sessions.Create(test.key, user, "", test.now)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if value != "" {
				t.Errorf("a value beside an error: %q", value)
			}
		})
	}
}

// hugePacker writes keys that are too long for a cookie.
type hugePacker struct{ token.Packer }

func (hugePacker) Name() string { return "hugePacker" }

func (hugePacker) Pack(dst []byte, _ token.PrimaryKey) ([]byte, error) {
	return append(dst, make([]byte, 257)...), nil
}

// TestSessionWithAChangedBitIsRejected flips every bit of a cookie, in its bytes and in its text.
func TestSessionWithAChangedBitIsRejected(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, func(s *session.Settings) { s.SecretKeyFallbacks = []string{"older", "oldest"} })
	value := create(t, sessions, "")
	data, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(data) {
		forged := append([]byte(nil), data...)
		forged[i/8] ^= 1 << (i % 8)
		want := session.BadSignature
		if i/8 == 0 {
			want = session.Malformed // another version
		}
		parsed, err := sessions.Parse(base64.RawURLEncoding.EncodeToString(forged), "", login)
		if !errors.Is(err, want) {
			t.Errorf("bit %d of byte %d flipped: %v, want %v", i%8, i/8, err, want)
		}
		if !parsed.PrimaryKey().IsZero() || !parsed.Issued().IsZero() || !parsed.Expires().IsZero() || parsed.Scope() != "" {
			t.Errorf("bit %d of byte %d flipped: returns a key that wasn't signed", i%8, i/8)
		}
		expect(t, "Verify", sessions.Verify(&parsed, user), want)
	}
	for i := range 8 * len(value) {
		forged := []byte(value)
		forged[i/8] ^= 1 << (i % 8)
		if err := check(sessions, string(forged), "", login); err == nil {
			t.Errorf("bit %d of character %d flipped: accepted", i%8, i/8)
		}
	}
}

func TestSessionCutShortOrExtendedIsRejected(t *testing.T) {
	t.Parallel()
	// 61 bytes: the last of 82 characters has four unused bits.
	sessions := newSessions(t, nil)
	value := create(t, sessions, "")
	for n := range len(value) {
		if err := check(sessions, value[:n], "", login); err == nil {
			t.Errorf("the first %d characters are accepted", n)
		}
		if err := check(sessions, value[len(value)-n:], "", login); err == nil {
			t.Errorf("the last %d characters are accepted", n)
		}
		for _, inserted := range []string{"A", "AAAA", "=", "\n", "\r", "\r\n\r\n", " ", "\x00", "."} {
			if err := check(sessions, value[:n]+inserted+value[n:], "", login); err == nil {
				t.Errorf("%q before character %d is accepted", inserted, n)
			}
		}
	}
	for _, extension := range []string{"A", "AA", "AAA", "AAAA", "=", "==", "===", "\n", "\r\n", " ", ";", ",", "\"", "\x00", value} {
		if err := check(sessions, value+extension, "", login); err == nil {
			t.Errorf("%q after it is accepted", extension)
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, c := range alphabet {
		last := value[:len(value)-1] + string(c)
		if err := check(sessions, last, "", login); (err == nil) != (last == value) {
			t.Errorf("ending in %c: %v", c, err)
		}
	}
}

func TestTextThatIsNoSessionIsMalformed(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, nil)
	for name, value := range map[string]string{
		"empty":         "",
		"a word":        "session",
		"one character": "A",
		"padded":        create(t, sessions, "") + "==",
		"quoted":        `"` + create(t, sessions, "") + `"`,
		"standard":      strings.Repeat("+/", 41),
		"not text":      strings.Repeat("\xff", 82),
		"version 0":     strings.Repeat("A", 82),
		"no signature":  "AQ" + strings.Repeat("A", 72),
		"line breaks":   strings.Repeat("\n", 82),
		"too long":      strings.Repeat("A", 419),
		"far too long":  strings.Repeat("A", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, "Parse", check(sessions, value, "", login), session.Malformed)
		})
	}
}

// TestSessionIsRejectedWithOtherSettings checks a session with settings that
// make other ones.
func TestSessionIsRejectedWithOtherSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*session.Settings) // of those that check
		made   string                  // the scope it is made for
		scope  string                  // the scope expected
		want   error
	}{
		"same":                     {nil, "", "", nil},
		"same scope":               {nil, "s", "s", nil},
		"scope where none is":      {nil, "s", "", session.WrongScope},
		"no scope where one is":    {nil, "", "s", session.WrongScope},
		"another scope":            {nil, "report:1", "report:2", session.WrongScope},
		"longer scope":             {nil, "report:1", "report:11", session.WrongScope},
		"scope in other letters":   {nil, "s", "S", session.WrongScope},
		"another site":             {func(s *session.Settings) { s.Audience = "other.example.com/auth_user" }, "", "", session.BadSignature},
		"another store":            {func(s *session.Settings) { s.Audience = "app.example.com/staff" }, "", "", session.BadSignature},
		"longer audience":          {func(s *session.Settings) { s.Audience += "s" }, "", "", session.BadSignature},
		"another key":              {func(s *session.Settings) { s.SecretKey = "Secret" }, "", "", session.BadSignature},
		"another site and scope":   {func(s *session.Settings) { s.Audience = "other" }, "s", "t", session.BadSignature},
		"unsigned packer":          {func(s *session.Settings) { s.Encoding = token.UnsignedLongPacker }, "", "", session.BadSignature},
		"smaller packer":           {func(s *session.Settings) { s.Encoding = token.ShortPacker }, "", "", session.BadSignature},
		"after a rotation":         {func(s *session.Settings) { s.SecretKey, s.SecretKeyFallbacks = "new", []string{"older", "secret"} }, "", "", nil},
		"scope after a rotation":   {func(s *session.Settings) { s.SecretKey, s.SecretKeyFallbacks = "new", []string{"secret"} }, "s", "t", session.WrongScope},
		"after the fallback's end": {func(s *session.Settings) { s.SecretKey, s.SecretKeyFallbacks = "new", []string{"older"} }, "", "", session.BadSignature},
		"with a longer age":        {func(s *session.Settings) { s.MaxAge = 24 * time.Hour }, "", "", nil},
		"with idle":                {idle(time.Hour), "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := create(t, newSessions(t, nil), test.made)
			sessions := newSessions(t, test.change)
			parsed, err := sessions.Parse(value, test.scope, login)
			expect(t, "Parse", err, test.want)
			expect(t, "Verify", sessions.Verify(&parsed, user), test.want)
			if errors.Is(test.want, session.WrongScope) && (parsed.PrimaryKey() != token.IntKey(42) || parsed.Scope() != "") {
				t.Errorf("an authentic session is of %q, scope %q", parsed.PrimaryKey(), parsed.Scope())
			}
		})
	}
}

// TestFallbackKeysVerifyAndDontSign checks with each key alone.
func TestFallbackKeysVerifyAndDontSign(t *testing.T) {
	t.Parallel()
	rotated := newSessions(t, func(s *session.Settings) { s.SecretKey, s.SecretKeyFallbacks = "new", []string{"secret"} })
	value := create(t, rotated, "")
	expect(t, "with the new key alone", check(newSessions(t, func(s *session.Settings) { s.SecretKey = "new" }), value, "", login), nil)
	expect(t, "with the old key alone", check(newSessions(t, nil), value, "", login), session.BadSignature)
}

// TestSettingsAreCopied: Sessions doesn't change when the caller changes its
// Settings.
func TestSettingsAreCopied(t *testing.T) {
	t.Parallel()
	fallbacks := []string{"older"}
	sessions := newSessions(t, func(s *session.Settings) { s.SecretKeyFallbacks = fallbacks })
	fallbacks[0] = "changed"
	if got := sessions.Settings().SecretKeyFallbacks[0]; got != "older" {
		t.Errorf("the fallback is now %q", got)
	}
}

func TestSessionsAreAcceptedUntilTheirAge(t *testing.T) {
	t.Parallel()
	hour := func(s *session.Settings) { s.MaxAge = time.Hour }
	hourAndIdle := func(s *session.Settings) { s.MaxAge, s.Idle = time.Hour, 10*time.Minute }
	for name, test := range map[string]struct {
		change func(*session.Settings)
		age    time.Duration
		want   error
	}{
		"new":                       {hour, 0, nil},
		"last moment":               {hour, time.Hour - 1, nil},
		"MaxAge":                    {hour, time.Hour, session.Expired},
		"much later":                {hour, 1e6 * time.Hour, session.Expired},
		"last moment of default":    {nil, 12*time.Hour - 1, nil},
		"default":                   {nil, 12 * time.Hour, session.Expired},
		"last idle moment":          {hourAndIdle, 10*time.Minute - 1, nil},
		"Idle":                      {hourAndIdle, 10 * time.Minute, session.IdleExpired},
		"last moment before MaxAge": {hourAndIdle, time.Hour - 1, session.IdleExpired},
		"both":                      {hourAndIdle, time.Hour, session.Expired},
		"clock behind":              {hourAndIdle, -time.Minute, nil},
		"clock far behind":          {hourAndIdle, -time.Minute - 1, session.NotYetValid},
		"before 1970":               {hourAndIdle, -1e6 * time.Hour, session.NotYetValid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, test.change)
			parsed, err := sessions.Parse(create(t, sessions, ""), "", login.Add(test.age))
			expect(t, "Parse", err, test.want)
			expect(t, "Verify", sessions.Verify(&parsed, user), test.want)
			if parsed.PrimaryKey() != token.IntKey(42) {
				t.Errorf("an authentic session doesn't tell whose it is: %q", parsed.PrimaryKey())
			}
			wantOver := errors.Is(test.want, session.Expired) || errors.Is(test.want, session.IdleExpired)
			if isOver := !login.Add(test.age).Before(parsed.Expires()); isOver != wantOver {
				t.Errorf("expires %s, but at %s: %v", parsed.Expires(), login.Add(test.age), err)
			}
		})
	}
}

// TestNoTimeOfAClockOverflows uses the first and the last times of a clock.
func TestNoTimeOfAClockOverflows(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, func(s *session.Settings) { s.MaxAge = 1<<63 - 1 })
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(1<<32-1, 0)} {
		value, err := sessions.Create(token.IntKey(42), user, "", at)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "at "+at.UTC().String(), check(sessions, value, "", at), nil)
		expect(t, "at the zero time", check(sessions, value, "", time.Time{}), session.NotYetValid)
		expect(t, "at the end of time", check(sessions, value, "", time.Unix(1<<60, 0)), session.Expired)
	}
}

func TestAnotherPasswordEndsSessions(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	for name, test := range map[string]struct {
		before, after *string
		want          error
	}{
		"same":                 {new("p"), new("p"), nil},
		"same, empty":          {new(""), new(""), nil},
		"same, NULL":           {nil, nil, nil},
		"same, long":           {&long, new(strings.Clone(long)), nil},
		"changed":              {new("p"), new("q"), session.Revoked},
		"longer":               {new("p"), new("pp"), session.Revoked},
		"shorter":              {new("pp"), new("p"), session.Revoked},
		"long, at the end":     {&long, new(long[1:] + "y"), session.Revoked},
		"only the parameters":  {new("pbkdf2_sha256$1$salt$hash"), new("pbkdf2_sha256$2$salt$hash"), session.Revoked},
		"only the salt":        {new("pbkdf2_sha256$1$salt$hash"), new("pbkdf2_sha256$1$pepper$hash"), session.Revoked},
		"NULL to empty":        {nil, new(""), session.Revoked},
		"empty to NULL":        {new(""), nil, session.Revoked},
		"NULL to a zero byte":  {nil, new("\x00"), session.Revoked},
		"to NULL":              {new("p"), nil, session.Revoked},
		"to an unusable one":   {new("p"), new("!p"), session.Revoked},
		"in other letters":     {new("p"), new("P"), session.Revoked},
		"with a space after":   {new("p"), new("p "), session.Revoked},
		"one unusable to next": {new("!a"), new("!b"), session.Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, idle(time.Hour))
			value, err := sessions.Create(token.IntKey(42), token.User{Password: test.before}, "", login)
			if err != nil {
				t.Fatal(err)
			}
			later := login.Add(30 * time.Minute)
			parsed := parse(t, sessions, value, later)
			expect(t, "Verify", sessions.Verify(&parsed, token.User{Password: test.after}), test.want)
			if _, renewed := sessions.Renew(&parsed, token.User{Password: test.after}, later); renewed != (test.want == nil) {
				t.Errorf("renewed: %v", renewed)
			}
		})
	}
}

// TestChangesBesideThePasswordKeepSessions: a new last_login or e-mail address
// can end tokens, by option, but no sessions.
func TestChangesBesideThePasswordKeepSessions(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, nil)
	parsed := parse(t, sessions, create(t, sessions, ""), login)
	changed := token.User{Password: user.Password, Email: new("new@example.com"), LastLogin: new(login)}
	expect(t, "Verify", sessions.Verify(&parsed, changed), nil)
}

// TestEqualPasswordsHaveDifferentTags for different users, and for one user on
// two sites.
func TestEqualPasswordsHaveDifferentTags(t *testing.T) {
	t.Parallel()
	tags := map[string]bool{}
	for _, audience := range []string{"one", "two"} {
		sessions := newSessions(t, func(s *session.Settings) { s.Audience = audience })
		for _, id := range []int64{1, 2} {
			value, err := sessions.Create(token.IntKey(id), user, "", login)
			if err != nil {
				t.Fatal(err)
			}
			data, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			tags[string(data[9:25])] = true
		}
	}
	if len(tags) != 4 {
		t.Errorf("%d password tags of 4 are different", len(tags))
	}
}

// TestVerifyAndRenewRejectWhatParseRejected with the right row, too, for
// callers that ignore Parse's error.
func TestVerifyAndRenewRejectWhatParseRejected(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, idle(time.Hour))
	others := newSessions(t, idle(time.Hour))
	later := login.Add(30 * time.Minute)
	value := create(t, sessions, "")
	wrongScope, err := sessions.Parse(value, "s", later)
	expect(t, "Parse", err, session.WrongScope)
	tooLate, err := sessions.Parse(value, "", login.Add(time.Hour))
	expect(t, "Parse", err, session.IdleExpired)
	for name, test := range map[string]struct {
		parsed session.Parsed
		want   session.Reason
	}{
		"nothing":     {session.Parsed{}, session.Malformed},
		"of others":   {parse(t, others, value, later), session.Malformed},
		"wrong scope": {wrongScope, session.WrongScope},
		"too late":    {tooLate, session.IdleExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, "Verify", sessions.Verify(&test.parsed, user), test.want)
			if _, renewed := sessions.Renew(&test.parsed, user, later); renewed {
				t.Error("renewed")
			}
		})
	}
}

// TestNoTokenIsASessionAndNoSessionAToken with the same secret key.
func TestNoTokenIsASessionAndNoSessionAToken(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, nil)
	cookie := create(t, sessions, "")
	for name, change := range map[string]func(*token.Settings){
		"v2":                    func(*token.Settings) {},
		"v2 with age":           func(s *token.Settings) { s.MaxAge = new(time.Hour) },
		"v2 of a cookie's size": func(s *token.Settings) { s.SignatureSize = 57 },
		"v2 with age, of size":  func(s *token.Settings) { s.MaxAge, s.SignatureSize = new(time.Hour), 53 },
		"v1":                    func(s *token.Settings) { s.Versions = []token.Version{token.V1} },
		"v1 with age":           func(s *token.Settings) { s.Versions, s.MaxAge = []token.Version{token.V1}, new(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := token.Settings{SecretKey: "secret", Encoding: token.LongPacker, Iterations: 1}
			change(&settings)
			tokens, err := token.New(settings)
			if err != nil {
				t.Fatal(err)
			}
			// This key begins with a cookie's version, so that the token
			// resembles a cookie most.
			made, err := tokens.Create(token.IntKey(1<<24), user, "", login)
			if err != nil {
				t.Fatal(err)
			}
			if err := check(sessions, made, "", login); !errors.Is(err, session.Malformed) && !errors.Is(err, session.BadSignature) {
				t.Errorf("a token as a cookie: %v", err)
			}
			parsed, err := tokens.Parse(cookie, token.Expectation{Now: login})
			if err == nil {
				err = tokens.Verify(&parsed, user)
			}
			if err == nil {
				t.Error("a cookie is accepted as a token")
			}
		})
	}
}

// TestSessionsAreSharedAmongGoroutines uses one Sessions in several
// goroutines, for the race detector.
func TestSessionsAreSharedAmongGoroutines(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, func(s *session.Settings) { s.SecretKeyFallbacks, s.Idle = []string{"older"}, time.Hour })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				value, err := sessions.Create(token.IntKey(int64(i)), user, "s", login)
				if err != nil {
					t.Error(err)
					return
				}
				now := login.Add(30 * time.Minute)
				parsed, err := sessions.Parse(value, "s", now)
				if err != nil || sessions.Verify(&parsed, user) != nil || parsed.PrimaryKey() != token.IntKey(int64(i)) {
					t.Errorf("user %d is now %s: %v", i, parsed.PrimaryKey(), err)
				}
				if _, renewed := sessions.Renew(&parsed, user, now); !renewed {
					t.Error("not renewed")
				}
			}
		})
	}
	all.Wait()
}
