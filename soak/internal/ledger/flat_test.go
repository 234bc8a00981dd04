package ledger_test

import (
	"testing"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
)

func TestGrowth(t *testing.T) {
	t.Parallel()
	first, last := ledger.Growth([]int64{1, 90, 2, 3, 50, 60, 70, 6, 8, 7})
	if first != 2 || last != 7 {
		t.Errorf("from %d to %d", first, last)
	}
	if first, last := ledger.Growth([]int64{1, 2}); first != 0 || last != 0 {
		t.Error("two readings have no thirds")
	}
}
