package token_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

var vectorsFile = flag.String("vectors", "", "`file` of tokens and verdicts of the real django-sesame, instead of those in testdata")

// vectors is a file of tokens and verdicts. See testdata/README.md.
type vectors struct {
	MadeBy string        `json:"made_by"`
	Cases  []*vectorCase `json:"cases"`
}

type vectorCase struct {
	Settings vectorSettings `json:"settings"`
	User     vectorUser     `json:"user"`
	Version  string         `json:"version"`
	Scope    string         `json:"scope"`
	Created  *float64       `json:"created"`
	Token    *string        `json:"token"`
	Checks   []vectorCheck  `json:"checks"`
}

type vectorSettings struct {
	SecretKey                  string   `json:"SECRET_KEY"`
	SecretKeyFallbacks         []string `json:"SECRET_KEY_FALLBACKS,omitempty"`
	Key                        string   `json:"SESAME_KEY,omitempty"`
	MaxAge                     *float64 `json:"SESAME_MAX_AGE,omitempty"`
	OneTime                    bool     `json:"SESAME_ONE_TIME,omitempty"`
	InvalidateOnPasswordChange *bool    `json:"SESAME_INVALIDATE_ON_PASSWORD_CHANGE,omitempty"`
	InvalidateOnEmailChange    bool     `json:"SESAME_INVALIDATE_ON_EMAIL_CHANGE,omitempty"`
	PrimaryKeyField            string   `json:"SESAME_PRIMARY_KEY_FIELD,omitempty"`
	SignatureSize              int      `json:"SESAME_SIGNATURE_SIZE,omitempty"`
	Salt                       string   `json:"SESAME_SALT,omitempty"`
	Digest                     string   `json:"SESAME_DIGEST,omitempty"`
	Iterations                 int      `json:"SESAME_ITERATIONS,omitempty"`
	Packer                     string   `json:"SESAME_PACKER,omitempty"`
	Tokens                     []string `json:"SESAME_TOKENS,omitempty"`
	UseTZ                      *bool    `json:"USE_TZ,omitempty"`
}

type vectorUser struct {
	PrimaryKey *vectorKey `json:"pk"`
	Password   *string    `json:"password"`
	Email      *string    `json:"email"`
	LastLogin  *string    `json:"last_login"`
}

type vectorKey struct {
	Int  *json.Number `json:"int,omitempty"` // as a number, or as a string
	UUID *string      `json:"uuid,omitempty"`
	Hex  *string      `json:"hex,omitempty"`
	Str  *string      `json:"str,omitempty"`
}

type vectorCheck struct {
	Name     string      `json:"name"`
	Token    string      `json:"token"`
	Now      float64     `json:"now"`
	Scope    string      `json:"scope"`
	MaxAge   *float64    `json:"max_age"`
	User     *vectorUser `json:"user"`
	LookedUp *vectorKey  `json:"looked_up"`
	Result   string      `json:"result"`
}

// TestVectorsOfDjangoSesameAreReproduced compares with recorded results of the
// real django-sesame for random settings, users and tokens: the tokens it
// created, the keys it looked up, and its verdicts.
func TestVectorsOfDjangoSesameAreReproduced(t *testing.T) {
	t.Parallel()
	files := []string{"testdata/tokens.json", "testdata/settings.json"}
	if *vectorsFile != "" {
		files = []string{*vectorsFile}
	}
	for _, name := range files {
		file := readVectors(t, name)
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			for i, c := range file.Cases {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					t.Parallel()
					c.test(t)
				})
			}
		})
	}
}

// readVectors reads a file, which must have at least one case.
func readVectors(tb testing.TB, name string) vectors {
	tb.Helper()
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && filepath.IsLocal(name) {
		// Tests run in the package's directory, but file names in arguments
		// are relative to the module's.
		raw, err = os.ReadFile(filepath.Join("..", name))
	}
	if err != nil {
		tb.Fatal(err)
	}
	var file vectors
	if err := json.Unmarshal(raw, &file); err != nil {
		tb.Fatalf("reading %s: %v", name, err)
	}
	if len(file.Cases) == 0 {
		tb.Fatalf("%s has no cases", name)
	}
	return file
}

func (c *vectorCase) test(t *testing.T) {
	c.testCreate(t)
	tokens, err := token.New(c.settings(t))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	for _, check := range c.Checks {
		lookedUp, verdict := check.run(t, tokens)
		name := fmt.Sprintf("%s: token %q", check.Name, check.Token)
		switch {
		case check.Result == "valid" && verdict != nil:
			t.Errorf("%s refused: %v", name, verdict)
		case check.Result != "valid" && verdict == nil:
			t.Errorf("%s accepted; django-sesame: %s", name, check.Result)
		}
		// As text, since integers in JSON have no sign type.
		if want := check.LookedUp.key(t); lookedUp.String() != want.String() || lookedUp.IsZero() != want.IsZero() {
			t.Errorf("%s: looked up %v, django-sesame: %v", name, lookedUp, want)
		}
		var reason token.Reason
		if verdict != nil && !errors.As(verdict, &reason) {
			t.Errorf("%s: %v is not a Reason", name, verdict)
		}
	}
}

// testCreate makes the case's token, with the case's version instead of the
// first of TOKENS, since in some cases TOKENS only accepts that version.
func (c *vectorCase) testCreate(t *testing.T) {
	if c.Created == nil || c.User.PrimaryKey == nil {
		return
	}
	settings := c.settings(t)
	if c.Version != "" {
		settings.Versions = []token.Version{versionByName(t, c.Version)}
	}
	tokens, err := token.New(settings)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	made, err := tokens.Create(c.User.PrimaryKey.key(t), c.User.user(t), c.Scope, unix(*c.Created))
	switch {
	case c.Token == nil && err == nil:
		t.Errorf("Create: %s; django-sesame raised an exception", made)
	case c.Token != nil && err != nil:
		t.Errorf("Create: %v; django-sesame made %s", err, *c.Token)
	case c.Token != nil && made != *c.Token:
		t.Errorf("Create: %s; django-sesame made %s", made, *c.Token)
	}
}

// run checks a token as a gateway does: parse, look up, verify.
func (c *vectorCheck) run(t *testing.T, tokens *token.Tokens) (lookedUp token.PrimaryKey, verdict error) {
	want := token.Expectation{Scope: c.Scope, Now: unix(c.Now), MaxAge: seconds(c.MaxAge)}
	parsed, err := tokens.Parse(c.Token, want)
	if err != nil {
		return token.PrimaryKey{}, err
	}
	if c.User == nil {
		return parsed.PrimaryKey(), token.UnknownUser
	}
	return parsed.PrimaryKey(), tokens.Verify(&parsed, c.User.user(t))
}

func (c *vectorCase) settings(t *testing.T) token.Settings {
	s := c.Settings
	settings := token.Settings{
		SecretKey: s.SecretKey, SecretKeyFallbacks: s.SecretKeyFallbacks,
		MaxAge: seconds(s.MaxAge), OneTime: s.OneTime,
		InvalidateOnPasswordChange: s.InvalidateOnPasswordChange,
		InvalidateOnEmailChange:    s.InvalidateOnEmailChange,
		Packer:                     s.Packer, PrimaryKeyField: s.PrimaryKeyField,
		Key: s.Key, SignatureSize: s.SignatureSize,
		Salt: s.Salt, Digest: s.Digest, Iterations: s.Iterations,
		UseTZ: s.UseTZ,
	}
	for _, name := range s.Tokens {
		settings.Versions = append(settings.Versions, versionByName(t, name))
	}
	if !strings.HasPrefix(s.Packer, "sesame.packers.") {
		settings.Encoding = c.encoding(t)
	}
	return settings
}

func versionByName(t *testing.T, name string) token.Version {
	t.Helper()
	version, err := token.VersionByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// encoding returns the packer of a case that names none, where django-sesame
// chooses it by the field (an AutoField here), or that names a class of its
// own: the packer for hexadecimal digits in django-sesame's documentation.
func (c *vectorCase) encoding(t *testing.T) token.Packer {
	key := c.User.PrimaryKey
	switch {
	case key == nil:
		return token.LongPacker
	case key.UUID != nil:
		return token.UUIDPacker
	case key.Hex != nil:
		return token.BytesPacker
	case key.Str == nil:
		return token.LongPacker
	}
	if _, err := hex.DecodeString(*key.Str); err != nil || *key.Str == "" || c.Settings.Packer == "" {
		return token.StrPacker
	}
	packer, err := token.HexPacker(len(*key.Str))
	if err != nil {
		t.Fatal(err)
	}
	return packer
}

func (k *vectorKey) key(t *testing.T) token.PrimaryKey {
	t.Helper()
	switch {
	case k == nil:
		return token.PrimaryKey{}
	case k.UUID != nil:
		raw, err := hex.DecodeString(strings.ReplaceAll(*k.UUID, "-", ""))
		if err != nil || len(raw) != 16 {
			t.Fatalf("not a UUID: %q", *k.UUID)
		}
		return token.UUIDKey([16]byte(raw))
	case k.Hex != nil:
		raw, err := hex.DecodeString(*k.Hex)
		if err != nil {
			t.Fatal(err)
		}
		return token.BytesKey(raw)
	case k.Str != nil:
		return token.StringKey(*k.Str)
	}
	if n, err := k.Int.Int64(); err == nil {
		return token.IntKey(n)
	}
	n, err := strconv.ParseUint(k.Int.String(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return token.UintKey(n)
}

func (u *vectorUser) user(t *testing.T) token.User {
	t.Helper()
	user := token.User{Password: u.Password, Email: u.Email}
	if u.LastLogin != nil {
		text := strings.TrimSuffix(strings.Replace(*u.LastLogin, "T", " ", 1), "+00:00")
		at, err := time.Parse("2006-01-02 15:04:05.999999", text)
		if err != nil {
			t.Fatal(err)
		}
		user.LastLogin = &at
	}
	return user
}

// unix returns the time of Unix seconds.
func unix(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(fraction*1e9)))
}

// seconds returns a duration of so many seconds, or nil. A duration that is
// too long for Go becomes the longest one, nearly three centuries.
func seconds(s *float64) *time.Duration {
	if s == nil {
		return nil
	}
	d := time.Duration(math.MaxInt64)
	if nanoseconds := math.Round(*s * 1e9); nanoseconds < math.MaxInt64 {
		d = time.Duration(nanoseconds)
	}
	return &d
}
