package signing

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"strings"
	"sync"
	"time"
)

// Dumps signs bytes, which Django's serializer has made JSON of ASCII
// characters. With compress they are compressed where that saves space. The
// compressed bytes may differ from those that Python's zlib writes, and Django
// reads them all the same.
func (t *TimestampSigner) Dumps(data []byte, compress bool, now time.Time) string {
	if compress {
		if compressed := deflate(data); len(compressed) < len(data)-1 {
			return t.Sign("."+base64.RawURLEncoding.EncodeToString(compressed), now)
		}
	}
	return t.Sign(base64.RawURLEncoding.EncodeToString(data), now)
}

func deflate(data []byte) []byte {
	var compressed bytes.Buffer
	w := zlib.NewWriter(&compressed)
	_, _ = w.Write(data) // a bytes.Buffer returns no error
	_ = w.Close()
	return compressed.Bytes()
}

// Loads returns the bytes that Dumps, or Django's dumps, has signed, and when.
// Django's serializer takes each byte for a character (ISO 8859-1). The error
// is ErrBadSignature, ErrExpired, ErrMalformed or ErrTooLarge.
func (t *TimestampSigner) Loads(signed string, maxAge *time.Duration, now time.Time) ([]byte, time.Time, error) {
	value, timestamp, err := t.Unsign(signed, maxAge, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	encoded, isCompressed := strings.CutPrefix(value, ".")
	data, err := decodeBase64(encoded)
	if err != nil {
		return nil, time.Time{}, err
	}
	if isCompressed {
		if data, err = inflate(data, t.signer.settings.MaxInflated); err != nil {
			return nil, time.Time{}, err
		}
	}
	return data, timestamp, nil
}

// inflater decompresses, and can be used again: its window takes 40 KiB.
type inflater struct {
	source bytes.Reader
	zlib   io.ReadCloser // nil before the first use
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// inflate decompresses up to limit bytes. Like Python's zlib.decompress, it
// takes no notice of what follows the end of the stream.
func inflate(data []byte, limit int) ([]byte, error) {
	in := inflaters.Get().(*inflater)
	defer inflaters.Put(in)
	in.source.Reset(data)
	if err := in.reset(); err != nil {
		return nil, ErrMalformed
	}
	inflated, err := io.ReadAll(io.LimitReader(in.zlib, int64(limit)+1))
	if err != nil {
		return nil, ErrMalformed
	}
	if len(inflated) > limit {
		return nil, ErrTooLarge
	}
	return inflated, nil
}

func (in *inflater) reset() (err error) {
	if in.zlib == nil {
		in.zlib, err = zlib.NewReader(&in.source)
		return err
	}
	return in.zlib.(zlib.Resetter).Reset(&in.source, nil)
}

// decodeBase64 reads base64 like Python's urlsafe_b64decode, after Django has
// padded the text: it skips characters of no alphabet, accepts both alphabets,
// and ends at a padding that is complete.
func decodeBase64(text string) ([]byte, error) {
	data := make([]byte, 0, len(text)*3/4+3)
	var bits uint32
	position, pads := 0, 0 // of characters in a group of four
	padded := len(text) + (-len(text) & 3)
	for i := range padded {
		c := byte('=')
		if i < len(text) {
			c = text[i]
		}
		if c == '=' {
			if position < 2 {
				continue
			}
			if pads++; position+pads >= 4 {
				return data, nil
			}
			continue
		}
		value := base64Values[c]
		if value == notBase64 {
			continue
		}
		pads = 0
		bits = bits<<6 | uint32(value)
		if position > 0 {
			data = append(data, byte(bits>>(6-2*position)))
		}
		position = (position + 1) & 3
	}
	if position != 0 {
		return nil, ErrMalformed
	}
	return data, nil
}

const notBase64 = 0xff

var base64Values = func() (values [256]byte) {
	for i := range values {
		values[i] = notBase64
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	values['-'], values['+'] = 62, 62
	values['_'], values['/'] = 63, 63
	return values
}()
