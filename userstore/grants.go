package userstore

import (
	"fmt"
	"slices"
	"strings"
)

// grant is a line of SHOW GRANTS: privileges on an object.
type grant struct {
	privileges []privilege
	object     []string // the parts of its name; "*" means all
	option     bool     // WITH GRANT OPTION
}

// privilege is one privilege of a grant. Without columns it covers the whole
// object.
type privilege struct {
	name    string // in capitals
	columns []string
}

// parseGrant reads a line of SHOW GRANTS. ok is false if the line grants no
// privileges on an object, as one that grants a role.
//
// MySQL, "SHOW GRANTS Statement"; MariaDB, "SHOW GRANTS". MariaDB appends the
// hash of the account's password to the global one, which isn't looked at.
func parseGrant(line string) (g grant, ok bool) {
	words := grantScanner{rest: line}
	if !words.skip("GRANT") {
		return g, false
	}
	for {
		var p privilege
		for {
			word, isName := words.next()
			if word == "" || isName {
				return g, false // a role
			}
			if word == "(" {
				if p.columns, ok = words.columns(); !ok {
					return g, false
				}
				continue
			}
			if word == "," || strings.EqualFold(word, "ON") {
				g.privileges = append(g.privileges, p)
				p = privilege{}
				if word == "," {
					continue
				}
				break
			}
			p.name = strings.TrimSpace(p.name + " " + strings.ToUpper(word))
		}
		break
	}
	if g.object, ok = words.object(); !ok {
		return g, false
	}
	g.option = strings.HasSuffix(strings.ToUpper(strings.TrimSpace(words.rest)), "WITH GRANT OPTION")
	return g, true
}

// grantScanner cuts a line of SHOW GRANTS into words.
type grantScanner struct{ rest string }

// next cuts the next word off, or one of ( ) , . and *. isName: it was quoted.
func (s *grantScanner) next() (word string, isName bool) {
	s.rest = strings.TrimLeft(s.rest, " \t\r\n")
	if s.rest == "" {
		return "", false
	}
	switch c := s.rest[0]; c {
	case '(', ')', ',', '.', '*':
		s.rest = s.rest[1:]
		return string(c), false
	case '`', '\'', '"':
		return s.quoted(c), true
	}
	end := strings.IndexAny(s.rest, " \t\r\n(),.`'\"")
	if end < 0 {
		end = len(s.rest)
	}
	word, s.rest = s.rest[:end], s.rest[end:]
	return word, false
}

// quoted cuts off a quoted text, in which a doubled quote stands for one.
func (s *grantScanner) quoted(quote byte) string {
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		if s.rest[i] != quote {
			b.WriteByte(s.rest[i])
			continue
		}
		if i+1 < len(s.rest) && s.rest[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		s.rest = s.rest[i+1:]
		return b.String()
	}
	s.rest = ""
	return b.String()
}

// skip cuts off a word if it is the next.
func (s *grantScanner) skip(word string) bool {
	next, isName := s.next()
	return !isName && strings.EqualFold(next, word)
}

// columns reads a list of columns up to its end.
func (s *grantScanner) columns() (names []string, ok bool) {
	for {
		name, isName := s.next()
		if name == "" && !isName {
			return nil, false
		}
		names = append(names, name)
		switch separator, _ := s.next(); separator {
		case ",":
		case ")":
			return names, true
		default:
			return nil, false
		}
	}
}

// object reads the name of a table, a database or everything, before TO.
func (s *grantScanner) object() (parts []string, ok bool) {
	for {
		word, isName := s.next()
		if word == "" && !isName {
			return nil, false
		}
		parts = append(parts, word)
		separator, isName := s.next()
		switch {
		case isName:
			// FUNCTION `a`.`b`, and the like: the first word is a kind
			parts = append(parts, separator)
			separator, _ = s.next()
		case strings.EqualFold(separator, "TO"):
			return parts, true
		}
		if separator != "." {
			return parts, strings.EqualFold(separator, "TO")
		}
	}
}

// isOn reports whether a grant is on one table.
func (g grant) isOn(schema, table string) bool {
	return len(g.object) == 2 && g.object[0] == schema && g.object[1] == table
}

// beyondList lists what a grant on the table of revoked tokens allows beyond
// reading it, and revoking.
func (g grant) beyondList() []string {
	var whole []string
	for _, p := range g.privileges {
		switch p.name {
		case "USAGE", "SELECT", "INSERT", "DELETE":
		default:
			whole = append(whole, p.name)
		}
	}
	surplus := g.onTheWhole(whole)
	if g.option {
		surplus = append(surplus, "GRANT OPTION on "+g.where())
	}
	return surplus
}

// beyond lists what a grant allows beyond the needs of some tables.
func (g grant) beyond(needed []relatedColumns) []string {
	var surplus, whole []string
	on := slices.IndexFunc(needed, func(r relatedColumns) bool { return g.isOn(r.schema, r.table) })
	var of relatedColumns
	if on >= 0 {
		of = needed[on]
	}
	columns := map[string][]string{"SELECT": of.columns, "INSERT": of.inserted, "UPDATE": of.updated}
	for _, p := range g.privileges {
		switch {
		case p.name == "USAGE":
		case p.name == "DELETE" && of.deletes:
		case len(p.columns) > 0 && len(columns[p.name]) > 0:
			surplus = append(surplus, g.beyondColumns(p, columns[p.name])...)
		case len(p.columns) > 0:
			surplus = append(surplus, p.name+" ("+strings.Join(p.columns, ", ")+") on "+strings.Join(g.object, "."))
		default:
			whole = append(whole, p.name)
		}
	}
	surplus = append(surplus, g.onTheWhole(whole)...)
	if g.option {
		surplus = append(surplus, "GRANT OPTION on "+g.where())
	}
	return surplus
}

// mostNamed is how many privileges on one object are named.
const mostNamed = 6

// onTheWhole puts privileges on the whole object into words. MySQL lists all privileges
// that it has, about 80, for an account with ALL PRIVILEGES ON *.*.
func (g grant) onTheWhole(privileges []string) []string {
	if len(privileges) > mostNamed {
		const shown = 3
		return []string{fmt.Sprintf("%s and %d others on %s", strings.Join(privileges[:shown], ", "), len(privileges)-shown, g.where())}
	}
	words := make([]string, len(privileges))
	for i, name := range privileges {
		words[i] = name + " on " + g.where()
	}
	return words
}

// where is the object in words.
func (g grant) where() string {
	if slices.Equal(g.object, []string{"*", "*"}) {
		return "everything"
	}
	if len(g.object) == 2 && g.object[1] == "*" {
		return "all of " + g.object[0]
	}
	return strings.Join(g.object, ".") + " as a whole"
}

// beyondColumns lists the columns of a privilege that aren't needed.
func (g grant) beyondColumns(p privilege, needed []string) []string {
	var surplus []string
	for _, column := range p.columns {
		same := func(other string) bool { return strings.EqualFold(column, other) }
		if !slices.ContainsFunc(needed, same) {
			surplus = append(surplus, p.name+" ("+column+") on "+strings.Join(g.object, "."))
		}
	}
	return surplus
}
