package token_test

import (
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// A token is made from the user's row, and checked against it in two steps:
// Parse says which user's row is needed, Verify checks against that row.
func Example() {
	tokens, err := token.New(token.Settings{
		SecretKey: "Django's SECRET_KEY",
		MaxAge:    new(10 * time.Minute),
		Encoding:  token.LongPacker, // the primary key is an AutoField
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	user := token.User{Password: new("!an unusable password")}
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	link, err := tokens.Create(token.IntKey(42), user, "", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("https://app.example.com/?sesame=" + link)

	parsed, err := tokens.Parse(link, token.Expectation{Now: now.Add(time.Minute)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("look up user", parsed.PrimaryKey())
	fmt.Println("verified:", tokens.Verify(&parsed, user))

	user.Password = new("!another password")
	fmt.Println("verified:", tokens.Verify(&parsed, user))

	_, err = tokens.Parse(link, token.Expectation{Now: now.Add(10 * time.Minute)})
	fmt.Println("parsed:", err)
	// Output:
	// https://app.example.com/?sesame=AAAAKggsoNklV2oD65c-1Msq
	// look up user 42
	// verified: <nil>
	// verified: the signature doesn't match: revoked, or made with another key, scope or setting
	// parsed: expired
}
