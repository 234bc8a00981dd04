package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

// pbkdf2Hash is algorithm$iterations$salt$hash, the hash in base64.
type pbkdf2Hash struct {
	algorithm  Algorithm
	iterations uint64
	salt, hash string
}

func parsePBKDF2(encoded string) (hash, error) {
	parts := strings.SplitN(encoded, "$", 4)
	if len(parts) != 4 || parts[2] == "" {
		return nil, ErrMalformed
	}
	iterations, err := parseCount(parts[1])
	if err != nil {
		return nil, err
	}
	return &pbkdf2Hash{Algorithm(parts[0]), iterations, parts[2], parts[3]}, nil
}

func (h *pbkdf2Hash) check(l Limits) error {
	return limit(h.algorithm, "PBKDF2Iterations", h.iterations, l.PBKDF2Iterations)
}

func (h *pbkdf2Hash) matches(password string) bool {
	made, err := pbkdf2Base64(h.algorithm, password, h.salt, int(h.iterations))
	return err == nil && subtle.ConstantTimeCompare([]byte(made), []byte(h.hash)) == 1
}

func (h *pbkdf2Hash) mustUpdate(p Parameters) bool {
	return h.iterations != uint64(p.PBKDF2Iterations) || isShortSalt(h.salt)
}

func (h *pbkdf2Hash) harden(password string, p Parameters) {
	if extra := p.PBKDF2Iterations - int(h.iterations); extra > 0 {
		_, _ = pbkdf2Base64(h.algorithm, password, h.salt, extra)
	}
}

func makePBKDF2(algorithm Algorithm, password string, p Parameters) (string, error) {
	salt := randomText(saltSize)
	made, err := pbkdf2Base64(algorithm, password, salt, p.PBKDF2Iterations)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s$%d$%s$%s", algorithm, p.PBKDF2Iterations, salt, made), nil
}

// pbkdf2Base64 fails in Go's FIPS 140-only mode, for SHA-1 and short salts.
func pbkdf2Base64(algorithm Algorithm, password, salt string, iterations int) (string, error) {
	var key []byte
	var err error
	if algorithm == PBKDF2SHA1 {
		key, err = pbkdf2.Key(sha1.New, password, []byte(salt), iterations, sha1.Size)
	} else {
		key, err = pbkdf2.Key(sha256.New, password, []byte(salt), iterations, sha256.Size)
	}
	if err != nil {
		return "", fmt.Errorf("hashing with PBKDF2: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}
