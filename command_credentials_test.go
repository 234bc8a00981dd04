package sesame_test

import (
	"strings"
	"testing"
)

// TestExplainCommandOfPasswordHashes explains what the column password has.
func TestExplainCommandOfPasswordHashes(t *testing.T) {
	argon2 := "argon2$argon2id$v=19$m=4194304,t=2,p=8$c2FsdHNhbHRzYWx0$" + strings.Repeat("A", 43)
	tests := []struct {
		name     string
		password string // the block of option password
		hash     string
		args     []string
		want     []string
		without  string // what must not be said
	}{
		{
			name: "as Django makes it", password: "password {\n django_version 5.2\n}", hash: "pbkdf2_sha256$1000000$c2FsdHNhbHRzYWx0c2FsdHNh$" + strings.Repeat("A", 43) + "=",
			want: []string{"refused: malformed", "certain   not_a_token", "a password hash of Django's hasher pbkdf2_sha256"}, without: "old_hash",
		},
		{
			name: "passwords aren't accepted", hash: alice.password,
			want: []string{"a password hash of Django's hasher pbkdf2_sha256"}, without: "option password",
		},
		{
			name: "that Django would replace", password: "password {\n django_version 6.0\n}", hash: alice.password,
			want: []string{"certain   old_hash", "upgrade_hash"},
		},
		{
			name: "of a hasher that isn't in use", password: "password {\n hashers argon2\n}", hash: alice.password,
			want: []string{"certain   unsupported_hash: option password rejects the user's password: the hash is of none of the hashers in use", "compare hashers with PASSWORD_HASHERS"},
		},
		{
			name: "that asks for too much", password: "password", hash: argon2,
			want: []string{"Django's hasher argon2", "unsupported_hash", "and the limit is"},
		},
		{
			name: "that is unusable", password: "password", hash: carol.password, args: []string{"--user", "carol"},
			want: []string{"a user has no usable password", "certain   unusable_password"}, without: "other_hash",
		},
		{
			name: "of another user than asked for", password: "password {\n second_factor ignore\n}", hash: alice.password, args: []string{"--user", "bob"},
			want: []string{"certain   other_hash", `"bob" (primary key 2)`}, without: "second_factor:",
		},
		{
			name: "of a user with a second factor", password: "password", hash: alice.password, args: []string{"--user", "alice"},
			want: []string{`certain   second_factor: "alice" (primary key 1) has a second factor in Django`}, without: "other_hash",
		},
		{
			name: "of a user without a second factor", password: "password", hash: bob.password, args: []string{"--user", "bob"},
			want: []string{"a password hash"}, without: "second_factor",
		},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		db.mustExec(t, "CREATE OR REPLACE TABLE otp_totp_totpdevice (id int PRIMARY KEY, user_id int NOT NULL, confirmed tinyint(1) NOT NULL)")
		t.Cleanup(func() { db.mustExec(t, "DROP TABLE otp_totp_totpdevice") })
		db.mustExec(t, "INSERT INTO otp_totp_totpdevice VALUES (1, 1, 1), (2, 2, 0)")
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				o := newOperator(t, oneSite("max_age 10m\n"+test.password, ""), db.asAdministrator().dsn)
				r := o.run(t, append([]string{"explain", test.hash}, test.args...)...)
				r.wantStatus(t, 1)
				wantText(t, r.stdout, test.want...)
				if test.without != "" && strings.Contains(r.stdout, test.without) {
					t.Errorf("%q is said of\n%s", test.without, r.stdout)
				}
				if strings.Contains(r.stdout+r.stderr, test.hash[len(test.hash)-20:]) {
					t.Errorf("the hash is shown: %s%s", r.stdout, r.stderr)
				}
			})
		}
	})
}
