// Package binlog reads the events of MySQL's and MariaDB's binary log: of each, only
// what tells which rows of which tables have changed. It never panics, whatever the
// bytes are, and its errors hold no values of rows.
//
// The formats are those of MySQL's libs/mysql/binlog/event and of MariaDB's
// sql/log_event.h.
package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Type is the type of an event.
type Type uint8

// The types of events that are known. Their names are MySQL's or MariaDB's.
const (
	Query              Type = 2
	Stop               Type = 3
	Rotate             Type = 4
	IntVar             Type = 5
	AppendBlock        Type = 9
	DeleteFile         Type = 11
	Rand               Type = 13
	UserVar            Type = 14
	FormatDescription  Type = 15
	XID                Type = 16
	BeginLoadQuery     Type = 17
	ExecuteLoadQuery   Type = 18
	TableMap           Type = 19
	WriteRowsV0        Type = 20
	UpdateRowsV0       Type = 21
	DeleteRowsV0       Type = 22
	WriteRowsV1        Type = 23
	UpdateRowsV1       Type = 24
	DeleteRowsV1       Type = 25
	Heartbeat          Type = 27
	Ignorable          Type = 28
	RowsQuery          Type = 29
	WriteRowsV2        Type = 30
	UpdateRowsV2       Type = 31
	DeleteRowsV2       Type = 32
	GTID               Type = 33
	AnonymousGTID      Type = 34
	PreviousGTIDs      Type = 35
	TransactionContext Type = 36
	ViewChange         Type = 37
	XAPrepare          Type = 38
	PartialUpdateRows  Type = 39
	TransactionPayload Type = 40
	HeartbeatV2        Type = 41
	TaggedGTID         Type = 42

	MariaAnnotateRows    Type = 160
	MariaCheckpoint      Type = 161
	MariaGTID            Type = 162
	MariaGTIDList        Type = 163
	MariaStartEncryption Type = 164
	MariaQueryCompressed Type = 165
	MariaWriteRowsV1     Type = 166 // compressed, as those that follow
	MariaUpdateRowsV1    Type = 167
	MariaDeleteRowsV1    Type = 168
	MariaWriteRowsV2     Type = 169
	MariaUpdateRowsV2    Type = 170
	MariaDeleteRowsV2    Type = 171
)

const (
	// HeaderSize is the size of an event's header.
	HeaderSize   = 19
	checksumSize = 4

	// flagArtificial marks events that the server has made for the stream: they aren't
	// in the log.
	flagArtificial = 0x20
)

// errShort is the error for an event that ends too early.
var errShort = errors.New("it ends in the midst of a field")

// Header is the header of an event.
type Header struct {
	Type Type
	Size uint32 // of the whole event

	// End is the low half of the event's end in the log, or 0 if the event has no place
	// there.
	End uint32

	IsArtificial bool
}

// ParseHeader reads the header of an event.
func ParseHeader(event []byte) (Header, error) {
	if len(event) < HeaderSize {
		return Header{}, fmt.Errorf("an event of %d bytes is shorter than its header", len(event))
	}
	h := Header{
		Type:         Type(event[4]),
		Size:         binary.LittleEndian.Uint32(event[9:]),
		End:          binary.LittleEndian.Uint32(event[13:]),
		IsArtificial: binary.LittleEndian.Uint16(event[17:])&flagArtificial != 0,
	}
	if h.Size < HeaderSize {
		return Header{}, fmt.Errorf("an event of type %d says that its size is %d", h.Type, h.Size)
	}
	return h, nil
}

// Checksum is how events are protected.
type Checksum uint8

// The algorithms of binlog_checksum.
const (
	ChecksumNone  Checksum = 0
	ChecksumCRC32 Checksum = 1
)

// Verify returns the event without its checksum, after comparing it.
func (c Checksum) Verify(event []byte) ([]byte, error) {
	switch c {
	case ChecksumNone:
		return event, nil
	case ChecksumCRC32:
		end := len(event) - checksumSize
		if end < HeaderSize {
			return nil, errShort
		}
		if crc32.ChecksumIEEE(event[:end]) != binary.LittleEndian.Uint32(event[end:]) {
			return nil, errors.New("its checksum is wrong: the log is damaged, or was on its way")
		}
		return event[:end], nil
	default:
		return nil, fmt.Errorf("its checksum is of the unknown kind %d", c)
	}
}

// Format is what a format description says of the events that follow it.
type Format struct {
	Version  string
	Checksum Checksum
}

// ParseFormat reads the body of a format description, with its checksum, if there is
// one.
func ParseFormat(body []byte) (Format, error) {
	f := fields{rest: body}
	if version := f.uint16(); version != 4 && !f.short {
		return Format{}, fmt.Errorf("the log is of version %d, and not 4: the server is too old", version)
	}
	version := f.take(50)
	f.take(4) // time of creation
	if size := f.uint8(); size != HeaderSize && !f.short {
		return Format{}, fmt.Errorf("events have headers of %d bytes", size)
	}
	// The lengths of the types' headers, then the kind of checksum, and a checksum
	// whatever that kind is.
	if f.short || len(f.rest) <= checksumSize+int(TableMap) {
		return Format{}, errShort
	}
	if tableMap := f.rest[TableMap-1]; tableMap != 8 {
		return Format{}, fmt.Errorf("tables have numbers of %d bytes: the server is too old", tableMap-2)
	}
	return Format{cutString(version), Checksum(f.rest[len(f.rest)-checksumSize-1])}, nil
}

// cutString is the text before the first zero byte.
func cutString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// ParseRotate reads the body of a rotate event: the file that follows, and where in it.
func ParseRotate(body []byte) (file string, offset uint64, err error) {
	f := fields{rest: body}
	offset = f.uint64()
	if f.short || len(f.rest) == 0 {
		return "", 0, errShort
	}
	return string(f.rest), offset, nil
}

// ParseCheckpoint reads the body of MariaDB's binlog checkpoint: the file before which
// all transactions are committed in the storage engines.
func ParseCheckpoint(body []byte) (file string, err error) {
	f := fields{rest: body}
	name := f.take(int(f.uint32()))
	if f.short || len(name) == 0 {
		return "", errShort
	}
	return string(name), nil
}

// ParseHeartbeat reads the body of a heartbeat. The offset is 0 where it has only the
// half in its header.
func ParseHeartbeat(t Type, body []byte) (file string, offset uint64, err error) {
	if t == Heartbeat {
		return string(body), 0, nil
	}
	const (
		endMark   = 0
		fileName  = 1
		logOffset = 2
	)
	f := fields{rest: body}
	for len(f.rest) > 0 && !f.short {
		kind := f.lenenc()
		if kind == endMark {
			break
		}
		value := f.bytes()
		switch kind {
		case fileName:
			file = string(value)
		case logOffset:
			inner := fields{rest: value}
			offset = inner.lenenc()
		}
	}
	if f.short {
		return "", 0, errShort
	}
	return file, offset, nil
}
