package token_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// uuidKey is a key of 16 different bytes.
var uuidKey = token.UUIDKey([16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})

func TestPackersWriteWhatDjangoSesameWrites(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 255)
	for name, test := range map[string]struct {
		packer token.Packer
		key    token.PrimaryKey
		packed string // hexadecimal
	}{
		"short 1":                    {token.ShortPacker, token.IntKey(1), "0001"},
		"short -1":                   {token.ShortPacker, token.IntKey(-1), "ffff"},
		"short smallest":             {token.ShortPacker, token.IntKey(math.MinInt16), "8000"},
		"short largest":              {token.ShortPacker, token.IntKey(math.MaxInt16), "7fff"},
		"unsigned short 0":           {token.UnsignedShortPacker, token.UintKey(0), "0000"},
		"unsigned short largest":     {token.UnsignedShortPacker, token.UintKey(math.MaxUint16), "ffff"},
		"long 42":                    {token.LongPacker, token.IntKey(42), "0000002a"},
		"long smallest":              {token.LongPacker, token.IntKey(math.MinInt32), "80000000"},
		"long largest":               {token.LongPacker, token.IntKey(math.MaxInt32), "7fffffff"},
		"unsigned long largest":      {token.UnsignedLongPacker, token.UintKey(math.MaxUint32), "ffffffff"},
		"long long 1":                {token.LongLongPacker, token.IntKey(1), "0000000000000001"},
		"long long smallest":         {token.LongLongPacker, token.IntKey(math.MinInt64), "8000000000000000"},
		"long long largest":          {token.LongLongPacker, token.IntKey(math.MaxInt64), "7fffffffffffffff"},
		"unsigned long long largest": {token.UnsignedLongLongPacker, token.UintKey(math.MaxUint64), "ffffffffffffffff"},
		"UUID":                       {token.UUIDPacker, uuidKey, "000102030405060708090a0b0c0d0e0f"},
		"no bytes":                   {token.BytesPacker, token.BytesKey(nil), "00"},
		"bytes":                      {token.BytesPacker, token.BytesKey([]byte{0xff, 0}), "02ff00"},
		"255 bytes":                  {token.BytesPacker, token.BytesKey([]byte(long)), "ff" + hex.EncodeToString([]byte(long))},
		"no string":                  {token.StrPacker, token.StringKey(""), "00"},
		"string":                     {token.StrPacker, token.StringKey("é"), "02c3a9"},
		"255 characters":             {token.StrPacker, token.StringKey(long), "ff" + hex.EncodeToString([]byte(long))},
		"hexadecimal":                {mustHexPacker(24), token.StringKey("0123456789abcdef01234567"), "0123456789abcdef01234567"},
		"hexadecimal, shortest":      {mustHexPacker(2), token.StringKey("00"), "00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packed, err := test.packer.Pack([]byte("before"), test.key)
			if err != nil {
				t.Fatal(err)
			}
			if want := "before" + string(unhex(t, test.packed)); string(packed) != want {
				t.Fatalf("packed %x, want %x", packed, want)
			}
			key, rest, err := test.packer.Unpack(append(packed[len("before"):], "after"...))
			if err != nil {
				t.Fatal(err)
			}
			if key != test.key || key.Kind() != test.packer.Kind() {
				t.Errorf("unpacked %v %q, want %v %q", key.Kind(), key, test.key.Kind(), test.key)
			}
			if string(rest) != "after" {
				t.Errorf("left %q", rest)
			}
		})
	}
}

func TestPackersRejectKeysThatDontFit(t *testing.T) {
	t.Parallel()
	tooLong := strings.Repeat("x", 256)
	for name, test := range map[string]struct {
		packer token.Packer
		key    token.PrimaryKey
		err    string
	}{
		"short too big":          {token.ShortPacker, token.IntKey(math.MaxInt16 + 1), "ShortPacker: primary key 32768 doesn't fit into 2 bytes"},
		"short too small":        {token.ShortPacker, token.IntKey(math.MinInt16 - 1), "ShortPacker: primary key -32769 doesn't fit into 2 bytes"},
		"unsigned short too big": {token.UnsignedShortPacker, token.UintKey(math.MaxUint16 + 1), "UnsignedShortPacker: primary key 65536 doesn't fit into 2 bytes"},
		"long too big":           {token.LongPacker, token.IntKey(math.MaxInt32 + 1), "LongPacker: primary key 2147483648 doesn't fit into 4 bytes"},
		"long too small":         {token.LongPacker, token.IntKey(math.MinInt32 - 1), "LongPacker: primary key -2147483649 doesn't fit into 4 bytes"},
		"unsigned long too big":  {token.UnsignedLongPacker, token.UintKey(math.MaxUint32 + 1), "UnsignedLongPacker: primary key 4294967296 doesn't fit into 4 bytes"},
		"long long too big":      {token.LongLongPacker, token.UintKey(math.MaxInt64 + 1), "LongLongPacker can't pack a primary key of kind unsigned integer"},
		"negative":               {token.UnsignedLongLongPacker, token.IntKey(-1), "UnsignedLongLongPacker can't pack a primary key of kind integer"},
		"string as integer":      {token.LongPacker, token.StringKey("1"), "LongPacker can't pack a primary key of kind string"},
		"integer as UUID":        {token.UUIDPacker, token.IntKey(1), "UUIDPacker can't pack a primary key of kind integer"},
		"string as bytes":        {token.BytesPacker, token.StringKey("x"), "BytesPacker can't pack a primary key of kind string"},
		"bytes as string":        {token.StrPacker, token.BytesKey([]byte("x")), "StrPacker can't pack a primary key of kind bytes"},
		"bytes as hexadecimal":   {mustHexPacker(2), token.BytesKey([]byte("00")), "hex:2 can't pack a primary key of kind bytes"},
		"UUID as integer":        {token.UnsignedLongPacker, uuidKey, "UnsignedLongPacker can't pack a primary key of kind UUID"},
		"no key":                 {token.LongPacker, token.PrimaryKey{}, "LongPacker can't pack a primary key of kind none"},
		"256 bytes":              {token.BytesPacker, token.BytesKey([]byte(tooLong)), "BytesPacker: the primary key is too large (256 bytes of at most 255)"},
		"256 characters":         {token.StrPacker, token.StringKey(tooLong), "StrPacker: the primary key is too large (256 bytes of at most 255)"},
		"not UTF-8":              {token.StrPacker, token.StringKey("\xff"), "StrPacker: the primary key is not UTF-8"},
		"hexadecimal too short":  {mustHexPacker(4), token.StringKey("00"), "hex:4: the primary key has 2 characters"},
		"hexadecimal too long":   {mustHexPacker(4), token.StringKey("000000"), "hex:4: the primary key has 6 characters"},
		"not hexadecimal":        {mustHexPacker(4), token.StringKey("00xx"), "hex:4: the primary key is not hexadecimal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packed, err := test.packer.Pack(nil, test.key)
			if err == nil {
				t.Fatalf("packed %x", packed)
			}
			if err.Error() != test.err {
				t.Errorf("error %q, want %q", err, test.err)
			}
		})
	}
}

// TestSignOfTheColumnDoesNotChangeTheToken: the database's column and Django's
// field may differ in sign, and the token is the same.
func TestSignOfTheColumnDoesNotChangeTheToken(t *testing.T) {
	t.Parallel()
	signed, err := token.LongPacker.Pack(nil, token.UintKey(7))
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := token.UnsignedLongPacker.Pack(nil, token.IntKey(7))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(signed, unsigned) {
		t.Errorf("%x and %x", signed, unsigned)
	}
}

func TestUnpackRejectsShortData(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		packer token.Packer
		data   string // hexadecimal
		key    token.PrimaryKey
		ok     bool
	}{
		"short":                {packer: token.ShortPacker, data: "00"},
		"unsigned short":       {packer: token.UnsignedShortPacker, data: "00"},
		"long":                 {packer: token.LongPacker, data: "000000"},
		"unsigned long":        {packer: token.UnsignedLongPacker, data: "000000"},
		"long long":            {packer: token.LongLongPacker, data: "00000000000000"},
		"unsigned long long":   {packer: token.UnsignedLongLongPacker, data: "00000000000000"},
		"UUID":                 {packer: token.UUIDPacker, data: "000102030405060708090a0b0c0d0e"},
		"bytes, no length":     {packer: token.BytesPacker},
		"string, no length":    {packer: token.StrPacker},
		"string, not UTF-8":    {packer: token.StrPacker, data: "01ff"},
		"string, cut in UTF-8": {packer: token.StrPacker, data: "02c3"},
		"string, surrogate":    {packer: token.StrPacker, data: "03eda080"},
		// Slices in Python end where the data ends.
		"bytes, cut":        {packer: token.BytesPacker, data: "05ffff", key: token.BytesKey([]byte{255, 255}), ok: true},
		"string, cut":       {packer: token.StrPacker, data: "054142", key: token.StringKey("AB"), ok: true},
		"hexadecimal, cut":  {packer: mustHexPacker(24), data: "ab", key: token.StringKey("ab"), ok: true},
		"hexadecimal, gone": {packer: mustHexPacker(24), key: token.StringKey(""), ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, rest, err := test.packer.Unpack(unhex(t, test.data))
			switch {
			case !test.ok && err == nil:
				t.Fatalf("unpacked %q", key)
			case test.ok && err != nil:
				t.Fatal(err)
			case test.ok && (key != test.key || len(rest) != 0):
				t.Errorf("unpacked %q and left %x, want %q", key, rest, test.key)
			}
		})
	}
}

func TestPackersAreFoundByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]token.Packer{
		"ShortPacker":            token.ShortPacker,
		"UnsignedShortPacker":    token.UnsignedShortPacker,
		"LongPacker":             token.LongPacker,
		"IntPacker":              token.LongPacker,
		"UnsignedLongPacker":     token.UnsignedLongPacker,
		"UnsignedIntPacker":      token.UnsignedLongPacker,
		"LongLongPacker":         token.LongLongPacker,
		"UnsignedLongLongPacker": token.UnsignedLongLongPacker,
		"UUIDPacker":             token.UUIDPacker,
		"BytesPacker":            token.BytesPacker,
		"StrPacker":              token.StrPacker,
	} {
		for _, name := range []string{name, "sesame.packers." + name} {
			if got, err := token.PackerByName(name); err != nil || got != want {
				t.Errorf("PackerByName(%q) = %v, %v", name, got, err)
			}
		}
		if again, err := token.PackerByName(want.Name()); err != nil || again != want {
			t.Errorf("PackerByName(%q) = %v, %v", want.Name(), again, err)
		}
	}
	for _, name := range []string{"hex:2", "hex:24", "hex:510"} {
		if got, err := token.PackerByName(name); err != nil || got.Name() != name {
			t.Errorf("PackerByName(%q) = %v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"":                       `unknown packer ""`,
		"longpacker":             `unknown packer "longpacker"`,
		"app.packers.LongPacker": `unknown packer "app.packers.LongPacker"`,
		"sesame.packers.XPacker": `unknown packer "sesame.packers.XPacker"`,
		"sesame.packers.hex:24":  `unknown packer "sesame.packers.hex:24"`,
		"hex:":                   `packer "hex:": the number of digits must follow`,
		"hex:many":               `packer "hex:many": the number of digits must follow`,
		"hex:0":                  "hex:0: the number of digits must be even, from 2 to 510",
		"hex:3":                  "hex:3: the number of digits must be even, from 2 to 510",
		"hex:-2":                 "hex:-2: the number of digits must be even, from 2 to 510",
		"hex:512":                "hex:512: the number of digits must be even, from 2 to 510",
	} {
		if got, err := token.PackerByName(name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("PackerByName(%q) = %v, %v; want the error %q", name, got, err, want)
		}
	}
}

func TestPrimaryKeysAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for want, key := range map[string]token.PrimaryKey{
		"":                                     {},
		"-7":                                   token.IntKey(-7),
		"18446744073709551615":                 token.UintKey(math.MaxUint64),
		"00010203-0405-0607-0809-0a0b0c0d0e0f": uuidKey,
		"é":                                    token.StringKey("é"),
		"00ff":                                 token.BytesKey([]byte{0, 255}),
	} {
		if got := key.String(); got != want {
			t.Errorf("%v: %q, want %q", key.Kind(), got, want)
		}
		if key.IsZero() != (want == "") {
			t.Errorf("%q: IsZero %v", want, key.IsZero())
		}
	}
}

func unhex(t *testing.T, digits string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
