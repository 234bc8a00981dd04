// Package bench compares this module with its peers.
package bench

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// BenchmarkVerify checks a token of each kind in full: its format, its age and
// its signature.
func BenchmarkVerify(b *testing.B) {
	const secret = "a secret key of fifty characters, as Django makes."
	b.Run("sesame-v2", func(b *testing.B) { benchmarkSesame(b, secret) })
	b.Run("jwt-hs256", func(b *testing.B) { benchmarkJWT(b, []byte(secret)) })
}

func benchmarkSesame(b *testing.B, secret string) {
	tokens, err := token.New(token.Settings{
		SecretKey: secret,
		MaxAge:    new(10 * time.Minute),
		OneTime:   true,
		Encoding:  token.LongPacker,
	})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	user := token.User{
		Password:  new("pbkdf2_sha256$870000$Xb1mHjcvVuUR4dJmzWZ5Xq$6kJAJyOLkPyzBLvWd0n4EsuTnQBkiF6bmYqDa1cZtbM="),
		LastLogin: new(now.Add(-time.Hour)),
	}
	made, err := tokens.Create(token.IntKey(1234567), user, "", now)
	if err != nil {
		b.Fatal(err)
	}

	b.ReportAllocs()
	for b.Loop() {
		parsed, err := tokens.Parse(made, token.Expectation{Now: now})
		if err == nil {
			err = tokens.Verify(&parsed, user)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkJWT(b *testing.B, secret []byte) {
	now := time.Now()
	made, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   "1234567",
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)), // longer than any run
	}).SignedString(secret)
	if err != nil {
		b.Fatal(err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}))
	key := func(*jwt.Token) (any, error) { return secret, nil }

	b.ReportAllocs()
	for b.Loop() {
		var claims jwt.RegisteredClaims
		if _, err := parser.ParseWithClaims(made, &claims, key); err != nil {
			b.Fatal(err)
		}
	}
}
