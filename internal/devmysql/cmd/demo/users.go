package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6238 has it so
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/devmysql"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// maxAge is what Caddyfile.example says: whether there is one changes the
// tokens.
const maxAge = 10 * time.Minute

// users are the rows of auth_user, and tokens for them as Django would make
// them.
type users struct {
	secretKey         string
	password          string // alice's
	appKey            string // of the app that shows dave's codes, in hexadecimal
	alice, bob, carol string // tokens
}

func addUsers(database *devmysql.Server) (users, error) {
	all := users{secretKey: rand.Text() + rand.Text(), password: "open sesame"}
	hash, err := hashOf(all.password)
	if err != nil {
		return all, err
	}
	if err := addTables(database); err != nil {
		return all, err
	}
	var dave string
	age := maxAge
	tokens, err := token.New(token.Settings{
		SecretKey: all.secretKey,
		MaxAge:    &age,
		Encoding:  token.LongPacker, // auth_user.id is an integer
	})
	if err != nil {
		return all, err
	}
	for _, user := range []struct {
		id       int64
		name     string
		password string
		active   bool
		token    *string
	}{
		{1, "alice", hash, true, &all.alice},
		{2, "bob", hashedPassword(), false, &all.bob},
		{3, "carol", unusablePassword(), true, &all.carol},
		{4, "dave", hash, true, &dave},
	} {
		err := database.Exec(`INSERT INTO auth_user
			(id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
			VALUES (?, ?, 0, ?, '', '', ?, 0, ?, ?)`,
			user.id, user.password, user.name, user.name+"@example.com", user.active,
			time.Now().UTC().Format("2006-01-02 15:04:05.000000"))
		if err != nil {
			return all, fmt.Errorf("adding the user %s: %w", user.name, err)
		}
		*user.token, err = tokens.Create(token.IntKey(user.id), token.User{Password: &user.password}, "", time.Now())
		if err != nil {
			return all, fmt.Errorf("making a token for %s: %w", user.name, err)
		}
	}
	key := make([]byte, 20)
	rand.Read(key)
	all.appKey = hex.EncodeToString(key)
	if err := database.Exec(`INSERT INTO otp_totp_totpdevice
		(confirmed, `+"`key`"+`, step, t0, digits, tolerance, drift, last_t, user_id, throttling_failure_count)
		VALUES (1, ?, 30, 0, 6, 1, 0, -1, 4, 0)`, all.appKey); err != nil {
		return all, fmt.Errorf("adding dave's second factor: %w", err)
	}
	return all, nil
}

// addTables makes the tables beside Django's own: that of django-otp for apps that
// show codes, and that of sessions, as caddy sesame check --create prints it.
func addTables(database *devmysql.Server) error {
	for _, statement := range []string{
		"CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, confirmed bool NOT NULL, `key` varchar(80) NOT NULL, step smallint unsigned NOT NULL, " +
			"t0 bigint NOT NULL, digits smallint unsigned NOT NULL, tolerance smallint unsigned NOT NULL, drift smallint NOT NULL, last_t bigint NOT NULL, " +
			"user_id int NOT NULL, throttling_failure_count int unsigned NOT NULL, throttling_failure_timestamp datetime(6))",
		"CREATE TABLE sesame_session (id char(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, user_id int NOT NULL, created datetime NOT NULL, " +
			"seen datetime NOT NULL, expires datetime NOT NULL, browser varchar(40) CHARACTER SET ascii NOT NULL, platform varchar(40) CHARACTER SET ascii NOT NULL, " +
			"address varchar(49) CHARACTER SET ascii NOT NULL, site varchar(255) CHARACTER SET ascii NOT NULL, KEY (user_id, expires), KEY (expires))",
	} {
		if err := database.Exec(statement); err != nil {
			return fmt.Errorf("making a table: %w", err)
		}
	}
	return nil
}

// appCode is the code that dave's app shows at a time (RFC 6238).
func (u *users) appCode(at time.Time) string {
	key, _ := hex.DecodeString(u.appKey) // which made it
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	from := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[from:from+4])&0x7fffffff%1_000_000)
}

// hashOf is a hash of a password, as Django makes it.
func hashOf(text string) (string, error) {
	hashers, err := password.New(password.Settings{})
	if err != nil {
		return "", err
	}
	return hashers.Make(text)
}

// hashedPassword looks like what Django stores. It is of no password.
func hashedPassword() string {
	hash := make([]byte, 32)
	rand.Read(hash)
	return "pbkdf2_sha256$1000000$" + rand.Text() + "$" + base64.StdEncoding.EncodeToString(hash)
}

// unusablePassword is what Django stores for users who never log in with one.
func unusablePassword() string { return "!" + (rand.Text() + rand.Text())[:40] }
