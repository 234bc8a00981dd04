package userstore_test

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

const (
	hexID    = "d1c06cf0e3d741ceb4e3a5c5a3f1b0e2"
	dashedID = "d1c06cf0-e3d7-41ce-b4e3-a5c5a3f1b0e2"
)

func uuidKey(t *testing.T) token.PrimaryKey {
	t.Helper()
	raw, err := hex.DecodeString(hexID)
	if err != nil {
		t.Fatal(err)
	}
	return token.UUIDKey([16]byte(raw))
}

type keys []token.PrimaryKey

// keyType is a type of columns, and keys that such a column has or not.
type keyType struct {
	columnType string
	packer     string
	insert     string // VALUES
	found      keys
	absent     keys
}

func keyTypes(t *testing.T) []keyType {
	t.Helper()
	id := uuidKey(t)
	return []keyType{
		{
			"tinyint", "ShortPacker", "(-128), (0), (127)",
			keys{token.IntKey(-128), token.IntKey(0), token.IntKey(127)},
			keys{token.IntKey(128), token.IntKey(1)},
		},
		{
			"tinyint unsigned", "UnsignedShortPacker", "(0), (255)",
			keys{token.UintKey(0), token.UintKey(255)},
			keys{token.UintKey(256), token.IntKey(-1)},
		},
		{
			"smallint", "ShortPacker", "(-32768), (32767)",
			keys{token.IntKey(-32768), token.IntKey(32767)},
			keys{token.IntKey(0)},
		},
		{
			"smallint unsigned", "UnsignedShortPacker", "(65535)",
			keys{token.UintKey(65535), token.IntKey(65535)},
			keys{token.UintKey(0)},
		},
		{"mediumint", "LongPacker", "(-8388608)", keys{token.IntKey(-8388608)}, keys{token.IntKey(8388608)}},
		{
			"int", "LongPacker", "(-2147483648), (2147483647)",
			keys{token.IntKey(math.MinInt32), token.IntKey(math.MaxInt32), token.UintKey(math.MaxInt32)},
			keys{token.IntKey(math.MaxInt64), token.UintKey(math.MaxUint64)},
		},
		{"int unsigned", "UnsignedLongPacker", "(4294967295)", keys{token.UintKey(math.MaxUint32)}, keys{token.IntKey(-1)}},
		{
			"bigint", "LongLongPacker", "(-9223372036854775808), (9223372036854775807), (-1)",
			keys{token.IntKey(math.MinInt64), token.IntKey(math.MaxInt64), token.IntKey(-1)},
			keys{token.UintKey(math.MaxUint64), token.UintKey(math.MaxInt64 + 1)},
		},
		{
			"bigint unsigned", "UnsignedLongLongPacker", "(0), (9223372036854775808), (18446744073709551615)",
			keys{token.UintKey(0), token.UintKey(math.MaxInt64 + 1), token.UintKey(math.MaxUint64), token.IntKey(0)},
			keys{token.IntKey(-1), token.IntKey(math.MinInt64)},
		},
		{"char(32)", "UUIDPacker", "('" + hexID + "')", keys{id, token.StringKey(hexID)}, keys{token.UUIDKey([16]byte{})}},
		{"uuid", "UUIDPacker", "('" + dashedID + "')", keys{id}, keys{token.UUIDKey([16]byte{})}},
		{"binary(16)", "UUIDPacker", "(X'" + hexID + "')", keys{id}, keys{token.UUIDKey([16]byte{})}},
		{"char(36)", "StrPacker", "('" + dashedID + "')", keys{id, token.StringKey(dashedID)}, keys{token.StringKey(hexID)}},
		{"varchar(36)", "StrPacker", "('" + dashedID + "')", keys{id}, keys{token.UUIDKey([16]byte{})}},
		{"varchar(32)", "StrPacker", "('" + hexID + "')", keys{id}, nil},
		{"varbinary(16)", "BytesPacker", "(X'" + hexID + "')", keys{id}, nil},
		{
			"varchar(50)", "StrPacker", "('alice'), ('1abc'), ('42'), (''), ('☃'), ('-7'), ('18446744073709551615')",
			keys{
				token.StringKey("alice"), token.StringKey(""), token.StringKey("☃"), token.IntKey(42),
				token.IntKey(-7), token.UintKey(math.MaxUint64), token.StringKey("1abc"),
			},
			keys{token.IntKey(1), token.IntKey(0), token.StringKey("' OR 1=1 -- "), token.StringKey("\xff"), token.StringKey("4%")},
		},
		{
			"varchar(50) charset latin1", "StrPacker", "('Zoë')",
			keys{token.StringKey("Zoë")},
			keys{token.StringKey("☃"), token.StringKey("Zo\u0000")},
		},
		{
			"varbinary(50)", "BytesPacker", "(X'00ff'), ('')",
			keys{token.BytesKey([]byte{0, 255}), token.BytesKey(nil), token.StringKey("")},
			keys{token.BytesKey([]byte{0})},
		},
		{
			"binary(12)", "BytesPacker", "('twelve bytes')",
			keys{token.BytesKey([]byte("twelve bytes"))},
			keys{token.BytesKey([]byte("twelve byte"))},
		},
	}
}

// TestEachTypeOfKeyHasItsPacker has for every type of column the packer that django-sesame
// chooses, and values that are found or not.
func TestEachTypeOfKeyHasItsPacker(t *testing.T) {
	t.Parallel()
	for _, test := range keyTypes(t) {
		t.Run(test.columnType, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE u (k "+test.columnType+" PRIMARY KEY, password text, last_login datetime(6))",
				"INSERT INTO u (k) VALUES "+test.insert)
			s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "u"}, userstore.Needs{LastLogin: true})
			schema, err := s.Schema(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if schema.Packer != test.packer || schema.PrimaryKey != "k" {
				t.Errorf("packer of %s is %s, want %s", schema.PrimaryKey, schema.Packer, test.packer)
			}
			for _, key := range test.found {
				u, err := s.Lookup(t.Context(), key)
				if err != nil {
					t.Errorf("%s %q: %v", key.Kind(), key, err)
					continue
				}
				if u.PrimaryKey != key {
					t.Errorf("%s %q: the row's key is %s %q", key.Kind(), key, u.PrimaryKey.Kind(), u.PrimaryKey)
				}
				if err := s.Consume(t.Context(), u, startOfTests); err != nil {
					t.Errorf("consuming for %s %q: %v", key.Kind(), key, err)
				}
			}
			for _, key := range test.absent {
				if _, err := s.Lookup(t.Context(), key); !errors.Is(err, userstore.ErrNotFound) {
					t.Errorf("%s %q: %v, want ErrNotFound", key.Kind(), key, err)
				}
			}
		})
	}
}

// TestPackersThatDontFit also tests, for each kind, packers that fit.
func TestPackersThatDontFit(t *testing.T) {
	t.Parallel()
	kinds := []token.Kind{token.KindInt, token.KindUint, token.KindUUID, token.KindString, token.KindBytes}
	tests := []struct{ columnType, fit string }{
		{"int", "integer, unsigned integer"},
		{"bigint unsigned", "integer, unsigned integer"},
		{"uuid", "UUID"},
		{"char(32)", "integer, unsigned integer, UUID, string"},
		{"varchar(31)", "integer, unsigned integer, string"},
		{"varchar(150)", "integer, unsigned integer, UUID, string"},
		{"binary(16)", "UUID, string, bytes"},
		{"varbinary(15)", "string, bytes"},
	}
	for _, test := range tests {
		t.Run(test.columnType, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE u (id "+test.columnType+" PRIMARY KEY, password text)")
			var fit []string
			for _, kind := range kinds {
				s, err := userstore.Open(context.Background(), patient(userstore.Config{DSN: d.dsn(), Table: "u", StartWithout: true}),
					userstore.Needs{Kind: kind}, zap.NewNop())
				if err != nil {
					wantError(t, err, "a packer of "+kind.String()+" keys doesn't fit column \"id\" of type ")
					continue
				}
				fit = append(fit, kind.String())
				if schema, err := s.Schema(t.Context()); err != nil || schema.Kind != kind {
					t.Errorf("kind is %v, want %v (%v)", schema.Kind, kind, err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if got := strings.Join(fit, ", "); got != test.fit {
				t.Errorf("packers of %s fit, want %s", got, test.fit)
			}
		})
	}
}
