package sesame_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// settingsOf are the changes of settings for tokenFor that options make.
func settingsOf(options string) (changes []func(*token.Settings)) {
	if strings.Contains(options, "one_time") {
		changes = append(changes, oneTime)
	}
	if strings.Contains(options, "max_age 10m") {
		changes = append(changes, withMaxAge(10*time.Minute))
	}
	return changes
}

// wantForbidden fails the test unless a request was rejected because of its user.
func wantForbidden(t *testing.T, up *upstream, answer *response) {
	t.Helper()
	answer.wantStatus(t, http.StatusForbidden)
	if challenge := answer.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="insufficient_scope"`) {
		t.Errorf("WWW-Authenticate: %q", challenge)
	}
	wantHeader(t, answer.header, "Cache-Control", "no-store")
	if cookies := answer.header["Set-Cookie"]; len(cookies) > 0 {
		t.Errorf("Set-Cookie: %q", cookies)
	}
	up.takeNone(t)
}

// requirements are options, and the users that meet them.
var requirements = []struct {
	require string
	allowed string // the initials
}{
	{"require group editors", "ac"},
	{"require group admins", "a"},
	{"require group Editors", ""},
	{"require group nobody admins", "a"},
	{"require group editors\nrequire group admins", "a"},
	{"require staff", "a"},
	{"require superuser", "d"},
	{"require user alice dora", "ad"},
	{"require user Alice", ""},
	{"require user 1", ""},
	{"require permission blog.change_post", "acd"},
	{"require permission blog.add_post", "ad"},
	{"require permission blog.delete_post", "d"},
	{"require permission blog.delete_post blog.change_post\nrequire user carol", "c"},
}

// TestRequireAcceptsOnlyTheUsersThatItNames: Alice is an editor, an admin and of the
// staff; Carol is an editor and may change posts; Dora is a superuser, and nothing else.
func TestRequireAcceptsOnlyTheUsersThatItNames(t *testing.T) {
	dora := testUser{4, "dora", "p", "dora@example.com", "", true}
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		db.insert(t, dora)
		db.mustExec(t, "UPDATE auth_user SET is_staff = 1 WHERE id = 1")
		db.mustExec(t, "UPDATE auth_user SET is_superuser = 1 WHERE id = 4")
		up := startUpstream(t)
		for _, test := range requirements {
			t.Run(test.require, func(t *testing.T) {
				g := startGateway(t, db, up, site{options: test.require, store: "groups\npermissions"})
				for _, u := range []testUser{alice, carol, dora} {
					answer := g.get(t, "/", bearer(tokenFor(t, u))...)
					if !strings.Contains(test.allowed, u.username[:1]) {
						wantForbidden(t, up, answer)
						continue
					}
					answer.wantStatus(t, http.StatusOK)
					wantHeader(t, up.takeOne(t).header, "Remote-User", u.username)
				}
				g.get(t, "/").wantStatus(t, http.StatusUnauthorized)
				g.get(t, "/", bearer(tokenFor(t, bob))...).wantStatus(t, http.StatusUnauthorized)
				up.takeNone(t)
			})
		}
	})
}

// TestForbiddenPage checks the page and the log line of a forbidden user.
func TestForbiddenPage(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db.addRights(t)
		up := startUpstream(t)
		hers := tokenFor(t, carol)
		g := startGateway(t, db, up, site{options: "realm r\nrequire group editors\nrequire group admins", store: "groups"})
		answer := g.get(t, "/a?sesame="+hers, "Accept", "application/json")
		wantForbidden(t, up, answer)
		if !strings.HasPrefix(answer.body, `{"error":"forbidden",`) || !strings.Contains(answer.body, "carol") {
			t.Errorf("body: %s", answer.body)
		}
		wantHeader(t, answer.header, "Www-Authenticate", `Bearer realm="r", error="insufficient_scope", error_description="The user may not do this"`)
		if html := g.get(t, "/a?sesame="+hers, "Accept", "text/html"); !strings.Contains(html.body, "You may not see this page") {
			t.Errorf("body: %s", html.body)
		}
		line := g.awaitLines(t, "http.handlers.sesame", 1)[0]
		if line["msg"] != "user refused" || line["level"] != "debug" || line["user"] != "3" || line["requirement"] != "group admins" || line["token_from"] != "query" {
			t.Errorf("logged %v", line)
		}
		g.wantNoToken(t, hers)
	})
	t.Run("handle_errors", func(t *testing.T) {
		db := anyDatabase(t)
		db.addRights(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "require group admins", store: "groups", after: `reverse_proxy ` + up.addr + `
			handle_errors 403 {
				@known sesame_user
				respond @known "known"
				respond "own {http.auth.sesame.error}"
			}`})
		answer := g.get(t, "/a?sesame="+tokenFor(t, carol))
		wantForbidden(t, up, answer)
		if answer.body != "own forbidden" {
			t.Errorf("body: %s", answer.body)
		}
	})
}

// TestForbiddenUserUsesUpNoLink: a user who doesn't meet the requirements isn't asked
// to confirm, and the link isn't used up.
func TestForbiddenUserUsesUpNoLink(t *testing.T) {
	for _, options := range []string{"one_time", "one_time\nsession", "session\nconfirm always", "session\nmax_age 10m", "one_time\ncache 5m"} {
		t.Run(options, func(t *testing.T) {
			withEachDatabase(t, func(t *testing.T, db *database) {
				db.addRights(t)
				up := startUpstream(t)
				g := startGateway(t, db, up, site{options: options + "\nrequire group admins", store: "groups"})
				changes := settingsOf(options)
				link := "/?sesame=" + tokenFor(t, carol, changes...)
				for _, accept := range []string{"text/html", "*/*"} {
					wantForbidden(t, up, g.get(t, link, "Accept", accept))
				}
				var lastLogin any
				if err := db.QueryRow("SELECT last_login FROM auth_user WHERE id = 3").Scan(&lastLogin); err != nil || lastLogin != nil {
					t.Errorf("last_login is %v, %v", lastLogin, err)
				}
				db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
				answer := g.get(t, link)
				if answer.status != http.StatusOK && answer.status != http.StatusSeeOther {
					t.Errorf("status %d for the link of a user who is in the group now", answer.status)
				}
			})
		})
	}
}

func TestSessionsAreHeldToRequire(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db.addRights(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "max_age 10m\nsession\ncache 4m\nrequire group admins", store: "groups"})
		changes := settingsOf("max_age 10m")
		login := g.get(t, "/?sesame="+tokenFor(t, alice, changes...))
		login.wantStatus(t, http.StatusSeeOther)
		cookie := []string{"Cookie", sessionCookie(t, login)}
		g.get(t, "/", cookie...).wantStatus(t, http.StatusOK)
		up.take()
		whoami := g.get(t, "/_sesame/whoami", cookie...)
		if !strings.Contains(whoami.body, `"groups":["admins","editors"]`) {
			t.Errorf("whoami: %s", whoami.body)
		}

		// The cached row still lets her in: it rejects no user.
		db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 1")
		g.get(t, "/", cookie...).wantStatus(t, http.StatusOK)
		up.take()
		wantForbidden(t, up, g.get(t, "/", bearer(tokenFor(t, carol, changes...))...))
		db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
		g.get(t, "/", bearer(tokenFor(t, carol, changes...))...).wantStatus(t, http.StatusOK)
		up.take()

		g = startGateway(t, db, up, site{options: "max_age 10m\nsession\nrequire group admins", store: "groups"})
		wantForbidden(t, up, g.get(t, "/", cookie...))
		g.get(t, "/_sesame/whoami", cookie...).wantStatus(t, http.StatusForbidden)
		// Another user's session doesn't prevent a login, and every user may log
		// out.
		page := g.get(t, "/?sesame="+tokenFor(t, carol, changes...), append(slices.Clone(cookie), "Accept", "text/html")...)
		page.wantStatus(t, http.StatusOK)
		if !strings.Contains(page.body, "Switch to another account?") {
			t.Errorf("body: %s", page.body)
		}
		g.get(t, "/_sesame/logout", cookie...).wantStatus(t, http.StatusOK)
		db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 2)")
		g.get(t, "/", cookie...).wantStatus(t, http.StatusOK)
	})
}

func TestRequireWithOptional(t *testing.T) {
	db := anyDatabase(t)
	db.addRights(t)
	up := startUpstream(t)
	preflight := []string{"Origin", "https://example.com", "Access-Control-Request-Method", "POST"}
	g := startGateway(t, db, up, site{options: "optional\nrequire group admins", store: "groups"})
	g.get(t, "/").wantStatus(t, http.StatusUnauthorized)
	g.do(t, http.MethodOptions, "/", preflight...).wantStatus(t, http.StatusUnauthorized)
	g.get(t, "/", bearer(tokenFor(t, alice))...).wantStatus(t, http.StatusOK)
	up.takeOne(t)
	wantForbidden(t, up, g.get(t, "/", bearer(tokenFor(t, carol))...))
	g = startGateway(t, db, up, site{options: "preflight pass\nrequire group admins", store: "groups"})
	g.do(t, http.MethodOptions, "/", preflight...).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "")
}

// TestRequireInASecondHandler has one handler for the site, and another that only
// checks the user whom the first has authenticated.
func TestRequireInASecondHandler(t *testing.T) {
	for _, options := range []string{"", "cache 3m"} {
		t.Run(options, func(t *testing.T) {
			db := anyDatabase(t)
			db.addRights(t)
			up := startUpstream(t)
			part := func(require string) string {
				return "sesame {\nsecret_key x\noptional\n" + require + "\nuserstore mysql {\ndsn \"" + db.dsn + "\"\ngroups\npermissions\n}\n}\nreverse_proxy " + up.addr
			}
			g := startGateway(t, db, up, site{
				options: "optional\n" + options, store: "groups",
				after: "handle /admin {\n" + part("require group admins") + "\n}\nhandle /unread {\n" + part("require permission blog.add_post") + "\n}\nreverse_proxy " + up.addr,
			})
			hers, others := bearer(tokenFor(t, alice)), bearer(tokenFor(t, carol))
			g.get(t, "/").wantStatus(t, http.StatusOK)
			g.get(t, "/admin").wantStatus(t, http.StatusUnauthorized)
			up.take()
			g.get(t, "/admin", hers...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-Groups", "admins,editors")
			wantForbidden(t, up, g.get(t, "/admin", others...))
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 2)")
			g.get(t, "/admin", others...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-Groups", "admins,editors")
			// The first handler hasn't read the column, so the second can't decide.
			g.get(t, "/unread", hers...).wantStatus(t, http.StatusInternalServerError)
			up.takeNone(t)
		})
	}
}

func TestRequireErrors(t *testing.T) {
	db := anyDatabase(t)
	db.addRights(t)
	for _, test := range []struct {
		options, store, after string
		want                  []string
	}{
		{options: "require group a", want: []string{"require group a: the store doesn't read groups", "Caddyfile:"}},
		{options: "require permission a.b", want: []string{"require permission a.b: the store doesn't read permissions"}},
		{options: "require permission ab", store: "permissions", want: []string{"app_label.codename"}},
		{options: "require", want: []string{"wrong argument count"}},
		{options: "require group", want: []string{"group needs a name"}},
		{options: `require group ""`, store: "groups", want: []string{"require has an empty value"}},
		{options: "require staff alice", want: []string{"staff takes no names"}},
		{options: "require editor", want: []string{`unrecognized requirement "editor"`}},
		{options: "require staff", store: "is_staff -", want: []string{"is_staff is -"}},
		{options: "require superuser", store: "is_superuser root", want: []string{`no column "root"`}},
		{after: "@a sesame_user group a\nrespond @a 200", want: []string{"sesame_user", "add groups to userstore"}},
		{after: "@a not sesame_user staff\nrespond @a 200", want: []string{"sesame_user", "add is_staff to userstore"}},
		{store: "groups", after: "handle {\n@a {\nsesame_user group a\nsesame_user permission a.b\n}\nhandle @a {\nrespond 200\n}\n}", want: []string{"add permissions to userstore"}},
		{after: "handle_errors {\n@a sesame_user superuser\nrespond @a 200\n}", want: []string{"add is_superuser to userstore"}},
		{after: "@a sesame_user editors\nrespond @a 200", want: []string{`unrecognized requirement "editors"`}},
		{after: "@a sesame_user staff {\nx\n}\nrespond @a 200", want: []string{"no block"}},
	} {
		g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
		err := tryCaddyfile(g.caddyfile(db, startUpstream(t), site{options: test.options, store: test.store, after: test.after}))
		for _, part := range test.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %v doesn't say %q", test, err, part)
			}
		}
	}
	if err := tryCaddyfile("{\nadmin off\npersist_config off\nauto_https off\n}\nhttp://" + freeAddr(t) + " {\n@a sesame_user\nrespond @a 200\n}"); err == nil || !strings.Contains(err.Error(), "no sesame handler") {
		t.Errorf("a matcher without a handler: %v", err)
	}
}

// matcherRoutes have the matcher wherever Caddy's routes have one.
const matcherRoutes = `
		@editors sesame_user group editors
		@admins {
			sesame_user group editors
			sesame_user group admins
		}
		@staff sesame_user staff
		@root sesame_user superuser
		@alice sesame_user user alice bob
		@changes sesame_user permission blog.change_post
		@known sesame_user
		@nobody not sesame_user
		@others not sesame_user group editors
		@both {
			path /both
			sesame_user group editors
			not sesame_user group admins
		}
		handle /editors {
			respond @editors yes
			respond no
		}
		handle /admins {
			respond @admins yes
			respond no
		}
		handle /staff {
			respond @staff yes
			respond no
		}
		handle /root {
			respond @root yes
			respond no
		}
		handle /alice {
			respond @alice yes
			respond no
		}
		handle /changes {
			respond @changes yes
			respond no
		}
		handle /known {
			route {
				respond @known yes
				respond no
			}
		}
		handle /nobody {
			respond @nobody yes
			respond no
		}
		handle /others {
			handle @others {
				respond yes
			}
			handle {
				respond no
			}
		}
		handle @both {
			respond yes
		}
		handle /both {
			respond no
		}
		handle /error {
			error 418
		}
		handle_errors 418 {
			@admin sesame_user group admins
			respond @admin yes
			respond no
		}`

// TestMatcherTellsUsersWhereverRoutesMatch has the matcher wherever Caddy's routes
// have one.
func TestMatcherTellsUsersWhereverRoutesMatch(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		db.mustExec(t, "UPDATE auth_user SET is_staff = 1 WHERE id = 1")
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "optional", store: "groups\npermissions\nis_staff", after: matcherRoutes})
		for path, allowed := range map[string]string{
			"editors": "ac", "admins": "a", "staff": "a", "root": "", "alice": "a", "changes": "ac", "known": "ac",
			"nobody": "-", "others": "-", "both": "c", "error": "a",
		} {
			for who, header := range map[string][]string{"a": bearer(tokenFor(t, alice)), "c": bearer(tokenFor(t, carol)), "-": nil} {
				want := "no"
				if strings.Contains(allowed, who) {
					want = "yes"
				}
				forged := []string{"Remote-User", "alice", "Remote-Groups", "editors,admins"}
				if answer := g.get(t, "/"+path, append(slices.Clone(header), forged...)...); answer.body != want {
					t.Errorf("%s of %s: %d %q, want %s", path, who, answer.status, answer.body, want)
				}
			}
		}
		db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 1")
		if answer := g.get(t, "/editors", bearer(tokenFor(t, alice))...); answer.body != "no" {
			t.Errorf("the group that she left: %q", answer.body)
		}
	})
}

// TestMatcherFailsOnColumnsThatAreNotRead has a user from a handler that doesn't
// read what the matcher asks: the request is answered 500, also by the matcher's
// negation.
func TestMatcherFailsOnColumnsThatAreNotRead(t *testing.T) {
	db := anyDatabase(t)
	db.addRights(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, site{options: "optional", after: `
		handle /reading {
			sesame {
				secret_key x
				userstore mysql {
					dsn "` + db.dsn + `"
					groups
				}
			}
		}
		@is sesame_user group editors
		@not not sesame_user group editors
		handle /is {
			respond @is yes
			respond no
		}
		handle /not {
			respond @not yes
			respond no
		}`})
	for _, path := range []string{"/is", "/not"} {
		for _, header := range [][]string{bearer(tokenFor(t, alice)), nil} {
			want := http.StatusOK
			if header != nil {
				want = http.StatusInternalServerError
			}
			g.get(t, path, header...).wantStatus(t, want)
		}
		g.get(t, path+"?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusInternalServerError)
	}
}

// TestRequireIsWatched ends the response of a user who is removed from a group.
func TestRequireIsWatched(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db.addRights(t)
		up := startUpstream(t)
		stream := startEndless(t)
		g := startGateway(t, db, up, site{options: "watch 50ms\nrequire group admins", store: "groups", after: "reverse_proxy " + stream + " {\nflush_interval -1\n}"})
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+tokenFor(t, alice))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("status %d", answer.StatusCode)
		}
		db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 1 AND group_id = 2")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			buffer := make([]byte, 64)
			for {
				if _, err := answer.Body.Read(buffer); err != nil {
					return
				}
			}
		}()
		poll(t, "the end of the response", func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		if !strings.Contains(string(g.log(t)), "no longer meets what is required") {
			t.Error("the log doesn't say why")
		}
	})
}
