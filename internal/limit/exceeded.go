package limit

import "time"

// Exceeded is the rejection of a client that is over limit_failures.
type Exceeded struct {
	Wait   time.Duration // until the client is within the limit
	Reason error         // the token.Reason that another client would get, or nil
}

func (e *Exceeded) Error() string {
	if e.Reason == nil {
		return "the client is over limit_failures"
	}
	return "the client is over limit_failures: " + e.Reason.Error()
}

func (e *Exceeded) Unwrap() error { return e.Reason }
