package identity

import (
	"errors"
	"fmt"
	"slices"
)

// GroupMapping is the name by which an application knows a group.
type GroupMapping struct {
	// The name of the group, letter by letter as it is in the database.
	Group string `json:"group"`

	// The name that the application gets in its place.
	Name string `json:"name"`
}

// The values of unmapped.
const (
	unmappedKeep = "keep"
	unmappedDrop = "drop"
)

// mapping has the names by which an application knows the groups or the permissions of
// users.
type mapping struct {
	names     map[string]string // of the application, by the user's; nil for none
	isName    map[string]bool   // the application's names
	keepsRest bool              // names without a line go on as they are
}

// newMapping reads the options map and unmapped.
func newMapping(lines []GroupMapping, unmapped string) (*mapping, error) {
	m := &mapping{keepsRest: len(lines) == 0}
	switch unmapped {
	case "", unmappedDrop:
	case unmappedKeep:
		m.keepsRest = true
	default:
		return nil, fmt.Errorf("unmapped %q: it must be %s or %s", unmapped, unmappedKeep, unmappedDrop)
	}
	if unmapped != "" && len(lines) == 0 {
		return nil, errors.New("unmapped is for names without a line of map, and there is none")
	}
	for _, line := range lines {
		if err := m.add(line); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// add adds a line of map. Several groups may have one name.
func (m *mapping) add(line GroupMapping) error {
	if m.names == nil {
		m.names, m.isName = make(map[string]string), make(map[string]bool)
	}
	if _, ok := m.names[line.Group]; ok {
		return fmt.Errorf("map %q: this group has a line already", line.Group)
	}
	if line.Group == "" || line.Name == "" {
		return errors.New("map: a name is missing: write the group's, and behind it the application's")
	}
	m.names[line.Group] = line.Name
	m.isName[line.Name] = true
	return nil
}

// of returns the application's names for those of a user, each once. It counts the
// names that are left out because an application would take them for its own.
func (m *mapping) of(all []string) (names []string, leftOut int) {
	names = make([]string, 0, len(all))
	for _, name := range all {
		mapped, isMapped := m.names[name]
		switch {
		case isMapped:
			names = append(names, mapped)
		case !m.keepsRest:
		case m.isName[name]:
			leftOut++
		default:
			names = append(names, name)
		}
	}
	if m.names != nil {
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names, leftOut
}
