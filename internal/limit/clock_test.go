package limit

import (
	"testing"
	"testing/synctest"
	"time"
)

// These tests run on the clock of a synctest bubble, so that moments are exact.

// TestCrowdingIsToldOnceAMinute has more clients fail than a bucket of the table
// has slots.
func TestCrowdingIsToldOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Hour)
		client := Client(1)
		failNext := func() Failure {
			client += failureBuckets // in the same bucket
			return f.Note(client)
		}
		for range failureSlots {
			failNext()
		}
		for _, test := range []struct {
			after time.Duration
			want  bool
		}{
			{0, true},
			{0, false},
			{linesForTime - time.Nanosecond, false},
			{time.Nanosecond, true},
			{0, false},
			{linesForTime, true},
		} {
			time.Sleep(test.after)
			synctest.Wait()
			if noted := failNext(); noted.Crowded != test.want {
				t.Errorf("%s later it is told that a client was forgotten: %t, want %t", test.after, noted.Crowded, test.want)
			}
		}
		time.Sleep(linesForTime) // the timer ends with the bubble
	})
}

// TestClientWhoseFailuresAreForgivenMakesRoom at that very moment: no other client
// is forgotten then.
func TestClientWhoseFailuresAreForgivenMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Minute) // one failure is forgiven in 3s
		for i := range failureSlots {
			f.Note(Client(1 + i*failureBuckets)) //nolint:gosec // it is small
		}
		time.Sleep(3 * time.Second)
		if noted := f.Note(Client(1 + failureSlots*failureBuckets)); noted.Crowded {
			t.Error("a client is forgotten whose failures were forgiven")
		}
	})
}

// TestClientThatMustWaitANanosecondIsLimited fails at the last moment of its wait, and
// at the next one.
func TestClientThatMustWaitANanosecondIsLimited(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ wait, more time.Duration }{{time.Nanosecond, 0}, {0, time.Nanosecond}} {
		synctest.Test(t, func(t *testing.T) {
			f := newTestFailures(20, time.Minute)
			client := ClientOf("192.0.2.1")
			for range 20 {
				f.Note(client)
			}
			time.Sleep(3*time.Second - time.Nanosecond + test.more)
			if wait := f.Wait(client); wait != test.wait {
				t.Errorf("it waits %s, want %s", wait, test.wait)
			}
			if noted := f.Note(client); noted.Wait != test.wait || noted.First != (test.wait > 0) {
				t.Errorf("its failure: %+v, want a wait of %s", noted, test.wait)
			}
		})
	}
}

// TestAFailureIsForgivenEachNanosecond, if the limit would forgive several.
func TestAFailureIsForgivenEachNanosecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(1000, 10*time.Nanosecond)
		client := ClientOf("192.0.2.1")
		for i := range 1000 {
			if noted := f.Note(client); noted.Wait != 0 {
				t.Fatalf("failure %d: %+v", i+1, noted)
			}
		}
		if noted := f.Note(client); noted.Wait != time.Nanosecond {
			t.Errorf("failure 1001: %+v, want a wait of 1ns", noted)
		}
		time.Sleep(time.Nanosecond)
		if wait := f.Wait(client); wait != 0 {
			t.Errorf("a nanosecond later it waits %s", wait)
		}
	})
}

// TestLimitedClientIsToldAgain after the time in which all failures are forgiven,
// if it fails without end.
func TestLimitedClientIsToldAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Minute)
		time.Sleep(time.Second)
		client := ClientOf("192.0.2.1")
		for range 20 {
			f.Note(client)
		}
		var told []time.Duration
		began := time.Now()
		for range 181 { // three minutes
			if f.Note(client).First {
				told = append(told, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		if len(told) != 4 || told[0] != 0 || told[1] != time.Minute || told[2] != 2*time.Minute || told[3] != 3*time.Minute {
			t.Errorf("the client is told after %v, want once a minute", told)
		}
	})
}

// TestStandingsChangeAtTheirTime is about the last moment of each and the next.
func TestStandingsChangeAtTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Minute)
		f.RememberRejected(f.CredentialOf(1, "rejected"))
		f.RememberValid(f.CredentialOf(1, "valid"))
		at := time.Duration(0)
		for _, test := range []struct {
			at              time.Duration
			rejected, valid Standing
		}{
			{0, Rejected, Valid},
			{RejectedFor - 1, Rejected, Valid},
			{RejectedFor, Stale, Valid},
			{10*time.Minute - 1, Stale, Valid},
			{10 * time.Minute, Unseen, Unseen},
		} {
			time.Sleep(test.at - at)
			at = test.at
			f.mustBe(t, "rejected", test.rejected)
			f.mustBe(t, "valid", test.valid)
		}
	})
}

// TestARejectedCredentialReplacesAValidOneThatIsForgotten at that very moment.
func TestARejectedCredentialReplacesAValidOneThatIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures(20, time.Minute)
		in := func(i int) Credential { return Credential(7 + i*standingBuckets) } //nolint:gosec // it is small
		for i := range standingSlots {
			f.RememberValid(in(i))
		}
		time.Sleep(validFor - 1)
		f.RememberRejected(in(standingSlots))
		if got := f.Standing(in(standingSlots)); got != Unseen {
			t.Errorf("a moment before it has the standing %d, in the place of a valid one", got)
		}
		time.Sleep(time.Nanosecond)
		f.RememberRejected(in(standingSlots))
		if got := f.Standing(in(standingSlots)); got != Rejected {
			t.Errorf("it has the standing %d, want Rejected", got)
		}
	})
}
