package signing

import (
	"strings"
	"time"
)

const base62Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// EncodeBase62 writes a number as Django writes timestamps: digits, upper
// case, lower case, after a minus sign if it is negative.
func EncodeBase62(n int64) string {
	if n == 0 {
		return "0"
	}
	var digits [12]byte
	i := len(digits)
	u := uint64(n)
	if n < 0 {
		u = -u
	}
	for ; u > 0; u /= 62 {
		i--
		digits[i] = base62Alphabet[u%62]
	}
	if n < 0 {
		i--
		digits[i] = '-'
	}
	return string(digits[i:])
}

// The limit that timestamps are cut to: any clock is nearer to 1970.
const farthest = 1 << 40 // seconds: 34,000 years

// DecodeBase62 reads a timestamp in base 62. One that is more than 34,000
// years from 1970 is cut to that. The error is ErrMalformed.
func DecodeBase62(text string) (time.Time, error) {
	digits, isNegative := strings.CutPrefix(text, "-")
	if text == "" {
		return time.Time{}, ErrMalformed
	}
	var n int64
	for i := range len(digits) {
		digit := strings.IndexByte(base62Alphabet, digits[i])
		if digit < 0 {
			return time.Time{}, ErrMalformed
		}
		n = min(n*62+int64(digit), farthest)
	}
	if isNegative {
		n = -n
	}
	return time.Unix(n, 0).UTC(), nil
}
