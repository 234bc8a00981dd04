package userstore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// keyClass is how a column stores keys.
type keyClass uint8

const (
	keyInt keyClass = iota + 1
	keyUint
	keyText   // CHAR, VARCHAR, TEXT
	keyBinary // BINARY, VARBINARY, BLOB
	keyUUID   // MariaDB's UUID
)

// keyColumn is the column that tokens hold the value of.
type keyColumn struct {
	name   string
	class  keyClass
	length int64  // of keyText and keyBinary: characters or bytes
	packer string // django-sesame's for this column
	kind   token.Kind
	sqlTyp string // as error messages show it
}

// The lengths of UUIDs as text.
const (
	hexUUID    = 32
	dashedUUID = 36
)

// newKeyColumn classifies a column as Django's MySQL backend and then
// django-sesame's packers.get_packer would, from the field that makes a column
// of this type.
func newKeyColumn(c column) (keyColumn, error) {
	k := keyColumn{name: c.name, length: c.length, sqlTyp: c.columnType}
	packer := ""
	switch c.dataType {
	case "tinyint", "smallint":
		k.class, packer = keyInt, "ShortPacker"
	case "mediumint", "int":
		k.class, packer = keyInt, "LongPacker"
	case "bigint":
		k.class, packer = keyInt, "LongLongPacker"
	case "uuid":
		k.class, k.kind, packer = keyUUID, token.KindUUID, "UUIDPacker"
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		k.class, k.kind, packer = keyText, token.KindString, "StrPacker"
		if c.dataType == "char" && c.length == hexUUID {
			k.kind, packer = token.KindUUID, "UUIDPacker"
		}
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		k.class, k.kind, packer = keyBinary, token.KindBytes, "BytesPacker"
		if c.dataType == "binary" && c.length == 16 {
			k.kind, packer = token.KindUUID, "UUIDPacker"
		}
	default:
		return keyColumn{}, misfitf("column %q is of type %s, which no packer of django-sesame fits: "+
			"name an integer, UUID, text or binary column with the primary_key option", c.name, c.columnType)
	}
	if k.class == keyInt {
		k.kind = token.KindInt
		if c.unsigned() {
			k.class, k.kind, packer = keyUint, token.KindUint, "Unsigned"+packer
		}
	}
	k.packer = packer
	return k, nil
}

// holds reports whether the column can have keys of a kind.
func (k keyColumn) holds(kind token.Kind) bool {
	switch kind {
	case token.KindInt, token.KindUint:
		return k.class == keyInt || k.class == keyUint || k.class == keyText
	case token.KindUUID:
		switch k.class {
		case keyUUID:
			return true
		case keyText:
			return k.length >= hexUUID
		case keyBinary:
			return k.length >= 16
		default:
			return false
		}
	case token.KindString:
		return k.class == keyText || k.class == keyBinary
	case token.KindBytes:
		return k.class == keyBinary
	default:
		return false
	}
}

// check refuses a kind of key that the column can't have.
func (k keyColumn) check(kind token.Kind) error {
	if k.holds(kind) {
		return nil
	}
	return misfitf("a packer of %s keys doesn't fit column %q of type %s: "+
		"remove the packer option, which then is %s, or name another column with the primary_key option",
		kind, k.name, k.sqlTyp, k.packer)
}

// keyOf makes a key of a kind from its text, as Django writes keys: integers in
// decimal, UUIDs with or without hyphens. ok is false if the column can't have such
// a key.
func (k keyColumn) keyOf(text string, kind token.Kind) (key token.PrimaryKey, ok bool) {
	if k.class == keyText && int64(utf8.RuneCountInString(text)) > max(k.length, dashedUUID) {
		return key, false
	}
	switch kind {
	case token.KindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		// Where integers are text, 042 is another key than 42.
		return token.IntKey(n), err == nil && (k.class != keyText || strconv.FormatInt(n, 10) == text)
	case token.KindUint:
		n, err := strconv.ParseUint(text, 10, 64)
		return token.UintKey(n), err == nil && (k.class != keyText || strconv.FormatUint(n, 10) == text)
	case token.KindUUID:
		id, ok := uuidOf(text)
		return token.UUIDKey(id), ok
	case token.KindString:
		return token.StringKey(text), true
	case token.KindBytes:
		return token.BytesKey([]byte(text)), true
	default:
		return key, false
	}
}

// uuidOf reads a UUID with hyphens or without.
func uuidOf(text string) (id [16]byte, ok bool) {
	compact := strings.ReplaceAll(text, "-", "")
	if len(compact) != hexUUID {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(compact))
	return id, err == nil
}

// param makes the parameter to compare the column with. It is of the column's
// own type: MySQL compares text with a number as floating point numbers, where
// '1abc' equals 1. ok is false if no row can have the key.
func (k keyColumn) param(pk token.PrimaryKey) (param any, ok bool) {
	if !k.holds(pk.Kind()) {
		return nil, false
	}
	switch pk.Kind() {
	case token.KindInt:
		if k.class == keyText {
			return strconv.FormatInt(pk.Int(), 10), true
		}
		return pk.Int(), true
	case token.KindUint:
		if k.class == keyText {
			return strconv.FormatUint(pk.Uint(), 10), true
		}
		return pk.Uint(), true
	case token.KindUUID:
		id := pk.UUID()
		switch {
		case k.class == keyBinary:
			return id[:], true
		case k.class == keyText && k.length < dashedUUID:
			return hex.EncodeToString(id[:]), true
		default:
			return pk.String(), true
		}
	case token.KindString:
		// MySQL answers invalid UTF-8 with an error, which would look like an
		// outage.
		return pk.Text(), utf8.ValidString(pk.Text())
	default: // token.KindBytes, by holds
		return []byte(pk.Text()), true
	}
}

// parse makes a key of the value in a row.
func (k keyColumn) parse(raw []byte, kind token.Kind) (token.PrimaryKey, error) {
	if !k.holds(kind) {
		return token.PrimaryKey{}, k.check(kind)
	}
	switch kind {
	case token.KindInt:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return token.PrimaryKey{}, k.unreadable(kind)
		}
		return token.IntKey(n), nil
	case token.KindUint:
		n, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil {
			return token.PrimaryKey{}, k.unreadable(kind)
		}
		return token.UintKey(n), nil
	case token.KindUUID:
		id, ok := k.uuid(raw)
		if !ok {
			return token.PrimaryKey{}, k.unreadable(kind)
		}
		return token.UUIDKey(id), nil
	case token.KindString:
		return token.StringKey(string(raw)), nil
	default: // token.KindBytes, by holds
		return token.BytesKey(raw), nil
	}
}

// isSame reports whether a row has the key that was asked for. A collation may find
// a row whose key differs in letter case, accents, trailing spaces, width or
// ignorable characters: such a row belongs to another user.
func isSame(asked, found token.PrimaryKey, hexKeys bool) bool {
	if asked == found {
		return true
	}
	return hexKeys && asked.Kind() == token.KindString && found.Kind() == token.KindString && strings.EqualFold(asked.Text(), found.Text())
}

// isOther reports whether an error of parse says that a row has another key
// than the one that was asked for: a collation takes ７ for 7.
func (k keyColumn) isOther(err error) bool {
	return k.class == keyText && errors.As(err, new(unreadableKey))
}

func (k keyColumn) uuid(raw []byte) (id [16]byte, ok bool) {
	if k.class == keyBinary {
		return id, copy(id[:], raw) == len(id) && len(raw) == len(id)
	}
	var compact [hexUUID]byte
	n := 0
	for _, c := range raw {
		switch {
		case c == '-':
		case n == len(compact):
			if c != ' ' {
				return id, false
			}
		default:
			compact[n] = c
			n++
		}
	}
	if n != len(compact) {
		return id, false
	}
	_, err := hex.Decode(id[:], compact[:])
	return id, err == nil
}

// unreadableKey is the error for a row with a key that isn't of the kind.
type unreadableKey struct {
	column string
	kind   token.Kind
}

// Error doesn't quote the value, which an attacker may have chosen.
func (e unreadableKey) Error() string {
	return fmt.Sprintf("the row's %q isn't the %s that the packer makes of it", e.column, e.kind)
}

func (k keyColumn) unreadable(kind token.Kind) error { return unreadableKey{k.name, kind} }

// exactCondition is a condition of the UPDATE, beside the one on the key itself:
// that a text column has the key byte for byte, or, for a NULL parameter, any equal
// text. It is empty for other columns, which have one value for each key.
func (k keyColumn) exactCondition() string {
	if k.class != keyText {
		return ""
	}
	exact := "CAST(CONVERT(" + quote(k.name) + " USING utf8mb4) AS BINARY)"
	return exact + " = COALESCE(?, " + exact + ")"
}

// exactParam is the parameter of exactCondition: the text of the key, or NULL
// for an UUID, which has many forms.
func exactParam(pk token.PrimaryKey) any {
	if pk.Kind() == token.KindUUID {
		return nil
	}
	return []byte(pk.String())
}

// outOfRange reports whether no row of an integer column can have the key, so
// that MySQL needn't be asked.
func (k keyColumn) outOfRange(pk token.PrimaryKey) bool {
	switch {
	case k.class == keyUint && pk.Kind() == token.KindInt:
		return pk.Int() < 0
	case k.class == keyInt && pk.Kind() == token.KindUint:
		return pk.Uint() > math.MaxInt64
	default:
		return false
	}
}
