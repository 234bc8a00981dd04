package kept_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
)

// ownText is as long as the texts of a user of Django's: key, PBKDF2 hash, last login,
// user name, e-mail address, and some flags.
func ownText(n int) string {
	return fmt.Sprintf("%08d pbkdf2_sha256$1000000$abcdefghijklmnopqrstuv$%043d= 2026-11-26 07:30:00.000000 user%08d user%08d@example.com 1 0 0", n, n, n, n)
}

// TestKeptRowsAreSmall measures what rows take, which their limit rests on.
func TestKeptRowsAreSmall(t *testing.T) {
	const users, most = 200_000, 400
	s := kept.NewStream(time.Hour, time.Now)
	rows := kept.NewRows[string](users*2, 1<<40)
	s.Begin(at(1))
	rows.Follow(s)
	s.Committed(at(1))
	s.Open()
	s.Grant(time.Now())
	before := heap()
	for n := range uint64(users) {
		rows.Keep(rows.Start(), kept.Row[string]{Tag: n * 0x9E3779B97F4A7C15, Own: ownText(int(n)), Shared: "3:7374616666.65646974.61646D696E."}) //nolint:gosec // it is small
	}
	took := heap() - before
	stats := rows.Stats()
	t.Logf("%d bytes for each row, and %d as estimated", took/users, stats.Size/users)
	if took/users > most {
		t.Errorf("a row takes %d bytes, want at most %d", took/users, most)
	}
	if estimated := stats.Size; float64(took) > 1.25*float64(estimated) {
		t.Errorf("rows take %d bytes, but are estimated at %d: the limit would not hold", took, estimated)
	}
	runtime.KeepAlive(rows)
}

// heap is the memory in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc) //nolint:gosec // it is small
}
