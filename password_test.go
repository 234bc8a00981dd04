package sesame_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
)

// basicAuth is the header field of a user name and a password.
func basicAuth(userpass string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(userpass))}
}

// passwordSite is a site with password, and cheap hashers. Each test has another
// max_concurrent, since handlers with the same block share their counts. The
// account of gateways may not see whether there are second factors.
func passwordSite(atWork int, more ...string) site {
	if !strings.Contains(strings.Join(more, " "), "second_factor") {
		more = append(more, "second_factor ignore")
	}
	return site{options: fmt.Sprintf("password {\nbasic on\nhashers md5 pbkdf2_sha256\nmax_concurrent %d\n%s\n}", atWork, strings.Join(more, "\n"))}
}

// hashOf makes a hash of a password that takes little time.
func hashOf(t testing.TB, algorithm password.Algorithm, text string) string {
	t.Helper()
	hashers, err := password.New(password.Settings{
		Hashers: []password.Algorithm{algorithm},
		Parameters: password.Parameters{
			PBKDF2Iterations: 10, Argon2Time: 1, Argon2Memory: 64, BcryptCost: 4, ScryptWorkFactor: 16,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hashers.Make(text)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// setPassword gives a user a password.
func (db *database) setPassword(t testing.TB, u testUser, hash string) {
	t.Helper()
	db.mustExec(t, "UPDATE auth_user SET password = ? WHERE id = ?", hash, u.id)
}

// wantHashed fails the test unless so many passwords are hashed by what do does.
func wantHashed(t *testing.T, want uint64, do func()) {
	t.Helper()
	before := hashing.Hashed()
	do()
	if got := hashing.Hashed() - before; got != want {
		t.Errorf("%d passwords were hashed, want %d", got, want)
	}
}

// TestBasicWithHashesOfAllHashers: the upstream gets the user, but neither the
// password nor a part of it.
func TestBasicWithHashesOfAllHashers(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		names := []password.Algorithm{
			password.MD5, password.PBKDF2SHA256, password.PBKDF2SHA1, password.Argon2, password.BcryptSHA256, password.Bcrypt,
			password.Scrypt, password.SHA1, password.UnsaltedMD5, password.UnsaltedSHA1,
		}
		hashers := "hashers"
		for _, name := range names {
			hashers += " " + string(name)
		}
		g := startGateway(t, db, up, site{options: "password {\nbasic on\nsecond_factor ignore\nmax_concurrent 2\n" + hashers + "\n}"})
		const secret = "correct horse: bättery"
		for _, name := range names {
			hash := hashOf(t, name, secret)
			db.setPassword(t, alice, hash)
			answer := g.get(t, "/", basicAuth("alice:"+secret)...)
			answer.wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", "alice")
			wantHeader(t, got.header, "Authorization", "")
			wrong := g.get(t, "/", basicAuth("alice:"+secret+"!")...)
			wrong.wantStatus(t, http.StatusUnauthorized)
			wantText(t, wrong.body, "What you sent is not valid.")
			up.takeNone(t)
			if t.Failed() {
				t.Fatal(name)
			}
		}
		log := g.log(t)
		for _, part := range []string{"correct horse", "bättery", basicAuth("alice:" + secret)[1][6:], "$argon2", "md5$"} {
			if bytes.Contains(log, []byte(part)) {
				t.Errorf("the log has %q", part)
			}
		}
		lines := g.awaitLines(t, "http.handlers.sesame", len(names))
		if line := lines[0]; line["scheme"] != "password" || line["reason"] != "wrong_password" || line["level"] != "debug" {
			t.Errorf("logged %v", line)
		}
	})
}

// TestRowEndsAPasswordAtTheNextRequest: the memory of a right password ends when the
// row changes.
func TestRowEndsAPasswordAtTheNextRequest(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, passwordSite(3, "identifier username email"))
		hash := hashOf(t, password.MD5, "secret")
		db.setPassword(t, alice, hash)
		step := func(userpass string, status int, hashed uint64) {
			t.Helper()
			wantHashed(t, hashed, func() { g.get(t, "/", basicAuth(userpass)...).wantStatus(t, status) })
			if status != http.StatusOK {
				up.takeNone(t)
				return
			}
			wantHeader(t, up.takeOne(t).header, "Remote-User-Id", "1")
		}
		step("alice:secret", http.StatusOK, 1)
		step("alice:secret", http.StatusOK, 0)
		step("alice@example.com:secret", http.StatusOK, 1)
		if db.name == "mariadb" { // the embedded server compares bytes
			step("ALICE:secret", http.StatusOK, 0)
			step("ALICE:secret", http.StatusOK, 0)
		}

		db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = 1")
		step("alice:secret", http.StatusUnauthorized, 0)
		db.mustExec(t, "UPDATE auth_user SET is_active = 1 WHERE id = 1")
		step("alice:secret", http.StatusOK, 0)

		db.setPassword(t, alice, hashOf(t, password.MD5, "secret")) // the same, with another salt
		step("alice:secret", http.StatusOK, 1)
		db.setPassword(t, alice, hashOf(t, password.MD5, "another"))
		step("alice:secret", http.StatusUnauthorized, 1)
		step("alice:another", http.StatusOK, 1)

		db.mustExec(t, "UPDATE auth_user SET username = 'alicia' WHERE id = 1")
		step("alice:another", http.StatusUnauthorized, 1)
		step("alicia:another", http.StatusOK, 1)
		db.mustExec(t, "UPDATE auth_user SET email = 'alice@example.com' WHERE id = 3")
		step("alice@example.com:another", http.StatusUnauthorized, 1)
		db.mustExec(t, "DELETE FROM auth_user WHERE id = 1")
		step("alicia:another", http.StatusUnauthorized, 1)
	})
}

// TestSecondFactorRejectsThePassword, which was accepted until it was set up.
func TestSecondFactorRejectsThePassword(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db.mustExec(t, "CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, confirmed bool NOT NULL, KEY (user_id))")
		defer db.mustExec(t, "DROP TABLE otp_totp_totpdevice")
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		up := startUpstream(t)
		admin := db.asAdministrator()
		g := startGateway(t, admin, up, passwordSite(4, "second_factor reject"))
		right, wrong := basicAuth("alice:secret"), basicAuth("alice:wrong")
		g.get(t, "/", right...).wantStatus(t, http.StatusOK)
		db.mustExec(t, "INSERT INTO otp_totp_totpdevice (user_id, confirmed) VALUES (1, 0)")
		g.get(t, "/", right...).wantStatus(t, http.StatusOK)
		up.take()

		db.mustExec(t, "UPDATE otp_totp_totpdevice SET confirmed = 1")
		before := metricValues(t)
		for range 2 {
			answer := g.get(t, "/", append(right, "Accept", "application/json")...)
			answer.wantStatus(t, http.StatusUnauthorized)
			if !strings.Contains(answer.body, `"second_factor"`) {
				t.Errorf("the right password gets %s", answer.body)
			}
		}
		answer := g.get(t, "/", append(wrong, "Accept", "application/json")...)
		answer.wantStatus(t, http.StatusUnauthorized)
		if strings.Contains(answer.body, "second_factor") {
			t.Errorf("a wrong password gets %s", answer.body)
		}
		up.takeNone(t)
		wantGrowth(t, before, map[string]float64{
			`requests_total{outcome="refused",reason="second_factor"}`:              2,
			`requests_total{outcome="refused",reason="wrong_password"}`:             1,
			`credentials_rejected_total{reason="second_factor",scheme="password"}`:  2,
			`credentials_rejected_total{reason="wrong_password",scheme="password"}`: 1,
			`passwords_hashed_total`: 1,
		})
		g.get(t, "/?sesame="+tokenFor(t, testUser{id: 1, password: db.passwordOf(t, 1)})).wantStatus(t, http.StatusOK)
		up.takeOne(t)

		ignoring := startGateway(t, admin, up, passwordSite(4, "second_factor ignore"))
		ignoring.get(t, "/", right...).wantStatus(t, http.StatusOK)
	})
}

// passwordOf is the hash in a user's row.
func (db *database) passwordOf(t testing.TB, id int64) (hash string) {
	t.Helper()
	if err := db.QueryRow("SELECT password FROM auth_user WHERE id = ?", id).Scan(&hash); err != nil {
		t.Fatal(err)
	}
	return hash
}

// TestAnswersDontTellWhichUsersExist: users who don't exist, who have no password, and
// whose hash is of another hasher get the same answer after as many hashes.
func TestAnswersDontTellWhichUsersExist(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, passwordSite(5, "identifier username email"))
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		db.mustExec(t, "UPDATE auth_user SET password = ? WHERE id = 2", hashOf(t, password.Bcrypt, "secret"))
		var want *response
		for _, userpass := range []string{"alice:wrong", "nobody:wrong", "nobody@example.com:wrong", "bob:secret", "carol:!unusable0123456789012345678901234567890"} {
			var got *response
			wantHashed(t, 1, func() { got = g.get(t, "/", basicAuth(userpass)...) })
			got.wantStatus(t, http.StatusUnauthorized)
			got.header.Del("Date")
			if want == nil {
				want = got
			}
			if got.body != want.body || fmt.Sprint(got.header) != fmt.Sprint(want.header) {
				t.Errorf("%s: %v %s, want %v %s", userpass, got.header, got.body, want.header, want.body)
			}
		}
	})
}

// TestBasicBesideOtherCredentials: which Basic credentials the application keeps,
// and which credentials count.
func TestBasicBesideOtherCredentials(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		hash := hashOf(t, password.MD5, "secret")
		db.setPassword(t, carol, hash)
		link := "/?sesame=" + tokenFor(t, alice)
		right, wrong := basicAuth("carol:secret"), basicAuth("carol:wrong")
		for _, test := range []struct {
			name, options, uri string
			header             []string
			status             int
			user, left         string
		}{
			{"off: it is the application's", "optional\npassword {\nbasic off\nsecond_factor ignore\n}", "/", right, 200, "", right[1]},
			{"on", "", "/", right, 200, "carol", ""},
			{"optional: a wrong one is rejected", "optional", "/", wrong, 401, "", ""},
			{"pass_header doesn't pass ours", "pass_header Authorization", "/", right, 200, "carol", ""},
			{"a token counts first", "", link, right, 200, "alice", ""},
			{"a wrong password beside a token", "", link, wrong, 200, "alice", ""},
			{"a password beside a wrong token", "", "/?sesame=" + tokenFor(t, testUser{id: 1, password: "x"}), right, 200, "carol", ""},
			{"an application's token beside it", "", "/", append(right, "Authorization", "Bearer eyJ.x.y"), 200, "carol", "Bearer eyJ.x.y"},
			{"two", "", "/", append(right, right...), 401, "", ""},
			{"a password in the form of a token, with token_from basic", "token_from basic", "/", basicAuth("carol:AAAAAAAAAAAAAAAAAAAAAAAA"), 200, "carol", ""},
		} {
			if strings.Contains(test.name, "form of a token") {
				db.setPassword(t, carol, hashOf(t, password.MD5, "AAAAAAAAAAAAAAAAAAAAAAAA"))
			}
			s := passwordSite(6)
			if strings.Contains(test.options, "password") {
				s = site{}
			}
			s.options += "\n" + test.options
			g := startGateway(t, db, up, s)
			g.get(t, test.uri, test.header...).wantStatus(t, test.status)
			if got := up.take(); len(got) > 0 {
				wantHeader(t, got[0].header, "Remote-User", test.user)
				wantHeader(t, got[0].header, "Authorization", test.left)
			}
			if t.Failed() {
				t.Fatal(test.name)
			}
		}
	})
}

// TestFullQueueIs503 has hundreds of clients guess while a check takes long.
func TestFullQueueIs503(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(1, "")
		s.global = limited("").global
		g := startGateway(t, db, up, s)
		slow, err := password.New(password.Settings{Parameters: password.Parameters{PBKDF2Iterations: 9_000_000}})
		if err != nil {
			t.Fatal(err)
		}
		hash, err := slow.Make("secret")
		if err != nil {
			t.Fatal(err)
		}
		db.setPassword(t, carol, hash)
		var all sync.WaitGroup
		before := hashing.Hashed()
		all.Go(func() { g.get(t, "/", from("192.0.2.1", basicAuth("carol:secret")...)...).wantStatus(t, http.StatusOK) })
		poll(t, "the check is at work", func() bool { return hashing.Hashed() > before })
		const clients = 300
		answers := make([]*response, clients)
		for i := range clients {
			all.Go(func() {
				address := fmt.Sprintf("198.51.%d.%d", 100+i/200, 1+i%200)
				answers[i] = g.get(t, "/", from(address, basicAuth(fmt.Sprintf("nobody%d:secret", i))...)...)
			})
		}
		g.get(t, "/?sesame="+tokenFor(t, alice), from("203.0.113.9")...).wantStatus(t, http.StatusOK)
		all.Wait()
		busy := 0
		for _, answer := range answers {
			switch answer.status {
			case http.StatusServiceUnavailable:
				busy++
				wantHeader(t, answer.header, "Retry-After", "5")
				wantHeader(t, answer.header, "Www-Authenticate", "")
			case http.StatusUnauthorized:
			default:
				t.Errorf("status %d", answer.status)
			}
		}
		if busy == 0 {
			t.Errorf("%d clients at once, and none got 503", clients)
		}
		poll(t, "the log says why", func() bool {
			return bytes.Contains(g.log(t), []byte("too many passwords are to be hashed; requests get 503"))
		})
	})
}

// TestWrongPasswordsLockNoUserOut: another client guesses carol's password.
func TestWrongPasswordsLockNoUserOut(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(7)
		s.global = limited("").global
		g := startGateway(t, db, up, s)
		db.setPassword(t, carol, hashOf(t, password.MD5, "secret"))
		owner := from("192.0.2.1", basicAuth("carol:secret")...)
		g.get(t, "/", owner...).wantStatus(t, http.StatusOK)
		var all sync.WaitGroup
		var mu sync.Mutex
		statuses := make(map[int]int)
		wantFewHashes := func(most uint64, do func()) {
			before := hashing.Hashed()
			do()
			if got := hashing.Hashed() - before; got > most {
				t.Errorf("%d of 60 guesses were hashed, want %d at most", got, most)
			}
		}
		wantFewHashes(12, func() {
			for i := range 60 {
				all.Go(func() {
					answer := g.get(t, "/", from("203.0.113.66", basicAuth(fmt.Sprintf("carol:guess%d", i))...)...)
					mu.Lock()
					defer mu.Unlock()
					statuses[answer.status]++
					if answer.status == http.StatusTooManyRequests {
						answer.wantLimited(t)
					}
				})
			}
			// While they wait, carol is let in without a hash.
			g.get(t, "/", owner...).wantStatus(t, http.StatusOK)
			all.Wait()
		})
		if statuses[http.StatusTooManyRequests] < 48 || statuses[http.StatusTooManyRequests]+statuses[http.StatusUnauthorized] != 60 {
			t.Errorf("60 guesses at once were answered %v", statuses)
		}
		// With a new password, carol's next wrong password is the first one: it
		// isn't delayed.
		db.setPassword(t, carol, hashOf(t, password.MD5, "new"))
		g.get(t, "/", from("192.0.2.1", basicAuth("carol:new")...)...).wantStatus(t, http.StatusOK)
	})
}

// TestUpgradeHashEndsTokens: the better hash is written once, and tokens of the
// former hash end.
func TestUpgradeHashEndsTokens(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		admin := db.asAdministrator()
		g := startGateway(t, admin, up, passwordSite(8, "upgrade_hash on"))
		old := hashOf(t, password.PBKDF2SHA256, "secret")
		db.setPassword(t, alice, old)
		link := "/?sesame=" + tokenFor(t, testUser{id: 1, password: old})
		g.get(t, link).wantStatus(t, http.StatusOK)
		wantHashed(t, 1, func() {
			for range 3 {
				g.get(t, "/", basicAuth("alice:secret")...).wantStatus(t, http.StatusOK)
			}
		})
		if hash := db.passwordOf(t, 1); !strings.HasPrefix(hash, "md5$") {
			t.Errorf("the hash is %s", hash)
		}
		g.get(t, link).wantStatus(t, http.StatusUnauthorized)
	})
}
