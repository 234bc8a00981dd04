package sesame

import "testing"

func TestWrongHashersNameTheRightOne(t *testing.T) {
	t.Parallel()
	const names = "name a hasher as its hashes begin: pbkdf2_sha256, pbkdf2_sha1, argon2, bcrypt_sha256, bcrypt, scrypt, md5, sha1, unsalted_md5 or unsalted_sha1"
	wantWrong(t, []wrongConfig{
		{options: "password {\nhashers django.contrib.auth.hashers.BCryptSHA256PasswordHasher\n}", line: 4, want: `password: hashers "django.contrib.auth.hashers.BCryptSHA256PasswordHasher": ` + names + "; write bcrypt_sha256"},
		{options: "password {\nhashers argon2 pbkdf2-sha1\n}", line: 4, want: `password: hashers "pbkdf2-sha1": ` + names + "; did you mean pbkdf2_sha1?"},
		{options: "password {\nhashers argon2id\n}", line: 4, want: `password: hashers "argon2id": ` + names + "; did you mean argon2?"},
		{options: "password {\nhashers rot13\n}", line: 4, want: `password: hashers "rot13": ` + names},
		{options: "password {\nmax_concurrent 100000\n}", line: 4, want: "password: max_concurrent 100000: it must be a number of hashes from 1 to 32767"},
	})
}
