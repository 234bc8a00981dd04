package secondfactor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Link is an e-mailed link, or the code of its mail, that was accepted for a user.
type Link struct {
	User *userstore.User // as the row was then

	// Fingerprint and Issued are those of the link, by which it can be revoked. A code
	// has no fingerprint.
	Fingerprint string
	Issued      time.Time
}

// proof is what a login has been proven by before the code.
type proof struct {
	kind        proofKind
	id          proofID
	fingerprint [fingerprintSize]byte // of a link; zero for none
	issued      int64                 // of a link, in Unix seconds
}

// proofKind is the sort of a proof.
type proofKind byte

const (
	byPassword proofKind = iota
	byLink
)

// proofID identifies what a user's row had when the proof was accepted, under the key: a
// row that has something else ends the login.
type proofID [16]byte

// fingerprintSize is that of the fingerprint of a token, in bytes.
const fingerprintSize = 10

// proofSize is that of a proof in bytes, as append writes it.
const proofSize = 1 + len(proofID{}) + fingerprintSize + 8

// proofOf is the proof by a link.
func (a *Asker) proofOf(link Link) proof {
	made := proof{kind: byLink, id: a.linkID(link.User), issued: link.Issued.Unix()}
	if fingerprint, err := hex.DecodeString(link.Fingerprint); err == nil {
		copy(made.fingerprint[:], fingerprint)
	}
	return made
}

// isStillProven reports whether a row accepts the proof of a login.
func (a *Asker) isStillProven(p *Pending, user *userstore.User) bool {
	var now proofID
	switch {
	case p.IsByLink():
		now = a.linkID(user)
		if user.HasRevocations() && user.IsRevoked(p.proof.origin()) {
			return false
		}
	case user.Password == nil:
		return false
	default:
		now = a.passwordID(*user.Password)
	}
	return hmac.Equal(now[:], p.proof.id[:])
}

// passwordID identifies a hash of a password.
func (a *Asker) passwordID(encoded string) proofID {
	return a.proofID([]byte("password\x00" + encoded))
}

// linkID identifies what a link depends on: the user's password, address and last login,
// which each login changes. So what ends the link ends the login.
func (a *Asker) linkID(user *userstore.User) proofID {
	text := []byte("link\x00")
	for _, value := range []*string{user.Password, user.Email} {
		if text = append(text, 0); value != nil {
			text[len(text)-1] = 1
			text = binary.BigEndian.AppendUint64(text, uint64(len(*value)))
			text = append(text, *value...)
		}
	}
	if user.LastLogin != nil {
		text = user.LastLogin.UTC().AppendFormat(text, time.RFC3339Nano)
	}
	return a.proofID(text)
}

func (a *Asker) proofID(text []byte) (id proofID) {
	mac := hmac.New(sha256.New, a.env.Key)
	_, _ = mac.Write(text) // a hash never fails
	copy(id[:], mac.Sum(nil))
	return id
}

// fingerprintText is the fingerprint as tokens write it; empty for none.
func (p *proof) fingerprintText() string {
	if p.fingerprint == [fingerprintSize]byte{} {
		return ""
	}
	return hex.EncodeToString(p.fingerprint[:])
}

// origin says by what the link can be revoked, as authn.Credential has it.
func (p *proof) origin() (fingerprint string, issued time.Time) {
	return p.fingerprintText(), time.Unix(p.issued, 0)
}

// append appends the proof to a text.
func (p *proof) append(text []byte) []byte {
	text = append(append(text, byte(p.kind)), p.id[:]...)
	text = append(text, p.fingerprint[:]...)
	return binary.BigEndian.AppendUint64(text, uint64(p.issued)) //nolint:gosec // readProof undoes it
}

// readProof reads what append has written. text is long enough.
func readProof(text []byte) (p proof) {
	p.kind, text = proofKind(text[0]), text[1:]
	text = text[copy(p.id[:], text):]
	text = text[copy(p.fingerprint[:], text):]
	p.issued = int64(binary.BigEndian.Uint64(text)) //nolint:gosec // append has written it
	return p
}
