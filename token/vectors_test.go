package token_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

var vectorsFile = flag.String("vectors", "testdata/tokens.json", "`file` of tokens and verdicts of the real django-sesame")

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
	Created  float64        `json:"created"`
	Token    string         `json:"token"`
	Checks   []vectorCheck  `json:"checks"`
}

type vectorSettings struct {
	SecretKey                  string   `json:"SECRET_KEY"`
	SecretKeyFallbacks         []string `json:"SECRET_KEY_FALLBACKS"`
	Key                        string   `json:"SESAME_KEY"`
	MaxAge                     *float64 `json:"SESAME_MAX_AGE"`
	OneTime                    bool     `json:"SESAME_ONE_TIME"`
	InvalidateOnPasswordChange *bool    `json:"SESAME_INVALIDATE_ON_PASSWORD_CHANGE"`
	InvalidateOnEmailChange    bool     `json:"SESAME_INVALIDATE_ON_EMAIL_CHANGE"`
	PrimaryKeyField            string   `json:"SESAME_PRIMARY_KEY_FIELD"`
	SignatureSize              int      `json:"SESAME_SIGNATURE_SIZE"`
	Salt                       string   `json:"SESAME_SALT"`
	Digest                     string   `json:"SESAME_DIGEST"`
	Iterations                 int      `json:"SESAME_ITERATIONS"`
	Packer                     string   `json:"SESAME_PACKER"`
	Tokens                     []string `json:"SESAME_TOKENS"`
	UseTZ                      *bool    `json:"USE_TZ"`
}

type vectorUser struct {
	PrimaryKey *vectorKey `json:"pk"`
	Password   *string    `json:"password"`
	Email      *string    `json:"email"`
	LastLogin  *string    `json:"last_login"`
}

type vectorKey struct {
	Int  *string `json:"int"`
	UUID *string `json:"uuid"`
	Hex  *string `json:"hex"`
	Str  *string `json:"str"`
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

// TestVectors holds this package against what the real django-sesame made of
// random settings, users and tokens: the tokens it created, the keys it looked
// up, and its verdicts.
func TestVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(*vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file vectors
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatalf("reading %s: %v", *vectorsFile, err)
	}
	if len(file.Cases) == 0 {
		t.Fatalf("%s has no cases", *vectorsFile)
	}
	for i, c := range file.Cases {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			c.test(t)
		})
	}
}

func (c *vectorCase) test(t *testing.T) {
	tokens, err := token.New(c.settings(t))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if c.Token != "" {
		made, err := tokens.Create(c.User.PrimaryKey.key(t), c.User.user(t), c.Scope, unix(c.Created))
		if err != nil {
			t.Errorf("Create: %v", err)
		} else if made != c.Token {
			t.Errorf("Create: %s, django-sesame made %s", made, c.Token)
		}
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
		// As text, since JSON doesn't say whether an integer is unsigned.
		if want := check.LookedUp.key(t); lookedUp.String() != want.String() || lookedUp.IsZero() != want.IsZero() {
			t.Errorf("%s: looked up %v, django-sesame: %v", name, lookedUp, want)
		}
		var reason token.Reason
		if verdict != nil && !errors.As(verdict, &reason) {
			t.Errorf("%s: %v is not a Reason", name, verdict)
		}
	}
}

// run does what a gateway does: parse, look up, verify.
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
		version, err := token.VersionByName(name)
		if err != nil {
			t.Fatal(err)
		}
		settings.Versions = append(settings.Versions, version)
	}
	// A case says which version it is about; the order of the versions says
	// which is made, and all are accepted in any order.
	if c.Version == "v1" && len(s.Tokens) == 0 {
		settings.Versions = []token.Version{token.V1, token.V2}
	}
	if !strings.HasPrefix(s.Packer, "sesame.packers.") {
		settings.Encoding = c.encoding(t)
	}
	return settings
}

// encoding is the packer for a case that names none, where django-sesame picks
// it from the field (an AutoField here), or that names a class of its own.
func (c *vectorCase) encoding(t *testing.T) token.Packer {
	key := c.User.PrimaryKey
	switch {
	case key.UUID != nil:
		return token.UUIDPacker
	case key.Hex != nil:
		return token.BytesPacker
	case key.Str != nil && c.Settings.Packer != "":
		packer, err := token.HexPacker(len(*key.Str))
		if err != nil {
			t.Fatal(err)
		}
		return packer
	case key.Str != nil:
		return token.StrPacker
	}
	return token.LongPacker
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
	if n, err := strconv.ParseInt(*k.Int, 10, 64); err == nil {
		return token.IntKey(n)
	}
	n, err := strconv.ParseUint(*k.Int, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return token.UintKey(n)
}

func (u *vectorUser) user(t *testing.T) token.User {
	t.Helper()
	user := token.User{Password: u.Password, Email: u.Email}
	if u.LastLogin != nil {
		at, err := time.Parse("2006-01-02 15:04:05.999999", *u.LastLogin)
		if err != nil {
			t.Fatal(err)
		}
		user.LastLogin = &at
	}
	return user
}

// unix is a time given in Unix seconds.
func unix(seconds float64) time.Time {
	return time.UnixMicro(int64(seconds * 1e6))
}

// seconds is a duration given in seconds, or nil.
func seconds(s *float64) *time.Duration {
	if s == nil {
		return nil
	}
	d := time.Duration(*s * float64(time.Second))
	return &d
}
