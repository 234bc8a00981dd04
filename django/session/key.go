package session

import "crypto/rand"

const (
	keyAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	keySize     = 32 // characters of keys that Django makes

	minKeySize = 8  // Django ignores shorter keys
	maxKeySize = 40 // of the column session_key
)

// IsKey reports whether a cookie's value can be the key of a row: 8 to 40 visible
// ASCII characters. Django's own keys are 32 lower-case letters and digits, but a
// session class can make others.
func IsKey(value string) bool {
	if len(value) < minKeySize || len(value) > maxKeySize {
		return false
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return false
		}
	}
	return true
}

// NewKey makes a session key as Django does.
func NewKey() string {
	const usable = 256 - 256%len(keyAlphabet) // beyond, some characters would be likelier
	key := make([]byte, 0, keySize)
	var random [2 * keySize]byte
	for {
		_, _ = rand.Read(random[:]) // it never fails
		for _, b := range random {
			if int(b) >= usable {
				continue
			}
			key = append(key, keyAlphabet[int(b)%len(keyAlphabet)])
			if len(key) == keySize {
				return string(key)
			}
		}
	}
}
