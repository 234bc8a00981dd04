package claim

import (
	"net/http"
	"strings"
)

// takeBearer removes the bearer tokens that may be the handler's. Credentials of
// other schemes stay. If there are several tokens, none counts, because the user is
// ambiguous.
func (s *Sources) takeBearer(header http.Header) (token string, found bool) {
	switch taken := s.takeTokens(header, s.isBearerToken); len(taken) {
	case 0:
		return "", false
	case 1:
		token, _ = bearerOf(taken[0])
		return token, true
	}
	return "", true
}

// isBearerToken reports whether credentials are a bearer token that may be the
// handler's. If tokens have no known form, any bearer token may be. Credentials
// that another scheme can read aren't taken for a damaged token.
func (s *Sources) isBearerToken(credentials string) bool {
	token, ok := bearerOf(credentials)
	switch {
	case !ok:
		return false
	case s.form == nil, s.form.IsToken(token):
		return true
	}
	return mayHoldToken(token, s.form) && !isAny(s.others, credentials)
}

// bearerOf returns the token of RFC 6750, section 2.1.
func bearerOf(credentials string) (token string, ok bool) {
	return AfterScheme(credentials, "Bearer")
}

// mayHoldToken reports whether credentials have the form of a token, or contain a
// token, as when a client adds quotes. An application's JSON Web Token doesn't
// count: tokens have no dots, and no part of a JWT is taken for a token.
func mayHoldToken(credentials string, form Form) bool {
	if credentials == "" || form.Resembles(credentials) {
		return true
	}
	if isJWT(credentials) {
		return false
	}
	for run := range strings.FieldsFuncSeq(credentials, func(c rune) bool { return !isTokenByte(c) }) {
		if len(run) < len(credentials) && form.IsToken(run) {
			return true
		}
	}
	return false
}

// isJWT reports whether credentials have the form of a JSON Web Token (RFC 7519,
// section 3): a JSON object and at least two more parts, all in base64url. The
// object begins with {", of which base64 makes eyJ, or with { and white space.
func isJWT(credentials string) bool {
	if !strings.HasPrefix(credentials, "ey") && !strings.HasPrefix(credentials, "ew") || strings.Count(credentials, ".") < 2 {
		return false
	}
	return !strings.ContainsFunc(credentials, func(c rune) bool { return c != '.' && !isTokenByte(c) || c == ':' })
}

// isTokenByte reports whether a character can occur in a token.
func isTokenByte(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_' || c == ':'
}
