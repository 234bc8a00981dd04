package token

import (
	"fmt"
	"testing"
	"time"
)

// TestDateTimesAreWrittenAsPythonDoes compares with Go's own formatting.
func TestDateTimesAreWrittenAsPythonDoes(t *testing.T) {
	t.Parallel()
	first := time.Date(900, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, micros := range []int{0, 1, 10, 123456, 999999} {
		for _, useTZ := range []bool{true, false} {
			tokens := &Tokens{settings: Settings{UseTZ: &useTZ}}
			for at := first; at.Year() < 3000; at = at.AddDate(0, 0, 401).Add(12345 * time.Second) {
				at := at.Add(time.Duration(micros) * time.Microsecond)
				want := at.Format("2006-01-02T15:04:05")
				if micros != 0 {
					want += fmt.Sprintf(".%06d", micros)
				}
				if useTZ {
					want += "+00:00"
				}
				for _, at := range []time.Time{at, at.In(time.FixedZone("", 5*60*60+45*60))} { // it is in UTC
					if got := string(tokens.appendDateTime(nil, at, 'T')); got != want {
						t.Fatalf("%s, want %s", got, want)
					}
				}
			}
		}
	}
}

func TestNumbersAreWrittenInBase62(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]string{0: "0", 1: "1", 61: "z", 62: "10", 62 * 62: "100", 916132832: "100000", 1714979289: "1s3sSH"} {
		got, err := formatBase62(seconds)
		if err != nil || got != want {
			t.Errorf("%d is %q, %v; want %q", seconds, got, err, want)
		}
		if again := parseBase62(got); again != seconds {
			t.Errorf("%q is %d, want %d", got, again, seconds)
		}
	}
	if got, err := formatBase62(-1); err == nil || got != "" {
		t.Errorf("-1 is %q", got)
	}
}
