package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// GroupMapping is the name by which an application knows a group.
type GroupMapping struct {
	// The name of the group, letter by letter as it is in the database.
	Group string `json:"group"`

	// The name that the application gets in its place.
	Name string `json:"name"`
}

// list writes the groups or the permissions of a user to a header field: in the
// application's names, encoded one by one, and separated so that the field has no
// more names than the user has.
type list struct {
	encoding  encoding
	separator string            // empty for a field of its own for each name
	names     map[string]string // of the application, by the user's; nil for none
	isName    map[string]bool   // the names in the mapping
	keepsRest bool              // names that no mapping has go on as they are
}

// The values of Header.Separator and Header.Unmapped.
const (
	separatorFields = "fields"
	unmappedKeep    = "keep"
	unmappedDrop    = "drop"
)

// newList reads the options of a header field whose value is the placeholder of a
// list alone. It returns nil if the options say what the placeholder holds: the names
// with commas between them.
func newList(header *Header, as encoding) (*list, error) {
	l := &list{encoding: as, separator: ",", keepsRest: len(header.Map) == 0}
	switch header.Separator {
	case "", ",":
	case ";", "|":
		l.separator = header.Separator
	case separatorFields:
		l.separator = ""
	default:
		return nil, fmt.Errorf("separator %q: it must be one of , ; | or %s, which is a header field for each name", header.Separator, separatorFields)
	}
	switch header.Unmapped {
	case "", unmappedDrop:
	case unmappedKeep:
		l.keepsRest = true
	default:
		return nil, fmt.Errorf("unmapped %q: it must be %s or %s", header.Unmapped, unmappedKeep, unmappedDrop)
	}
	if header.Unmapped != "" && len(header.Map) == 0 {
		return nil, errors.New("unmapped is for names without a line of map, and there is none")
	}
	for _, mapping := range header.Map {
		if err := l.add(mapping); err != nil {
			return nil, err
		}
	}
	if l.names == nil && as == plain && l.separator == "," {
		return nil, nil
	}
	return l, nil
}

// add adds a mapping. Several groups may have one name.
func (l *list) add(mapping GroupMapping) error {
	if l.names == nil {
		l.names, l.isName = make(map[string]string), make(map[string]bool)
	}
	if _, ok := l.names[mapping.Group]; ok {
		return fmt.Errorf("map %q: this group has a line already", mapping.Group)
	}
	if mapping.Group == "" || mapping.Name == "" {
		return errors.New("map: a name is missing: write the group's, and behind it the application's")
	}
	if _, ok := l.write(mapping.Name); !ok {
		return fmt.Errorf("map %q %q: in a list, the application would read the name as another, or as several; choose an encoding, or another separator", mapping.Group, mapping.Name)
	}
	l.names[mapping.Group] = mapping.Name
	l.isName[mapping.Name] = true
	return nil
}

// of returns what the header field has for the names of a user's groups, in one value
// or one for each name. It counts the names that are left out because they can't be
// written, or because an application would take them for a name of the mapping.
func (l *list) of(all []string) (values []string, leftOut int) {
	names := make([]string, 0, len(all))
	for _, name := range all {
		mapped, isMapped := l.names[name]
		switch {
		case isMapped:
			name = mapped
		case !l.keepsRest:
			continue
		case l.isName[name]:
			leftOut++
			continue
		}
		text, ok := l.write(name)
		if !ok {
			leftOut++
			continue
		}
		names = append(names, text)
	}
	if l.names != nil {
		slices.Sort(names)
		names = slices.Compact(names)
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
