package follow_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The ways to users whose rows are kept, as the schemes with these names define them.
var (
	djangoSession = &userstore.Via{
		Name: "django_session", Table: "django_session", Column: "session_key", Reads: []string{"session_data"}, Until: "expire_date",
		Whose: func(row *userstore.ViaRow) (string, error) {
			user, _ := row.Value("session_data")
			return user, nil
		},
	}
	drfToken  = &userstore.Via{Name: "drf", Table: "authtoken_token", Column: "key", User: "user_id", Reads: []string{"key", "created"}}
	knoxToken = &userstore.Via{Name: "knox", Table: "knox_authtoken", Column: "digest", User: "user_id", Reads: []string{"digest", "created", "expiry"}, Until: "expiry"}
	ownList   = userstore.SessionListVia("sesame_sessions")
)

// djangoTables are the tables that rows are read from, with two users. The model of users
// is as Django makes it, and nothing is in the other tables.
var djangoTables = []string{
	djangoUsers,
	"INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p'), (2, 'bob', 'p')",
	"CREATE TABLE auth_group (id int PRIMARY KEY AUTO_INCREMENT, name varchar(150) NOT NULL UNIQUE)",
	"CREATE TABLE auth_user_groups (id bigint PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, group_id int NOT NULL, UNIQUE (user_id, group_id))",
	"CREATE TABLE django_content_type (id int PRIMARY KEY AUTO_INCREMENT, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL, UNIQUE (app_label, model))",
	"CREATE TABLE auth_permission (id int PRIMARY KEY AUTO_INCREMENT, name varchar(255) NOT NULL, content_type_id int NOT NULL, codename varchar(100) NOT NULL)",
	"CREATE TABLE auth_group_permissions (id bigint PRIMARY KEY AUTO_INCREMENT, group_id int NOT NULL, permission_id int NOT NULL)",
	"CREATE TABLE auth_user_user_permissions (id bigint PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, permission_id int NOT NULL)",
	"CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, name varchar(64) NOT NULL, confirmed bool NOT NULL, `key` varchar(80) NOT NULL, user_id int NOT NULL)",
	"CREATE TABLE otp_static_staticdevice (id int PRIMARY KEY AUTO_INCREMENT, name varchar(64) NOT NULL, confirmed bool NOT NULL, user_id int NOT NULL)",
	"CREATE TABLE mfa_authenticator (id bigint PRIMARY KEY AUTO_INCREMENT, type varchar(20) NOT NULL, data longtext NOT NULL, user_id int NOT NULL)",
	"CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data longtext NOT NULL, expire_date datetime(6) NOT NULL)",
	"CREATE TABLE authtoken_token (`key` varchar(40) NOT NULL PRIMARY KEY, created datetime(6) NOT NULL, user_id int NOT NULL UNIQUE)",
	"CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, created datetime(6) NOT NULL, expiry datetime(6) NULL, user_id int NOT NULL)",
	"CREATE TABLE sesame_sessions (id char(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, user_id int NOT NULL, " +
		"created datetime NOT NULL, seen datetime NOT NULL, expires datetime NOT NULL, browser varchar(40) NOT NULL, platform varchar(40) NOT NULL, " +
		"address varchar(49) NOT NULL, site varchar(255) NOT NULL)",
}

const listedSession = "abcdefghijklmnopqrstuvwxyz"

// changesOfRows are changes of each kind of row that a user's is read with. They leave
// the tables as they were.
var changesOfRows = []struct {
	kind    string
	key     userstore.Key
	before  []string // what the others need
	changes []string
	after   []string
}{
	{"the user", userKey(1), nil, []string{
		"UPDATE auth_user SET password = 'q' WHERE id = 1", "UPDATE auth_user SET is_active = 0 WHERE username = 'ann'", "DELETE FROM auth_user WHERE id = 1",
		"INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')",
	}, nil},
	{"a membership", userKey(1), []string{"INSERT INTO auth_group VALUES (1, 'staff'), (2, 'admins')"}, []string{
		"INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)", "UPDATE auth_user_groups SET group_id = 2 WHERE user_id = 1",
		"DELETE FROM auth_user_groups WHERE user_id = 1",
	}, []string{"DELETE FROM auth_group"}},
	{"a group", userKey(1), []string{"INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)"}, []string{
		"INSERT INTO auth_group VALUES (1, 'staff')", "UPDATE auth_group SET name = 'admins'", "DELETE FROM auth_group",
	}, []string{"DELETE FROM auth_user_groups"}},
	{"a permission of the user", userKey(1), somePermissions, []string{
		"INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (1, 1)", "UPDATE auth_user_user_permissions SET permission_id = 2 WHERE user_id = 1",
		"DELETE FROM auth_user_user_permissions WHERE user_id = 1",
	}, noPermissions},
	{"a permission of a group", userKey(1), slices.Concat(somePermissions, []string{
		"INSERT INTO auth_group VALUES (1, 'staff')", "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)",
	}), []string{
		"INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (1, 1)", "UPDATE auth_group_permissions SET permission_id = 2",
		"DELETE FROM auth_group_permissions",
	}, slices.Concat(noPermissions, []string{"DELETE FROM auth_group", "DELETE FROM auth_user_groups"})},
	{"a permission's name", userKey(1), []string{
		"INSERT INTO django_content_type VALUES (1, 'blog', 'post'), (2, 'shop', 'post')", "INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (1, 1)",
	}, []string{
		"INSERT INTO auth_permission VALUES (1, '', 1, 'add_post')", "UPDATE auth_permission SET codename = 'view_post'", "UPDATE auth_permission SET content_type_id = 2",
		"UPDATE django_content_type SET app_label = 'press' WHERE id = 2", "DELETE FROM django_content_type WHERE id = 2",
		"INSERT INTO django_content_type VALUES (2, 'shop', 'post')", "DELETE FROM auth_permission",
	}, append(noPermissions, "DELETE FROM auth_user_user_permissions")},
	{"a device of django-otp", userKey(1), nil, []string{
		"INSERT INTO otp_totp_totpdevice (name, confirmed, `key`, user_id) VALUES ('phone', 1, 'x', 1)", "UPDATE otp_totp_totpdevice SET confirmed = 0",
		"UPDATE otp_totp_totpdevice SET confirmed = 1", "UPDATE otp_totp_totpdevice SET user_id = 2", "UPDATE otp_totp_totpdevice SET user_id = 1", "DELETE FROM otp_totp_totpdevice",
	}, nil},
	{"another device of django-otp", userKey(1), nil, []string{
		"INSERT INTO otp_static_staticdevice (name, confirmed, user_id) VALUES ('codes', 1, 1)", "UPDATE otp_static_staticdevice SET confirmed = 0",
		"UPDATE otp_static_staticdevice SET confirmed = 1", "DELETE FROM otp_static_staticdevice",
	}, nil},
	{"an authenticator of allauth", userKey(1), nil, []string{
		"INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('webauthn', '{}', 1)", "UPDATE mfa_authenticator SET type = 'recovery_codes'",
		"UPDATE mfa_authenticator SET type = 'totp'", "DELETE FROM mfa_authenticator",
	}, nil},
	{"a revocation", userKey(1), nil, []string{
		"INSERT INTO sesame_revocations VALUES ('1', X'0A0B', NOW(), NULL)", "UPDATE sesame_revocations SET fingerprint = X'FFFF'",
		"UPDATE sesame_revocations SET fingerprint = X'0A0B'", "UPDATE sesame_revocations SET user_key = '2'", "UPDATE sesame_revocations SET user_key = '1'", "DELETE FROM sesame_revocations",
	}, nil},
	{"a session of Django's", djangoSession.Key("s1"), nil, []string{
		"INSERT INTO django_session VALUES ('s1', '1', '2999-01-01')", "UPDATE django_session SET session_data = '2'", "UPDATE auth_user SET password = 'q' WHERE id = 2",
		"UPDATE auth_user SET password = 'p' WHERE id = 2", "UPDATE django_session SET session_key = 's2'", "UPDATE django_session SET session_key = 's1'",
		"UPDATE django_session SET expire_date = '2000-01-01'", "UPDATE django_session SET expire_date = '2999-01-01'", "DELETE FROM django_session",
	}, nil},
	{"a token of Django REST framework", drfToken.Key("t1"), nil, []string{
		"INSERT INTO authtoken_token VALUES ('t1', '2026-01-01', 1)", "UPDATE authtoken_token SET user_id = 2", "UPDATE authtoken_token SET created = '2026-02-02'",
		"UPDATE authtoken_token SET `key` = 't2'", "UPDATE authtoken_token SET `key` = 't1'", "DELETE FROM authtoken_token",
	}, nil},
	{"a token of knox", knoxToken.Key("d1"), nil, []string{
		"INSERT INTO knox_authtoken VALUES ('d1', '2026-01-01', NULL, 1)", "UPDATE knox_authtoken SET user_id = 2", "UPDATE knox_authtoken SET expiry = '2000-01-01'",
		"UPDATE knox_authtoken SET expiry = '2999-01-01'", "DELETE FROM knox_authtoken",
	}, nil},
	{"a session in the gateway's list", ownList.Key(listedSession), nil, []string{
		"INSERT INTO sesame_sessions VALUES ('" + listedSession + "', 1, NOW(), '2026-01-01', '2999-01-01', '', '', '', '')",
		"UPDATE sesame_sessions SET seen = '2026-01-02'", "UPDATE sesame_sessions SET user_id = 2", "DELETE FROM sesame_sessions",
	}, nil},
}

var (
	somePermissions = []string{
		"INSERT INTO django_content_type VALUES (1, 'blog', 'post')", "INSERT INTO auth_permission VALUES (1, '', 1, 'add_post'), (2, '', 1, 'view_post')",
	}
	noPermissions = []string{"DELETE FROM django_content_type", "DELETE FROM auth_permission"}
)

// formatsOfTheLog are the formats in which sessions of the server write the log.
var formatsOfTheLog = []string{
	"binlog_format = 'ROW', binlog_row_image = 'FULL'", "binlog_format = 'ROW', binlog_row_image = 'MINIMAL'",
	"binlog_format = 'ROW', binlog_row_image = 'NOBLOB'", "binlog_format = 'MIXED'", "binlog_format = 'STATEMENT'",
}

// TestNextRequestSeesEachKindOfChange changes rows that are kept, in each format of the
// log. Requests are strict: the first one after a change sees it.
func TestNextRequestSeesEachKindOfChange(t *testing.T) {
	t.Parallel()
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		seesEachKindOfChange(t, needsServer(t), formatsOfTheLog)
	})
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		seesEachKindOfChange(t, needsMySQL(t), []string{"binlog_format = 'ROW', binlog_transaction_compression = ON", "binlog_row_image = 'MINIMAL'"})
	})
}

// seesEachKindOfChange makes the changes in some formats of the log.
func seesEachKindOfChange(t *testing.T, server databaseServer, formats []string) {
	t.Helper()
	revocations, err := userstore.RevocationsTable("sesame_revocations")
	if err != nil {
		t.Fatal(err)
	}
	name := database(t, server, "rows", append(djangoTables, revocations)...)
	s := followStore(t, userstore.Config{
		DSN: server.DSN(name), Follow: &userstore.FollowConfig{Strict: true},
		Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig), Revocations: "sesame_revocations",
	}, userstore.Needs{
		Vias: []*userstore.Via{djangoSession, drfToken, knoxToken, ownList}, SecondFactors: true, SessionList: "sesame_sessions",
	})
	for _, format := range formats {
		writer := writeAs(t, server, name, format)
		for _, row := range changesOfRows {
			for _, statement := range row.before {
				write(t, writer, statement)
			}
			for _, change := range row.changes {
				s.seesChange(t, row.key, func() { write(t, writer, change) }, fmt.Sprintf("%s: %s: %s", format, row.kind, change))
			}
			for _, statement := range row.after {
				write(t, writer, statement)
			}
		}
	}
}

// seesChange makes a change of a row that is kept, if there is one, and looks it up once.
func (s *followedStore) seesChange(t *testing.T, key userstore.Key, change func(), what string) {
	t.Helper()
	before, _ := s.find(t, key)
	if before != nil {
		before = s.keep(t, key)
	}
	change()
	after, _ := s.find(t, key)
	var want *userstore.User
	if _, err := s.users.Find(t.Context(), key, true, func(user *userstore.User) error {
		want = user
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if describe(after) != describe(want) {
		t.Errorf("%s: the next request has %s, and not %s", what, describe(after), describe(want))
	}
	if describe(before) == describe(want) {
		t.Errorf("%s: the change makes no difference to %s", what, describe(want))
	}
}

// describe has all that is read of a user.
func describe(user *userstore.User) string {
	if user == nil {
		return "no user"
	}
	text := fmt.Sprintf("user %s, %s, active: %t, groups %v, permissions %v, second factor: %t, revoked: %t",
		user.ID(), *user.Password, user.IsActive, user.Groups(), user.Permissions(), user.HasSecondFactor(), user.IsRevoked("0a0b", time.Now()))
	for _, column := range []string{"session_data", "key", "digest", "created", "expiry", "seen"} {
		if value, ok := user.Via().Value(column); ok {
			text += ", " + column + " " + value
		}
	}
	return text
}

// writeAs is a session that writes the log in a format.
func writeAs(t *testing.T, server databaseServer, name, format string) *sql.Conn {
	t.Helper()
	conn, err := open(t, server, name).Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for setting := range strings.SplitSeq(format, ", ") {
		write(t, conn, "SET SESSION "+setting)
	}
	return conn
}

func write(t *testing.T, conn *sql.Conn, statement string) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
