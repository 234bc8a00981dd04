package sesame_test

import (
	"net/http"
	"testing"
	"time"
)

// TestCachedRowIsAccepted checks which requests a cached row answers, and which need
// the row as it is.
func TestCachedRowIsAccepted(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "cache 5m\nmax_age 1h"})
		hour := withMaxAge(time.Hour)
		valid := tokenFor(t, alice, hour)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)

		// A deactivated account and a new name are noticed late.
		db.mustExec(t, "UPDATE auth_user SET is_active = 0, username = 'alicia' WHERE id = 1")
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		if up.take(); g.get(t, "/?sesame="+valid).status != http.StatusOK {
			t.Error("the row wasn't kept")
		}
		if user := up.takeOne(t).header.Get("Remote-User"); user != "alice" {
			t.Errorf("Remote-User is %q, want the kept row's", user)
		}

		// A forged token is rejected by the row as it is. That lookup also notices
		// the deactivated account.
		g.get(t, "/?sesame="+valid[:len(valid)-2]+"zz").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)

		// A request that the cached row would reject has the row read anew: for a
		// reactivated account, and a link for a new password.
		db.mustExec(t, "UPDATE auth_user SET is_active = 1 WHERE id = 1")
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		changed := alice
		changed.password = "pbkdf2_sha256$1000000$bmV3$bmV3"
		db.mustExec(t, "UPDATE auth_user SET password = ? WHERE id = 1", changed.password)
		g.get(t, "/?sesame="+tokenFor(t, changed, hour)).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)

		// A user who doesn't exist.
		nobody := testUser{id: 77, username: "nobody", password: "x", isActive: true}
		g.get(t, "/?sesame="+tokenFor(t, nobody, hour)).wantStatus(t, http.StatusUnauthorized)
		up.take()
	})
}

// TestCacheIsNotAskedForOneTimeTokens uses a token up, and another that was
// made at once afterwards.
func TestCacheIsNotAskedForOneTimeTokens(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "cache 5m\none_time\nconfirm off"})
		first := tokenFor(t, carol, oneTime)
		g.get(t, "/?sesame="+first).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+first).wantStatus(t, http.StatusUnauthorized)
		used := carol
		if err := db.QueryRow("SELECT DATE_FORMAT(last_login, '%Y-%m-%d %H:%i:%s.%f') FROM auth_user WHERE id = 3").Scan(&used.lastLogin); err != nil {
			t.Fatal(err)
		}
		second := tokenFor(t, used, oneTime)
		g.get(t, "/?sesame="+second).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+second).wantStatus(t, http.StatusUnauthorized)

		db.mustExec(t, "UPDATE auth_user SET last_login = NULL, is_active = 0 WHERE id = 3")
		g.get(t, "/?sesame="+first).wantStatus(t, http.StatusUnauthorized)
		up.take()
	})
}

// TestLoginsReadTheRowThatSessionsTakeFromTheCache logs in by the row as it is. Later requests use the cached
// row.
func TestLoginsReadTheRowThatSessionsTakeFromTheCache(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "cache 5m\nsession"})
		valid := tokenFor(t, alice)
		login := g.get(t, "/?sesame="+valid)
		login.wantStatus(t, http.StatusSeeOther)
		cookie := http.Header{"Set-Cookie": login.header["Set-Cookie"]}
		pair := (&http.Response{Header: cookie}).Cookies()[0]
		session := []string{"Cookie", pair.Name + "=" + pair.Value}
		g.get(t, "/", session...).wantStatus(t, http.StatusOK)

		db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = 1")
		g.get(t, "/", session...).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", session...).wantStatus(t, http.StatusUnauthorized)
		up.take()
	})
}

// TestCacheDoesNotMixSites has two sites with one table and one cache, whose
// tokens differ.
func TestCacheDoesNotMixSites(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "cache 5m\nscope a", after: `handle /b* {
			sesame {
				secret_key another
				cache 5m
				userstore mysql {
					dsn "` + db.dsn + `"
					query_timeout 20s
				}
			}
		}
		reverse_proxy ` + up.addr})
		inA := tokenAt(t, alice, "a", time.Now())
		inB := tokenFor(t, alice, withKey("another"))
		g.get(t, "/a?sesame="+inA).wantStatus(t, http.StatusOK)
		g.get(t, "/b?sesame="+inA).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/a?sesame="+inB).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/a?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusUnauthorized)
		up.take()
	})
}
