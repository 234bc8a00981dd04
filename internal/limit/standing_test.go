package limit

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// atAnHour returns failures whose clock says one hour.
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
	synctest.Test(t, func(t *testing.T) {
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
	})
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

// TestRejectedCredentialsNeverPushOutValidOnes fills the buckets with valid
// credentials, and then sends several times as many rejected ones as fit.
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

// TestAValidCredentialReplacesRejectedOnes sends a flood of rejected credentials
// first.
func TestAValidCredentialReplacesRejectedOnes(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	for i := range 4 * standingBuckets * standingSlots {
		f.RememberRejected(f.CredentialOf(1, strconv.Itoa(i)))
	}
	f.RememberValid(f.CredentialOf(1, "valid"))
	f.mustBe(t, "valid", Valid)
}

// fill has the credentials of one bucket rejected, or accepted, one for each slot,
// a minute after each other.
func (f *Failures) fill(isValid func(i int) bool) (in func(i int) Credential) {
	in = func(i int) Credential { return Credential(7 + i*standingBuckets) } //nolint:gosec // it is small
	for i := range standingSlots {
		f.began = f.began.Add(-time.Minute)
		if isValid(i) {
			f.RememberValid(in(i))
		} else {
			f.RememberRejected(in(i))
		}
	}
	return in
}

// unseen returns the numbers of the forgotten credentials in the bucket.
func (f *Failures) unseen(in func(i int) Credential) (numbers []int) {
	for i := range standingSlots + 1 {
		if f.Standing(in(i)) == Unseen {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

func TestInAFullBucketTheFirstRejectedIsReplaced(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	in := f.fill(func(int) bool { return false })
	f.RememberRejected(in(0)) // again, so that the next is the oldest
	f.RememberRejected(in(standingSlots))
	if got := f.unseen(in); !slices.Equal(got, []int{1}) {
		t.Errorf("%v were forgotten, want the one that was rejected first", got)
	}
}

func TestInAFullBucketForgottenOnesAreReplacedFirst(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	in := f.fill(func(int) bool { return true })
	f.began = f.began.Add(-staleFor + 210*time.Second) // 0 to 3 are forgotten
	forgotten := f.unseen(in)
	f.RememberRejected(in(standingSlots))
	if got := f.unseen(in); len(got) != len(forgotten)-1 || f.Standing(in(4)) != Valid || f.Standing(in(standingSlots)) != Rejected {
		t.Errorf("%v were forgotten, then %v", forgotten, got)
	}
}

func TestInAFullBucketARejectedOneIsReplacedBeforeAnOlderValidOne(t *testing.T) {
	t.Parallel()
	f := atAnHour()
	in := f.fill(func(i int) bool { return i != 6 })
	f.RememberValid(in(standingSlots))
	if got := f.unseen(in); !slices.Equal(got, []int{6}) {
		t.Errorf("%v were forgotten, want the rejected one", got)
	}
	f.RememberValid(in(6))
	if got := f.unseen(in); !slices.Equal(got, []int{0}) {
		t.Errorf("%v were forgotten of valid ones, want the oldest", got)
	}
	f.RememberRejected(in(0))
	if got := f.unseen(in); !slices.Equal(got, []int{0}) {
		t.Errorf("%v were forgotten for a rejected one, which has no place among valid ones", got)
	}
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
