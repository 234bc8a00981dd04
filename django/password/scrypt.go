package password

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/scrypt"
)

const scryptHashSize = 64

// scryptHash is scrypt$N$salt$r$p$hash, the hash in base64.
type scryptHash struct {
	n, r, p    uint64
	salt, hash string
}

func parseScrypt(encoded string) (hash, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[2] == "" {
		return nil, ErrMalformed
	}
	h := &scryptHash{salt: parts[2], hash: parts[5]}
	for i, to := range map[int]*uint64{1: &h.n, 3: &h.r, 4: &h.p} {
		var err error
		if *to, err = parseCount(parts[i]); err != nil {
			return nil, err
		}
	}
	// RFC 7914, section 6: N is a power of 2, and less than 2^(128·r/8).
	if h.n < 2 || h.n&(h.n-1) != 0 || h.r*h.p >= 1<<30 || h.r < 4 && h.n >= 1<<(16*h.r) {
		return nil, ErrMalformed
	}
	return h, nil
}

func (h *scryptHash) check(l Limits) error {
	for _, factor := range []uint64{h.n, h.r, h.p} { // so that the product can't overflow
		if err := limit(Scrypt, "ScryptMemory", factor, l.ScryptMemory); err != nil {
			return err
		}
	}
	// OpenSSL's formula: p blocks, and N + 2 more.
	if err := limit(Scrypt, "ScryptMemory", 128*h.r*(h.p+h.n+2), l.ScryptMemory); err != nil {
		return err
	}
	return limit(Scrypt, "ScryptParallelism", h.p, l.ScryptParallelism)
}

func (h *scryptHash) matches(password string) bool {
	made, err := scryptKey(password, h.salt, int(h.n), int(h.r), int(h.p))
	return err == nil && subtle.ConstantTimeCompare([]byte(made), []byte(h.hash)) == 1
}

func (h *scryptHash) mustUpdate(p Parameters) bool {
	return h.n != uint64(p.ScryptWorkFactor) || h.r != uint64(p.ScryptBlockSize) || h.p != uint64(p.ScryptParallelism)
}

// harden does nothing, as in Django: scrypt's time is too complicated for it.
func (h *scryptHash) harden(string, Parameters) {}

func makeScrypt(password string, p Parameters) (string, error) {
	salt := randomText(saltSize)
	made, err := scryptKey(password, salt, p.ScryptWorkFactor, p.ScryptBlockSize, p.ScryptParallelism)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s$%d$%s$%d$%d$%s", Scrypt, p.ScryptWorkFactor, salt, p.ScryptBlockSize, p.ScryptParallelism, made), nil
}

func scryptKey(password, salt string, n, r, p int) (string, error) {
	if r < 1 || p < 1 {
		return "", ErrMalformed
	}
	key, err := scrypt.Key([]byte(password), []byte(salt), n, r, p, scryptHashSize)
	if err != nil {
		return "", fmt.Errorf("hashing with scrypt: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}
