package sesame_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// apiTables are what `manage.py migrate` makes of the libraries' models on MySQL.
var apiTables = []string{
	"CREATE TABLE authtoken_token (`key` varchar(40) NOT NULL PRIMARY KEY, created datetime(6) NOT NULL, user_id int NOT NULL UNIQUE)",
	"CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, token_key varchar(25) NOT NULL, created datetime(6) NOT NULL, expiry datetime(6) NULL, user_id int NOT NULL)",
	"CREATE TABLE token_blacklist_outstandingtoken (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, token longtext NOT NULL, created_at datetime(6) NULL, expires_at datetime(6) NOT NULL, user_id int NULL, jti varchar(255) NOT NULL UNIQUE)",
	"CREATE TABLE token_blacklist_blacklistedtoken (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, blacklisted_at datetime(6) NOT NULL, token_id bigint NOT NULL UNIQUE)",
}

// withAPITokens is the database with the tables of API tokens, for the time of the
// test.
func (db *database) withAPITokens(t testing.TB) *database {
	t.Helper()
	admin := db.asAdministrator()
	drop := func() {
		for _, table := range apiTables {
			admin.mustExec(t, "DROP TABLE IF EXISTS "+strings.Fields(table)[2])
		}
	}
	drop()
	t.Cleanup(drop)
	for _, table := range apiTables {
		admin.mustExec(t, table)
	}
	return admin
}

// The API tokens of the tests' users.
const (
	aliceDRF  = "a11ce401f7ac837da42b97f613d789819ff93537"
	bobDRF    = "b0b0401f7ac837da42b97f613d789819ff93537b"
	aliceKnox = "9f2c1d7b3a5e8f60718293a4b5c6d7e8f9a0b1c2d3e4f5061728394a5b6c7d8e"
)

func (db *database) addDRF(t testing.TB, key string, u testUser) {
	t.Helper()
	db.mustExec(t, "INSERT INTO authtoken_token VALUES (?, ?, ?)", key, columnTime(-time.Hour), u.id)
}

// addKnox adds a token of knox 5, which ends in a while; never at 0.
func (db *database) addKnox(t testing.TB, token string, u testUser, in time.Duration) {
	t.Helper()
	var expiry any
	if in != 0 {
		expiry = columnTime(in)
	}
	sum := sha512.Sum512([]byte(token))
	db.mustExec(t, "INSERT INTO knox_authtoken VALUES (?, ?, ?, ?, ?)", hex.EncodeToString(sum[:]), token[:15], columnTime(-time.Hour), expiry, u.id)
}

// columnTime is a time from now as Django writes it.
func columnTime(in time.Duration) string {
	return time.Now().Add(in).UTC().Format("2006-01-02 15:04:05.000000")
}

// jwtFor makes a JSON Web Token as SimpleJWT does, with HS256.
func jwtFor(t testing.TB, key string, u testUser, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"token_type": "access", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Add(-time.Minute).Unix(),
		"jti": "0f8fad5bd9cb469fa16570867728950e", "user_id": fmt.Sprint(u.id),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(payload)
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// publicKey is the public half of a new RSA key, in PEM.
func publicKey(t testing.TB) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded}))
}

// allAPITokens are the options for tokens of all libraries.
const allAPITokens = "api_token drf\napi_token knox\napi_token simplejwt"

func TestAPITokens(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addDRF(t, aliceDRF, alice)
		db.addDRF(t, bobDRF, bob)
		db.addKnox(t, aliceKnox, alice, time.Hour)
		db.addKnox(t, "b0b"+aliceKnox[3:], bob, 0)
		db.addKnox(t, "01d"+aliceKnox[3:], alice, -time.Second)
		db.addKnox(t, "e7e12a1"+aliceKnox[7:], carol, 0)
		gone := testUser{id: 4711}
		db.addKnox(t, "90e"+aliceKnox[3:], gone, 0)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: allAPITokens})
		jwt := func(u testUser, changes map[string]any) string { return jwtFor(t, secretKey, u, changes) }
		for _, test := range []struct{ name, authorization, user string }{
			{"drf: a token", "Token " + aliceDRF, "alice"},
			{"drf: the keyword in other letters, and white space", " tOKEN \t " + aliceDRF + " ", "alice"},
			{"drf: a token in other letters, which the collation takes for the same", "Token " + strings.ToUpper(aliceDRF), ""},
			{"drf: a part of a token", "Token " + aliceDRF[:39], ""},
			{"drf: more than a token", "Token " + aliceDRF + "0", ""},
			{"drf: of a user who is inactive", "Token " + bobDRF, ""},
			{"drf: two words", "Token " + aliceDRF + " x", ""},
			{"drf: no token", "Token", ""},
			{"drf: two tokens", "Token " + aliceDRF + ", Token " + aliceDRF, ""},
			{"drf: as a bearer token", "Bearer " + aliceDRF, ""},

			{"knox: a token", "Token " + aliceKnox, "alice"},
			{"knox: a token that doesn't end", "Token e7e12a1" + aliceKnox[7:], "carol"},
			{"knox: a token in other letters", "Token " + strings.ToUpper(aliceKnox), ""},
			{"knox: an expired token", "Token 01d" + aliceKnox[3:], ""},
			{"knox: of a user who is inactive", "Token b0b" + aliceKnox[3:], ""},
			{"knox: of a user who is gone", "Token 90e" + aliceKnox[3:], ""},
			{"knox: another token", "Token 77e" + aliceKnox[3:], ""},

			{"simplejwt: a token", "Bearer " + jwt(alice, nil), "alice"},
			{"simplejwt: the user as a number", "Bearer " + jwt(carol, map[string]any{"user_id": 3}), "carol"},
			{"simplejwt: the scheme in other letters", "bearer " + jwt(alice, nil), ""},
			{"simplejwt: expired", "Bearer " + jwt(alice, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), ""},
			{"simplejwt: a token to get others with", "Bearer " + jwt(alice, map[string]any{"token_type": "refresh"}), ""},
			{"simplejwt: of another key", "Bearer " + jwtFor(t, "x", alice, nil), ""},
			{"simplejwt: of a user who is inactive", "Bearer " + jwt(bob, nil), ""},
			{"simplejwt: of a user who is gone", "Bearer " + jwt(gone, nil), ""},
			{"simplejwt: of no user", "Bearer " + jwt(alice, map[string]any{"user_id": nil}), ""},
			{"simplejwt: of a user that is no number", "Bearer " + jwt(alice, map[string]any{"user_id": "1 or 1"}), ""},
		} {
			answer := g.get(t, "/", "Authorization", test.authorization)
			if test.user == "" {
				if answer.status != http.StatusUnauthorized {
					t.Errorf("%s: status %d, want 401", test.name, answer.status)
				}
				up.takeNone(t)
				continue
			}
			if answer.status != http.StatusOK {
				t.Errorf("%s: status %d: %s", test.name, answer.status, answer.body)
				continue
			}
			got := up.takeOne(t)
			if user := got.header.Get("Remote-User"); user != test.user || len(got.header["Authorization"]) > 0 {
				t.Errorf("%s: the upstream got user %q and Authorization %q", test.name, user, got.header["Authorization"])
			}
		}
	})
}

func TestKnoxOfGeneration4(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		token, err := hex.DecodeString(aliceKnox)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum512(token)
		db.mustExec(t, "INSERT INTO knox_authtoken VALUES (?, ?, ?, NULL, ?)", hex.EncodeToString(sum[:]), aliceKnox[:8], columnTime(0), alice.id)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "api_token knox {\nprefix Knox\ngeneration 4\n}\noptional"})
		for _, test := range []struct{ authorization, user, left string }{
			{"Knox " + aliceKnox, "alice", ""},
			{"Knox " + strings.ToUpper(aliceKnox), "alice", ""}, // the same bytes
			{"Knox nothex", "", "Knox nothex"},
			{"Token " + aliceKnox, "", "Token " + aliceKnox},
		} {
			g.get(t, "/", "Authorization", test.authorization).wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", test.user)
			wantHeader(t, got.header, "Authorization", test.left)
		}
	})
}

// TestKnoxTokenWhoseExpiryIsNoTimeIsRejected, since it isn't known when it ends.
func TestKnoxTokenWhoseExpiryIsNoTimeIsRejected(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addKnox(t, aliceKnox, alice, time.Hour)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "api_token knox"})
		g.get(t, "/", "Authorization", "Token "+aliceKnox).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		db.mustExec(t, "ALTER TABLE knox_authtoken MODIFY expiry varchar(40) NULL")
		db.mustExec(t, "UPDATE knox_authtoken SET expiry = 'in a while'")
		g.get(t, "/", "Authorization", "Token "+aliceKnox).wantStatus(t, http.StatusUnauthorized)
		up.takeNone(t)
	})
}

func TestKnoxTokensInUseEndLater(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		for _, test := range []struct {
			name, options string
			in, want      time.Duration // until the end, before and after a request
		}{
			{"it is due", "", time.Hour, 10 * time.Hour},
			{"it isn't due yet", "", 10*time.Hour - 50*time.Second, 10*time.Hour - 50*time.Second},
			{"at the latest", "max_ttl 3h", time.Hour, 2 * time.Hour}, // since it is an hour old
			{"by another time", "token_ttl 90m\nmin_refresh_interval 20m", time.Hour, 90 * time.Minute},
		} {
			t.Run(test.name, func(t *testing.T) {
				db.mustExec(t, "DELETE FROM knox_authtoken")
				db.addKnox(t, aliceKnox, alice, test.in)
				up := startUpstream(t)
				g := startGateway(t, db, up, site{options: "api_token knox {\nauto_refresh\n" + test.options + "\n}"})
				g.get(t, "/", "Authorization", "Token "+aliceKnox).wantStatus(t, http.StatusOK)
				var text string
				if err := db.QueryRow("SELECT CAST(expiry AS CHAR) FROM knox_authtoken").Scan(&text); err != nil {
					t.Fatal(err)
				}
				ends, err := time.Parse("2006-01-02 15:04:05.000000", text)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Until(ends); (got - test.want).Abs() > 20*time.Second {
					t.Errorf("it ends in %s, want %s", got, test.want)
				}
			})
		}
		t.Run("it has ended", func(t *testing.T) {
			db.mustExec(t, "DELETE FROM knox_authtoken")
			db.addKnox(t, aliceKnox, alice, -time.Second)
			up := startUpstream(t)
			g := startGateway(t, db, up, site{options: "api_token knox {\nauto_refresh\n}"})
			g.get(t, "/", "Authorization", "Token "+aliceKnox).wantStatus(t, http.StatusUnauthorized)
			up.takeNone(t)
		})
	})
}

func TestSettingsOfSimpleJWT(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.mustExec(t, "INSERT INTO token_blacklist_outstandingtoken VALUES (1, '', NULL, NOW(), 1, 'listed'), (2, '', NULL, NOW(), 1, 'known')")
		db.mustExec(t, "INSERT INTO token_blacklist_blacklistedtoken VALUES (1, NOW(), 1)")
		sum := md5.Sum([]byte(alice.password))
		fingerprint := strings.ToUpper(hex.EncodeToString(sum[:]))
		up := startUpstream(t)
		const sliding = "token_types access sliding\nblacklist"
		for _, test := range []struct {
			name, options string
			of            testUser
			claims        map[string]any
			status        int
		}{
			{"the password has not changed", "check_revoke_token", alice, map[string]any{"hash_password": fingerprint}, http.StatusOK},
			{"the password has changed", "check_revoke_token", alice, map[string]any{"hash_password": strings.Repeat("A", 32)}, http.StatusUnauthorized},
			{"it doesn't say of which password it is", "check_revoke_token", alice, nil, http.StatusUnauthorized},
			{"a user of another column", "user_id_field username", alice, map[string]any{"user_id": "alice"}, http.StatusOK},
			{"a user of another column in other letters", "user_id_field username", alice, map[string]any{"user_id": "ALICE"}, http.StatusUnauthorized},
			{"another claim has the user", "user_id_claim sub", alice, map[string]any{"user_id": nil, "sub": "1"}, http.StatusOK},
			{"the audience", "audience a b", alice, map[string]any{"aud": "b"}, http.StatusOK},
			{"another audience", "audience a b", alice, map[string]any{"aud": "c"}, http.StatusUnauthorized},
			{"the issuer", "issuer i", alice, map[string]any{"iss": "i"}, http.StatusOK},
			{"another issuer", "issuer i", alice, nil, http.StatusUnauthorized},
			{"expired within the leeway", "leeway 90s", alice, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, http.StatusOK},
			{"without a type", "token_type_claim -", alice, map[string]any{"token_type": nil}, http.StatusOK},
			{"without an ID", "jti_claim -", alice, map[string]any{"jti": nil}, http.StatusOK},
			{"an inactive user who may", "check_user_is_active off", bob, nil, http.StatusOK},
			{"a sliding token that is in no list", sliding, alice, map[string]any{"token_type": "sliding", "jti": "new"}, http.StatusOK},
			{"a sliding token that was issued", sliding, alice, map[string]any{"token_type": "sliding", "jti": "known"}, http.StatusOK},
			{"a sliding token in the blacklist", sliding, alice, map[string]any{"token_type": "sliding", "jti": "listed"}, http.StatusUnauthorized},
			{"a sliding token in the blacklist, in other letters", sliding, alice, map[string]any{"token_type": "sliding", "jti": "LISTED"}, http.StatusOK},
			{"an access token isn't looked for in the blacklist", sliding, alice, map[string]any{"jti": "listed"}, http.StatusOK},
			{"a sliding token where they aren't accepted", "blacklist", alice, map[string]any{"token_type": "sliding", "jti": "new"}, http.StatusUnauthorized},
		} {
			t.Run(test.name, func(t *testing.T) {
				g := startGateway(t, db, up, site{options: "api_token simplejwt {\n" + test.options + "\n}"})
				g.get(t, "/", "Authorization", "Bearer "+jwtFor(t, secretKey, test.of, test.claims)).wantStatus(t, test.status)
				up.take()
			})
		}
	})
}
