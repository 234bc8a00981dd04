package sesame_test

import (
	"strings"
	"testing"
)

// TestInteropCommands has the real django-sesame accept what the command
// makes, and the command explain what django-sesame makes.
func TestInteropCommands(t *testing.T) {
	db := interopDatabase(t)
	for _, variant := range interopVariants {
		t.Run(variant.name, func(t *testing.T) {
			i := startInterop(t, db, variant)
			o := newOperator(t, oneSite(variant.options, variant.store), db.dsn)
			user := i.createUser(t, "default")
			for _, args := range [][]string{{user, "--by", "username"}, {i.keys[user], "--by", "pk"}, {user + "@example.com"}} {
				r := o.run(t, append([]string{"token"}, args...)...)
				r.wantStatus(t, 0)
				i.wantDjango(t, strings.TrimSpace(r.stdout), user)
			}
			made := i.djangoToken(t, user, 0)
			if r := o.run(t, "explain", made); r.status != 0 {
				t.Errorf("%s: %s%s", legible(made), r.stdout, r.stderr)
			}
		})
	}
}
