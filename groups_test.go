package sesame_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// rightsTables are Django's tables of groups and permissions, those first that
// refer to others.
var rightsTables = []string{
	"auth_user_groups", "auth_user_user_permissions", "auth_group_permissions", "auth_permission", "auth_group", "django_content_type",
}

// addRights makes Django's tables of groups and permissions, in which Alice is
// an editor and an admin, and Carol is an editor.
func (db *database) addRights(t testing.TB) {
	t.Helper()
	for _, table := range rightsTables {
		db.mustExec(t, "DROP TABLE IF EXISTS "+table)
	}
	for statement := range strings.SplitSeq(schema(t), ";") {
		for _, table := range rightsTables {
			if strings.Contains(statement, "CREATE TABLE `"+table+"`") {
				db.mustExec(t, statement)
			}
		}
	}
	for _, statement := range []string{
		"INSERT INTO auth_group (id, name) VALUES (1, 'editors'), (2, 'admins'), (3, 'guests')",
		"INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1), (1, 2), (3, 1)",
		"INSERT INTO django_content_type (id, app_label, model) VALUES (1, 'blog', 'post')",
		"INSERT INTO auth_permission (id, name, content_type_id, codename) VALUES (1, 'Can add', 1, 'add_post'), (2, 'Can change', 1, 'change_post'), (3, 'Can delete', 1, 'delete_post')",
		"INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (2, 1), (2, 2)",
		"INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (3, 2)",
	} {
		db.mustExec(t, statement)
	}
}

// schema is what the embedded server makes of Django's tables.
func schema(t testing.TB) string {
	t.Helper()
	lines := strings.Split(readFile(t, "internal/devmysql/schema.sql"), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "--") }), "\n")
}

func TestRemoteGroupsAreTheUsersGroups(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db.addRights(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "optional", store: "groups"})
		hers, others := bearer(tokenFor(t, alice)), bearer(tokenFor(t, carol))

		g.get(t, "/", hers...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-Groups", "admins,editors")
		g.get(t, "/", others...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-Groups", "editors")

		t.Run("as they are now", func(t *testing.T) {
			db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 1 AND group_id = 2")
			g.get(t, "/", hers...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-Groups", "editors")
			db.mustExec(t, "UPDATE auth_group SET name = 'Redaktion' WHERE id = 1")
			g.get(t, "/", hers...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-Groups", "Redaktion")
		})
		t.Run("a name that would be read as others", func(t *testing.T) {
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 2), (1, 3)")
			for _, name := range []string{"guests,admins", "guests\r\nRemote-User: root", " guests", "guests\x00", ""} {
				db.mustExec(t, "UPDATE auth_group SET name = ? WHERE id = 3", name)
				g.get(t, "/", hers...).wantStatus(t, http.StatusOK)
				got := up.takeOne(t)
				wantHeader(t, got.header, "Remote-Groups", "Redaktion,admins")
				wantHeader(t, got.header, "Remote-User", "alice")
			}
			poll(t, "the warning", func() bool { return strings.Contains(string(g.log(t)), "groups left out of the list") })
			if n := strings.Count(string(g.log(t)), "groups left out of the list"); n != 1 {
				t.Errorf("%d warnings of one minute", n)
			}
		})
		t.Run("nobody's, and none", func(t *testing.T) {
			db.mustExec(t, "DELETE FROM auth_user_groups")
			for _, who := range [][]string{nil, hers} {
				for _, name := range disguises("Remote-Groups") {
					request := "GET / HTTP/1.1\nHost: " + g.addr + "\nConnection: close\n" + name + ": admins\n"
					if who != nil {
						request += who[0] + ": " + who[1] + "\n"
					}
					if status := g.raw(t, request+"\n"); !strings.Contains(status, "200") {
						t.Errorf("%s: %s", name, status)
					}
					for got := range maps.Keys(up.takeOne(t).header) {
						if strings.Contains(strings.ToLower(got), "groups") {
							t.Errorf("%s: the application gets %s", name, got)
						}
					}
				}
			}
		})
	})
}

// disguises are ways to write a field's name that some server takes for it.
func disguises(name string) []string {
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."),
		strings.ReplaceAll(name, "-", "~"), strings.ReplaceAll(name, "-", ""), "-" + name,
	}
}

func TestGroupsInIdentity(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			options: `identity {
				X-User {http.auth.user.username}
				X-Rights "{http.auth.user.groups};{http.auth.user.permissions};{http.auth.user.is_staff}{http.auth.user.is_superuser}"
			}`,
			store: "groups\npermissions\nis_staff",
		})
		db.mustExec(t, "UPDATE auth_user SET is_staff = 1 WHERE id = 1")
		// A client can't set the default field either.
		g.get(t, "/", append(bearer(tokenFor(t, alice)), "Remote-Groups", "root", "X-Rights", "all")...).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "X-Rights", "admins,editors;blog.add_post,blog.change_post;10")
		wantHeader(t, got.header, "Remote-Groups", "")
	})
}

// TestRemoteGroupsOfAnotherGateway: without the option groups, the gateway doesn't
// set the field, and a gateway in front may.
func TestRemoteGroupsOfAnotherGateway(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		g.get(t, "/", append(bearer(tokenFor(t, alice)), "Remote-Groups", "of another gateway")...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-Groups", "")
		g = startGateway(t, db, up, site{options: "pass_header Remote-Groups"})
		g.get(t, "/", append(bearer(tokenFor(t, alice)), "Remote-Groups", "of another gateway")...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-Groups", "of another gateway")
	})
}

// TestGroupsUnderLoad changes groups while requests of many users share lookups:
// each request that begins after a change sees it.
func TestGroupsUnderLoad(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db.addRights(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{store: "groups\npermissions", after: "respond {http.auth.user.username}:{http.auth.user.groups}", logLevel: "ERROR"})
		const users = 30
		var tokens []string
		for i := range users {
			u := testUser{int64(100 + i), fmt.Sprintf("user%d", i), "p", fmt.Sprintf("%d@example.com", i), "", true}
			db.insert(t, u)
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (?, 3)", u.id)
			tokens = append(tokens, tokenFor(t, u))
		}
		stop := make(chan struct{})
		done := make(chan struct{}, users)
		for i, token := range tokens[1:] {
			go func() {
				defer func() { done <- struct{}{} }()
				for {
					select {
					case <-stop:
						return
					default:
						answer := g.get(t, "/", bearer(token)...)
						if want := fmt.Sprintf("user%d:guests", i+1); answer.body != want {
							t.Errorf("%d %s, want %s", answer.status, answer.body, want)
						}
					}
				}
			}()
		}
		for i := range 20 {
			group := 1 + i%2
			db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 100")
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (100, ?)", group)
			want := "user0:" + []string{"editors", "admins"}[group-1]
			if answer := g.get(t, "/", bearer(tokens[0])...); answer.body != want {
				t.Errorf("%d %s, want %s", answer.status, answer.body, want)
			}
		}
		close(stop)
		for range users - 1 {
			<-done
		}
	})
}

// bearer presents a token in Authorization.
func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// TestGroupsInTablesOfOtherNames requires permissions of users whose tables
// aren't called as Django calls them, as with `db_table = "people"`.
func TestGroupsInTablesOfOtherNames(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		db.mustExec(t, "DROP TABLE IF EXISTS crew_memberships, crew_grants")
		db.mustExec(t, "CREATE TABLE crew_memberships (id int PRIMARY KEY, person_id int NOT NULL, group_id int NOT NULL)")
		db.mustExec(t, "CREATE TABLE crew_grants (id int PRIMARY KEY, person_id int NOT NULL, permission_id int NOT NULL)")
		db.mustExec(t, "INSERT INTO crew_memberships VALUES (1, 1, 2)") // alice is one of the admins, who may add_post
		db.mustExec(t, "INSERT INTO crew_grants VALUES (1, 3, 1)")      // carol may add_post herself
		for _, test := range []struct {
			name, groups         string
			require              string
			wantAlice, wantCarol int
		}{
			{"the column with the user is named", "groups crew_memberships person_id", "permission blog.add_post", http.StatusOK, http.StatusOK},
			{"Django's groups are named as well", "groups crew_memberships person_id group_id auth_group id name", "permission blog.add_post", http.StatusOK, http.StatusOK},
			{"groups by the column with the user", "groups crew_memberships person_id", "group admins", http.StatusOK, http.StatusForbidden},
			{"groups by number have no permissions, and Django's own have", "groups crew_memberships person_id group_id", "permission blog.change_post", http.StatusOK, http.StatusForbidden},
		} {
			t.Run(test.name, func(t *testing.T) {
				g := startGateway(t, db, startUpstream(t), site{options: "require " + test.require, store: test.groups + "\npermissions crew_grants person_id"})
				g.get(t, "/", bearer(tokenFor(t, alice))...).wantStatus(t, test.wantAlice)
				g.get(t, "/", bearer(tokenFor(t, carol))...).wantStatus(t, test.wantCarol)
			})
		}
	})
}
