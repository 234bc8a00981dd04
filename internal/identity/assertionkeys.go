package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/scrypt"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// assertionKeys are the key that signs assertions, and the key set that
// verifies them.
type assertionKeys struct {
	signer jose.Signer
	ids    []string // of the published keys; the first one signs
	set    []byte   // JSON Web Key Set (RFC 7517)
}

// newAssertionKeys reads the keys of the configuration. If it has none, they
// are derived from the keys of tokens, so that gateways that accept the same
// tokens derive and publish the same keys.
func newAssertionKeys(texts []string, settings token.Settings, resolve func(option, value string) (string, error)) (*assertionKeys, error) {
	var private []ed25519.PrivateKey
	for i, text := range texts {
		text, err := resolve("assertion: keys", text)
		if err != nil {
			return nil, err
		}
		key, err := parseAssertionKey(text)
		if err != nil && strings.HasPrefix(text, "/") {
			err = errors.New("it is a path: to have the file read, write {file./path/to/key.pem}")
		}
		if err != nil {
			return nil, setting.Errorf("assertion: keys", "assertion: keys: key %d: %w", i+1, err)
		}
		private = append(private, key)
	}
	if len(texts) == 0 {
		for _, secret := range append([]string{settings.SecretKey}, settings.SecretKeyFallbacks...) {
			key, err := deriveAssertionKey(secret)
			if err != nil {
				return nil, err
			}
			private = append(private, key)
		}
	}
	return publish(private)
}

// publish makes the signer and the key set. Equal keys are published once:
// during a rotation, a fallback may equal the key itself.
func publish(private []ed25519.PrivateKey) (*assertionKeys, error) {
	keys := new(assertionKeys)
	var set jose.JSONWebKeySet
	for _, key := range private {
		public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.EdDSA), Use: "sig"}
		thumbprint, err := public.Thumbprint(crypto.SHA256) // RFC 7638
		if err != nil {
			return nil, fmt.Errorf("assertion: naming a key: %w", err)
		}
		public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
		if slices.Contains(keys.ids, public.KeyID) {
			continue
		}
		keys.ids = append(keys.ids, public.KeyID)
		set.Keys = append(set.Keys, public)
	}
	var err error
	if keys.set, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("assertion: writing the key set: %w", err)
	}
	signing := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private[0], KeyID: keys.ids[0]}}
	if keys.signer, err = jose.NewSigner(signing, new(jose.SignerOptions).WithType("JWT")); err != nil {
		return nil, fmt.Errorf("assertion: %w", err)
	}
	return keys, nil
}

// errAssertionKey contains nothing of the key that was read.
var errAssertionKey = errors.New("it isn't one Ed25519 private key in PEM; make one with: openssl genpkey -algorithm ed25519")

// parseAssertionKey reads PKCS #8 in PEM (RFC 8410, section 7).
func parseAssertionKey(text string) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errAssertionKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errAssertionKey
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errAssertionKey
	}
	return key, nil
}

// assertionPurpose makes the derived keys differ from all other keys that are
// derived from SECRET_KEY.
const assertionPurpose = "caddy-sesame/assertion/1"

// The cost of a derived key, in the terms of scrypt (RFC 7914): 32 MiB and
// some 80 ms, once. The derived public key is published, so that any client can
// test guesses of SECRET_KEY against it. A long random key can't be guessed;
// for a weaker one, each guess costs this much.
const (
	scryptN = 1 << 15
	scryptR = 8
	scryptP = 1
)

// derivedKeys caches derived keys by the hash of their secret, for reloads and
// for sites that share a secret.
var derivedKeys sync.Map

// deriveAssertionKey derives a key from Django's SECRET_KEY, always the same
// one.
func deriveAssertionKey(secret string) (ed25519.PrivateKey, error) {
	hash := sha256.Sum256([]byte(secret))
	if key, ok := derivedKeys.Load(hash); ok {
		return key.(ed25519.PrivateKey), nil
	}
	seed, err := scrypt.Key([]byte(secret), []byte(assertionPurpose), scryptN, scryptR, scryptP, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("assertion: deriving a key from secret_key: %w", err) // unreachable: the costs are valid
	}
	key := ed25519.NewKeyFromSeed(seed)
	derivedKeys.Store(hash, key)
	return key, nil
}
