package claim

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// takeBasic removes tokens that are sent as the password of Basic (RFC 7617),
// with any user-id. A password that doesn't have the form of a token is for other
// schemes, or for the application. Where there are several tokens, none counts.
func (s *Sources) takeBasic(header http.Header) (token string, found bool) {
	switch taken := s.takeTokens(header, s.isBasicToken); len(taken) {
	case 0:
		return "", false
	case 1:
		token, _ = s.basicToken(taken[0])
		return token, true
	}
	return "", true
}

// isBasicToken reports whether credentials are Basic with a token for the
// password.
func (s *Sources) isBasicToken(credentials string) bool {
	_, ok := s.basicToken(credentials)
	return ok
}

// basicToken returns the token that is the password of Basic credentials. A
// client may have left the escapes of a URL in it (RFC 3986, section 3.2.1), as in
// https://user:token@host: the colons of a v1 token are such.
func (s *Sources) basicToken(credentials string) (token string, ok bool) {
	_, password, ok := BasicOf(credentials)
	if !ok || s.form == nil {
		return "", false
	}
	if s.form.IsToken(password) {
		return password, true
	}
	if !strings.Contains(password, "%") {
		return "", false
	}
	unescaped, err := url.PathUnescape(password)
	return unescaped, err == nil && s.form.IsToken(unescaped)
}

// BasicOf returns the user-id and the password of Basic credentials. Like many
// servers, it reads base64 in either alphabet, without padding too, and skips
// what isn't base64: what an application behind could read must not be missed
// here.
func BasicOf(credentials string) (userID, password string, ok bool) {
	encoded, ok := AfterScheme(credentials, "Basic")
	if !ok {
		return "", "", false
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.Map(base64Byte, encoded))
	if err != nil && len(decoded) == 0 {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}

// base64Byte returns a character of the standard alphabet, or -1 to drop it.
func base64Byte(c rune) rune {
	switch {
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '+', c == '/':
		return c
	case c == '-':
		return '+'
	case c == '_':
		return '/'
	}
	return -1
}
