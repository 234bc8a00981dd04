package authn

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxBasic is the longest user-id with its password that is read, in bytes.
const maxBasic = 4096

// Why credentials of Basic are rejected.
var (
	errBasicEncoding = errors.New("the credentials of Basic aren't in base64")
	errBasicText     = errors.New("the credentials of Basic aren't UTF-8, or have control characters")
	errBasicNoColon  = errors.New("the credentials of Basic have no colon")
	errBasicNoUser   = errors.New("the credentials of Basic have no user-id")
	errBasicLong     = errors.New("the credentials of Basic are too long")
)

// parseBasic reads what stands behind the name of the scheme Basic (RFC 7617,
// section 2): the user-id and the password in base64, with a colon after the
// user-id. The password may have more colons. Both are UTF-8, as the challenge
// says, and without control characters.
//
// It is strict: credentials that servers could read in several ways are none.
func parseBasic(encoded string) (userID, password string, err error) {
	encoding := base64.StdEncoding.Strict()
	if len(encoded) > encoding.EncodedLen(maxBasic) {
		return "", "", errBasicLong
	}
	decoded, err := encoding.DecodeString(encoded)
	if err != nil || encoding.EncodedLen(len(decoded)) != len(encoded) { // the decoder skips line breaks
		return "", "", errBasicEncoding
	}
	text := string(decoded)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", "", errBasicText
	}
	userID, password, ok := strings.Cut(text, ":")
	switch {
	case !ok:
		return "", "", errBasicNoColon
	case userID == "":
		return "", "", errBasicNoUser
	}
	return userID, password, nil
}
