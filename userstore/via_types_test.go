package userstore_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestViasOfEveryTypeOfKey has users with keys of each type, and tables that refer
// to them: by the column that tokens hold, and by another one.
func TestViasOfEveryTypeOfKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key     string // the type of the column that other tables refer to
		refers  string // the type of the column that refers to it
		value   string // of alice, as SQL
		text    string // of alice, as Django writes it
		another string // a text that no user has
	}{
		{"int", "int", "7", "7", "8"},
		{"int", "bigint", "7", "7", "x"},
		{"bigint unsigned", "bigint unsigned", "18446744073709551615", "18446744073709551615", "-1"},
		{"bigint", "bigint", "-9223372036854775808", "-9223372036854775808", "9223372036854775808"},
		{"uuid", "uuid", "'" + dashedID + "'", dashedID, hexID + "0"},
		{"char(32)", "char(32)", "'" + hexID + "'", dashedID, "x"},
		{"char(36)", "char(36)", "'" + dashedID + "'", dashedID, hexID},
		{"binary(16)", "binary(16)", "X'" + hexID + "'", dashedID, "00000000-0000-0000-0000-000000000000"},
		{"varchar(50)", "varchar(50)", "'Alice'", "Alice", "alice"},
		{"varchar(50) collate utf8mb4_bin", "varchar(50) collate utf8mb4_general_ci", "'Zoë'", "Zoë", "zoe"},
		{"varchar(50) collate utf8mb4_unicode_ci", "varchar(50) collate utf8mb4_bin", "'Zoë'", "Zoë", "☃"},
		{"varchar(50) charset latin1", "varchar(50)", "'Zoë'", "Zoë", "☃"},
		{"varchar(50)", "varchar(50) charset latin1", "'Zoë'", "Zoë", "ZOË"},
		{"varchar(50)", "varchar(50)", "'042'", "042", "42"},
	}
	for i, test := range tests {
		for _, own := range []string{"the tokens'", "another"} {
			t.Run(strconv.Itoa(i)+" "+test.key+", "+own, func(t *testing.T) {
				t.Parallel()
				d := newDatabase(t, "CREATE TABLE u (k "+test.key+" PRIMARY KEY, number int NOT NULL UNIQUE, username varchar(50), password text)",
					"INSERT INTO u VALUES ("+test.value+", 5, 'alice', 'p')", sessionTable,
					"INSERT INTO django_session VALUES ('s', '"+test.text+"', '9999-01-01'), ('other', '"+test.another+"', '9999-01-01')",
					"CREATE TABLE tokens (digest varchar(128) PRIMARY KEY, user_id "+test.refers+", created datetime(6))",
					"INSERT INTO tokens VALUES ('d', "+test.value+", NULL)")
				session, key := sessions(), &userstore.Via{Name: "simplejwt"}
				apiToken := &userstore.Via{Name: "knox", Table: "tokens", Column: "digest", User: "user_id", Reads: []string{"created"}}
				cfg := userstore.Config{DSN: d.dsn(), Table: "u"}
				if own == "another" {
					cfg.Columns = userstore.Columns{PrimaryKey: "number", RelationKey: "k"}
				}
				s := openStore(t, cfg, userstore.Needs{Vias: []*userstore.Via{session, apiToken, key}})
				for range 2 {
					for _, user := range []*userstore.User{
						wantVia(t, s, session, "s", "alice"),
						wantVia(t, s, apiToken, "d", "alice"),
						wantVia(t, s, key, test.text, "alice"),
					} {
						if own == "another" && user != nil && user.PrimaryKey != token.IntKey(5) {
							t.Errorf("the user is %s, want the number that tokens hold", user.PrimaryKey)
						}
					}
					wantVia(t, s, session, "other", "")
					wantVia(t, s, key, test.another, "")
				}
				if strings.HasPrefix(test.key, "uuid") || strings.HasPrefix(test.key, "char(32)") {
					wantVia(t, s, key, hexID, "alice")
				}
				resolved, isPrimary := s.Resolve(key.Key(test.text)).PrimaryKey()
				if isPrimary != (own == "the tokens'") {
					t.Errorf("the key is %v, %t", resolved, isPrimary)
				}
				if user, err := s.Lookup(t.Context(), resolved); isPrimary && (err != nil || user.Username != "alice") {
					t.Errorf("%v, %v", user, err)
				}
			})
		}
	}
}

// TestUsersByOtherColumns has users found by a column of their own.
func TestUsersByOtherColumns(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	byName := &userstore.Via{Name: "simplejwt", Column: "username"}
	byKey := &userstore.Via{Name: "key", Column: "ID"}
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{byName, byKey}})
	wantVia(t, s, byName, "bob", "bob")
	wantVia(t, s, byName, "Zoë", "Zoë")
	for _, name := range []string{"Bob", "zoë", "Zoe", "bob ", "☃", "", "1"} {
		wantVia(t, s, byName, name, "")
	}
	wantVia(t, s, byKey, "2", "bob")
	wantVia(t, s, byKey, "2x", "")
	if _, isPrimary := s.Resolve(byKey.Key("2")).PrimaryKey(); !isPrimary {
		t.Error("the primary key isn't one")
	}
}

// TestIdentifiersNameOneUser finds users by the names that they log in with.
func TestIdentifiersNameOneUser(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, strings.Replace(authUser, "username varchar(150) NOT NULL", "username varchar(150) COLLATE utf8mb4_bin NOT NULL", 1), threeUsers,
		`INSERT INTO auth_user VALUES
  (4, 'x', NULL, 0, 'bob@example.com', '', '', 'carol@example.com', 0, 1, '2024-01-01'),
  (5, 'x', NULL, 0, 'dave', '', '', 'bob@example.com', 0, 1, '2024-01-01'),
  (6, 'x', NULL, 0, 'eve', '', '', 'two@example.com', 0, 1, '2024-01-01'),
  (7, 'x', NULL, 0, 'Eve', '', '', 'two@example.com', 0, 1, '2024-01-01'),
  (8, 'x', NULL, 0, 'mike', '', '', 'Mike@example.com', 0, 1, '2024-01-01')`)
	names := &userstore.Via{Name: "password", Fields: []userstore.Field{userstore.Username, userstore.Email}}
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: []*userstore.Via{names}})
	for name, username := range map[string]string{
		"alice":             "alice",
		"ALICE":             "", // the collation of names keeps case
		"alice@example.com": "alice",
		"ALICE@example.com": "alice",
		"bob@example.com":   "bob@example.com", // one user's name is another's address
		"carol@example.com": "bob@example.com",
		"two@example.com":   "", // of two users
		"eve":               "eve",
		"Eve":               "Eve",
		"EVE":               "",
		"mike@example.com":  "mike",
		"mıke@example.com":  "",
		"":                  "",
		"\xff":              "",
		"☃":                 "",
		"nobody":            "",
	} {
		wantVia(t, s, names, name, username)
	}
}

// TestViasThatDontFit: the store doesn't open, and the error says why.
func TestViasThatDontFit(t *testing.T) {
	t.Parallel()
	told := func(*userstore.ViaRow) (string, error) { return "", nil }
	tests := map[string]struct {
		via  userstore.Via
		says []string
	}{
		"no table":           {userstore.Via{Table: "sessions", Column: "k", Whose: told}, []string{`table "sessions" doesn't exist`, "name the right one"}},
		"no column":          {userstore.Via{Table: "django_session", Column: "k", Whose: told}, []string{`table "django_session"`, `no column "k"`, "name the right one"}},
		"no column to read":  {userstore.Via{Table: "django_session", Column: "session_key", Reads: []string{"data"}, Whose: told}, []string{`no column "data"`}},
		"no end":             {userstore.Via{Table: "django_session", Column: "session_key", Until: "expires", Whose: told}, []string{`no column "expires"`}},
		"an end of no time":  {userstore.Via{Table: "django_session", Column: "session_key", Until: "session_data", Whose: told}, []string{`column "session_data"`, "must be DATETIME or TIMESTAMP"}},
		"not unique":         {userstore.Via{Table: "django_session", Column: "session_data", Whose: told}, []string{`column "session_data"`, "isn't unique"}},
		"a time as a value":  {userstore.Via{Table: "django_session", Column: "expire_date", Whose: told}, []string{"datetime", "name another column"}},
		"no column of users": {userstore.Via{Table: "authtoken_token", Column: "key", User: "user"}, []string{`no column "user"`, "Did you mean user_id?"}},
		"another type":       {userstore.Via{Table: "authtoken_token", Column: "key", User: "created"}, []string{`column "created"`, "datetime(6)", `column "id"`, "int(11)", "of the same type"}},
		"no such own column": {userstore.Via{Column: "uuid"}, []string{`no column "uuid"`}},
		"own, not unique":    {userstore.Via{Column: "email"}, []string{`column "email"`, "isn't unique"}},
		"another field":      {userstore.Via{Fields: []userstore.Field{"phone"}}, []string{"phone"}},
	}
	d := newDatabase(t, authUser, sessionTable, apiTokenTable)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.via.Name = "its_name"
			_, err := userstore.Open(t.Context(), patient(userstore.Config{DSN: d.dsn()}), userstore.Needs{Vias: []*userstore.Via{&test.via}}, nil)
			wantError(t, err, append(test.says, "its_name")...)
			if errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("%v is called an outage", err)
			}
		})
	}
}

// TestValuesThatAColumnCantHave aren't found, and don't prevent other values from
// being found.
func TestValuesThatAColumnCantHave(t *testing.T) {
	t.Parallel()
	for _, charset := range []string{"latin1", "ascii", "utf8mb4", "utf8mb4 COLLATE utf8mb4_bin", "binary"} {
		t.Run(charset, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers,
				strings.Replace(sessionTable, "varchar(40)", "varchar(40) CHARACTER SET "+charset, 1), "INSERT INTO django_session VALUES ('abc', '1', '9999-01-01')",
				strings.Replace(apiTokenTable, "varchar(40)", "varchar(40) CHARACTER SET "+charset, 1), "INSERT INTO authtoken_token VALUES ('abc', '2024-01-01', 1)")
			vias := []*userstore.Via{sessions(), apiTokens()}
			s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{Vias: vias})
			for _, via := range vias {
				for _, value := range []string{"☃", "é", "ABC", "abc ", "\x00", "\xff", "💩"} {
					wantVia(t, s, via, value, "")
					found, err := s.LookupKeys(t.Context(), []userstore.Key{via.Key(value), via.Key("abc"), userstore.ByPrimaryKey(token.IntKey(2)), userstore.ByPrimaryKey(token.IntKey(99))})
					if err != nil || len(found) != 2 || found[via.Key("abc")].Username != "alice" || found[userstore.ByPrimaryKey(token.IntKey(2))].Username != "bob" {
						t.Errorf("with %q: %v, %v", value, found, err)
					}
				}
				wantVia(t, s, via, "abc", "alice")
			}
		})
	}
}
