// Package rawuri changes and checks URIs as they stand in requests, and decodes
// only what it changes.
package rawuri

import "strings"

// CutParameter takes every parameter of the given name out of a raw query.
// The rest comes back byte for byte. value is that of the last one, decoded,
// as Django reads it.
//
// Parameters are separated by ampersands, as in Django and PHP. Some servers also
// split at semicolons, and mail programs turn & into &amp;. So a piece behind a
// semicolon that has the name is taken out, too: it doesn't authenticate the
// request, but its value may be a valid token.
func CutParameter(query, name string) (rest, value string, found bool) {
	rest, value, found = cutParameter(query, name)
	return rest, decodeParameter(value), found
}

// cutParameter is CutParameter without decoding the value.
func cutParameter(query, name string) (rest, value string, found bool) {
	if !HasParameter(query, name) {
		return query, "", false
	}
	kept := keeper{query: query}
	for start := 0; start <= len(query); {
		end := len(query)
		if i := strings.IndexByte(query[start:], '&'); i >= 0 {
			end = start + i
		}
		key, val, _ := strings.Cut(query[start:end], "=")
		if isEncoded(key, name) {
			value, found = val, true
		} else {
			kept.keep(start, end, name)
		}
		start = end + 1
	}
	return kept.rest(), value, found
}

// WithoutParameter returns the rest of a query after CutParameter.
func WithoutParameter(query, name string) string {
	rest, _, _ := cutParameter(query, name)
	return rest
}

// keeper joins the pieces of a query that are kept. A single piece, as when the
// token comes first or last, is a part of the query, without a copy.
type keeper struct {
	query      string
	start, end int // the piece
	hasPiece   bool
	joined     strings.Builder // several pieces
	isJoined   bool
}

// keep keeps a parameter, without the pieces between semicolons that have the
// name.
func (k *keeper) keep(start, end int, name string) {
	parameter := k.query[start:end]
	hasPieces := strings.Contains(parameter, ";")
	switch {
	case !hasPieces && !k.isJoined && !k.hasPiece:
		k.start, k.end, k.hasPiece = start, end, true
		return
	case !hasPieces && !k.isJoined && k.end+1 == start:
		k.end = end
		return
	case !k.isJoined:
		k.isJoined = true
		k.joined.Grow(len(k.query))
		if k.hasPiece {
			k.joined.WriteString(k.query[k.start:k.end])
			k.joined.WriteByte('&')
		}
	default:
		k.joined.WriteByte('&')
	}
	k.write(parameter, name)
}

// write appends a parameter, without the pieces between semicolons that have the
// name.
func (k *keeper) write(parameter, name string) {
	if !strings.Contains(parameter, ";") {
		k.joined.WriteString(parameter)
		return
	}
	isFirst := true
	for piece := range strings.SplitSeq(parameter, ";") {
		if key, _, _ := strings.Cut(piece, "="); isEncoded(key, name) {
			continue
		}
		if !isFirst {
			k.joined.WriteByte(';')
		}
		k.joined.WriteString(piece)
		isFirst = false
	}
}

// rest returns the kept text.
func (k *keeper) rest() string {
	if k.isJoined {
		return k.joined.String()
	}
	return k.query[k.start:k.end]
}

// redactParameter replaces the values of the parameters that CutParameter
// would take out.
func redactParameter(query, name string) string {
	if !HasParameter(query, name) {
		return query
	}
	redacted := make([]byte, 0, len(query)+len(Redacted))
	for i, parameter := range splitKeepingSeparators(query) {
		if i > 0 {
			redacted = append(redacted, parameter.separator)
		}
		key, _, hasValue := strings.Cut(parameter.text, "=")
		switch {
		case !isEncoded(key, name):
			redacted = append(redacted, parameter.text...)
		case hasValue:
			redacted = append(redacted, key...)
			redacted = append(redacted, "="+Redacted...)
		default:
			redacted = append(redacted, key...)
		}
	}
	return string(redacted)
}

// Redacted stands in logs where a token was.
const Redacted = "REDACTED"

// HasParameter reports, without allocating, whether CutParameter would take
// anything out.
func HasParameter(query, name string) bool {
	for len(query) > 0 {
		end := strings.IndexAny(query, "&;")
		if end < 0 {
			end = len(query)
		}
		key, _, _ := strings.Cut(query[:end], "=")
		if isEncoded(key, name) {
			return true
		}
		query = query[min(end+1, len(query)):]
	}
	return false
}

// queryPiece is the text behind a separator in a query.
type queryPiece struct {
	separator byte // 0 for the first
	text      string
}

// splitKeepingSeparators splits at ampersands and semicolons.
func splitKeepingSeparators(query string) []queryPiece {
	var pieces []queryPiece
	var separator byte
	for {
		end := strings.IndexAny(query, "&;")
		if end < 0 {
			return append(pieces, queryPiece{separator, query})
		}
		pieces = append(pieces, queryPiece{separator, query[:end]})
		separator, query = query[end], query[end+1:]
	}
}

// isEncoded reports whether a raw query's key is the name once it is decoded.
func isEncoded(key, name string) bool {
	if key == name {
		return true
	}
	n := 0
	for i := 0; i < len(key); n++ {
		c, size := decodeByte(key[i:])
		if n >= len(name) || name[n] != c {
			return false
		}
		i += size
	}
	return n == len(name) && n > 0
}

// decodeParameter decodes a value of a query as Python's unquote_plus does: an
// escape that isn't one stands for itself.
func decodeParameter(value string) string {
	if !strings.ContainsAny(value, "%+") {
		return value
	}
	var decoded strings.Builder
	decoded.Grow(len(value) - 2*countPercent(value))
	for i := 0; i < len(value); {
		c, size := decodeByte(value[i:])
		decoded.WriteByte(c)
		i += size
	}
	return decoded.String()
}

// countPercent is how many bytes of a text are percent-encoded.
func countPercent(text string) (n int) {
	for i := 0; i < len(text); {
		_, size := decodeByte(text[i:])
		n += size / len("%41")
		i += size
	}
	return n
}

// decodeByte decodes the first byte of s, which isn't empty, and returns how
// many bytes of s it took.
func decodeByte(s string) (c byte, size int) {
	switch {
	case s[0] == '+':
		return ' ', 1
	case s[0] == '%' && len(s) >= 3 && isHex(s[1]) && isHex(s[2]):
		return fromHex(s[1])<<4 | fromHex(s[2]), 3
	default:
		return s[0], 1
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// fromHex is the value of a hexadecimal digit.
func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10 // upper and lower case differ in one bit
}

// split splits a URI at its query, which is empty where there is none. A request's
// target has no fragment: Go and the upstreams take a number sign for a character of
// the query, or of the path.
func split(uri string) (before, query string) {
	before, query, _ = strings.Cut(uri, "?")
	return before, query
}

// CutFromURI takes the parameters of the given name out of a URI's query.
func CutFromURI(uri, name string) string {
	before, query := split(uri)
	if !HasParameter(query, name) {
		return uri
	}
	rest := WithoutParameter(query, name)
	switch {
	case rest == "":
		return before
	case strings.HasPrefix(query, rest):
		return uri[:len(before)+len("?")+len(rest)] // without a copy
	}
	return before + "?" + rest
}

// RedactInURI is redactParameter for a URI.
func RedactInURI(uri, name string) string {
	before, query := split(uri)
	if !HasParameter(query, name) {
		return uri
	}
	return before + "?" + redactParameter(query, name)
}
