package binlog

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// MaxSize is how large an event may be that is looked into, also when it is
// decompressed.
const MaxSize = 32 << 20

// ErrTooLarge is the error for an event that is larger than MaxSize.
var ErrTooLarge = errors.New("it is too large to look into")

// unzip decompresses what MariaDB has compressed with log_bin_compress.
func unzip(zipped []byte) ([]byte, error) {
	f := fields{rest: zipped}
	head := f.uint8()
	length := head & 7
	var size uint64
	for _, b := range f.take(int(length)) {
		size = size<<8 | uint64(b)
	}
	switch {
	case f.short || length < 1 || length > 4:
		return nil, errShort
	case head&0x70 != 0:
		return nil, errors.New("it is compressed in an unknown way")
	case size > MaxSize:
		return nil, ErrTooLarge
	}
	reader, err := zlib.NewReader(bytes.NewReader(f.rest))
	if err != nil {
		return nil, fmt.Errorf("decompressing it: %w", err)
	}
	defer reader.Close() //nolint:errcheck // Read has the error
	plain := bytes.NewBuffer(make([]byte, 0, min(size, 64<<10)))
	if _, err := io.CopyN(plain, reader, int64(size)); err != nil {
		return nil, fmt.Errorf("decompressing it: %w", err)
	}
	return plain.Bytes(), nil
}

// ReadPayload calls use with each event that a transaction payload of MySQL 8 holds.
// Those have no checksum.
func ReadPayload(body []byte, use func(Header, []byte) error) error {
	plain, err := openPayload(body)
	if err != nil {
		return err
	}
	defer plain.Close()
	limited := &io.LimitedReader{R: plain, N: MaxSize}
	for {
		var head [HeaderSize]byte
		switch _, err := io.ReadFull(limited, head[:]); {
		case limited.N == 0:
			return ErrTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("decompressing it: %w", err)
		}
		h, err := ParseHeader(head[:])
		if err != nil {
			return err
		}
		if h.Size > MaxSize {
			return ErrTooLarge
		}
		var event bytes.Buffer
		if _, err := io.CopyN(&event, limited, int64(h.Size-HeaderSize)); err != nil {
			return fmt.Errorf("decompressing it: %w", err)
		}
		if err := use(h, event.Bytes()); err != nil {
			return err
		}
	}
}

// openPayload reads the fields before the events, and decompresses those.
func openPayload(body []byte) (io.ReadCloser, error) {
	const (
		endMark     = 0
		compression = 2

		withZSTD = 0
		without  = 255
	)
	f := fields{rest: body}
	kind := uint64(without)
	for {
		field := f.lenenc()
		if f.short {
			return nil, errShort
		}
		if field == endMark {
			break
		}
		value := fields{rest: f.bytes()}
		if field == compression {
			kind = value.lenenc()
		}
	}
	switch kind {
	case without:
		return io.NopCloser(bytes.NewReader(f.rest)), nil
	case withZSTD:
		decoder, err := zstd.NewReader(bytes.NewReader(f.rest), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxSize))
		if err != nil {
			return nil, fmt.Errorf("decompressing it: %w", err)
		}
		return decoder.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("it is compressed in the unknown way %d", kind)
	}
}
