package claim

import (
	"net/http"
	"strings"
)

// Authorization holds the credentials of one scheme (RFC 9110, section 11.6.2). A
// request can have several: in separate fields, or joined by commas, as proxies do.
// Readers tell which handler credentials belong to: functions that report whether
// credentials, with the name of their scheme in front, are a scheme's own.

// mostCredentials is how many credentials in Authorization are read. A reader may
// have to check a signature, and a field has room for thousands of credentials; no
// client sends so many, and not even the parameters of Digest, which commas separate
// as well, are so many.
const mostCredentials = 64

// bounded limits a reader to the first mostCredentials credentials of a request.
// Further ones aren't read, and count as the handler's: they are neither passed on
// nor logged, and authenticate no user.
func bounded(isOurs func(credentials string) bool) func(credentials string) bool {
	read := 0
	return func(credentials string) bool {
		read++
		return read > mostCredentials || isOurs(credentials)
	}
}

// AddAuthorization adds a reader of credentials in Authorization that are the
// handler's, beside tokens. No other handler of the HTTP app passes them on, and
// logs don't show them. It is called before Register.
func (s *Sources) AddAuthorization(isOurs func(credentials string) bool) {
	s.others = append(s.others, isOurs)
	s.share(new(shared))
}

// TakeAuthorization takes the credentials that are ours out of Authorization, and
// returns them unchanged. The others stay. Credentials beyond mostCredentials are
// taken out without being read, and not returned.
func TakeAuthorization(header http.Header, isOurs func(credentials string) bool) []string {
	values := header["Authorization"]
	if len(values) == 1 && strings.IndexByte(values[0], ',') < 0 {
		if !isOurs(values[0]) {
			return nil
		}
		delete(header, "Authorization")
		return values
	}
	return cutAuthorization(header, isOurs)
}

// cutAuthorization is TakeAuthorization for any number of credentials.
func cutAuthorization(header http.Header, isOurs func(credentials string) bool) (taken []string) {
	var others []string
	read, isCut := 0, false
	for _, value := range header["Authorization"] {
		var rest []string
		all := strings.Count(value, ",") + 1
		for credentials := range strings.SplitSeq(value, ",") {
			switch read++; {
			case read > mostCredentials:
			case isOurs(credentials):
				taken = append(taken, credentials)
			default:
				rest = append(rest, credentials)
			}
		}
		isWhole := len(rest) == all
		isCut = isCut || !isWhole
		if !isWhole {
			value = strings.Trim(strings.Join(rest, ","), " \t")
		}
		if value != "" || isWhole {
			others = append(others, value)
		}
	}
	switch {
	case !isCut:
	case len(others) == 0:
		delete(header, "Authorization")
	default:
		header["Authorization"] = others
	}
	return taken
}

// hasCredentials reports whether Authorization has credentials that are ours.
func hasCredentials(header http.Header, isOurs func(credentials string) bool) bool {
	isOurs = bounded(isOurs)
	for _, value := range header["Authorization"] {
		for credentials := range strings.SplitSeq(value, ",") {
			if isOurs(credentials) {
				return true
			}
		}
	}
	return false
}

// peekAuthorization is TakeAuthorization, but takes nothing out.
func peekAuthorization(header http.Header, isOurs func(credentials string) bool) (found []string) {
	isOurs = bounded(isOurs)
	for _, value := range header["Authorization"] {
		for credentials := range strings.SplitSeq(value, ",") {
			if isOurs(credentials) {
				found = append(found, credentials)
			}
		}
	}
	return found
}

// takeTokens is TakeAuthorization for the handler's tokens. It leaves credentials
// that another scheme of the handler can read to that scheme: an API token, or a
// password, can have the form of a token.
func (s *Sources) takeTokens(header http.Header, isToken func(credentials string) bool) []string {
	if len(s.others) == 0 {
		return TakeAuthorization(header, isToken)
	}
	var taken []string
	TakeAuthorization(header, func(credentials string) bool {
		if !isToken(credentials) {
			return false
		}
		taken = append(taken, credentials)
		return !isAny(s.others, credentials)
	})
	return taken
}

// isOurs reports whether credentials are the handler's, of any of its schemes. It
// is a reader.
func (s *Sources) isOurs(credentials string) bool {
	return s.Reads(FromBearer) && s.isBearerToken(credentials) ||
		s.Reads(FromBasic) && s.isBasicToken(credentials) ||
		isAny(s.others, credentials)
}

// isAny reports whether one of the readers accepts the credentials.
func isAny(readers []func(credentials string) bool, credentials string) bool {
	for _, isOurs := range readers {
		if isOurs(credentials) {
			return true
		}
	}
	return false
}

// AfterScheme returns the text behind the name of a scheme in credentials. The name
// is case-insensitive (RFC 9110, section 11.1).
func AfterScheme(credentials, scheme string) (rest string, ok bool) {
	credentials = strings.TrimLeft(credentials, " \t")
	if len(credentials) < len(scheme) || !strings.EqualFold(credentials[:len(scheme)], scheme) {
		return "", false
	}
	rest = credentials[len(scheme):]
	return strings.Trim(rest, " \t"), rest == "" || rest[0] == ' ' || rest[0] == '\t'
}
