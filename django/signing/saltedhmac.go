package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// SaltedHMAC is Django's salted_hmac with SHA-256: HMAC with the hash of salt
// and secret as its key. It is safe for concurrent use.
type SaltedHMAC struct{ macs sync.Pool }

type mac struct {
	hash  hash.Hash
	sum   [sha256.Size]byte
	value []byte
}

// NewSaltedHMAC derives the key.
func NewSaltedHMAC(salt, secret string) *SaltedHMAC {
	key := sha256.Sum256([]byte(salt + secret))
	h := new(SaltedHMAC)
	h.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, key[:])} }
	return h
}

// Sum returns the HMAC of a value.
func (h *SaltedHMAC) Sum(value string) [sha256.Size]byte {
	m := h.macs.Get().(*mac)
	defer h.macs.Put(m)
	m.hash.Reset()
	m.value = append(m.value[:0], value...)
	_, _ = m.hash.Write(m.value) // a hash returns no error
	m.hash.Sum(m.sum[:0])
	return m.sum
}
