package password

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"math"
	"strings"

	"golang.org/x/crypto/argon2"
)

// maxHashSize is the longest hash that is computed, in bytes. The column holds
// 128 characters.
const maxHashSize = 128

// The least values that Argon2's reference implementation accepts, in bytes, and in
// KiB for each lane.
const (
	minArgon2Salt   = 8
	minArgon2Hash   = 4
	minArgon2Memory = 8
)

// argon2Hash is argon2 and the PHC string
// $argon2id$v=19$m=memory,t=time,p=lanes$salt$hash, the last two in base64.
type argon2Hash struct {
	isID         bool
	memory, time uint32
	lanes        uint8
	salt, hash   []byte
}

// argon2Base64 refuses texts that the reference implementation would write
// differently.
var argon2Base64 = base64.RawStdEncoding.Strict()

func parseArgon2(encoded string) (hash, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) > 1 && (parts[1] == "argon2d" || len(parts) == 5) || len(parts) > 2 && parts[2] == "v=16" {
		return nil, ErrUnsupported
	}
	if len(parts) != 6 || parts[1] != "argon2id" && parts[1] != "argon2i" || parts[2] != "v=19" {
		return nil, ErrMalformed
	}
	h := &argon2Hash{isID: parts[1] == "argon2id"}
	var counts [3]uint64
	costs := strings.Split(parts[3], ",")
	if len(costs) != len(counts) {
		return nil, ErrMalformed
	}
	for i, prefix := range []string{"m=", "t=", "p="} {
		text, found := strings.CutPrefix(costs[i], prefix)
		if !found {
			return nil, ErrMalformed
		}
		var err error
		if counts[i], err = parseCount(text); err != nil {
			return nil, err
		}
	}
	if counts[2] > math.MaxUint8 || counts[0] < minArgon2Memory*counts[2] {
		return nil, ErrMalformed
	}
	h.memory, h.time, h.lanes = uint32(counts[0]), uint32(counts[1]), uint8(counts[2])
	var err error
	if h.salt, err = decodeArgon2Base64(parts[4], minArgon2Salt); err != nil {
		return nil, err
	}
	if h.hash, err = decodeArgon2Base64(parts[5], minArgon2Hash); err != nil {
		return nil, err
	}
	return h, nil
}

func decodeArgon2Base64(text string, atLeast int) ([]byte, error) {
	data, err := argon2Base64.DecodeString(text)
	// The decoder skips line breaks, which shows in the length.
	if err != nil || argon2Base64.EncodedLen(len(data)) != len(text) || len(data) < atLeast || len(data) > maxHashSize {
		return nil, ErrMalformed
	}
	return data, nil
}

func (h *argon2Hash) check(l Limits) error {
	if err := limit(Argon2, "Argon2Memory", uint64(h.memory), l.Argon2Memory); err != nil {
		return err
	}
	return limit(Argon2, "Argon2Time", uint64(h.time), l.Argon2Time)
}

func (h *argon2Hash) matches(password string) bool {
	derive := argon2.Key
	if h.isID {
		derive = argon2.IDKey
	}
	made := derive([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(made, h.hash) == 1
}

func (h *argon2Hash) mustUpdate(p Parameters) bool {
	return !h.isID || h.memory != p.Argon2Memory || h.time != p.Argon2Time || h.lanes != p.Argon2Parallelism ||
		len(h.hash) != int(p.Argon2HashSize) || len(h.salt) < saltSize
}

// harden does nothing, as in Django: Argon2's time is too complicated for it.
func (h *argon2Hash) harden(string, Parameters) {}

func makeArgon2(password string, p Parameters) string {
	salt := []byte(randomText(saltSize))
	made := argon2.IDKey([]byte(password), salt, p.Argon2Time, p.Argon2Memory, p.Argon2Parallelism, p.Argon2HashSize)
	return fmt.Sprintf("%s$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", Argon2, argon2.Version, p.Argon2Memory, p.Argon2Time, p.Argon2Parallelism,
		argon2Base64.EncodeToString(salt), argon2Base64.EncodeToString(made))
}
