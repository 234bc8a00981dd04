package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// addStaleReplica makes a database with the users and groups as they are now,
// which no later change reaches, and returns its DSN.
func (db *database) addStaleReplica(t *testing.T) string {
	t.Helper()
	const name = "stale_replica"
	cfg, err := mysql.ParseDSN(db.dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.mustExec(t, "DROP DATABASE IF EXISTS "+name)
	db.mustExec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { db.mustExec(t, "DROP DATABASE IF EXISTS "+name) })
	for _, table := range []string{"auth_user", "auth_group", "auth_user_groups"} {
		db.mustExec(t, fmt.Sprintf("CREATE TABLE %s.%s AS SELECT * FROM %s.%s", name, table, cfg.DBName, table))
	}
	db.mustExec(t, "ALTER TABLE "+name+".auth_user ADD PRIMARY KEY (id)")
	cfg.DBName = name
	return cfg.FormatDSN()
}

// innerAdmins are directives behind an outer handler: an inner one that lets in
// the users whom the outer one has proven, if they are in a group.
func innerAdmins(db *database, up *upstream) string {
	return fmt.Sprintf("handle /admin {\nsesame {\nsecret_key x\noptional\nrequire group admins\nuserstore mysql {\ndsn %q\nquery_timeout 20s\ngroups\n}\n}\nreverse_proxy %s\n}\nreverse_proxy %s", db.dsn, up.addr, up.addr)
}

// TestStaleRowRejectsNoUserInALaterHandler has an outer handler read users from a
// replica, or keep their rows.
func TestStaleRowRejectsNoUserInALaterHandler(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, from := range []string{"a replica", "a cache"} {
			t.Run(from, func(t *testing.T) {
				db.reset(t)
				db := db.asAdministrator()
				db.addRights(t)
				s := site{store: "groups", options: "optional"}
				if from == "a replica" {
					s.store += fmt.Sprintf("\nreplica %q", db.addStaleReplica(t))
				} else {
					s.options += "\ncache 5m"
				}
				up := startUpstream(t)
				s.after = innerAdmins(db, up)
				g := startGateway(t, db, up, s)
				hers := bearer(tokenFor(t, carol))
				g.get(t, "/", hers...).wantStatus(t, http.StatusOK) // a cache has the row now
				up.take()
				wantForbidden(t, up, g.get(t, "/admin", hers...))
				db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
				g.get(t, "/admin", hers...).wantStatus(t, http.StatusOK)
				wantHeader(t, up.takeOne(t).header, "Remote-Groups", "admins,editors")
			})
		}
	})
}

// matchedAdmins are directives that accept and reject users by the matcher.
const matchedAdmins = `@admins {
	path /admin
	sesame_user group admins
}
handle @admins {
	@root not sesame_user group admins
	respond @root 500
	reverse_proxy UPSTREAM
}
@others {
	path /internal
	not sesame_user group admins
}
respond @others 403
handle /admin {
	respond 403
}
reverse_proxy UPSTREAM`

// TestStaleRowRejectsNoUserByTheMatcher has routes that depend on a group, by a
// row of a replica or a cache.
func TestStaleRowRejectsNoUserByTheMatcher(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, from := range []string{"a replica", "a cache"} {
			t.Run(from, func(t *testing.T) {
				db.reset(t)
				db := db.asAdministrator()
				db.addRights(t)
				up := startUpstream(t)
				s := site{store: "groups", after: strings.ReplaceAll(matchedAdmins, "UPSTREAM", up.addr)}
				if from == "a replica" {
					s.store += fmt.Sprintf("\nreplica %q", db.addStaleReplica(t))
				} else {
					s.options += "\ncache 4m" // a cache of this test's own: caches outlive gateways
				}
				g := startGateway(t, db, up, s)
				hers := bearer(tokenFor(t, carol))
				g.get(t, "/", hers...).wantStatus(t, http.StatusOK) // a cache has the row now
				up.take()
				for _, path := range []string{"/admin", "/internal"} {
					g.get(t, path, hers...).wantStatus(t, http.StatusForbidden)
				}
				db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
				for _, path := range []string{"/admin", "/internal"} {
					g.get(t, path, hers...).wantStatus(t, http.StatusOK)
					wantHeader(t, up.takeOne(t).header, "Remote-Groups", "admins,editors")
				}
				db.mustExec(t, "UPDATE auth_user SET password = 'another' WHERE id = 3")
				if from == "a replica" { // the replica's row has her outside of the group
					g.get(t, "/internal", hers...).wantStatus(t, http.StatusForbidden)
				}
			})
		}
	})
}

// TestNewerRowAcceptsOnlyTokensThatAreStillValid changes the password on the primary
// server: a requirement reads that row, and the replica doesn't have it.
func TestNewerRowAcceptsOnlyTokensThatAreStillValid(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, survives := range []bool{false, true} {
			t.Run(fmt.Sprintf("the token survives a new password: %v", survives), func(t *testing.T) {
				db.reset(t)
				db := db.asAdministrator()
				db.addRights(t)
				up := startUpstream(t)
				s := site{store: fmt.Sprintf("groups\nreplica %q", db.addStaleReplica(t)), options: "optional\nmax_age 10m", after: innerAdmins(db, up)}
				changes := settingsOf(s.options)
				if survives {
					s.options += "\ninvalidate_on_password_change off"
					changes = append(changes, func(s *token.Settings) { s.InvalidateOnPasswordChange = new(false) })
				}
				g := startGateway(t, db, up, s)
				hers := bearer(tokenFor(t, carol, changes...))
				db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
				g.get(t, "/admin", hers...).wantStatus(t, http.StatusOK)
				up.take()
				db.mustExec(t, "UPDATE auth_user SET password = 'another' WHERE id = 3")
				answer := g.get(t, "/admin", hers...)
				if !survives {
					wantForbidden(t, up, answer)
					return
				}
				answer.wantStatus(t, http.StatusOK)
				wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
			})
		}
	})
}

// TestUserDeactivatedBetweenTwoHandlersIsRejected deactivates a user whose row the
// outer handler has from a replica: the old row is accepted where no requirement
// needs a newer one, and isn't in the group.
func TestUserDeactivatedBetweenTwoHandlersIsRejected(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			options: "optional", store: fmt.Sprintf("groups\nreplica %q", db.addStaleReplica(t)),
			after: innerAdmins(db, up),
		})
		db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
		hers := bearer(tokenFor(t, carol))
		g.get(t, "/admin", hers...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
		db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = 3")
		g.get(t, "/", hers...).wantStatus(t, http.StatusOK) // accepted by the replica's row
		up.takeOne(t)
		wantForbidden(t, up, g.get(t, "/admin", hers...))
		db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 3")
		db.mustExec(t, "DELETE FROM auth_user_user_permissions WHERE user_id = 3")
		db.mustExec(t, "DELETE FROM auth_user WHERE id = 3")
		wantForbidden(t, up, g.get(t, "/admin", hers...))
		poll(t, "a line that says why", func() bool { return strings.Contains(string(g.log(t)), "of being active") })
	})
}
