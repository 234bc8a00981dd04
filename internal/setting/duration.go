package setting

import (
	"fmt"
	"time"
)

// shortest is the shortest duration that an operator can mean.
const shortest = time.Millisecond

// CheckDuration returns an error for a duration that is negative, or so short that it
// is a number of seconds in JSON, where Caddy reads nanoseconds. 0 stands for the
// default.
func CheckDuration(name string, d time.Duration) error {
	switch {
	case d < 0:
		return Errorf(name, "%s: %s is negative: write a duration such as 10m, or leave it out for the default", name, d)
	case d != 0 && d < shortest:
		return Errorf(name, "%s: %s is too short to be meant: a number in JSON is nanoseconds; write seconds as %q", name, d, fmt.Sprintf("%ds", int64(d)))
	}
	return nil
}
