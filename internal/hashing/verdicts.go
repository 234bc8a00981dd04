package hashing

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Verdicts remembers which credentials are right, so that a client that sends them
// with each request costs one hash altogether.
//
// A verdict says that a password matches a hash. It is stored as a MAC of
// credentials and hash, under a random key of this process: a new password in the
// user's row ends it. It says nothing else: the row must be read for each request.
//
// Only the right credentials find a verdict, so that the time of an answer doesn't
// tell which verdicts exist. Memory doesn't grow: in a full bucket of eight, the
// least recently used verdict is replaced.
type Verdicts struct {
	macers  sync.Pool // of *macer
	clock   atomic.Uint64
	buckets [verdictBuckets]verdictBucket
}

const (
	verdictBuckets = 1 << 13
	verdictSlots   = 8
	// mostSpellings is how many spellings of an identifier are known at once:
	// Alice, alice. A further one replaces the first.
	mostSpellings = 4
)

type verdictBucket struct {
	mu    sync.Mutex // for writing
	slots [verdictSlots]atomic.Pointer[verdict]
}

// verdict isn't changed, but for used.
type verdict struct {
	id        credentialID
	hash      [sha256.Size]byte // MAC of credentials and hash
	subject   Subject
	spellings []string
	used      atomic.Uint64 // Verdicts.clock
}

// Subject is the user whom credentials belong to.
type Subject struct {
	PrimaryKey token.PrimaryKey
	// Field and Value are the column by which the user was found, and its value
	// then. Once the value changes, the user must be looked up again.
	Field, Value string
}

type credentialID [sha256.Size]byte

// Credentials identify a pair of identifier and password, without the password.
type Credentials struct {
	id         credentialID
	identifier string
}

// NewVerdicts makes Verdicts under a new key.
func NewVerdicts() *Verdicts {
	var key [sha256.Size]byte
	_, _ = rand.Read(key[:]) // it never fails
	v := new(Verdicts)
	v.macers.New = func() any { return &macer{hmac: hmac.New(sha256.New, key[:])} }
	return v
}

// The purposes of MACs.
const (
	forCredentials = 'c'
	forHash        = 'h'
)

// macer makes MACs, and has memory for their input.
type macer struct {
	hmac hash.Hash
	text []byte
}

// mac returns the MAC of two texts. The first text's length keeps them apart.
func (v *Verdicts) mac(purpose byte, first, second string) (sum [sha256.Size]byte) {
	m := v.macers.Get().(*macer)
	m.text = append(m.text[:0], purpose)
	m.text = binary.BigEndian.AppendUint64(m.text, uint64(len(first)))
	m.text = append(append(m.text, first...), second...)
	_, _ = m.hmac.Write(m.text)
	clear(m.text)
	m.text = m.hmac.Sum(m.text[:0])
	copy(sum[:], m.text)
	m.hmac.Reset()
	v.macers.Put(m)
	return sum
}

// Of returns the Credentials of an identifier and a password. Identifiers that
// differ in the case of ASCII letters share a verdict.
func (v *Verdicts) Of(identifier, password string) Credentials {
	return Credentials{v.mac(forCredentials, userstore.FoldName(identifier), password), identifier}
}

// ID tells credentials from others without revealing them.
func (c Credentials) ID() string { return string(c.id[:]) }

// Name is the identifier, the same for all spellings that share a verdict. Other
// identifiers must differ in it: otherwise a client could see, by which failures
// are counted together, whether they name one user.
func (c Credentials) Name() string { return userstore.FoldName(c.identifier) }

// Subject returns the user of right credentials, for exactly this spelling of the
// identifier.
func (v *Verdicts) Subject(c Credentials) (Subject, bool) {
	found := v.find(c)
	if found == nil || !slices.Contains(found.spellings, c.identifier) {
		return Subject{}, false
	}
	return found.subject, true
}

// Accepts reports whether credentials were found right for a user with a hash.
func (v *Verdicts) Accepts(c Credentials, user token.PrimaryKey, encoded string) bool {
	found := v.find(c)
	if found == nil || found.subject.PrimaryKey != user {
		return false
	}
	mac := v.mac(forHash, string(c.id[:]), encoded)
	if subtle.ConstantTimeCompare(mac[:], found.hash[:]) != 1 {
		return false
	}
	found.used.Store(v.clock.Load())
	return true
}

// find returns the verdict on credentials, or nil. It takes no lock.
func (v *Verdicts) find(c Credentials) *verdict {
	b := v.bucket(c)
	for i := range b.slots {
		if found := b.slots[i].Load(); found != nil && found.id == c.id {
			return found
		}
	}
	return nil
}

func (v *Verdicts) bucket(c Credentials) *verdictBucket {
	return &v.buckets[binary.NativeEndian.Uint64(c.id[:8])%verdictBuckets]
}

// Remember notes that credentials were found right for a user with a hash.
func (v *Verdicts) Remember(c Credentials, subject Subject, encoded string) {
	made := &verdict{id: c.id, hash: v.mac(forHash, string(c.id[:]), encoded), subject: subject, spellings: []string{c.identifier}}
	made.used.Store(v.clock.Add(1))
	b := v.bucket(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	replaced := &b.slots[0]
	for i := range b.slots {
		slot := &b.slots[i]
		old := slot.Load()
		if old != nil && old.id == c.id {
			if old.subject == subject {
				made.spellings = withSpelling(old.spellings, c.identifier)
			}
			slot.Store(made)
			return
		}
		if used(old) < used(replaced.Load()) {
			replaced = slot
		}
	}
	replaced.Store(made)
}

// used returns when a verdict, which may be nil, was last used.
func used(v *verdict) uint64 {
	if v == nil {
		return 0
	}
	return v.used.Load()
}

// withSpelling returns spellings with one more, as long as there is room.
func withSpelling(spellings []string, further string) []string {
	if slices.Contains(spellings, further) {
		return spellings
	}
	if len(spellings) == mostSpellings {
		spellings = spellings[1:]
	}
	return append(slices.Clone(spellings), further)
}
