package claim

import (
	"net/http"
	"strings"
)

// takeBearer removes the bearer tokens that may be the handler's. Credentials
// of other schemes stay. Where there are several tokens it isn't clear whose
// request this is, so that none of them counts.
func takeBearer(header http.Header, isOurs func(credentials string) bool) (token string, found bool) {
	values := header["Authorization"]
	if !hasBearer(values) {
		return "", false
	}
	if credentials, ok := bearerOf(values[0]); ok && len(values) == 1 && strings.IndexByte(credentials, ',') < 0 {
		if !isOurs(credentials) {
			return "", false
		}
		delete(header, "Authorization")
		return credentials, true
	}
	tokens := cutBearers(header, isOurs)
	switch len(tokens) {
	case 0:
		return "", false
	case 1:
		return tokens[0], true
	}
	return "", true
}

// hasBearer reports whether one of the values of Authorization may hold a bearer
// token.
func hasBearer(values []string) bool {
	for _, value := range values {
		if _, ok := bearerOf(value); ok || strings.IndexByte(value, ',') >= 0 {
			return true
		}
	}
	return false
}

// cutBearers takes the bearer credentials that are ours out of a header. They
// may be among others in one field, where a proxy has joined several.
func cutBearers(header http.Header, isOurs func(credentials string) bool) (cut []string) {
	values := header["Authorization"]
	var others []string
	for _, value := range values {
		var rest []string
		before := len(cut)
		for element := range strings.SplitSeq(value, ",") {
			if credentials, ok := bearerOf(element); ok && isOurs(credentials) {
				cut = append(cut, credentials)
			} else {
				rest = append(rest, element)
			}
		}
		if len(cut) > before {
			value = strings.Trim(strings.Join(rest, ","), " \t")
		}
		if value != "" || len(cut) == before {
			others = append(others, value)
		}
	}
	switch {
	case len(cut) == 0:
	case len(others) == 0:
		delete(header, "Authorization")
	default:
		header["Authorization"] = others
	}
	return cut
}

// bearerOf returns the credentials of RFC 6750, section 2.1. The name of the
// scheme is case-insensitive (RFC 9110, section 11.1).
func bearerOf(value string) (credentials string, ok bool) {
	const scheme = "bearer"
	value = strings.TrimLeft(value, " \t")
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	return strings.Trim(rest, " \t"), rest == "" || rest[0] == ' ' || rest[0] == '\t'
}

// mayHoldToken reports whether credentials are a token by their form, or have
// one in them, as where a client puts quotes around it. An application's JSON
// Web Token has neither: its dots are in no token, and no part of it is taken
// for one.
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

// isTokenByte reports whether a character is one that tokens are made of.
func isTokenByte(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_' || c == ':'
}
