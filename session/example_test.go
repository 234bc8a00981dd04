package session_test

import (
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// A session is made when a user has logged in, and checked at each request in
// two steps: Parse says which user's row is needed, Verify checks against that
// row.
func Example() {
	sessions, err := session.New(session.Settings{
		SecretKey: "Django's SECRET_KEY",
		Idle:      time.Hour,
		Encoding:  token.LongPacker, // the primary key is an AutoField
		Audience:  "app.example.com, auth_user by id",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	user := token.User{Password: new("!an unusable password")}
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	cookie, err := sessions.Create(token.IntKey(42), user, "", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cookie)

	now = now.Add(20 * time.Minute)
	parsed, err := sessions.Parse(cookie, "", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("look up user", parsed.PrimaryKey())
	fmt.Println("verified:", sessions.Verify(&parsed, user))

	// A session in use is renewed: this value is for a new Set-Cookie.
	cookie, renewed := sessions.Renew(&parsed, user, now)
	fmt.Println("renewed:", renewed, "until", parsed.Expires().Format(time.TimeOnly))

	user.Password = new("!another password")
	fmt.Println("verified:", sessions.Verify(&parsed, user))

	_, err = sessions.Parse(cookie, "", now.Add(time.Hour))
	fmt.Println("parsed:", err)
	// Output:
	// AWY4gdkAAAAAE7IMuzWpmNnlJjo5IEJgMf8T51-Rc9SetvozFlgQQrwAAAAqLQnIvuUQywh4InkzyO_pTw
	// look up user 42
	// verified: <nil>
	// renewed: true until 08:28:09
	// verified: the user's password has changed since the login
	// parsed: the session has not been used for too long
}
