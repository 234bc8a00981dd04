// Package otp checks second factors that Django applications store: the
// devices of django-otp (TOTP and static tokens), and the authenticators of
// allauth.mfa (TOTP and recovery codes).
//
// Each check takes the row and returns what the row is afterwards. It does no
// I/O: the caller reads the row under a lock, and writes it back before the
// code counts as accepted, so that a code is accepted once.
//
// The formats are defined by the libraries' sources, django-otp 1.7 and
// django-allauth 65, and by RFC 4226 and RFC 6238.
package otp

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
)

// Why a code isn't accepted. Errors never repeat a code or a secret.
var (
	// ErrMismatch means that the code is wrong, or was used before.
	ErrMismatch = errors.New("the code is wrong, too old, or used already")
	// ErrThrottled means that too little time has passed since the last wrong
	// code. Nothing was checked.
	ErrThrottled = errors.New("too many wrong codes: the device is locked for a while")
	// ErrRow means that the row can't be right.
	ErrRow = errors.New("the row of the second factor is malformed")
)

const (
	maxDigits    = 9   // HOTP has 31 bits
	maxTolerance = 100 // steps; each costs an HMAC
)

// hotp is RFC 4226 with SHA-1: a code as a number.
func hotp(key []byte, counter uint64, digits int) int64 {
	mac := hmac.New(sha1.New, key)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, counter)) // a hash returns no error
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	truncated := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return int64(truncated) % powerOf10(digits)
}

func powerOf10(n int) int64 {
	power := int64(1)
	for range n {
		power *= 10
	}
	return power
}

// floorDiv is Python's //, for a positive divisor.
func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}
