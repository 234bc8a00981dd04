package sesame_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// TestCommandsShowNoSecret looks for keys, passwords and their hashes in all
// that commands print, also where something is wrong.
func TestCommandsShowNoSecret(t *testing.T) {
	const otherKey = "another-key-that-nobody-may-see"
	withMariaDB(t, func(t *testing.T, db *database) {
		good := limitedUser(t, db, "SELECT", "UPDATE (last_login)", "DELETE")
		cfg, err := mysql.ParseDSN(good)
		if err != nil {
			t.Fatal(err)
		}
		refused, gone := cfg.Clone(), cfg.Clone()
		refused.User = "nobody"
		gone.Addr = "127.0.0.1:1"
		dsns := map[string]string{
			"good": good, "refused": refused.FormatDSN(), "gone": gone.FormatDSN(),
			"malformed": "gateway:" + limitedPassword + "@tcp(127.0.0.1:3306/django", "no network": "gateway:" + limitedPassword + "@127.0.0.1/django",
			"unknown parameter": good + "?no_such_variable=1", "no database": strings.Replace(good, "/django", "/", 1),
		}
		options := map[string]string{
			"plain":    "max_age 10m\nkey " + otherKey + "\nsecret_key_fallbacks " + otherKey,
			"one-time": "one_time",
			"wrong":    "max_age 10m\npacker no.such.Packer",
			"v1":       "tokens v1\nsalt " + otherKey,
		}
		tokens := []string{
			tokenFor(t, alice), tokenFor(t, alice, withMaxAge(time.Minute)), tokenFor(t, alice, withKey(otherKey)),
			tokenFor(t, alice, asV1), tokenFor(t, alice, oneTime, asV1), tokenFor(t, bob), "garbage",
		}
		secrets := []string{secretKey, otherKey, limitedPassword, alice.password, bob.password, alice.password[len(alice.password)-44:]}
		// The hash of the account's password, which MariaDB shows with its grants.
		var hash string
		if err := db.QueryRow("SELECT PASSWORD(?)", limitedPassword).Scan(&hash); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, hash)

		outputs := 0
		for dsnName, dsn := range dsns {
			for optionsName, options := range options {
				o := newOperator(t, oneSite(options, ""), dsn)
				o.stdin = "alice\nbob\nnobody\n"
				calls := [][]string{
					{"token", "alice"}, {"token", "bob"}, {"token", "--stdin", "--format", "json"}, {"check"}, {"check", "--json"}, {"check", "--create"},
				}
				if dsnName == "good" {
					for _, made := range tokens {
						calls = append(calls, []string{"explain", made}, []string{"explain", made, "--json"})
					}
				}
				for _, call := range calls {
					r := o.run(t, call...)
					outputs++
					if r.stdout+r.stderr == "" {
						t.Errorf("%s, %s: %q says nothing", dsnName, optionsName, call)
					}
					for _, secret := range secrets {
						if strings.Contains(r.stdout+r.stderr, secret) {
							t.Errorf("%s, %s: %q shows %q:\n%s%s", dsnName, optionsName, call, secret, r.stdout, r.stderr)
						}
					}
				}
			}
		}
		t.Logf("%d outputs", outputs)

		// In a process of its own, with what Caddy logs of it.
		o := newOperator(t, oneSite("max_age 10m", ""), good)
		for _, call := range [][]string{{"token", "alice"}, {"check"}, {"explain", tokens[2]}, {"token", "nobody"}} {
			r := o.exec(t, call...)
			for _, secret := range secrets {
				if strings.Contains(r.stdout+r.stderr, secret) {
					t.Errorf("%q shows %q:\n%s%s", call, secret, r.stdout, r.stderr)
				}
			}
		}
	})
}
