package userstore

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// hexNames are names as they are read: each in upper-case hexadecimal digits, with
// a dot behind it. There may be hundreds of permissions, and a request asks for
// one.
type hexNames string

// parseNames makes sure that a list is complete: MySQL cuts it at
// group_concat_max_len.
func parseNames(text string) (hexNames, error) {
	number, list, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	if err != nil || strings.Count(list, ".") != n || list != "" && list[len(list)-1] != '.' {
		return "", misfitf("a user has more groups or permissions than can be read: raise the server's group_concat_max_len")
	}
	return hexNames(list), nil
}

// has reports whether a name is in the list, byte for byte.
func (n hexNames) has(name string) bool {
	for rest := string(n); rest != ""; {
		entry, behind, _ := strings.Cut(rest, ".")
		if isHexOf(entry, name) {
			return true
		}
		rest = behind
	}
	return false
}

// isHexOf reports whether digits encode a text.
func isHexOf(digits, text string) bool {
	if len(digits) != 2*len(text) {
		return false
	}
	const hexDigits = "0123456789ABCDEF"
	for i := range len(text) {
		if digits[2*i] != hexDigits[text[i]>>4] || digits[2*i+1] != hexDigits[text[i]&0xf] {
			return false
		}
	}
	return true
}

// all are the names.
func (n hexNames) all() []string {
	if n == "" {
		return nil
	}
	all := make([]string, 0, strings.Count(string(n), "."))
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(n), "."), ".") {
		name, err := hex.DecodeString(entry)
		if err != nil {
			continue // unreachable: the server wrote the digits
		}
		all = append(all, string(name))
	}
	return all
}

// nameList has names that every request asks for.
type nameList struct {
	all     []string // sorted
	text    string   // with commas
	leftOut int      // of text
}

// newNameList decodes names. Mostly, all strings are parts of one.
func newNameList(raw hexNames) nameList {
	if raw == "" {
		return nameList{}
	}
	var l nameList
	var text strings.Builder
	text.Grow(len(raw)/2 + 1)
	l.all = make([]string, 0, strings.Count(string(raw), "."))
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(raw), "."), ".") {
		if len(l.all) > 0 {
			text.WriteByte(',')
		}
		start := text.Len()
		for i := 0; i+1 < len(entry); i += 2 {
			text.WriteByte(nibble(entry[i])<<4 | nibble(entry[i+1]))
		}
		l.all = append(l.all, text.String()[start:])
	}
	l.text = text.String()
	isSorted := slices.IsSorted(l.all)
	if !isSorted {
		slices.Sort(l.all)
	}
	read := len(l.all)
	l.all = slices.Compact(l.all)
	for _, name := range l.all {
		if !fitsList(name) {
			l.leftOut++
		}
	}
	if !isSorted || l.leftOut > 0 || len(l.all) != read {
		l.text = joinFitting(l.all)
	}
	return l
}

// nibble is the value of a hexadecimal digit, in upper case as the server writes
// it.
func nibble(digit byte) byte {
	if digit >= 'A' {
		return digit - 'A' + 10
	}
	return digit - '0'
}

// joinFitting joins the names that fit in a list.
func joinFitting(all []string) string {
	fitting := make([]string, 0, len(all))
	for _, name := range all {
		if fitsList(name) {
			fitting = append(fitting, name)
		}
	}
	return strings.Join(fitting, ",")
}

// fitsList reports whether a name can be an element of a comma-separated list in a
// header field. White space at the ends would be cut off on the way, or by the
// reader of the list.
func fitsList(name string) bool {
	if name == "" || name[0] == ' ' || name[len(name)-1] == ' ' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c == ',' || c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func (l *nameList) has(name string) bool {
	_, found := slices.BinarySearch(l.all, name)
	return found
}

func (l *nameList) size() int {
	size := len(l.text)
	for _, name := range l.all {
		size += 16 + len(name)
	}
	return size
}
