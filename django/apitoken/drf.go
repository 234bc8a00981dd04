package apitoken

import (
	"crypto/rand"
	"encoding/hex"
	"unicode/utf8"
)

const (
	drfKeySize   = 20 // random bytes of a key, which is in hexadecimal
	drfKeyColumn = 40 // characters of the column key
)

// IsDRFKey reports whether a token can be a key of DRF's authtoken_token. DRF
// makes 40 hexadecimal digits, but an application can store any text of up to
// 40 characters.
func IsDRFKey(token string) bool {
	return token != "" && utf8.RuneCountInString(token) <= drfKeyColumn
}

// NewDRFKey makes a key as DRF does.
func NewDRFKey() string {
	var random [drfKeySize]byte
	_, _ = rand.Read(random[:]) // it never fails
	return hex.EncodeToString(random[:])
}
