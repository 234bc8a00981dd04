package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// derivationSalt makes the keys of this format differ from all other keys that
// are derived from Django's SECRET_KEY.
const derivationSalt = "caddy-sesame/session/1"

// The purposes of keys, which are labels in the key derivation.
const (
	forPasswords  = "password"
	forScopes     = "scope"
	forSignatures = "signature"
)

// derivedKeys are the keys derived from one secret key.
type derivedKeys struct {
	password, scope, signature []byte
}

// deriveKeys derives the keys, also from settings that change a cookie's
// meaning, so that a cookie isn't accepted with another packer, for example.
func deriveKeys(secretKey, packer, audience string) (derivedKeys, error) {
	root, err := hkdf.Extract(sha256.New, []byte(secretKey), []byte(derivationSalt))
	if err != nil {
		return derivedKeys{}, fmt.Errorf("deriving the keys of sessions: %w", err)
	}
	var keys derivedKeys
	for _, k := range []struct {
		key     *[]byte
		purpose string
	}{
		{&keys.password, forPasswords},
		{&keys.scope, forScopes},
		{&keys.signature, forSignatures},
	} {
		info := netstrings(k.purpose, packer, audience)
		if *k.key, err = hkdf.Expand(sha256.New, root, info, sha256.Size); err != nil {
			return derivedKeys{}, fmt.Errorf("deriving the keys of sessions: %w", err)
		}
	}
	return keys, nil
}

// netstrings joins parts unambiguously.
func netstrings(parts ...string) string {
	var joined strings.Builder
	for _, part := range parts {
		joined.WriteString(strconv.Itoa(len(part)))
		joined.WriteByte(':')
		joined.WriteString(part)
		joined.WriteByte(',')
	}
	return joined.String()
}

// purposeMACs are HMACs with derivedKeys.
type purposeMACs struct {
	password, scope, signature hash.Hash
}

// scratch is reusable memory for reading or signing a cookie: arguments of a
// Packer or a hash would otherwise be allocated each time.
type scratch struct {
	macs   []purposeMACs // in the order of Sessions.keys
	text   [maxValueSize]byte
	data   [maxDataSize]byte
	packed [maxKeySize]byte
	chunk  [128]byte
	sum    [sha256.Size]byte
}

func newScratch(keys []derivedKeys) *scratch {
	sc := &scratch{macs: make([]purposeMACs, len(keys))}
	for i, k := range keys {
		sc.macs[i] = purposeMACs{
			password:  hmac.New(sha256.New, k.password),
			scope:     hmac.New(sha256.New, k.scope),
			signature: hmac.New(sha256.New, k.signature),
		}
	}
	return sc
}

// The tags and the signature are valid until the next one is made.

// passwordTag returns the tag of one user's password. A nil password is NULL,
// which differs from an empty one.
func (sc *scratch) passwordTag(macs purposeMACs, packedKey []byte, password *string) []byte {
	mac := macs.password
	mac.Reset()
	binary.BigEndian.PutUint16(sc.chunk[:], uint16(len(packedKey))) //nolint:gosec // at most maxKeySize
	sc.write(mac, sc.chunk[:2])
	sc.write(mac, packedKey)
	if password == nil {
		sc.chunk[0] = 0
		sc.write(mac, sc.chunk[:1])
	} else {
		sc.chunk[0] = 1
		sc.write(mac, sc.chunk[:1])
		sc.writeString(mac, *password)
	}
	return sc.tag(mac)
}

// scopeTag returns the tag of a scope.
func (sc *scratch) scopeTag(macs purposeMACs, scope string) []byte {
	macs.scope.Reset()
	sc.writeString(macs.scope, scope)
	return sc.tag(macs.scope)
}

// signature signs the part of a cookie that precedes it.
func (sc *scratch) signature(macs purposeMACs, signed []byte) []byte {
	macs.signature.Reset()
	sc.write(macs.signature, signed)
	return sc.tag(macs.signature)
}

func (sc *scratch) tag(mac hash.Hash) []byte {
	return mac.Sum(sc.sum[:0])[:tagSize]
}

func (*scratch) write(mac hash.Hash, data []byte) {
	_, _ = mac.Write(data) // a hash never fails
}

// writeString writes in chunks: a scope comes from the request, and may be
// long.
func (sc *scratch) writeString(mac hash.Hash, s string) {
	for len(s) > 0 {
		n := copy(sc.chunk[:], s)
		sc.write(mac, sc.chunk[:n])
		s = s[n:]
	}
}
