package secondfactor

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Pending is a login whose first proof was right, a password or an e-mailed link, and
// whose code is missing. It is no user, and no session can be begun with it. Only a
// proof makes one, or what Seal has made of one.
type Pending struct {
	id     pendingID
	user   token.PrimaryKey
	proof  proof
	length session.Length
	until  time.Time
	better string // the hash that replaces that of the password; empty for none
}

// pendingID tells logins apart, by chance.
type pendingID [16]byte

// pendingAge is how long a user may take to enter the code.
const pendingAge = 5 * time.Minute

// PrimaryKey is the key of the user whom the login is for.
func (p *Pending) PrimaryKey() token.PrimaryKey { return p.user }

// Length is how long the session lasts that the user has asked for.
func (p *Pending) Length() session.Length { return p.length }

// IsByLink reports whether an e-mailed link, or its code, is the first proof. It is
// used up when the login is completed, on the same conditions as any other link.
func (p *Pending) IsByLink() bool { return p.proof.kind == byLink }

// Fingerprint identifies the token of the link; empty without one.
func (p *Pending) Fingerprint() string { return p.proof.fingerprintText() }

// Begin begins a login with a password that was proven.
func (a *Asker) Begin(proven *authn.ProvenPassword, length session.Length) *Pending {
	p := a.begin(proven.PrimaryKey(), proof{kind: byPassword, id: a.passwordID(proven.Encoded())}, length)
	if better := proven.Better(); len(better) <= longestHash {
		p.better = better
	}
	return p
}

// BeginByLink begins a login with a link that was accepted.
func (a *Asker) BeginByLink(link Link, length session.Length) *Pending {
	return a.begin(link.User.PrimaryKey, a.proofOf(link), length)
}

func (a *Asker) begin(user token.PrimaryKey, by proof, length session.Length) *Pending {
	p := &Pending{user: user, proof: by, length: length, until: a.env.Now().Add(pendingAge)}
	_, _ = rand.Read(p.id[:]) // it never fails
	return p
}

// errPending: the value isn't one that Seal has made for this browser, or is too old,
// or a code has completed the login.
var errPending = errors.New("the login took too long, is completed, or was begun in another browser")

// What is sealed: when the Pending ends, the session's length, the first proof, the
// Pending's ID, and the user's key with its kind in front. If the highest bit of the
// length is set, the better hash of the password stands before the key, with its size
// in a byte in front.
const (
	headerSize = 8 + 1 + proofSize + len(pendingID{}) + 1
	hasBetter  = 0x80

	longestHash = 255
)

// Seal writes a Pending for the form that asks for the code. The value counts only
// together with the value of the cookie that ties forms to the browser, and for the
// scope of the page that the login leads to.
func (a *Asker) Seal(p *Pending, tie, scope string) string {
	body := binary.BigEndian.AppendUint64(nil, uint64(p.until.Unix())) //nolint:gosec // a time of this century
	length := byte(p.length)
	if p.better != "" {
		length |= hasBetter
	}
	body = append(body, length)
	body = append(p.proof.append(body), p.id[:]...)
	body = append(body, byte(p.user.Kind()))
	if p.better != "" {
		body = append(append(body, byte(len(p.better))), p.better...)
	}
	switch p.user.Kind() {
	case token.KindInt:
		body = binary.BigEndian.AppendUint64(body, uint64(p.user.Int())) //nolint:gosec // Open undoes it
	case token.KindUint:
		body = binary.BigEndian.AppendUint64(body, p.user.Uint())
	case token.KindUUID:
		id := p.user.UUID()
		body = append(body, id[:]...)
	case token.KindString, token.KindBytes:
		body = append(body, p.user.Text()...)
	}
	return a.sealer.Seal(body, tie, scope)
}

// Open reads what Seal has written. ties are the values of the browser's cookie.
func (a *Asker) Open(sealed string, ties []string, scope string) (*Pending, error) {
	body, ok := a.sealer.Open(sealed, ties, scope)
	if !ok || len(body) < headerSize {
		return nil, errPending
	}
	p := &Pending{until: time.Unix(int64(binary.BigEndian.Uint64(body)), 0), length: session.Length(body[8] &^ hasBetter)} //nolint:gosec // Seal has written it
	p.proof = readProof(body[9:])
	copy(p.id[:], body[9+proofSize:])
	kind, key := token.Kind(body[headerSize-1]), body[headerSize:]
	if body[8]&hasBetter != 0 {
		if len(key) == 0 || len(key) <= int(key[0]) {
			return nil, errPending // unreachable: Seal has written it
		}
		size := 1 + int(key[0])
		p.better, key = string(key[1:size]), key[size:]
	}
	switch {
	case kind == token.KindInt && len(key) == 8:
		p.user = token.IntKey(int64(binary.BigEndian.Uint64(key))) //nolint:gosec // Seal has written it
	case kind == token.KindUint && len(key) == 8:
		p.user = token.UintKey(binary.BigEndian.Uint64(key))
	case kind == token.KindUUID && len(key) == 16:
		p.user = token.UUIDKey([16]byte(key))
	case kind == token.KindString:
		p.user = token.StringKey(string(key))
	case kind == token.KindBytes:
		p.user = token.BytesKey(key)
	default:
		return nil, errPending // unreachable: Seal has written it
	}
	if !a.env.Now().Before(p.until) || allCompleted.has(p.id) {
		return nil, errPending
	}
	return p, nil
}
