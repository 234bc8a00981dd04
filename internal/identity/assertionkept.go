package identity

import (
	"fmt"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// Limits of the cache of assertions. A user without room in it gets an
// assertion that is signed for the request.
const (
	mostKeptAssertions = 32 << 20 // bytes
	restOfAssertion    = 256      // bytes of an entry besides its strings, about
	restOfString       = 16       // bytes of a string besides its text
)

// size returns roughly the memory that an assertion takes, in bytes.
func (k *assertion) size() int {
	size := restOfAssertion + len(k.text)
	for _, values := range append(k.lists[:len(k.lists):len(k.lists)], k.values) {
		for _, value := range values {
			size += restOfString + len(value)
		}
	}
	return size
}

// openKept makes the cache of assertions. It starts no goroutine, as its
// entries don't expire by themselves.
func (a *Assertions) openKept() error {
	var err error
	a.kept, err = otter.New(&otter.Options[token.PrimaryKey, *assertion]{
		MaximumWeight: mostKeptAssertions,
		Weigher: func(_ token.PrimaryKey, kept *assertion) uint32 {
			return uint32(min(kept.size(), mostKeptAssertions)) //nolint:gosec // no more than that
		},
		Logger: &otter.NoopLogger{},
	})
	if err != nil {
		return fmt.Errorf("assertion: %w", err)
	}
	return nil
}
