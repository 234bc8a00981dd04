package token_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

func TestCanParseTellsTokensFromOtherCredentials(t *testing.T) {
	t.Parallel()
	const intPacker, uuidPacker = "sesame.packers.IntPacker", "sesame.packers.UUIDPacker"
	hour := time.Hour
	for _, settings := range []token.Settings{
		{Packer: intPacker},
		{Packer: intPacker, MaxAge: &hour},
		{Packer: intPacker, SignatureSize: 16, MaxAge: &hour},
		{Packer: uuidPacker},
		{Packer: intPacker, Versions: []token.Version{token.V1}},
		{Packer: intPacker, Versions: []token.Version{token.V1}, MaxAge: &hour},
	} {
		settings.SecretKey = "secret"
		tokens, err := token.New(settings)
		if err != nil {
			t.Fatal(err)
		}
		pk := token.IntKey(7)
		if settings.Packer == uuidPacker {
			pk = token.UUIDKey([16]byte{1, 2, 3})
		}
		password := "pbkdf2_sha256$1$x$y"
		made, err := tokens.Create(pk, token.User{Password: &password}, "", time.Unix(1e9, 0)) // expired where there is an age
		if err != nil {
			t.Fatal(err)
		}
		if !tokens.CanParse(made) || !tokens.Resembles(made) || !token.MayBeToken(made) {
			t.Errorf("%v: %s isn't taken for a token", settings.Versions, made)
		}
		for _, broken := range []string{"bad", made[:len(made)/2], made + "x"} {
			if settings.Versions == nil && !tokens.Resembles(broken) {
				t.Errorf("%s doesn't resemble a token", broken)
			}
		}
		for _, other := range []string{
			"", "x", made + "A", made[:len(made)-2], made + ".", "." + made, made + "=", made + ":" + made,
			"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
			"9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
			"123e4567-e89b-12d3-a456-426614174000", "2YotnFZFEjr1zCsicMWpAA", "mF_9.B5f-4.1JqM", "a b",
		} {
			if tokens.CanParse(other) || len(other) > 30 && !strings.Contains(other, made) && settings.Packer == intPacker && settings.SignatureSize == 0 && tokens.Resembles(other) {
				t.Errorf("%v: %s is taken for a token", settings.Versions, other)
			}
		}
	}
}
