// Package apitoken reads the API tokens of Django REST framework's
// authtoken, of django-rest-knox and of djangorestframework-simplejwt, as they
// are in an Authorization header, and judges them as those libraries do.
//
// DRF's tokens are keys of a table in plain text, see [IsDRFKey]. knox keeps a
// digest, see [Knox]. SimpleJWT's are signed and in no table, see [JWTs].
//
// The formats are defined by the libraries' sources: DRF 3.14 to 3.17, knox
// 4.2 and 5.0, SimpleJWT 5.5 with PyJWT 2.12. Nothing here does any I/O.
package apitoken

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Why a header has no token.
var (
	// ErrOtherScheme: the header belongs to another scheme.
	ErrOtherScheme = errors.New("the Authorization header is of another scheme")
	// ErrHeader: the scheme is right, but the header hasn't exactly one token, or
	// the token of DRF or knox isn't UTF-8. PyJWT skips bytes that aren't base64.
	ErrHeader = errors.New("the Authorization header must have exactly one token after the scheme")
)

// FromHeader returns the token of an Authorization header whose scheme is the
// keyword, "Token" for example, in any case: as DRF and knox read it. The
// error is ErrOtherScheme or ErrHeader.
func FromHeader(value, keyword string) (string, error) {
	token, err := fromHeader(value, func(scheme string) bool { return equalFoldASCII(scheme, keyword) })
	if err == nil && !utf8.ValidString(token) {
		return "", ErrHeader
	}
	return token, err
}

func fromHeader(value string, isOurs func(scheme string) bool) (string, error) {
	scheme, rest := cutField(value)
	if scheme == "" || !isOurs(scheme) {
		return "", ErrOtherScheme
	}
	token, rest := cutField(rest)
	if more, _ := cutField(rest); token == "" || more != "" {
		return "", ErrHeader
	}
	return token, nil
}

// cutField cuts the first field off, at the white space of Python's bytes.split.
func cutField(text string) (field, rest string) {
	const space = " \t\n\r\v\f"
	text = strings.TrimLeft(text, space)
	if end := strings.IndexAny(text, space); end >= 0 {
		return text[:end], text[end:]
	}
	return text, ""
}

// equalFoldASCII compares without regard to the case of ASCII letters alone.
// To strings.EqualFold the Kelvin sign would be a k.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
