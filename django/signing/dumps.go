package signing

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/internal/python"
)

// Dumps signs the bytes of a serializer: JSON in ASCII. With compress they are
// compressed if that saves space. The compressed bytes may differ from those of
// Python's zlib; Django reads both.
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
	data, err := python.DecodeBase64(encoded)
	if err != nil {
		return nil, time.Time{}, ErrMalformed
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

// inflate decompresses up to limit bytes. Like Python's zlib.decompress, it ignores
// bytes after the end of the stream.
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
