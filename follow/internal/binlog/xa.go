package binlog

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// XAName is the name of an XA transaction.
type XAName struct {
	Format         uint64
	Global, Branch string
}

// XA returns what a statement does with an XA transaction, as "START" or "COMMIT", or
// an empty text if it is no such statement. isNamed is false if the transaction's name
// can't be read.
func (q QueryEvent) XA() (does string, id XAName, isNamed bool) {
	words := firstWords(q.Statement)
	if len(words) < 2 || words[0] != "XA" {
		return "", id, false
	}
	does = words[1]
	if does == "BEGIN" {
		does = "START"
	}
	id, isNamed = readXAName(q.Statement)
	return does, id, isNamed
}

// readXAName reads the name in a statement as servers write it into the log:
// XA COMMIT X'676c6f62616c',X'6272616e6368',1.
func readXAName(statement []byte) (id XAName, ok bool) {
	_, name, _ := bytes.Cut(statement, []byte("X'"))
	global, name, _ := bytes.Cut(name, []byte("',X'"))
	branch, name, ok := bytes.Cut(name, []byte("',"))
	if !ok {
		return id, false
	}
	end := bytes.IndexFunc(name, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(name)
	}
	var err error
	if id.Format, err = strconv.ParseUint(string(name[:end]), 10, 64); err != nil {
		return XAName{}, false
	}
	for _, part := range []struct {
		digits []byte
		to     *string
	}{{global, &id.Global}, {branch, &id.Branch}} {
		raw, err := hex.DecodeString(string(part.digits))
		if err != nil {
			return XAName{}, false
		}
		*part.to = string(raw)
	}
	return id, true
}

// MariaBegin is what MariaDB's GTID event says of the transaction that it begins.
type MariaBegin struct {
	// IsAlone tells that a statement follows without a commit, as one that changes
	// definitions, or that ends an XA transaction.
	IsAlone bool

	IsXA bool   // the transaction is to be prepared
	XA   XAName // its name
}

// ParseMariaGTID reads the body of MariaDB's GTID event.
func ParseMariaGTID(body []byte) (MariaBegin, error) {
	const (
		isAlone     = 1
		hasGroup    = 2  // the number of a group of commits follows
		isToBe      = 64 // prepared
		isCompleted = 128
	)
	f := fields{rest: body}
	f.take(12) // the number and the domain
	flags := f.uint8()
	begins := MariaBegin{IsAlone: flags&(isAlone|isCompleted) != 0, IsXA: flags&isToBe != 0}
	if !begins.IsXA {
		return begins, nil
	}
	if flags&hasGroup != 0 {
		f.take(8)
	}
	begins.XA.Format = uint64(f.uint32())
	global, branch := f.uint8(), f.uint8()
	begins.XA.Global, begins.XA.Branch = string(f.take(int(global))), string(f.take(int(branch)))
	if f.short {
		return MariaBegin{}, errShort
	}
	return begins, nil
}
