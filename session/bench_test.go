package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// benchmarkKeys are keys that allocate no memory.
var benchmarkKeys = []struct {
	packer token.Packer
	key    token.PrimaryKey
}{
	{token.LongPacker, token.IntKey(1234567)},
	{token.UnsignedLongLongPacker, token.UintKey(1234567)},
	{token.UUIDPacker, token.UUIDKey([16]byte([]byte("0123456789abcdef")))},
}

func BenchmarkCreate(b *testing.B) {
	sessions := newSessions(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sessions.Create(token.IntKey(1234567), user, "", login); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse measures the cost of a session before its user is looked up.
func BenchmarkParse(b *testing.B) {
	for _, k := range benchmarkKeys {
		b.Run(k.packer.Name(), func(b *testing.B) {
			sessions := newSessions(b, func(s *session.Settings) { s.Encoding = k.packer })
			value, err := sessions.Create(k.key, user, "", login)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sessions.Parse(value, "", login); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseForged measures the cost of a forged cookie, which an attacker
// can cause with each request.
func BenchmarkParseForged(b *testing.B) {
	value := create(b, newSessions(b, nil), "")
	sessions := newSessions(b, func(s *session.Settings) { s.SecretKey, s.SecretKeyFallbacks = "one", []string{"two"} })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sessions.Parse(value, "", login); !errors.Is(err, session.BadSignature) {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify measures the check against the user's row, in addition to
// BenchmarkParse.
func BenchmarkVerify(b *testing.B) {
	sessions := newSessions(b, nil)
	parsed := parse(b, sessions, create(b, sessions, ""), login)
	b.ReportAllocs()
	for b.Loop() {
		if err := sessions.Verify(&parsed, user); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParallel is Parse and Verify on every core at once, to show what
// they share.
func BenchmarkParallel(b *testing.B) {
	sessions := newSessions(b, nil)
	value := create(b, sessions, "")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := check(sessions, value, "", login); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// TestNoAllocations: sessions are checked, and forged ones are rejected,
// without allocating.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, k := range benchmarkKeys {
		for name, scope := range map[string]string{"": "", " with a long scope": strings.Repeat("scope", 100)} {
			t.Run(k.packer.Name()+name, func(t *testing.T) {
				// The session is signed with a fallback, and recent, as most are.
				settings := session.Settings{SecretKey: "older", Encoding: k.packer, Audience: "a"}
				older, err := session.New(settings)
				if err != nil {
					t.Fatal(err)
				}
				settings.SecretKey, settings.SecretKeyFallbacks, settings.Idle = "new", []string{"old", "older"}, time.Hour
				sessions, err := session.New(settings)
				if err != nil {
					t.Fatal(err)
				}
				value, err := older.Create(k.key, user, scope, login)
				if err != nil {
					t.Fatal(err)
				}
				forged := "B" + value[1:]
				allocations := testing.AllocsPerRun(1000, func() {
					parsed, err := sessions.Parse(value, scope, login.Add(time.Minute))
					if err != nil {
						t.Fatal(err)
					}
					if err := sessions.Verify(&parsed, user); err != nil {
						t.Fatal(err)
					}
					if _, renewed := sessions.Renew(&parsed, user, login.Add(time.Minute)); renewed {
						t.Fatal("renewed")
					}
					if _, err := sessions.Parse(forged, scope, login); err == nil {
						t.Fatal("accepted")
					}
				})
				if allocations != 0 {
					t.Errorf("%v allocations", allocations)
				}
			})
		}
	}
}
