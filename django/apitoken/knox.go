package apitoken

import (
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"time"
)

// KnoxGeneration is a form of knox's digests.
type KnoxGeneration uint8

// The generations. A table that knox 5 has taken over from 4 holds tokens of
// both: then a token has to be looked up as either.
const (
	Knox4 KnoxGeneration = 4 // up to 4.2
	Knox5 KnoxGeneration = 5 // from 5.0
)

// ErrKnoxToken means that knox couldn't have made the token.
var ErrKnoxToken = errors.New("the token is none of knox's: up to 4.2 it has an even number of hexadecimal digits")

// Characters of a token that are in the column token_key.
const (
	knox4KeySize = 8
	knox5KeySize = 15
)

// Knox has the columns to find and check a token of knox by.
type Knox struct {
	// TokenKey is the column token_key: the start of the token. Several tokens can
	// have the same one.
	TokenKey string
	// Digest is the column digest, the primary key: SHA-512 in hexadecimal.
	Digest string
}

// ParseKnox returns the columns of a token in the table of a generation. The error
// is ErrKnoxToken.
func ParseKnox(token string, generation KnoxGeneration) (Knox, error) {
	if token == "" {
		return Knox{}, ErrKnoxToken
	}
	if generation == Knox5 {
		sum := sha512.Sum512([]byte(token))
		return Knox{firstCharacters(token, knox5KeySize), hex.EncodeToString(sum[:])}, nil
	}
	data, err := hex.DecodeString(token)
	if err != nil {
		return Knox{}, ErrKnoxToken
	}
	sum := sha512.Sum512(data)
	return Knox{token[:min(len(token), knox4KeySize)], hex.EncodeToString(sum[:])}, nil
}

// Matches compares with a row's digest, in constant time.
func (k Knox) Matches(digest string) bool {
	return subtle.ConstantTimeCompare([]byte(k.Digest), []byte(digest)) == 1
}

// KnoxExpired reports whether a token with this column expiry has expired. nil
// is NULL, which never does.
func KnoxExpired(expiry *time.Time, now time.Time) bool {
	return expiry != nil && expiry.Before(now)
}

// KnoxRefresh says how knox extends a token in use (AUTO_REFRESH).
type KnoxRefresh struct {
	TTL         time.Duration // TOKEN_TTL, which is ten hours by default
	MaxTTL      time.Duration // AUTO_REFRESH_MAX_TTL since the token was created; 0: no end
	MinInterval time.Duration // MIN_REFRESH_INTERVAL, which is a minute by default
}

// Expiry returns the expiry that knox would write now for a token that is
// valid, and false if it would leave the row as it is.
func (r KnoxRefresh) Expiry(created time.Time, expiry *time.Time, now time.Time) (time.Time, bool) {
	if expiry == nil {
		return time.Time{}, false
	}
	extended := now.Add(r.TTL)
	if end := created.Add(r.MaxTTL); r.MaxTTL != 0 && extended.After(end) {
		extended = end
	}
	return extended, extended.Sub(*expiry) > r.MinInterval
}

// firstCharacters is Python's text[:n].
func firstCharacters(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}
