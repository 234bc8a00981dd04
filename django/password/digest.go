package password

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// digestHash is md5$salt$hash or sha1$salt$hash, the hash in hexadecimal; or,
// without a salt, sha1$$hash, md5$$hash or the hash alone.
type digestHash struct {
	algorithm  Algorithm
	salt, hash string
}

func parseDigest(encoded string) (hash, error) {
	algorithm, err := Identify(encoded)
	if err != nil {
		return nil, err
	}
	switch algorithm {
	case UnsaltedMD5:
		return &digestHash{algorithm: algorithm, hash: strings.TrimPrefix(encoded, "md5$$")}, nil
	case UnsaltedSHA1:
		return &digestHash{algorithm: algorithm, hash: strings.TrimPrefix(encoded, "sha1$$")}, nil
	}
	parts := strings.SplitN(encoded, "$", 3)
	if len(parts) != 3 || parts[1] == "" {
		return nil, ErrMalformed
	}
	return &digestHash{algorithm: algorithm, salt: parts[1], hash: parts[2]}, nil
}

func (h *digestHash) check(Limits) error { return nil }

func (h *digestHash) matches(password string) bool {
	made := hexDigest(h.algorithm, h.salt+password)
	return subtle.ConstantTimeCompare([]byte(made), []byte(h.hash)) == 1
}

// mustUpdate: only the salted hashers check the salt.
func (h *digestHash) mustUpdate(Parameters) bool {
	isSalted := h.algorithm == MD5 || h.algorithm == SHA1
	return isSalted && isShortSalt(h.salt)
}

// harden does nothing, because there is no work factor.
func (h *digestHash) harden(string, Parameters) {}

func makeDigest(algorithm Algorithm, password string) string {
	switch algorithm {
	case UnsaltedMD5:
		return hexDigest(algorithm, password)
	case UnsaltedSHA1:
		return "sha1$$" + hexDigest(algorithm, password)
	}
	salt := randomText(saltSize)
	return string(algorithm) + "$" + salt + "$" + hexDigest(algorithm, salt+password)
}

func hexDigest(algorithm Algorithm, text string) string {
	if algorithm == MD5 || algorithm == UnsaltedMD5 {
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
