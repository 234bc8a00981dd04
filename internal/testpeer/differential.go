package testpeer

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

var (
	pairs = flag.Int("pairs", 0, "how `many` answers a differential test compares with each original, or 0 for its default")
	seed  = flag.Uint64("seed", 0, "the `number` that the inputs of a differential test follow from, or 0 for another each time")
)

// Differential is a comparison with random inputs.
type Differential struct {
	// Rand is the source of the inputs.
	Rand *rand.Rand

	most     int
	compared int
}

// NewDifferential returns a comparison of so many answers, unless the flag
// pairs says otherwise. Its inputs follow from the flag seed, which it logs, and
// from the stream.
func NewDifferential(t testing.TB, most, stream int) *Differential {
	t.Helper()
	if *pairs > 0 {
		most = *pairs
	}
	from := *seed
	if from == 0 {
		from = rand.Uint64() //nolint:gosec // inputs of a test
	}
	d := &Differential{Rand: rand.New(rand.NewPCG(from, uint64(stream))), most: most} //nolint:gosec // inputs of a test
	t.Cleanup(func() { t.Logf("seed %d: %d answers compared", from, d.compared) })
	return d
}

// Goes reports whether there are answers left to compare, and the test hasn't
// failed.
func (d *Differential) Goes(t testing.TB) bool {
	return d.compared < d.most && !t.Failed()
}

// Compared counts answers that were compared.
func (d *Differential) Compared(answers int) { d.compared += answers }

// EachDjango runs a comparison with the script testdata/peer.py on each checkout
// of Django that DJANGO_SRC lists.
func EachDjango(t *testing.T, most int, compare func(t *testing.T, d *Differential, django *Process)) {
	t.Helper()
	for stream, source := range Checkouts(t, "DJANGO_SRC", "Django") {
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			compare(t, NewDifferential(t, most, stream), Start(t, "testdata/peer.py", source))
		})
	}
}
