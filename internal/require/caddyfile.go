package require

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// Unmarshal reads a requirement from the rest of a line, as `group editors`.
func Unmarshal(d *caddyfile.Dispenser) (Requirement, error) {
	var r Requirement
	if !d.NextArg() {
		return r, d.ArgErr()
	}
	kind := d.Val()
	names := d.RemainingArgs()
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
			return r, d.Errf("%s takes no names", kind)
		}
		return r, nil
	default:
		return r, d.Errf("unrecognized requirement %q: it must be group, permission, user, staff or superuser", kind)
	}
	if len(names) == 0 {
		return r, d.Errf("%s needs a name, or several of which one is enough", kind)
	}
	return r, Requirements{r}.Validate()
}
