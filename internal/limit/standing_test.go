package limit

import (
	"strconv"
	"testing"
	"time"
)

// TestStandings remembers tokens, and forgets those that were refused first.
func TestStandings(t *testing.T) {
	t.Parallel()
	f := newTestFailures(20, time.Minute)
	at := time.Now()
	f.began = at.Add(-time.Hour)
	f.Remember("valid", Valid)
	f.Remember("refused", Rejected)
	f.Remember("revoked", Valid)
	f.Remember("revoked", Rejected)
	// As many again as there is room for: refused ones never push out a valid one.
	for i := range 2 * standingBuckets * standingSlots {
		f.Remember(strconv.Itoa(i), Rejected)
	}
	if got := f.Standing("valid"); got != Valid {
		t.Errorf("a valid token has the standing %d", got)
	}
	if got := f.Standing("never seen"); got != Unseen {
		t.Errorf("an unknown token has the standing %d", got)
	}
	f.Remember("revoked", Rejected)
	if got := f.Standing("revoked"); got != Rejected {
		t.Errorf("a token that was refused now has the standing %d", got)
	}
	f.began = f.began.Add(-2 * time.Second)
	if got := f.Standing("revoked"); got != Unseen {
		t.Errorf("2s after it was refused a token has the standing %d", got)
	}
	f.began = f.began.Add(-time.Hour)
	if got := f.Standing("valid"); got != Unseen {
		t.Errorf("an hour later, a token has the standing %d", got)
	}
}
