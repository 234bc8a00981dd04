// Package base64url reads base64 for URLs without padding (RFC 4648, section 5),
// and accepts one text alone for each value: what is signed or encrypted can then
// not be changed unnoticed.
package base64url

import (
	"encoding/base64"
	"errors"
	"strings"
)

var strict = base64.RawURLEncoding.Strict()

// errText is the error of a text that Encode doesn't make.
var errText = errors.New("the text is not in base64 for URLs")

// Encode encodes data.
func Encode(data []byte) string { return strict.EncodeToString(data) }

// Decode reads what Encode has made. Other texts of the same data, with line breaks
// or other bits behind the data, are an error.
func Decode(text string) ([]byte, error) {
	data, err := strict.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, errText
	}
	return data, nil
}
