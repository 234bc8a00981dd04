package token

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// Packer writes primary keys to tokens and reads them again. The formats are
// those of django-sesame's sesame/packers.py, integers in network byte order.
type Packer interface {
	// Name is the class name in django-sesame, or "hex:N".
	Name() string
	// Kind is the kind of keys that Unpack returns.
	Kind() Kind
	// Pack appends the key's bytes to dst. It fails for a key of another
	// kind, or one that doesn't fit.
	Pack(dst []byte, pk PrimaryKey) ([]byte, error)
	// Unpack reads a key from the start of data and returns what follows it.
	// It doesn't keep data.
	Unpack(data []byte) (pk PrimaryKey, rest []byte, err error)
}

// The packers of django-sesame, with the Django fields for which it chooses
// them.
var (
	ShortPacker            Packer = intPacker{"ShortPacker", 2}             // SmallAutoField, SmallIntegerField
	UnsignedShortPacker    Packer = uintPacker{"UnsignedShortPacker", 2}    // PositiveSmallIntegerField
	LongPacker             Packer = intPacker{"LongPacker", 4}              // AutoField, IntegerField
	UnsignedLongPacker     Packer = uintPacker{"UnsignedLongPacker", 4}     // PositiveIntegerField
	LongLongPacker         Packer = intPacker{"LongLongPacker", 8}          // BigAutoField, BigIntegerField
	UnsignedLongLongPacker Packer = uintPacker{"UnsignedLongLongPacker", 8} // PositiveBigIntegerField
	UUIDPacker             Packer = uuidPacker{}                            // UUIDField
	BytesPacker            Packer = bytesPacker{}                           // BinaryField
	StrPacker              Packer = strPacker{}                             // CharField, TextField
)

// djangoModule is the module of django-sesame's packers: a PACKER setting that
// begins with it names one of them, any other one names a class of the
// operator.
const djangoModule = "sesame.packers."

// MaxHexDigits is the longest key of a hexadecimal packer.
const MaxHexDigits = 2 * maxKeyBytes

// maxKeyBytes is the largest length in BytesPacker's length byte.
const maxKeyBytes = 255

var (
	errShortData = errors.New("the data is too short")
	errNotUTF8   = errors.New("the data is not UTF-8")
)

// PackerByName finds a packer by its class name ("LongPacker"), by its dotted
// path ("sesame.packers.LongPacker"), or makes a hexadecimal one ("hex:24" for
// keys of 24 hexadecimal digits, as in django-sesame's documentation).
func PackerByName(name string) (Packer, error) {
	if digits, ok := strings.CutPrefix(name, "hex:"); ok {
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("packer %q: the number of digits must follow hex: as in hex:24", name)
		}
		return HexPacker(n)
	}
	switch strings.TrimPrefix(name, djangoModule) {
	case "ShortPacker":
		return ShortPacker, nil
	case "UnsignedShortPacker":
		return UnsignedShortPacker, nil
	case "LongPacker", "IntPacker":
		return LongPacker, nil
	case "UnsignedLongPacker", "UnsignedIntPacker":
		return UnsignedLongPacker, nil
	case "LongLongPacker":
		return LongLongPacker, nil
	case "UnsignedLongLongPacker":
		return UnsignedLongLongPacker, nil
	case "UUIDPacker":
		return UUIDPacker, nil
	case "BytesPacker":
		return BytesPacker, nil
	case "StrPacker":
		return StrPacker, nil
	}
	return nil, fmt.Errorf("unknown packer %q: it must be a class of sesame.packers, such as LongPacker, or hex:N%s",
		name, nearest.Hint(strings.TrimPrefix(name, djangoModule), packerNames))
}

// packerNames are the names of django-sesame's packers.
var packerNames = []string{
	"ShortPacker", "UnsignedShortPacker", "LongPacker", "IntPacker", "UnsignedLongPacker", "UnsignedIntPacker",
	"LongLongPacker", "UnsignedLongLongPacker", "UUIDPacker", "BytesPacker", "StrPacker",
}

// HexPacker packs strings of exactly the given number of hexadecimal digits
// into half as many bytes: the custom packer in django-sesame's documentation.
func HexPacker(digits int) (Packer, error) {
	if digits < 2 || digits > MaxHexDigits || digits%2 != 0 {
		return nil, fmt.Errorf("hex:%d: the number of digits must be even, from 2 to %d", digits, MaxHexDigits)
	}
	return hexPacker{digits / 2}, nil
}

// kindError is returned by a packer for a key of a kind that it can't pack.
func kindError(name string, pk PrimaryKey) error {
	return fmt.Errorf("%s can't pack a primary key of kind %s", name, pk.Kind())
}

type intPacker struct {
	name string
	size int // bytes
}

func (p intPacker) Name() string { return p.name }
func (p intPacker) Kind() Kind   { return KindInt }

func (p intPacker) Pack(dst []byte, pk PrimaryKey) ([]byte, error) {
	var n int64
	switch {
	case pk.kind == KindInt:
		n = pk.Int()
	case pk.kind == KindUint && pk.Uint() <= math.MaxInt64:
		n = int64(pk.Uint())
	default:
		return nil, kindError(p.name, pk)
	}
	if unused := 64 - 8*p.size; n<<unused>>unused != n {
		return nil, fmt.Errorf("%s: primary key %d doesn't fit into %d bytes", p.name, n, p.size)
	}
	return appendInteger(dst, uint64(n), p.size), nil
}

func (p intPacker) Unpack(data []byte) (PrimaryKey, []byte, error) {
	n, rest, err := cutInteger(data, p.size)
	unused := 64 - 8*p.size
	return IntKey(int64(n) << unused >> unused), rest, err
}

type uintPacker struct {
	name string
	size int // bytes
}

func (p uintPacker) Name() string { return p.name }
func (p uintPacker) Kind() Kind   { return KindUint }

func (p uintPacker) Pack(dst []byte, pk PrimaryKey) ([]byte, error) {
	isUnsigned := pk.kind == KindUint || pk.kind == KindInt && pk.Int() >= 0
	if !isUnsigned {
		return nil, kindError(p.name, pk)
	}
	n := pk.Uint()
	if unused := 64 - 8*p.size; n<<unused>>unused != n {
		return nil, fmt.Errorf("%s: primary key %d doesn't fit into %d bytes", p.name, n, p.size)
	}
	return appendInteger(dst, n, p.size), nil
}

func (p uintPacker) Unpack(data []byte) (PrimaryKey, []byte, error) {
	n, rest, err := cutInteger(data, p.size)
	return UintKey(n), rest, err
}

// appendInteger appends the lowest size bytes of n, in network byte order.
func appendInteger(dst []byte, n uint64, size int) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return append(dst, b[8-size:]...)
}

// cutInteger reads an integer of size bytes, in network byte order.
func cutInteger(data []byte, size int) (n uint64, rest []byte, err error) {
	if len(data) < size {
		return 0, nil, errShortData
	}
	var b [8]byte
	copy(b[8-size:], data[:size])
	return binary.BigEndian.Uint64(b[:]), data[size:], nil
}

type uuidPacker struct{}

func (uuidPacker) Name() string { return "UUIDPacker" }
func (uuidPacker) Kind() Kind   { return KindUUID }

func (p uuidPacker) Pack(dst []byte, pk PrimaryKey) ([]byte, error) {
	if pk.kind != KindUUID {
		return nil, kindError(p.Name(), pk)
	}
	id := pk.UUID()
	return append(dst, id[:]...), nil
}

func (uuidPacker) Unpack(data []byte) (PrimaryKey, []byte, error) {
	if len(data) < 16 {
		return PrimaryKey{}, nil, errShortData
	}
	return UUIDKey([16]byte(data)), data[16:], nil
}

type bytesPacker struct{}

func (bytesPacker) Name() string { return "BytesPacker" }
func (bytesPacker) Kind() Kind   { return KindBytes }

func (p bytesPacker) Pack(dst []byte, pk PrimaryKey) ([]byte, error) {
	if pk.kind != KindBytes {
		return nil, kindError(p.Name(), pk)
	}
	return appendCounted(dst, pk.text, p.Name())
}

func (bytesPacker) Unpack(data []byte) (PrimaryKey, []byte, error) {
	key, rest, err := cutCounted(data)
	return BytesKey(key), rest, err
}

type strPacker struct{}

func (strPacker) Name() string { return "StrPacker" }
func (strPacker) Kind() Kind   { return KindString }

func (p strPacker) Pack(dst []byte, pk PrimaryKey) ([]byte, error) {
	if pk.kind != KindString {
		return nil, kindError(p.Name(), pk)
	}
	if !utf8.ValidString(pk.text) {
		return nil, fmt.Errorf("%s: the primary key is not UTF-8", p.Name())
	}
	return appendCounted(dst, pk.text, p.Name())
}

func (strPacker) Unpack(data []byte) (PrimaryKey, []byte, error) {
	key, rest, err := cutCounted(data)
	if err == nil && !utf8.Valid(key) {
		err = errNotUTF8
	}
	return StringKey(string(key)), rest, err
}

// appendCounted appends a length byte and the key.
func appendCounted(dst []byte, key, packer string) ([]byte, error) {
	if len(key) > maxKeyBytes {
		return nil, fmt.Errorf("%s: the primary key is too large (%d bytes of at most %d)", packer, len(key), maxKeyBytes)
	}
	dst = append(dst, byte(len(key)))
	return append(dst, key...), nil
}

// cutCounted reads a length byte and a key. If fewer bytes follow, it returns
// those, as a slice in Python does. Then nothing is left for a signature, and
// the token is rejected.
func cutCounted(data []byte) (key, rest []byte, err error) {
	if len(data) == 0 {
		return nil, nil, errShortData
	}
	end := min(1+int(data[0]), len(data))
	return data[1:end], data[end:], nil
}

type hexPacker struct {
	size int // bytes
}

func (p hexPacker) Name() string { return "hex:" + strconv.Itoa(2*p.size) }
func (hexPacker) Kind() Kind     { return KindString }

func (p hexPacker) Pack(dst []byte, pk PrimaryKey) ([]byte, error) {
	if pk.kind != KindString {
		return nil, kindError(p.Name(), pk)
	}
	if len(pk.text) != 2*p.size {
		return nil, fmt.Errorf("%s: the primary key has %d characters", p.Name(), len(pk.text))
	}
	dst = slices.Grow(dst, p.size)
	dst, err := hex.AppendDecode(dst, []byte(pk.text))
	if err != nil {
		return nil, fmt.Errorf("%s: the primary key is not hexadecimal", p.Name())
	}
	return dst, nil
}

// Unpack returns the rest of a key that is cut short, as cutCounted does.
func (p hexPacker) Unpack(data []byte) (PrimaryKey, []byte, error) {
	end := min(p.size, len(data))
	return StringKey(hex.EncodeToString(data[:end])), data[end:], nil
}
