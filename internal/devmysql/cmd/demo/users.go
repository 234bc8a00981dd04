package main

import (
	"crypto/rand"
	"encoding/base64"
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
	alice, bob, carol string // tokens
}

func addUsers(database *devmysql.Server) (users, error) {
	all := users{secretKey: rand.Text() + rand.Text(), password: "open sesame"}
	hash, err := hashOf(all.password)
	if err != nil {
		return all, err
	}
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
	return all, nil
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
