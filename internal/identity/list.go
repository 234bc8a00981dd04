package identity

import (
	"fmt"
	"strings"
	"unicode"
)

// list writes the groups or the permissions of a user to a header field: in the
// application's names, encoded one by one, and separated so that the field has no
// more names than the user has.
type list struct {
	*mapping
	encoding  encoding
	separator string // empty for a field of its own for each name
}

// separatorFields is the value of Header.Separator for a field for each name.
const separatorFields = "fields"

// newList reads the options of a header field whose value is the placeholder of a
// list alone. It returns nil if the options say what the placeholder holds: the names
// with commas between them.
func newList(header *Header, as encoding) (*list, error) {
	l := &list{encoding: as, separator: ","}
	switch header.Separator {
	case "", ",":
	case ";", "|":
		l.separator = header.Separator
	case separatorFields:
		l.separator = ""
	default:
		return nil, fmt.Errorf("separator %q: it must be one of , ; | or %s, which is a header field for each name", header.Separator, separatorFields)
	}
	var err error
	if l.mapping, err = newMapping(header.Map, header.Unmapped); err != nil {
		return nil, err
	}
	for _, line := range header.Map {
		if _, ok := l.write(line.Name); !ok {
			return nil, fmt.Errorf("map %q %q: in a list, the application would read the name as another, or as several; choose an encoding, or another separator", line.Group, line.Name)
		}
	}
	if l.names == nil && as == plain && l.separator == "," {
		return nil, nil
	}
	return l, nil
}

// of returns what the header field has for the names of a user's groups, in one value
// or one for each name. It counts the names that are left out because they can't be
// written, or because an application would take them for a name of the mapping.
func (l *list) of(all []string) (values []string, leftOut int) {
	mapped, leftOut := l.mapping.of(all)
	names := mapped[:0]
	for _, name := range mapped {
		text, ok := l.write(name)
		if !ok {
			leftOut++
			continue
		}
		names = append(names, text)
	}
	if len(names) > 1 && l.separator != "" {
		return []string{strings.Join(names, l.separator)}, leftOut
	}
	return names, leftOut
}

// write encodes a name. ok is false if it can't stand in the list.
func (l *list) write(name string) (text string, ok bool) {
	text, ok = l.encoding.encode(name)
	return text, ok && text != "" && (l.encoding != plain || l.fits(text))
}

// fits reports whether a name that isn't encoded is one name in the list to every
// reader. Servers join the fields of one name with commas. Readers cut off white space
// at the ends.
func (l *list) fits(name string) bool {
	separator := l.separator
	if separator == "" {
		separator = ","
	}
	isControl := func(c rune) bool { return c < ' ' || c == 0x7f }
	return !strings.Contains(name, separator) && !strings.ContainsFunc(name, isControl) && name == strings.TrimFunc(name, unicode.IsSpace)
}
