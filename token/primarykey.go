package token

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Kind is the type of a PrimaryKey's value. It follows from the packer that
// made or read the token.
type Kind uint8

// The kinds of primary keys that django-sesame's packers encode.
const (
	KindInt    Kind = iota + 1 // signed integer, at most 64 bits
	KindUint                   // unsigned integer, at most 64 bits
	KindUUID                   // 16 bytes
	KindString                 // UTF-8, at most 255 bytes
	KindBytes                  // at most 255 bytes
)

// String names the kind as error messages do.
func (k Kind) String() string {
	switch k {
	case KindInt:
		return "integer"
	case KindUint:
		return "unsigned integer"
	case KindUUID:
		return "UUID"
	case KindString:
		return "string"
	case KindBytes:
		return "bytes"
	default:
		return "none"
	}
}

// PrimaryKey is the primary key of a user, or whatever unique field
// primary_key_field names. It is comparable: two keys of one packer belong to
// the same user if and only if they are equal. The zero value is no key.
type PrimaryKey struct {
	kind Kind
	hi   uint64 // upper half of a UUID
	lo   uint64 // an integer in two's complement, or the lower half of a UUID
	text string // a string, or bytes
}

// IntKey returns the primary key with a signed integer.
func IntKey(n int64) PrimaryKey { return PrimaryKey{kind: KindInt, lo: uint64(n)} }

// UintKey returns the primary key with an unsigned integer.
func UintKey(n uint64) PrimaryKey { return PrimaryKey{kind: KindUint, lo: n} }

// UUIDKey returns the primary key with the 16 bytes of a UUID.
func UUIDKey(id [16]byte) PrimaryKey {
	return PrimaryKey{
		kind: KindUUID,
		hi:   binary.BigEndian.Uint64(id[:8]),
		lo:   binary.BigEndian.Uint64(id[8:]),
	}
}

// StringKey returns the primary key with a string.
func StringKey(s string) PrimaryKey { return PrimaryKey{kind: KindString, text: s} }

// BytesKey returns the primary key with a copy of b.
func BytesKey(b []byte) PrimaryKey { return PrimaryKey{kind: KindBytes, text: string(b)} }

// Kind says which of the other methods returns the value.
func (k PrimaryKey) Kind() Kind { return k.kind }

// IsZero reports whether k is the zero value, which is no key.
func (k PrimaryKey) IsZero() bool { return k.kind == 0 }

// Int returns the value of a KindInt.
func (k PrimaryKey) Int() int64 { return int64(k.lo) }

// Uint returns the value of a KindUint.
func (k PrimaryKey) Uint() uint64 { return k.lo }

// UUID returns the value of a KindUUID.
func (k PrimaryKey) UUID() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], k.hi)
	binary.BigEndian.PutUint64(id[8:], k.lo)
	return id
}

// Text returns the value of a KindString, or the raw bytes of a KindBytes.
func (k PrimaryKey) Text() string { return k.text }

// String returns the key in its usual form: integers in decimal, UUIDs in
// their dashed form, strings as they are, bytes in hexadecimal.
func (k PrimaryKey) String() string {
	switch k.kind {
	case KindInt:
		return strconv.FormatInt(int64(k.lo), 10)
	case KindUint:
		return strconv.FormatUint(k.lo, 10)
	case KindUUID:
		return dashedUUID(k.UUID())
	case KindString:
		return k.text
	case KindBytes:
		return hex.EncodeToString([]byte(k.text))
	default:
		return ""
	}
}

// dashedUUID writes id in the 8-4-4-4-12 form of RFC 9562, section 4.
func dashedUUID(id [16]byte) string {
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
