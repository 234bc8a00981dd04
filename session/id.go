package session

import (
	"crypto/rand"
	"encoding/base32"
)

// idSize is the size of an ID: 128 bits can't be guessed, and no two are equal.
const idSize = 16

// ID identifies a session that is also in a table, in which it can be ended. It
// isn't a secret: a cookie with it must be signed as any other.
type ID [idSize]byte

// NewID returns a random ID.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // it never fails
	return id
}

// IsZero reports whether there is no ID: the session is in no table.
func (id ID) IsZero() bool { return id == ID{} }

// idEncoding has no characters that people confuse, and rejects texts that an
// encoder would have written differently.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the ID as it is in the table: 26 lower-case letters and digits.
func (id ID) String() string { return idEncoding.EncodeToString(id[:]) }

// ParseID reads the text of an ID.
func ParseID(text string) (id ID, ok bool) {
	if len(text) != idEncoding.EncodedLen(idSize) {
		return ID{}, false
	}
	n, err := idEncoding.Decode(id[:], []byte(text))
	if err != nil || n != idSize || id.String() != text || id.IsZero() {
		return ID{}, false
	}
	return id, true
}
