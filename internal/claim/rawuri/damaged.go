package rawuri

import "strings"

// DamagedParameter reads a parameter of a query that a mail program has damaged, where
// only one reading is possible: behind an ampersand that is written as in HTML,
// amp;name=, or with its equals sign encoded, name%3D. Both may be encoded further. A
// parameter with two different values is ambiguous, and counts as not found.
func DamagedParameter(query, name string) (value string, found bool) {
	if !Has(query, Query, []string{name}) {
		return "", false
	}
	isEntity := false // whether the piece before is an HTML ampersand
	for start, separator := 0, byte('&'); start <= len(query); {
		end := len(query)
		if i := strings.IndexAny(query[start:], "&;"); i >= 0 {
			end = start + i
		}
		piece := query[start:end]
		read, ok := readDamaged(piece, name, separator == ';' && isEntity)
		switch {
		case ok && found && read != value:
			return "", false
		case ok:
			value, found = read, true
		}
		isEntity = isAmpersand(piece) && (separator == '&' || isEntity)
		if end < len(query) {
			separator = query[end]
		}
		start = end + 1
	}
	return value, found
}

// readDamaged reads the text between two separators of a query.
func readDamaged(piece, name string, isBehindEntity bool) (value string, ok bool) {
	p := newPlain(piece)
	defer p.free()
	text := p.string()
	isDamaged := isBehindEntity || strings.IndexByte(piece, '=') < 0
	for {
		before, after, ok := strings.Cut(text, ";")
		if !ok || !isAmpersand(before) {
			break
		}
		text, isDamaged = after, true
	}
	rest, ok := strings.CutPrefix(text, name+"=")
	if !ok || !isDamaged {
		return "", false
	}
	if i := strings.IndexAny(rest, "&;#"); i >= 0 {
		rest = rest[:i]
	}
	return rest, rest != ""
}

// isAmpersand reports whether a text is an ampersand as HTML writes it, without the
// & in front and the semicolon behind.
func isAmpersand(text string) bool {
	switch strings.ToLower(text) {
	case "amp", "#38", "#x26":
		return true
	}
	return false
}
