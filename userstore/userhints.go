package userstore

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// hints remember which user a value led to the last time. They store hashes of the
// values, which may be secrets, and are of a fixed size: a new hint may replace
// another. A wrong or lost hint costs a query. No lock is needed.
type hints struct {
	seed  maphash.Seed
	slots []atomic.Pointer[hint]
}

type hint struct {
	hash uint64
	key  token.PrimaryKey
}

// Hints are in sets. Each value belongs to one set.
const (
	hintSets = 1 << 14
	hintWays = 4
)

func newHints() hints {
	return hints{maphash.MakeSeed(), make([]atomic.Pointer[hint], hintSets*hintWays)}
}

// set returns the hash of a value, and the places that it may be in.
func (h *hints) set(value string) (uint64, []atomic.Pointer[hint]) {
	hash := maphash.String(h.seed, value)
	first := hash % hintSets * hintWays
	return hash, h.slots[first : first+hintWays]
}

func (h *hints) get(value string) (key token.PrimaryKey, ok bool) {
	hash, set := h.set(value)
	for i := range set {
		if found := set[i].Load(); found != nil && found.hash == hash {
			return found.key, true
		}
	}
	return key, false
}

func (h *hints) put(value string, key token.PrimaryKey) {
	hash, set := h.set(value)
	place := &set[hash>>32%hintWays]
	for i := range set {
		found := set[i].Load()
		if found != nil && found.hash == hash {
			place = &set[i]
			break
		}
		if found == nil {
			place = &set[i]
		}
	}
	place.Store(&hint{hash, key})
}
