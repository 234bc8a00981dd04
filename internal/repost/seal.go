package repost

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-sesame/caddy-sesame/internal/base64url"
)

// Keeper seals bodies: a page can neither read nor make up what is sealed, and it
// opens only in the browser that it was sealed for.
type Keeper struct{ aead cipher.AEAD }

// NewKeeper derives a keeper's key from another.
func NewKeeper(key []byte) *Keeper {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte("repost"))             // a hash never fails
	aead, _ := chacha20poly1305.NewX(mac.Sum(nil)) // the key has the right length
	return &Keeper{aead}
}

// sealed is what is sealed.
type sealed struct {
	Body  *Body  `json:"b"`
	Owner string `json:"o"`
	Until int64  `json:"u"`
}

// MaxSealed is how many bytes a sealed body may have.
const MaxSealed = 96 << 10

// maxAge is how long a user may take to log in.
const maxAge = time.Hour

// Seal seals a body for a browser, which tie identifies. owner is the primary key of
// the user who posted it, empty where that isn't known. ok is false if the body
// becomes too large.
func (k *Keeper) Seal(body *Body, tie, owner string, now time.Time) (text string, ok bool) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // which makes some characters six times as long
	if err := encoder.Encode(sealed{body, owner, now.Add(maxAge).Unix()}); err != nil {
		return "", false // unreachable: the texts are valid
	}
	nonce := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+plain.Len()+k.aead.Overhead())
	_, _ = rand.Read(nonce) // it never fails
	text = base64url.Encode(k.aead.Seal(nonce, nonce, plain.Bytes(), []byte(tie)))
	return text, len(text) <= MaxSealed
}

// Why a sealed body doesn't open.
var (
	errForeign = errors.New("the form was kept for another browser, or is forged")
	errOld     = errors.New("the form was kept for too long")
	errOther   = errors.New("another user has posted the form")
)

// Open opens a body in a browser that has the ties, for a user who has logged in.
func (k *Keeper) Open(text string, ties []string, user string, now time.Time) (*Body, error) {
	raw, err := base64url.Decode(text)
	if err != nil || len(raw) < k.aead.NonceSize() {
		return nil, errForeign
	}
	nonce, locked := raw[:k.aead.NonceSize()], raw[k.aead.NonceSize():]
	for _, tie := range ties {
		plain, err := k.aead.Open(nil, nonce, locked, []byte(tie))
		if err != nil || tie == "" {
			continue
		}
		var open sealed
		switch err := json.Unmarshal(plain, &open); {
		case err != nil:
			return nil, fmt.Errorf("reading a kept form: %w", err)
		case now.Unix() > open.Until:
			return nil, errOld
		case open.Owner != "" && open.Owner != user:
			return nil, errOther
		}
		return open.Body, nil
	}
	return nil, errForeign
}
