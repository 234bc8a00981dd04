package binlog

import "errors"

// GlobalSource is what numbers transactions of MySQL: a server, with each tag that it
// has for transactions.
type GlobalSource struct {
	UUID [16]byte
	Tag  string // empty for most
}

// GlobalID is MySQL's GTID of a transaction.
type GlobalID struct {
	Source GlobalSource
	Number int64
}

// ParseGTID reads the body of MySQL's event with the GTID of the transaction that begins.
func ParseGTID(t Type, body []byte) (GlobalID, error) {
	if t == TaggedGTID {
		return parseTagged(body)
	}
	f := fields{rest: body}
	f.take(1) // flags
	var id GlobalID
	copy(id.Source.UUID[:], f.take(16))
	id.Number = int64(f.uint64())
	if f.short {
		return GlobalID{}, errShort
	}
	return id, nil
}

// parseTagged reads the event for transactions with tags, which MySQL 8.3 and later write
// with their library for serialization: numbered fields, in the order of the numbers.
func parseTagged(body []byte) (GlobalID, error) {
	const (
		withFlags = iota
		withUUID
		withNumber
		withTag
	)
	f := fields{rest: body}
	if version := f.packed(); version != 1 && !f.short {
		return GlobalID{}, errors.New("its fields are written in an unknown way")
	}
	f.packed() // the size
	f.packed() // the last field that has to be understood
	var id GlobalID
	for !f.short {
		switch f.packed() {
		case withFlags:
			f.packed()
		case withUUID:
			for i := range id.Source.UUID {
				id.Source.UUID[i] = byte(f.packed())
			}
		case withNumber:
			// The lowest bit is the sign, and numbers are positive.
			id.Number = int64(f.packed() >> 1)
		case withTag:
			tag := f.take(int(min(f.packed(), 1<<10)))
			if f.short {
				return GlobalID{}, errShort
			}
			id.Source.Tag = string(tag)
			return id, nil
		default:
			return GlobalID{}, errors.New("it has an unknown field before the transaction's tag")
		}
	}
	return GlobalID{}, errShort
}
