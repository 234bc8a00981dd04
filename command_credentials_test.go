package sesame_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
)

// djangoSessionTable is Django's table of sessions.
const djangoSessionTable = "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data longtext NOT NULL, expire_date datetime(6) NOT NULL)"

// sessionRow is a row of Django's table of sessions.
type sessionRow struct {
	user    testUser // the user who is logged in; zero for none
	backend string
	key     string // SECRET_KEY
	ends    time.Time
	salt    string
}

// insert makes the row, and returns its key.
func (row sessionRow) insert(t *testing.T, db *database) string {
	t.Helper()
	key := djangosession.NewKey()
	if row.ends.IsZero() {
		row.ends = time.Now().Add(time.Hour)
	}
	db.mustExec(t, "INSERT INTO django_session VALUES (?, ?, ?)", key, row.data(t, djangosession.DB), row.ends.UTC().Format("2006-01-02 15:04:05.000000"))
	return key
}

// data is the session as Django writes it.
func (row sessionRow) data(t *testing.T, engine djangosession.Engine) string {
	t.Helper()
	if row.key == "" {
		row.key = secretKey
	}
	if row.backend == "" {
		row.backend = djangosession.ModelBackend
	}
	sessions, err := djangosession.New(djangosession.Settings{SecretKey: row.key, Engine: engine, KeySalt: row.salt, Backends: []string{row.backend}})
	if err != nil {
		t.Fatal(err)
	}
	var data djangosession.Data
	if row.user.id != 0 {
		id := strconv.FormatInt(row.user.id, 10)
		data, _ = sessions.Login(data, id, row.backend, djangosession.User{Password: &row.user.password, IsActive: true})
	}
	return sessions.Encode(data, time.Now())
}

// TestExplainCommandOfDjangoSessions explains the cookies of sessions that are in
// Django's table.
func TestExplainCommandOfDjangoSessions(t *testing.T) {
	withNewPassword := alice
	withNewPassword.password = "pbkdf2_sha256$1000000$b2xk$" + strings.Repeat("A", 43) + "="
	gone := alice
	gone.id = 99
	tests := []struct {
		name   string
		row    sessionRow
		arg    string // KEY stands for the session's key
		args   []string
		status int
		want   []string
	}{
		{name: "valid", row: sessionRow{user: alice}, want: []string{"valid\n", `django_session: of "alice" (primary key 1)`, `logged in by "django.contrib.auth.backends.ModelBackend"`, "until 20"}},
		{name: "with the cookie's name", row: sessionRow{user: alice}, arg: "sessionid=KEY", want: []string{"valid\n"}},
		{name: "a whole field", row: sessionRow{user: alice}, arg: "Cookie: csrftoken=x; sessionid=KEY; sesame=y", want: []string{"valid\n"}},
		{name: "of another user than asked for", row: sessionRow{user: alice}, args: []string{"--user", "carol"}, status: 1, want: []string{"valid\n", "certain   other_user", `"carol"`}},
		{name: "of the user asked for", row: sessionRow{user: alice}, args: []string{"--user", "alice"}, want: []string{"valid\n"}},
		{name: "later", row: sessionRow{user: alice}, args: []string{"--at", "+2h"}, status: 1, want: []string{"refused: expired", "until 20", "log in to Django again"}},
		{name: "expired", row: sessionRow{user: alice, ends: time.Now().Add(-time.Minute)}, status: 1, want: []string{"refused: expired", "certain   expired"}},
		{name: "of a visitor", row: sessionRow{}, status: 1, want: []string{"refused: anonymous"}},
		{name: "by another key", row: sessionRow{user: alice, key: "other"}, status: 1, want: []string{"refused: bad_signature", "compare secret_key"}},
		{name: "of a class of the project's", row: sessionRow{user: alice, salt: "django.contrib.sessions.Visits"}, status: 1, want: []string{"refused: bad_signature", "key_salt"}},
		{name: "by a backend that isn't listed", row: sessionRow{user: alice, backend: "portal.Backend"}, status: 1, want: []string{"refused: unlisted_backend", `logged in by "portal.Backend"`}},
		{name: "of before a new password", row: sessionRow{user: withNewPassword}, status: 1, want: []string{"refused: revoked", `of "alice"`}},
		{name: "of a user who isn't active", row: sessionRow{user: bob}, status: 1, want: []string{"refused: inactive_user", `of "bob" (primary key 2)`}},
		{name: "of a user who was deleted", row: sessionRow{user: gone}, status: 1, want: []string{"refused: unknown_session", "likely"}},
		{name: "a key that no row has", row: sessionRow{user: alice}, arg: strings.Repeat("a1", 16), status: 1, want: []string{"refused: unknown_session", "likely"}},
		{name: "a named key that no row has", row: sessionRow{user: alice}, arg: "sessionid=" + strings.Repeat("a1", 16), status: 1, want: []string{"certain   unknown_session"}},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		db.mustExec(t, "DROP TABLE IF EXISTS django_session")
		db.mustExec(t, djangoSessionTable)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				key := test.row.insert(t, db)
				if test.arg == "" {
					test.arg = "KEY"
				}
				o := newOperator(t, oneSite("django_session", ""), db.asAdministrator().dsn)
				r := o.run(t, append([]string{"explain", strings.ReplaceAll(test.arg, "KEY", key)}, test.args...)...)
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, test.want...)
				if strings.Contains(r.stdout+r.stderr, key) {
					t.Errorf("the key is shown: %s%s", r.stdout, r.stderr)
				}
			})
		}
	})
}

// TestExplainCommandOfSignedCookies explains sessions of the engine that keeps them
// in the cookie itself.
func TestExplainCommandOfSignedCookies(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("django_session {\n engine signed_cookies\n}", ""), db.dsn)
		cookie := sessionRow{user: alice}.data(t, djangosession.SignedCookies)
		r := o.run(t, "explain", cookie, "--json")
		r.wantStatus(t, 0)
		var explanation struct {
			Verdict, Scheme, Username string
			PrimaryKey                string `json:"primary_key"`
			Holds                     []string
		}
		if err := json.Unmarshal([]byte(r.stdout), &explanation); err != nil {
			t.Fatal(err)
		}
		if e := explanation; e.Verdict != "valid" || e.Scheme != "django_session" || e.Username != "alice" || e.PrimaryKey != "1" || len(e.Holds) == 0 {
			t.Errorf("%+v", explanation)
		}
		r = o.run(t, "explain", cookie, "--at", "+1000h")
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "refused: expired")
		r = o.run(t, "explain", "sessionid="+cookie[:len(cookie)-2])
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "refused: bad_signature")
	})
}

// TestAdminEndpointExplainsDjangoSessions explains a session to a program.
func TestAdminEndpointExplainsDjangoSessions(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db.mustExec(t, "DROP TABLE IF EXISTS django_session")
		db.mustExec(t, djangoSessionTable)
		a := startAdmin(t, db.asAdministrator(), adminSite("app.example.com", "django_session"))
		key := sessionRow{user: bob}.insert(t, db)
		status, answer := a.post(t, "/sesame/explain", `{"token": "sessionid=`+key+`", "user": "alice"}`)
		if status != 200 || answer["verdict"] != "inactive_user" || answer["scheme"] != "django_session" || answer["username"] != "bob" {
			t.Errorf("%d %v", status, answer)
		}
		if shown := fmt.Sprint(answer); !strings.Contains(shown, "other_user") || strings.Contains(shown, key) {
			t.Errorf("the answer is %s", shown)
		}
	})
}

// TestExplainCommandOfPasswordHashes explains values of the column password.
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
		db.mustExec(t, "DROP TABLE IF EXISTS otp_totp_totpdevice")
		db.mustExec(t, "CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY, user_id int NOT NULL, confirmed tinyint(1) NOT NULL)")
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

// TestExplainCommandOfAPITokens explains tokens of Django REST framework, knox and
// SimpleJWT.
func TestExplainCommandOfAPITokens(t *testing.T) {
	endedKnox := "e" + aliceKnox[1:]
	gone := alice
	gone.id = 99
	tests := []struct {
		name   string
		given  string
		args   []string
		status int
		want   []string
	}{
		{"of rest_framework", aliceDRF, nil, 0, []string{"valid\n", `drf: of "alice" (primary key 1), created at 20`}},
		{"with its word", "token " + aliceDRF, nil, 0, []string{"valid\n"}},
		{"a whole field", "Authorization: Token " + aliceDRF, nil, 0, []string{"valid\n"}},
		{"of a user who isn't active", bobDRF, nil, 1, []string{"refused: inactive_user", `drf: of "bob"`}},
		{"that isn't in the table", strings.Repeat("0a", 20), nil, 1, []string{"refused: unknown_token", "likely    unknown_token"}},
		{"named, and not in the table", "Token " + strings.Repeat("0a", 20), nil, 1, []string{"certain   unknown_token"}},
		{"of knox", aliceKnox, nil, 0, []string{"valid\n", `knox: of "alice"`}},
		{"of knox, later", aliceKnox, []string{"--at", "+2h"}, 1, []string{"refused: expired", `knox: of "alice"`}},
		{"of knox, which has ended", "Token " + endedKnox, nil, 1, []string{"refused: expired", "get another token"}},
		{"of SimpleJWT", jwtFor(t, secretKey, alice, nil), nil, 0, []string{"valid\n", `simplejwt: of "alice"`, `of type "access"`, "until 20"}},
		{"of SimpleJWT, later", "Bearer " + jwtFor(t, secretKey, alice, nil), []string{"--at", "+2h"}, 1, []string{"refused: expired"}},
		{"signed with another key", jwtFor(t, "other", alice, nil), nil, 1, []string{"refused: bad_signature", "likely", "for a token of another server, nothing is wrong"}},
		{"to get others with", jwtFor(t, secretKey, alice, map[string]any{"token_type": "refresh"}), nil, 1, []string{"refused: wrong_type", "send the access token"}},
		{"of a user who was deleted", jwtFor(t, secretKey, gone, nil), nil, 1, []string{"refused: unknown_user", `for user_id "99"`}},
		{"of another user than asked for", aliceDRF, []string{"--user", "carol"}, 1, []string{"certain   other_user"}},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addDRF(t, aliceDRF, alice)
		db.addDRF(t, bobDRF, bob)
		db.addKnox(t, aliceKnox, alice, time.Hour)
		db.addKnox(t, endedKnox, alice, -time.Hour)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				o := newOperator(t, oneSite(strings.Replace(allAPITokens, "knox", "knox {\n auto_refresh\n}", 1), ""), db.dsn)
				r := o.run(t, append([]string{"explain", test.given}, test.args...)...)
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, test.want...)
				if secret := test.given[len(test.given)-20:]; strings.Contains(r.stdout+r.stderr, secret) {
					t.Errorf("the token is shown: %s%s", r.stdout, r.stderr)
				}
			})
		}
	})
}
