package identity

import (
	"fmt"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// Limits of what is kept. A user who finds no room gets an assertion all the
// same, signed for the request.
const (
	mostKeptAssertions = 32 << 20 // bytes
	restOfAssertion    = 256      // bytes of an entry besides its strings, about
	restOfString       = 16       // bytes of a string besides its text
)

// size is about what an assertion takes of the memory.
func (k *assertion) size() int {
	size := restOfAssertion + len(k.text)
	for _, values := range append(k.lists[:len(k.lists):len(k.lists)], k.values) {
		for _, value := range values {
			size += restOfString + len(value)
		}
	}
	return size
}

// openKept makes what assertions are kept in. It runs nothing that would have
// to be stopped, as nothing in it expires by itself.
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
