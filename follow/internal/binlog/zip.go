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

// ReadPayload calls use with each event that a transaction payload of MySQL 8 holds, in
// memory that doesn't grow with the transaction. Of an event that is larger than MaxSize,
// only the beginning is passed. The events have no checksum, and are valid until use
// returns.
func ReadPayload(body []byte, use func(head Header, body []byte, isCut bool) error) error {
	plain, err := openPayload(body)
	if err != nil {
		return err
	}
	defer plain.Close()
	var event bytes.Buffer
	for {
		var head [HeaderSize]byte
		switch _, err := io.ReadFull(plain, head[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return undecompressed(err)
		}
		h, err := ParseHeader(head[:])
		if err != nil {
			return err
		}
		const kept = 1 << 20 // of the buffer, after a large event
		if event.Cap() > kept {
			event = bytes.Buffer{}
		}
		event.Reset()
		size := int64(h.Size - HeaderSize)
		keep := min(size, MaxSize)
		if _, err := io.CopyN(&event, plain, keep); err != nil {
			return undecompressed(err)
		}
		if _, err := io.CopyN(io.Discard, plain, size-keep); err != nil {
			return undecompressed(err)
		}
		if err := use(h, event.Bytes(), keep < size); err != nil {
			return err
		}
	}
}

// undecompressed is the error for what can't be decompressed. MySQL compresses large
// transactions with a window of up to 128 MiB, if binlog_transaction_compression_level_zstd
// is above 20.
func undecompressed(err error) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return ErrTooLarge
	}
	return fmt.Errorf("decompressing it: %w", err)
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
			return nil, undecompressed(err)
		}
		return decoder.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("it is compressed in the unknown way %d", kind)
	}
}
