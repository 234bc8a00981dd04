package sesame

import (
	"crypto/hmac"
	"crypto/sha256"
)

// signingKey signs what the gateway hands out besides tokens and sessions.
type signingKey []byte

// newSigningKey derives the key for a purpose from Django's SECRET_KEY.
func newSigningKey(secretKey, purpose string) signingKey {
	return signingKey(secretKey).sign(purpose)
}

// sign returns the HMAC-SHA256 of a message.
func (k signingKey) sign(message string) []byte {
	mac := hmac.New(sha256.New, k)
	_, _ = mac.Write([]byte(message)) // a hash never fails
	return mac.Sum(nil)
}
