package userstore_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// collationCase is a column, a row of it, and keys that MySQL takes for the row's
// key.
type collationCase struct {
	name, columnType string
	row              string             // its key, in SQL
	found            []token.PrimaryKey // the row's own key
	equal            []token.PrimaryKey // keys that are equal to it by the collation
}

func stringKeys(texts ...string) []token.PrimaryKey {
	keys := make([]token.PrimaryKey, len(texts))
	for i, text := range texts {
		keys[i] = token.StringKey(text)
	}
	return keys
}

func collationCases(t *testing.T) []collationCase {
	t.Helper()
	id := uuidKey(t)
	return []collationCase{
		{
			"letter case and accents", "varchar(50) COLLATE utf8mb4_general_ci", "'admin'",
			stringKeys("admin"), stringKeys("ADMIN", "Admin", "ADMÍN", "admín", "admin ", "ädmin"),
		},
		{
			"a row with capital letters and accents", "varchar(50) COLLATE utf8mb4_unicode_ci", "'ADMÍN'",
			stringKeys("ADMÍN"), stringKeys("admin", "ADMIN", "admín", "ADMI\u0301N", "ADMÍN\u200b", "ADMÍN  "),
		},
		{
			"width and ligatures", "varchar(50) COLLATE utf8mb4_unicode_520_ci", "'office7'",
			stringKeys("office7"), stringKeys("oﬃce7", "ｏｆｆｉｃｅ７", "OFFICE７"),
		},
		{
			"accents alone", "varchar(50) COLLATE utf8mb4_general_ci", "'zoë'",
			stringKeys("zoë"), stringKeys("zoe", "ZOË", "zoè"),
		},
		{
			"sharp s", "varchar(50) COLLATE utf8mb4_unicode_ci", "'strasse'",
			stringKeys("strasse"), stringKeys("straße", "STRASSE"),
		},
		{
			"trailing spaces of a binary collation", "varchar(50) COLLATE utf8mb4_bin", "'admin'",
			stringKeys("admin"), stringKeys("admin ", "admin   "),
		},
		{
			"a row with a trailing space", "varchar(50) COLLATE utf8mb4_bin", "'admin '",
			stringKeys("admin "), stringKeys("admin", "admin  "),
		},
		{
			"latin1", "varchar(50) CHARACTER SET latin1 COLLATE latin1_swedish_ci", "'Zoë'",
			stringKeys("Zoë"), stringKeys("zoe", "ZOE", "Zoe", "zoë"),
		},
		{
			"German", "varchar(50) COLLATE utf8mb4_german2_ci", "'müller'",
			stringKeys("müller"), stringKeys("mueller", "MÜLLER"),
		},
		{
			"text", "tinytext COLLATE utf8mb4_general_ci", "'admin'",
			stringKeys("admin"), stringKeys("ADMIN", "admin "),
		},
		{
			"CHAR", "char(20) COLLATE utf8mb4_general_ci", "'admin  '",
			stringKeys("admin"), stringKeys("ADMIN", "admin  "),
		},
		{
			"numbers as text", "varchar(20) COLLATE utf8mb4_unicode_ci", "'７'",
			stringKeys("７"), append(stringKeys("7"), token.IntKey(7), token.UintKey(7)),
		},
		{
			"a number with a space", "varchar(20) COLLATE utf8mb4_general_ci", "'7 '",
			stringKeys("7 "), append(stringKeys("7"), token.IntKey(7), token.UintKey(7)),
		},
		{
			"UUID as CHAR, in any letter case", "char(32) COLLATE utf8mb4_general_ci", "'" + strings.ToUpper(hexID) + "'",
			append(stringKeys(strings.ToUpper(hexID)), id), stringKeys(hexID),
		},
		{
			"UUID with hyphens", "varchar(36) COLLATE utf8mb4_general_ci", "'" + strings.ToUpper(dashedID) + "'",
			append(stringKeys(strings.ToUpper(dashedID)), id), stringKeys(dashedID),
		},
		{
			"no UUID, but equal to one", "varchar(36) COLLATE utf8mb4_unicode_ci", "'ｄ" + dashedID[1:] + "'",
			stringKeys("ｄ" + dashedID[1:]), append(stringKeys(dashedID), id),
		},
	}
}

// TestARowWithAnotherKeyIsNotFound: a key that a collation takes for equal belongs
// to another user, perhaps a former one.
func TestARowWithAnotherKeyIsNotFound(t *testing.T) {
	t.Parallel()
	for _, test := range collationCases(t) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE u (k "+test.columnType+", password text, last_login datetime(6), UNIQUE (k(20)))",
				"INSERT INTO u (k) VALUES ("+test.row+"), ('other')")
			s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "u", Columns: userstore.Columns{PrimaryKey: "k"}}, userstore.Needs{LastLogin: true})
			for _, key := range test.found {
				u, err := s.Lookup(t.Context(), key)
				if err != nil {
					t.Fatalf("%s %q: %v", key.Kind(), key, err)
				}
				if err := s.Consume(t.Context(), u, startOfTests); err != nil {
					t.Errorf("consuming for %s %q: %v", key.Kind(), key, err)
				}
			}
			for _, key := range test.equal {
				if n := d.text("SELECT COUNT(*) FROM u WHERE k = ?", key.String()); n != "1" {
					t.Errorf("%q isn't equal by the collation: the case shows nothing", key)
				}
				if u, err := s.Lookup(t.Context(), key); !errors.Is(err, userstore.ErrNotFound) {
					t.Errorf("%s %q: %v, %v; want ErrNotFound", key.Kind(), key, u, err)
				}
			}
			wantOnlyTheirOwn(t, s, test)
			wantOnlyTheirOwnAtOnce(t, s, test)
		})
	}
}

// wantOnlyTheirOwn reads all keys in one batch.
func wantOnlyTheirOwn(t *testing.T, s *userstore.MySQL, test collationCase) {
	t.Helper()
	keys := append(append(stringKeys("other", "none"), test.equal...), test.found...)
	users, err := s.LookupMany(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range test.found {
		if u := users[key]; u == nil || u.PrimaryKey != key {
			t.Errorf("in a batch, %s %q is %v", key.Kind(), key, u)
		}
	}
	if len(users) != len(test.found)+1 {
		t.Errorf("a batch has %d users, want %d: %v", len(users), len(test.found)+1, users)
	}
	equal, err := s.LookupMany(t.Context(), test.equal)
	if err != nil || len(equal) > 0 {
		t.Errorf("a batch of other keys has %v, %v", equal, err)
	}
}

// wantOnlyTheirOwnAtOnce looks the keys up at the same time, so that queries have
// several of them.
func wantOnlyTheirOwnAtOnce(t *testing.T, s *userstore.MySQL, test collationCase) {
	t.Helper()
	var done sync.WaitGroup
	defer done.Wait()
	for range 4 {
		for _, key := range test.equal {
			done.Go(func() {
				if u, err := s.Lookup(t.Context(), key); !errors.Is(err, userstore.ErrNotFound) {
					t.Errorf("at once, %q: %v, %v", key, u, err)
				}
			})
		}
		for _, key := range test.found {
			done.Go(func() {
				if u, err := s.Lookup(t.Context(), key); err != nil || u.PrimaryKey != key {
					t.Errorf("at once, %q: %v, %v", key, u, err)
				}
			})
		}
	}
}

// TestHexKeysHaveNoLetterCase: the packer of django-sesame's documentation reads
// keys with lower-case digits, whatever the row has.
func TestHexKeysHaveNoLetterCase(t *testing.T) {
	t.Parallel()
	packer, err := token.PackerByName("hex:24")
	if err != nil {
		t.Fatal(err)
	}
	needs := userstore.Needs{LastLogin: true}
	needs.KeysOf(packer)
	d := newDatabase(t, "CREATE TABLE u (k char(24) COLLATE utf8mb4_general_ci PRIMARY KEY, password text, last_login datetime(6))",
		"INSERT INTO u (k) VALUES ('5F0C1B2A3D4E5F6071829304'), ('5f0c1b2a3d4e5f6071829305'), ('５f0c1b2a3d4e5f6071829306')")
	s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "u"}, needs)
	keys := stringKeys("5f0c1b2a3d4e5f6071829304", "5f0c1b2a3d4e5f6071829305", "5f0c1b2a3d4e5f6071829306")
	users, err := s.LookupMany(t.Context(), keys)
	if err != nil || len(users) != 2 {
		t.Fatalf("%v, %v", users, err)
	}
	for _, key := range keys[:2] {
		u, err := s.Lookup(t.Context(), key)
		if err != nil || !strings.EqualFold(u.PrimaryKey.Text(), key.Text()) || users[key] == nil || users[key].PrimaryKey != u.PrimaryKey {
			t.Fatalf("%q: %v, %v, in a batch %v", key, u, err, users[key])
		}
		if err := s.Consume(t.Context(), u, startOfTests); err != nil {
			t.Errorf("consuming for %q: %v", key, err)
		}
	}
}

// TestConsumeRejectsARenamedUser: between a lookup and the use, the user was
// renamed to a name that the collation takes for equal.
func TestConsumeRejectsARenamedUser(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "CREATE TABLE u (k varchar(50) COLLATE utf8mb4_general_ci PRIMARY KEY, password text, last_login datetime(6))",
		"INSERT INTO u (k) VALUES ('ADMÍN')")
	s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "u"}, userstore.Needs{LastLogin: true})
	u, err := s.Lookup(t.Context(), token.StringKey("ADMÍN"))
	if err != nil {
		t.Fatal(err)
	}
	d.exec("DELETE FROM u", "INSERT INTO u (k) VALUES ('admin')")
	if err := s.Consume(t.Context(), u, startOfTests); !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("%v, want ErrConsumed", err)
	}
}
