package session

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/internal/python"
)

// Names of members of a session.
const (
	userIDName  = "_auth_user_id"
	backendName = "_auth_user_backend"
	hashName    = "_auth_user_hash"
	expiryName  = "_session_expiry"
	csrfName    = "_csrftoken" // with CSRF_USE_SESSIONS
)

// Data is the content of a session. The zero value is an empty session.
type Data struct {
	// UserID is the primary key of the user, or empty if there is none.
	UserID string
	// Backend is the dotted path of the backend that logged the user in.
	Backend string
	// Hash is the result of get_session_auth_hash at the login.
	Hash string

	hasBackend bool
	expiry     string // its JSON
	text       string // the JSON of all, empty in the zero value
}

// JSON is the session's JSON object.
func (d Data) JSON() string {
	if d.text == "" {
		return "{}"
	}
	return d.text
}

// parseData reads the JSON of a session. If members have the same name, the last
// one counts, as in Python.
func parseData(text string) (Data, error) {
	d := Data{text: text}
	isTyped := true
	err := python.Object(text, func(m python.Member) {
		name, _ := unquote(m.Name)
		switch name {
		case userIDName:
			d.UserID, isTyped = unquoteID(m.Value)
		case backendName:
			d.Backend, d.hasBackend = unquote(m.Value)
		case hashName:
			d.Hash, _ = unquote(m.Value)
		case expiryName:
			d.expiry = m.Value
		}
	})
	if err != nil {
		return Data{}, err
	}
	if !isTyped {
		return Data{}, errUserID
	}
	return d, nil
}

// errUserID: the primary key is a list, for example.
var errUserID = errors.New("the primary key is neither a string nor an integer")

// unquote reads a string of Latin-1 characters, one byte for each.
func unquote(quoted string) (string, bool) { return python.Unquote(quoted, python.Latin1) }

// unquoteID returns a primary key. Django writes a string; custom code may write an
// integer, which Django reads, too.
func unquoteID(value string) (string, bool) {
	if id, ok := unquote(value); ok {
		return id, true
	}
	if value == "null" {
		return "", true
	}
	digits := strings.TrimPrefix(value, "-")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return "", false
		}
	}
	return value, digits != ""
}

// Login returns the session after a login of a user by a backend, as Django's
// login() leaves it: the session of the same user stays, and so do the data of a
// session without a user. A session of another user, or from before a change of the
// password, is dropped. keepsKey reports whether the session keeps its key;
// otherwise it gets a new key, and the row with the former key is deleted.
//
// At a login, Django also writes last_login, and gives the browser another CSRF
// token. With CSRF_USE_SESSIONS the CSRF token is in the session: Login drops it,
// and Django makes another when it needs one.
func (s *Sessions) Login(previous Data, userID, backend string, user User) (data Data, keepsKey bool) {
	hash := s.AuthHash(user)
	if previous.UserID != "" {
		if previous.UserID != userID || previous.Hash != hash {
			previous = Data{}
		} else {
			keepsKey = true
		}
	}
	return previous.with(userID, backend, hash), keepsKey
}

// SetExpiry returns the session with an expiry of its own, as Django's set_expiry
// does with a number of seconds: it ends so long after it was last saved, and so does
// its cookie. With 0, browsers forget the cookie when they are closed, and the
// session ends after CookieAge.
func (d Data) SetExpiry(seconds int64) Data {
	d.expiry = strconv.FormatInt(seconds, 10)
	d.text = d.replace(nil, member{expiryName, d.expiry})
	return d
}

// with sets the members that name the session's user.
func (d Data) with(userID, backend, hash string) Data {
	quoted := func(text string) string { return string(python.AppendQuoted(nil, text)) }
	text := d.replace([]string{csrfName}, member{userIDName, quoted(userID)}, member{backendName, quoted(backend)}, member{hashName, quoted(hash)})
	return Data{UserID: userID, Backend: backend, Hash: hash, hasBackend: true, expiry: d.expiry, text: text}
}

// member is a member of a JSON object: a name, and the JSON of its value.
type member struct{ name, value string }

// replace returns the session's JSON with new members in place of former ones, and
// without members of other names.
func (d Data) replace(without []string, members ...member) string {
	b := []byte{'{'}
	add := func(name, value string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	_ = python.Object(d.JSON(), func(m python.Member) { // it was parsed before
		name, _ := unquote(m.Name)
		isReplaced := slices.ContainsFunc(members, func(to member) bool { return to.name == name })
		if !isReplaced && !slices.Contains(without, name) {
			add(m.Name, m.Value)
		}
	})
	for _, to := range members {
		add(string(python.AppendQuoted(nil, to.name)), to.value)
	}
	return string(append(b, '}'))
}

// Encode signs a session: it is the column session_data, or the cookie of the
// engine signed_cookies.
func (s *Sessions) Encode(data Data, now time.Time) string {
	return s.signer.Dumps([]byte(data.JSON()), true, now)
}
