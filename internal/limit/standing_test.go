package limit

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"
)

// atAnHour returns failures whose clock is an hour old.
func atAnHour() *Failures {
	f := newTestFailures(20, time.Minute)
	f.began = time.Now().Add(-time.Hour)
	return f
}

func (f *Failures) mustBe(t *testing.T, value string, want Standing) {
	t.Helper()
	if got := f.Standing(f.CredentialOf(1, value)); got != want {
		t.Errorf("%s has the standing %d, want %d", value, got, want)
	}
}

func TestStandingsAreForgotten(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	f.RememberValid(f.CredentialOf(1, "valid"))
	f.RememberRejected(f.CredentialOf(1, "rejected"))
	f.RememberValid(f.CredentialOf(1, "revoked"))
	f.RememberRejected(f.CredentialOf(1, "revoked"))
	f.mustBe(t, "valid", Valid)
	f.mustBe(t, "rejected", Rejected)
	f.mustBe(t, "revoked", Rejected)
	f.mustBe(t, "never seen", Unseen)
	if got := f.Standing(f.CredentialOf(1, "valid\x00another scope")); got != Unseen {
		t.Errorf("in another scope a valid token has the standing %d", got)
	}
	if got := f.Standing(f.CredentialOf(2, "rejected")); got != Unseen {
		t.Errorf("of another client a rejected token has the standing %d", got)
	}

	f.began = f.began.Add(-2 * time.Second)
	f.mustBe(t, "rejected", Stale)
	f.mustBe(t, "valid", Valid)
	f.began = f.began.Add(-staleFor)
	f.mustBe(t, "rejected", Unseen)
	f.mustBe(t, "valid", Unseen)
}

func TestARejectedCredentialIsNewOnce(t *testing.T) {
	t.Parallel()
	f := newTestFailures(20, time.Hour)
	f.began = time.Now().Add(-10 * time.Hour)
	c := f.CredentialOf(1, "stale")
	if !f.RememberRejected(c) {
		t.Error("at first it isn't new")
	}
	for range 200 {
		if f.RememberRejected(c) {
			t.Fatal("a moment later it is new again")
		}
	}
	f.began = f.began.Add(-59 * time.Minute)
	if f.RememberRejected(c) {
		t.Error("within the time of the limit it is new again")
	}
	f.began = f.began.Add(-61 * time.Minute)
	if !f.RememberRejected(c) {
		t.Error("after the time of the limit it isn't new")
	}
	f.RememberValid(c)
	if !f.RememberRejected(c) {
		t.Error("after it was accepted it isn't new")
	}
}

// TestRejectedCredentialsNeverPushOutValidOnes fills the buckets of valid
// credentials, and has several times as many rejected ones come as fit.
func TestRejectedCredentialsNeverPushOutValidOnes(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	full := f.standingBucket(f.CredentialOf(1, "valid 0"))
	var valid []Credential
	for i := 0; len(valid) < standingSlots; i++ {
		if c := f.CredentialOf(1, fmt.Sprintf("valid %d", i)); f.standingBucket(c) == full {
			f.RememberValid(c)
			valid = append(valid, c)
		}
	}
	for i := range 4 * standingBuckets * standingSlots {
		f.RememberRejected(f.CredentialOf(1, strconv.Itoa(i)))
	}
	for i, c := range valid {
		if got := f.Standing(c); got != Valid {
			t.Errorf("valid credential %d of a bucket has the standing %d", i, got)
		}
	}
}

// TestAValidCredentialReplacesRejectedOnes has a flood of rejected ones first.
func TestAValidCredentialReplacesRejectedOnes(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	for i := range 4 * standingBuckets * standingSlots {
		f.RememberRejected(f.CredentialOf(1, strconv.Itoa(i)))
	}
	f.RememberValid(f.CredentialOf(1, "valid"))
	f.mustBe(t, "valid", Valid)
}

// TestStandingsAtOnce reads and writes the slots of one bucket, for the race
// detector: no credential has the standing of another.
func TestStandingsAtOnce(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	one := f.CredentialOf(1, "one")
	inBucket := func(i int) Credential { return one + Credential(i)*standingBuckets }
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := range 20_000 {
				c := inBucket(1 + (i*7+part)%40)
				if uint64(c)/standingBuckets%2 == 0 {
					f.RememberValid(c)
				} else {
					f.RememberRejected(c)
				}
				c = inBucket(1 + (i*3+part)%40)
				got := f.Standing(c)
				if isEven := uint64(c)/standingBuckets%2 == 0; isEven && got == Rejected || !isEven && got == Valid {
					t.Errorf("a credential has the standing %d of another", got)
					return
				}
			}
		})
	}
	all.Wait()
}
