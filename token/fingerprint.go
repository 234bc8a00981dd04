package token

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// fingerprintSize is how many bytes of the hash are used.
const fingerprintSize = 10

// Fingerprint identifies a parsed token in logs and lists that must not
// contain the token: 20 hexadecimal digits, from which the token can't be
// derived. It is the same for each spelling of the token: base64 has unused
// bits. It is empty if Parse couldn't read the token.
//
// It is the beginning of the SHA-256 hash of the version's number in a byte,
// the time in v1's outer part in eight, big-endian, and the decoded data.
func (p *Parsed) Fingerprint() string {
	if p.size == 0 {
		return ""
	}
	input := make([]byte, 0, 1+8+maxDataSize)
	input = append(input, byte(p.version))
	var created int64
	if p.version == V1 {
		created = p.created // in v2 it is part of the data
	}
	input = binary.BigEndian.AppendUint64(input, uint64(created)) //nolint:gosec // two's complement will do
	input = append(input, p.data[:p.size]...)
	hash := sha256.Sum256(input)
	return hex.EncodeToString(hash[:fingerprintSize])
}
