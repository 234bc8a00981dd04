package identity

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// encoding writes a value in characters that every server reads alike: Node and
// WSGI take the bytes of a header field for Latin-1, others for UTF-8. It never
// returns a character that a header field can't carry, or that separates the names
// of a list, unless the value is written as it is.
type encoding string

// The encodings.
const (
	plain   encoding = ""        // the bytes of the value
	percent encoding = "percent" // RFC 3986, section 2.1
	base64s encoding = "base64"  // RFC 4648, section 4
	rfc2047 encoding = "rfc2047" // encoded words of mails
)

// encodings are the names of those that an option can name.
var encodings = []encoding{percent, base64s, rfc2047}

// parseEncoding reads the name of an encoding.
func parseEncoding(name string) (encoding, error) {
	for _, known := range append(encodings, plain) {
		if name == string(known) {
			return known, nil
		}
	}
	return plain, fmt.Errorf("encoding %q: it must be %s, %s or %s; without the option, the bytes of the value are sent", name, percent, base64s, rfc2047)
}

// encode writes a value. ok is false for a value that isn't UTF-8: several such
// values would be one after an application has decoded them.
func (e encoding) encode(value string) (text string, ok bool) {
	if e != plain && !utf8.ValidString(value) {
		return "", false
	}
	switch e {
	case percent:
		return percentEncoded(value), true
	case base64s:
		return base64.StdEncoding.EncodeToString([]byte(value)), true
	case rfc2047:
		return encodedWords(value), true
	default:
		return value, true
	}
}

// percentEncoded encodes all but the unreserved characters of RFC 3986, so that
// functions for paths, for queries and for forms decode it alike: none has a plus
// sign for a space.
func percentEncoded(value string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; isUnreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&0xf])
		}
	}
	return b.String()
}

// isUnreserved reports whether a character is unreserved in URIs (RFC 3986, section
// 2.3).
func isUnreserved(c byte) bool {
	_, isAlphanumeric := foldByte(c)
	return isAlphanumeric || strings.IndexByte("-._~", c) >= 0
}

// encodedWords writes a value as encoded words (RFC 2047), and one of letters, digits
// and simple punctuation as it is. What isn't encoded has neither the beginning of an
// encoded word, nor a separator of lists, nor an underscore, which old PHP reads as a
// space.
func encodedWords(value string) string {
	if isOfPlainWords(value) {
		return value
	}
	// A word has at most 75 characters (section 2), and ends with a character of the
	// value (section 5).
	const start, end, most = "=?utf-8?B?", "?=", 45
	var b strings.Builder
	for rest := value; rest != ""; {
		size := min(most, len(rest))
		for size < len(rest) && !utf8.RuneStart(rest[size]) {
			size--
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(start)
		b.WriteString(base64.StdEncoding.EncodeToString([]byte(rest[:size])))
		b.WriteString(end)
		rest = rest[size:]
	}
	return b.String()
}

// isOfPlainWords reports whether a value needs no encoded words.
func isOfPlainWords(value string) bool {
	for i := range len(value) {
		c := value[i]
		if _, isAlphanumeric := foldByte(c); !isAlphanumeric && strings.IndexByte("-.@+ ", c) < 0 {
			return false
		}
	}
	return value == strings.TrimSpace(value) && !strings.Contains(value, "  ")
}
