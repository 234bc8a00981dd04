package password

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	bcryptSize      = 60 // characters of $2b$12$, salt and hash
	maxBcrypt       = 72 // bytes of a password that count
	bcryptSaltStart = 7
	bcryptSaltSize  = 22
)

// ErrBcryptPassword is Make's error for a password that bcrypt can't take.
var ErrBcryptPassword = errors.New("bcrypt takes neither NUL nor more than 72 bytes; bcrypt_sha256 does")

// bcryptHash is algorithm and $2b$cost$, then salt and hash in bcrypt's own
// base64, without a separator.
type bcryptHash struct {
	algorithm Algorithm
	encoded   []byte // without the algorithm
	cost      int
}

func parseBcrypt(encoded string) (hash, error) {
	name, rest, _ := strings.Cut(encoded, "$")
	if len(rest) != bcryptSize || rest[:2] != "$2" || rest[3] != '$' || rest[bcryptSaltStart-1] != '$' {
		return nil, ErrMalformed
	}
	if version := rest[2]; version != 'a' && version != 'b' && version != 'y' {
		return nil, ErrMalformed
	}
	cost, err := strconv.Atoi(rest[4 : bcryptSaltStart-1])
	if err != nil || cost < bcrypt.MinCost || cost > bcrypt.MaxCost || rest[4] == '+' {
		return nil, ErrMalformed
	}
	// Only two bits of the salt's last character count. The library writes the
	// others as zero, and Django compares the text.
	if last := rest[bcryptSaltStart+bcryptSaltSize-1]; strings.IndexByte(".Oeu", last) < 0 {
		return nil, ErrMalformed
	}
	return &bcryptHash{Algorithm(name), []byte(rest), cost}, nil
}

func (h *bcryptHash) check(l Limits) error {
	return limit(h.algorithm, "BcryptCost", uint64(h.cost), l.BcryptCost)
}

// matches takes the first 72 bytes of a longer password, as the library did before
// its version 5, which refuses such passwords. A NUL byte is refused, as before
// version 4.
func (h *bcryptHash) matches(password string) bool {
	if h.algorithm == BcryptSHA256 {
		password = hexSHA256(password)
	}
	isPossible := strings.IndexByte(password, 0) < 0
	err := bcrypt.CompareHashAndPassword(h.encoded, []byte(password[:min(len(password), maxBcrypt)]))
	return err == nil && isPossible
}

func (h *bcryptHash) mustUpdate(p Parameters) bool { return h.cost != p.BcryptCost }

func (h *bcryptHash) harden(password string, p Parameters) {
	for range 1<<max(p.BcryptCost-h.cost, 0) - 1 {
		h.matches(password)
	}
}

func makeBcrypt(algorithm Algorithm, password string, p Parameters) (string, error) {
	if algorithm == BcryptSHA256 {
		password = hexSHA256(password)
	}
	if strings.IndexByte(password, 0) >= 0 || len(password) > maxBcrypt {
		return "", ErrBcryptPassword
	}
	made, err := bcrypt.GenerateFromPassword([]byte(password), p.BcryptCost)
	if err != nil {
		return "", fmt.Errorf("hashing with bcrypt: %w", err)
	}
	made[2] = 'b' // 2a and 2b are equal up to 72 bytes, and Django writes 2b
	return string(algorithm) + "$" + string(made), nil
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
