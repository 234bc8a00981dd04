package apitoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"sync"
)

// verifier reports whether a signature is valid for a text.
type verifier func(signed string, signature []byte) bool

// CheckAlgorithm returns an error for a name that isn't one of JWTSettings.Algorithm.
func CheckAlgorithm(name string) error {
	_, _, err := algorithmOf(name)
	return err
}

// algorithmOf splits a name of RFC 7518, section 3.1.
func algorithmOf(name string) (family string, hash crypto.Hash, err error) {
	hashes := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	if len(name) == 5 {
		family, hash = name[:2], hashes[name[2:]]
	}
	isKnown := family == "HS" || family == "RS" || family == "ES" && hash != crypto.SHA512
	if hash == 0 || !isKnown {
		return "", 0, fmt.Errorf("the Algorithm %q isn't supported: it must be HS256, HS384, HS512, RS256, RS384, RS512, ES256 or ES384", name)
	}
	return family, hash, nil
}

func newHash(h crypto.Hash) hash.Hash {
	switch h {
	case crypto.SHA384:
		return sha512.New384()
	case crypto.SHA512:
		return sha512.New()
	}
	return sha256.New()
}

// digester hashes texts without leaving garbage.
type digester struct {
	hash hash.Hash
	text []byte
	sum  [sha512.Size]byte
}

func (d *digester) digest(text string) []byte {
	d.hash.Reset()
	d.text = append(d.text[:0], text...)
	_, _ = d.hash.Write(d.text) // a hash returns no error
	return d.hash.Sum(d.sum[:0])
}

func newHMACVerifier(h crypto.Hash, key []byte) verifier {
	pool := sync.Pool{New: func() any {
		return &digester{hash: hmac.New(func() hash.Hash { return newHash(h) }, key)}
	}}
	return func(signed string, signature []byte) bool {
		d := pool.Get().(*digester)
		defer pool.Put(d)
		return hmac.Equal(d.digest(signed), signature)
	}
}

func newKeyVerifier(family string, h crypto.Hash, key any) (verifier, error) {
	digest := func(signed string) []byte { return (&digester{hash: newHash(h)}).digest(signed) }
	switch key := key.(type) {
	case *rsa.PublicKey:
		if family == "RS" {
			return func(signed string, signature []byte) bool {
				return rsa.VerifyPKCS1v15(key, h, digest(signed), signature) == nil
			}, nil
		}
	case *ecdsa.PublicKey:
		curve := elliptic.P256()
		if h == crypto.SHA384 {
			curve = elliptic.P384()
		}
		if family == "ES" && key.Curve == curve {
			return func(signed string, signature []byte) bool {
				return verifyECDSA(key, digest(signed), signature)
			}, nil
		}
	}
	return nil, errors.New("it is a key of another kind or curve")
}

// verifyECDSA checks the two numbers of a signature, which have the size of
// the curve (RFC 7518, section 3.4).
func verifyECDSA(key *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (key.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(key, digest, r, s)
}

// parsePublicKey reads a public key in PEM, as SubjectPublicKeyInfo or, for
// RSA, as PKCS #1.
func parsePublicKey(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("it must be a public key in PEM")
	case block.Type == "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the public key: %w", err)
		}
		return key, nil
	case block.Type == "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the public key: %w", err)
		}
		return key, nil
	}
	return nil, errors.New("it must be a public key in PEM: neither a private key, which only Django needs, nor a certificate")
}
