package token_test

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// benchmarkUser is a row as Django makes it.
var benchmarkUser = token.User{
	Password:  new("pbkdf2_sha256$870000$Xb1mHjcvVuUR4dJmzWZ5Xq$6kJAJyOLkPyzBLvWd0n4EsuTnQBkiF6bmYqDa1cZtbM="),
	Email:     new("someone@example.com"),
	LastLogin: new(time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC)),
}

// benchmarkKeys has a key for every packer.
var benchmarkKeys = []struct {
	packer token.Packer
	key    token.PrimaryKey
}{
	{token.ShortPacker, token.IntKey(1234)},
	{token.UnsignedShortPacker, token.UintKey(1234)},
	{token.LongPacker, token.IntKey(1234567)},
	{token.UnsignedLongPacker, token.UintKey(1234567)},
	{token.LongLongPacker, token.IntKey(1234567)},
	{token.UnsignedLongLongPacker, token.UintKey(1234567)},
	{token.UUIDPacker, token.UUIDKey([16]byte([]byte("0123456789abcdef")))},
	{token.BytesPacker, token.BytesKey([]byte("0123456789abcdef"))},
	{token.StrPacker, token.StringKey("someone@example.com")},
	{mustHexPacker(24), token.StringKey("0123456789abcdef01234567")},
}

func mustHexPacker(digits int) token.Packer {
	packer, err := token.HexPacker(digits)
	if err != nil {
		panic(err)
	}
	return packer
}

// benchmarkTokens makes Tokens with an age, a token, and the expectation to check
// it with.
func benchmarkTokens(tb testing.TB, packer token.Packer, key token.PrimaryKey, version token.Version) (*token.Tokens, string, token.Expectation) {
	tb.Helper()
	tokens, err := token.New(token.Settings{
		SecretKey: "a secret key of fifty characters, as Django makes.",
		MaxAge:    new(10 * time.Minute),
		OneTime:   true,
		Encoding:  packer,
		Versions:  []token.Version{version},
	})
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Date(2024, 5, 6, 7, 9, 0, 0, time.UTC)
	made, err := tokens.Create(key, benchmarkUser, "", now)
	if err != nil {
		tb.Fatal(err)
	}
	return tokens, made, token.Expectation{Now: now.Add(time.Minute)}
}

// benchmarkVersions are the versions by the names of their sub-benchmarks.
var benchmarkVersions = []token.Version{token.V2, token.V1}

// BenchmarkParse measures the cost of any request with text that resembles a
// token.
func BenchmarkParse(b *testing.B) {
	for _, version := range benchmarkVersions {
		for _, k := range benchmarkKeys {
			b.Run(version.String()+"/"+k.packer.Name(), func(b *testing.B) {
				tokens, made, want := benchmarkTokens(b, k.packer, k.key, version)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := tokens.Parse(made, want); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkVerify measures the check against the user's row, in addition to
// BenchmarkParse.
func BenchmarkVerify(b *testing.B) {
	for _, version := range benchmarkVersions {
		for _, k := range benchmarkKeys {
			b.Run(version.String()+"/"+k.packer.Name(), func(b *testing.B) {
				tokens, made, want := benchmarkTokens(b, k.packer, k.key, version)
				parsed, err := tokens.Parse(made, want)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := tokens.Verify(&parsed, benchmarkUser); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkParallel is Parse and Verify on every core at once, to show what
// they share.
func BenchmarkParallel(b *testing.B) {
	tokens, made, want := benchmarkTokens(b, token.LongPacker, token.IntKey(1234567), token.V2)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			parsed, err := tokens.Parse(made, want)
			if err == nil {
				err = tokens.Verify(&parsed, benchmarkUser)
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// TestNoAllocations: v2 tokens are checked without allocating, as the package
// promises.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, k := range benchmarkKeys {
		if kind := k.packer.Kind(); kind == token.KindString || kind == token.KindBytes {
			continue // the key itself is allocated
		}
		t.Run(k.packer.Name(), func(t *testing.T) {
			tokens, made, want := benchmarkTokens(t, k.packer, k.key, token.V2)
			want.Scope = "a scope, so that this token is checked in full and then rejected"
			allocations := testing.AllocsPerRun(1000, func() {
				parsed, err := tokens.Parse(made, want)
				if err != nil {
					t.Fatal(err)
				}
				if err := tokens.Verify(&parsed, benchmarkUser); err != token.BadSignature {
					t.Fatal(err)
				}
			})
			if allocations != 0 {
				t.Errorf("Parse and Verify allocate %v times", allocations)
			}
		})
	}
}
