package require

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// Parse reads a requirement from the words of a line, as `group editors`.
func Parse(words []string) (Requirement, error) {
	var r Requirement
	if len(words) == 0 {
		return r, errors.New("it needs a condition: group, permission or user with names, or staff, or superuser")
	}
	kind, names := words[0], words[1:]
	switch kind {
	case "group":
		r.Groups = names
	case "permission":
		r.Permissions = names
	case "user":
		r.Users = names
	case "staff", "superuser":
		r.Staff, r.Superuser = kind == "staff", kind == "superuser"
		if len(names) > 0 {
			return r, fmt.Errorf("%s takes no names", kind)
		}
		return r, nil
	default:
		return r, fmt.Errorf("unrecognized requirement %q: it must be group, permission, user, staff or superuser%s",
			kind, hint(kind))
	}
	if len(names) == 0 {
		return r, fmt.Errorf("%s needs a name, or several of which one is enough", kind)
	}
	return r, Requirements{r}.Validate()
}

// hint suggests the requirement that was probably meant.
func hint(kind string) string {
	plain := strings.TrimPrefix(strings.ToLower(kind), "is_")
	switch plain {
	case "active", "authenticated", "login", "valid-user":
		return "; users who are not active are rejected anyway"
	case "username", "users", "id":
		plain = "user"
	case "admin", "root":
		plain = "superuser"
	case "role", "perm", "perms":
		plain = map[string]string{"role": "group", "perm": "permission", "perms": "permission"}[plain]
	case "not":
		return "; a requirement can't be negated: list what is allowed"
	}
	return nearest.Hint(plain, []string{"group", "permission", "user", "staff", "superuser"})
}
