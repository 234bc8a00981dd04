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

// derivationSalt sets the keys of this format apart from all others that are
// derived from Django's SECRET_KEY.
const derivationSalt = "caddy-sesame/session/1"

// What a key is for. These are the labels of the key derivation.
const (
	forPasswords  = "password"
	forScopes     = "scope"
	forSignatures = "signature"
)

// derivedKeys are the keys made of one secret key.
type derivedKeys struct {
	password, scope, signature []byte
}

// deriveKeys makes the keys. What changes the meaning of a cookie is a part of
// them, so that no cookie is read with another packer, for example.
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

// netstrings joins parts so that no other parts come out the same.
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

// scratch is the memory in which a cookie is read or signed, kept for reuse:
// what is handed to a Packer or a hash would otherwise be allocated each time.
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

// The tags and the signature are good until the next one is made.

// passwordTag stands for the password of one user. A nil password is a NULL,
// which is not the same as an empty one.
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

// scopeTag stands for a scope.
func (sc *scratch) scopeTag(macs purposeMACs, scope string) []byte {
	macs.scope.Reset()
	sc.writeString(macs.scope, scope)
	return sc.tag(macs.scope)
}

// signature signs all of a cookie that comes before it.
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

// writeString goes by chunks: a scope comes from the request, and may be long.
func (sc *scratch) writeString(mac hash.Hash, s string) {
	for len(s) > 0 {
		n := copy(sc.chunk[:], s)
		sc.write(mac, sc.chunk[:n])
		s = s[n:]
	}
}
