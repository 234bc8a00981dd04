package repost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/seal"
)

// Keeper seals bodies for the browsers that posted them.
type Keeper struct{ sealer *seal.Sealer }

// NewKeeper derives a keeper's key from another.
func NewKeeper(key []byte) *Keeper { return &Keeper{seal.New(key, "repost")} }

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
	text = k.sealer.Seal(plain.Bytes(), tie, "")
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
	plain, ok := k.sealer.Open(text, ties, "")
	if !ok {
		return nil, errForeign
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
