package token

import (
	"fmt"
	"testing"
	"time"
)

// TestAppendDateTime compares with Go's own formatting.
func TestAppendDateTime(t *testing.T) {
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
				if got := string(tokens.appendDateTime(nil, at, 'T')); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
			}
		}
	}
}
