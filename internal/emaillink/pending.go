package emaillink

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Pending is a link that was asked for in a browser. The form for the code holds
// it, encrypted, so that every gateway of the site knows the link, and none stores
// it. It is for the browser that asked and for the scope of the page that the user
// wants to see.
type Pending struct {
	ID      string         `json:"i"`           // tells links apart, by chance
	Address string         `json:"a"`           // as typed, or the stored one
	Shown   string         `json:"s,omitempty"` // what the page calls the address
	User    string         `json:"u,omitempty"` // the primary key, if the link is for that user only
	Length  session.Length `json:"l,omitempty"`
	Asked   int64          `json:"t"` // Unix time in seconds
}

// Errors of Open.
var (
	ErrNotPending = errors.New("the form is not of this browser, or for another page")
	ErrExpired    = errors.New("the link has expired")
)

// Sealed returns the text of a Pending for the form.
func (l *Links) Sealed(p *Pending, tie, scope string) (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	return l.sealer.Seal(text, tie, scope), nil
}

// Open reads what Sealed has written. ties are the values of the browser's cookie.
func (l *Links) Open(sealed string, ties []string, scope string) (*Pending, error) {
	text, ok := l.sealer.Open(sealed, ties, scope)
	if !ok {
		return nil, ErrNotPending
	}
	p := new(Pending)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, ErrNotPending
	}
	if !l.env.Now().Before(l.ends(p)) {
		return p, ErrExpired
	}
	return p, nil
}

// Time is when the link was asked for.
func (p *Pending) Time() time.Time { return time.Unix(p.Asked, 0) }

func (l *Links) ends(p *Pending) time.Time { return time.Unix(p.Asked, 0).Add(l.maxAge) }

// newPending makes a Pending with an ID of its own.
func (l *Links) newPending(address, user string, length session.Length) *Pending {
	return &Pending{ID: rand.Text(), Address: address, User: user, Length: length, Asked: l.env.Now().Unix()}
}

// A code has two halves. The first is the same for all users of a link's address, so
// that a wrong code is rejected, nearly always, without a look at the table of users,
// and neither the answer nor its time tells whether a user has the address. The
// second says which user the code logs in. It is made of a token as the link has it,
// so that what ends the link ends the code: a login, a new password or address.
const (
	codeHalf = 4
	codeSize = 2 * codeHalf
)

// codeLetters are those of Crockford's Base32, which has no letters that are taken
// for digits.
const codeLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// code returns the code for a user, as mails have it.
func (l *Links) code(tokens *token.Tokens, p *Pending, user *userstore.User) (string, error) {
	second, err := l.secondHalf(tokens, p, user)
	return l.firstHalf(p) + "-" + second, err
}

func (l *Links) firstHalf(p *Pending) string {
	return inLetters(sign(l.env.Key, "code\x00"+p.ID))
}

func (l *Links) secondHalf(tokens *token.Tokens, p *Pending, user *userstore.User) (string, error) {
	made, err := tokens.Create(user.PrimaryKey, user.User, "", p.Time())
	return inLetters(sign(l.env.Key, "user\x00"+p.ID+made)), err
}

// inLetters are the letters of half a code.
func inLetters(hash []byte) string {
	half := make([]byte, codeHalf)
	for i := range half {
		half[i] = codeLetters[hash[i]%32]
	}
	return string(half)
}

// readCode returns the halves of a code as a user has typed it: in any case, with
// any spaces and dashes, and with letters in place of the digits that they resemble.
func readCode(typed string) (first, second string, ok bool) {
	code := strings.Map(func(c rune) rune {
		switch c {
		case ' ', '-', '\u00a0', '\u2010', '\u2011', '\u2013', '\t':
			return -1
		case 'o', 'O':
			return '0'
		case 'i', 'I', 'l', 'L':
			return '1'
		}
		return c
	}, typed)
	code = strings.ToUpper(code)
	if len(code) != codeSize {
		return "", "", false
	}
	return code[:codeHalf], code[codeHalf:], true
}

func sign(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(message)) // a hash never fails
	return mac.Sum(nil)
}
