// Package seal encrypts what a page holds for the gateway between two requests of one
// browser, so that no gateway stores it. A page can neither read nor make up what is
// sealed, and another browser can't send it.
package seal

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-sesame/caddy-sesame/internal/base64url"
)

// A Sealer seals texts with XChaCha20-Poly1305, whose nonces are long enough to be
// drawn by chance, however many texts are sealed.
type Sealer struct{ aead cipher.AEAD }

// New derives a sealer's key from another one. What is sealed for one purpose doesn't
// open for another.
func New(key []byte, purpose string) *Sealer {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte("caddy-sesame/seal/1\x00" + purpose)) // a hash never fails
	aead, _ := chacha20poly1305.NewX(mac.Sum(nil))                // the key has the right length
	return &Sealer{aead}
}

// Seal seals a text for the browser that tie identifies, and for a scope, which may be
// empty. The result is in the letters of URLs.
func (s *Sealer) Seal(text []byte, tie, scope string) string {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(text)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // it never fails
	return base64url.Encode(s.aead.Seal(nonce, nonce, text, boundTo(tie, scope)))
}

// Open opens what Seal has sealed, in a browser that one of the ties identifies. ok is
// false for another browser or scope, and for what isn't sealed with the key. An empty
// tie identifies no browser.
func (s *Sealer) Open(sealed string, ties []string, scope string) (text []byte, ok bool) {
	data, err := base64url.Decode(sealed)
	size := s.aead.NonceSize()
	if err != nil || len(data) < size {
		return nil, false
	}
	for _, tie := range ties {
		if tie == "" {
			continue
		}
		if text, err := s.aead.Open(nil, data[:size], data[size:], boundTo(tie, scope)); err == nil {
			return text, true
		}
	}
	return nil, false
}

// boundTo writes both so that no other pair gives the same bytes.
func boundTo(tie, scope string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(len(tie))), tie+scope...)
}
