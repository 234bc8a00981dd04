package sesame_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestTokenOfAKeyThatTheCollationEquatesIsRejected: the user ADMÍN is replaced by
// admin, and the collation equates the two keys. Tokens don't depend on passwords
// here.
func TestTokenOfAKeyThatTheCollationEquatesIsRejected(t *testing.T) {
	db := anyDatabase(t).asAdministrator()
	db.mustExec(t, "DROP TABLE IF EXISTS people")
	db.mustExec(t, "CREATE TABLE people (name varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, password varchar(128), last_login datetime(6), is_active bool)")
	t.Cleanup(func() { db.mustExec(t, "DROP TABLE people") })
	become := func(name string) { // an UPDATE changes nothing where the collation sees no difference
		db.mustExec(t, "DELETE FROM people")
		db.mustExec(t, "INSERT INTO people VALUES (?, 'x', NULL, 1)", name)
	}
	off := false
	tokenOf := func(name string) string {
		age := time.Hour
		tokens, err := token.New(token.Settings{SecretKey: secretKey, Encoding: token.StrPacker, MaxAge: &age, InvalidateOnPasswordChange: &off})
		if err != nil {
			t.Fatal(err)
		}
		made, err := tokens.Create(token.StringKey(name), token.User{}, "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	up := startUpstream(t)
	for name, options := range map[string]string{"alone": "", "with a cache": "cache 1m"} {
		t.Run(name, func(t *testing.T) {
			become("ADMÍN")
			g := startGateway(t, db, up, site{
				options: "max_age 1h\ninvalidate_on_password_change off\nidentity {\nRemote-User {http.auth.user.id}\n}\nsession {\nupdate_last_login off\n}\n" + options,
				store:   "table people\nusername -\nemail -",
			})
			former := newBrowser(g)
			former.get(t, "/?sesame="+tokenOf("ADMÍN")).wantStatus(t, http.StatusSeeOther)
			former.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "ADMÍN")
			become("admin")
			if options == "" { // a cache keeps the former user's row for its time
				former.get(t, "/").wantStatus(t, http.StatusUnauthorized)
			}
			for _, key := range []string{"Admin", "admín", "admin ", "ADMÏN"} {
				g.get(t, "/", "Authorization", "Bearer "+tokenOf(key)).wantStatus(t, http.StatusUnauthorized)
			}
			g.get(t, "/", "Authorization", "Bearer "+tokenOf("admin")).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "admin")
		})
	}
}
