package follow

import (
	"bytes"
	"compress/zlib"
	"slices"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
)

// Of the first byte of a series, in which FuzzDecode reads what sort of log it is.
const (
	ofMaria  = 2
	ofSums   = 4
	keyShift = 3 // behind it is the kind of the key
)

// FuzzDecode decodes a series of events. The first byte of each says whether it is cut,
// the second is its type, the third the length of its body.
func FuzzDecode(f *testing.F) {
	addDecoded(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		version, key := "8.4.2", keyColumn{name: "id", kind: keyUnsigned, size: 16}
		var sum binlog.Checksum
		if len(data) > 0 {
			key.kind = (keyUnsigned + keyKind(data[0]>>keyShift)) % (keyUUID + 1)
			if data[0]&ofMaria != 0 {
				version = "11.4.2-MariaDB"
			}
			if data[0]&ofSums != 0 {
				sum = binlog.ChecksumCRC32
			}
		}
		d, r := newTestDecoder(version), new(reports)
		d.definitions.tables[0].keys[0] = key
		d.checksum = sum
		end := uint32(d.at.Offset)
		for len(data) >= 3 {
			isCut, kind, size := data[0]&1 != 0, binlog.Type(data[1]), min(int(data[2]), len(data)-3)
			body := data[3 : 3+size]
			data = data[3+size:]
			end += uint32(size) + binlog.HeaderSize
			e := event(kind, end, body...)
			if sum == binlog.ChecksumCRC32 {
				e = checked(e)
			}
			before := d.at
			if err := d.decode(e, isCut, r); err != nil {
				return
			}
			if d.at.Before(before) {
				t.Fatalf("type %d goes back from %v to %v", kind, before, d.at)
			}
		}
		for _, key := range r.said {
			if len(key) > 1<<20 {
				t.Fatalf("a key has %d bytes", len(key))
			}
		}
	})
}

// addDecoded adds series of events of each type, whole and cut off.
func addDecoded(f *testing.F) {
	f.Helper()
	add := func(of byte, events ...[]byte) {
		var all []byte
		for _, e := range events {
			body := e[binlog.HeaderSize:]
			all = append(append(all, of, e[4], byte(len(body))), body...)
			of &= 1
		}
		f.Add(all)
	}
	table := event(binlog.TableMap, 0, usersMap()...)
	for kind := range 256 {
		for _, body := range [][]byte{nil, {1, 2, 3}, append(head(3), user(5, "ann")...)} {
			add(0, table, event(binlog.Type(kind), 0, body...))
		}
		add(1, event(binlog.Type(kind), 0, head(3)...))
	}
	for _, statement := range []string{
		"BEGIN", "COMMIT", "XA START X'61',X'',1", "XA END X'61',X'',1", "XA PREPARE X'61',X'',1", "XA COMMIT X'61',X'',1", "XA ROLLBACK X'61',X'',1", "XA COMMIT X'6',X'',1", "XA COMMIT 'a'",
		"ALTER TABLE t ADD c int", "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`", "/* a */ update t SET a = 1", "-- a\nDELETE FROM t", "# a\n REPLACE(t) VALUES (1)", "/*!50003 CREATE TRIGGER x */",
		"/* unfinished", "-- unfinished", "", "GRANT SELECT ON d.* TO a", "ANALYZE FORMAT=JSON DELETE FROM t", "CREATE TABLE t SELECT f()", "SOMETHING NEW", "SELECT f()", "SAVEPOINT `a`",
	} {
		e := query(statement)
		elsewhere := query(statement)
		elsewhere[13] = 'e'
		add(0, table, event(binlog.Query, 0, e...), event(binlog.XAPrepare, 0), event(binlog.Query, 0, query("XA COMMIT X'61',X'',1")...))
		add(ofMaria, event(binlog.Query, 0, elsewhere...), event(binlog.XID, 0, 1))
		add(1, event(binlog.Query, 0, e...))
	}
	addRows(add)
	addPositions(add)
	var sent [][]byte
	for _, e := range eventsOfLog(f) {
		sent = append(sent, e[:len(e)-4]) // without the checksum
	}
	add(0, sent...)
	add(ofSums, table, event(binlog.TransactionPayload, 0, payload(f, event(binlog.Query, 0, query("BEGIN")...), table, event(binlog.WriteRowsV2, 0, append(head(3), user(9, "z")...)...), event(binlog.XID, 0, 1))...))
	add(0, event(binlog.TransactionPayload, 0, payload(f, event(binlog.TransactionPayload, 0, payload(f)...))...))
	add(0, event(binlog.TransactionPayload, 0, payload(f, []byte{1, 2, 3})...))
	add(0, event(binlog.TransactionPayload, 0, append([]byte{2, 1, 0xff, 3, 1, 9, 0}, table...)...))
	add(0, event(binlog.TransactionPayload, 0, 2, 1, 0, 3, 1, 9, 0, 1, 2, 3, 4))
}

// addRows adds tables with columns of all types, and changes of their rows.
func addRows(add func(of byte, events ...[]byte)) {
	columns := func(kinds, meta []byte) []byte {
		begin := append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 1}, "d\x00\x05users\x00"...)
		return slices.Concat(begin, []byte{byte(len(kinds))}, kinds, []byte{byte(len(meta))}, meta, []byte{0})
	}
	for _, meta := range [][]byte{nil, {1}, {2, 0}, {4}, {6}, {7}, {0xfe, 36}, {0xee, 36}, {247, 1}, {0, 9}, {10, 2}, {70, 2}, {0, 1}, {0x2c, 1}} {
		for kind := range 256 {
			add(byte(kind)<<keyShift, event(binlog.TableMap, 0, columns([]byte{byte(kind)}, meta)...),
				event(binlog.WriteRowsV2, 0, slices.Concat([]byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1, 0}, bytes.Repeat([]byte{3}, 20))...))
		}
	}
	for kind := range keyUUID + 1 {
		add(byte(kind)<<keyShift, event(binlog.TableMap, 0, columns([]byte{binlog.TypeString, binlog.TypeVarchar}, []byte{0xfe, 36, 40, 0})...),
			event(binlog.UpdateRowsV1, 0, slices.Concat([]byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 3, 3, 0, 3}, []byte("a\x80b\x01x"), []byte{0, 2}, []byte("cd\x01y"))...))
	}
	table := event(binlog.TableMap, 0, usersMap()...)
	for _, kind := range []binlog.Type{binlog.WriteRowsV1, binlog.UpdateRowsV2, binlog.DeleteRowsV2, binlog.PartialUpdateRows} {
		for _, body := range [][]byte{
			slices.Concat(head(3, 3), user(5, "ann"), user(6, "ann")), slices.Concat(head(3, 2), user(5, "ann"), []byte{0, 1, 'x'}), slices.Concat(head(2, 3), []byte{0, 1, 'x'}, user(6, "ann")),
			head(3, 3, 3, 1, 0, 3, 1, 'x'), head(0, 0, 0), slices.Concat(head(3, 3), user(4, "before"), []byte{1, 0}, user(4, "after")),
			{7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 9},
			{0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0},
		} {
			add(0, table, event(kind, 0, body...))
		}
	}
	var zipped bytes.Buffer
	w := zlib.NewWriter(&zipped)
	_, _ = w.Write(user(5, "ann"))
	_ = w.Close()
	for _, before := range [][]byte{{0x81, 9}, {0x81, 99}, {0x84, 255, 255, 255, 255}, {0x91, 9}, {0x80}, {0x81}} {
		for kind := binlog.MariaWriteRowsV1; kind <= binlog.MariaDeleteRowsV2; kind++ {
			add(ofMaria, table, event(kind, 0, slices.Concat([]byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 3}, before, zipped.Bytes())...))
			add(ofMaria, table, event(kind, 0, slices.Concat(head(3), before, zipped.Bytes())...))
		}
		add(ofMaria, event(binlog.MariaQueryCompressed, 0, slices.Concat(query(""), before, zipped.Bytes())...))
	}
}

// addPositions adds files, heartbeats, checkpoints and numbers of transactions, with tags,
// too.
func addPositions(add func(of byte, events ...[]byte)) {
	at := []byte{4, 0, 0, 0, 0, 0, 0, 0}
	for _, file := range []string{"binlog.000004", "binlog.000003", "binlog.000005", "other.000004", "binlog", "binlog.x"} {
		add(0, event(binlog.Rotate, 0, append(slices.Clone(at), file...)...), event(binlog.Heartbeat, 0, []byte(file)...))
		add(0, event(binlog.Heartbeat, 0, []byte(file)...))
		add(0, event(binlog.HeartbeatV2, 0, slices.Concat([]byte{1, byte(len(file))}, []byte(file), []byte{2, 9, 0xfe, 0, 0, 0, 0, 1, 0, 0, 0, 0})...))
		add(ofMaria, event(binlog.MariaCheckpoint, 0, append([]byte{byte(len(file)), 0, 0, 0}, file...)...))
	}
	add(0, event(binlog.HeartbeatV2, 0, 2, 4, 0xfd, 1, 2, 3), event(binlog.HeartbeatV2, 0, 9, 0xfb), event(binlog.HeartbeatV2, 0, 1, 0xff, 0))
	for _, flags := range []byte{0, 1, 8, 64, 128, 192} {
		add(ofMaria, event(binlog.MariaGTID, 0, slices.Concat([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 1, 0, 0, 0, 1, 0}, []byte("a"))...), event(binlog.XAPrepare, 0, 1))
	}
	transaction := func(number byte) [][]byte {
		return [][]byte{event(binlog.GTID, 0, gtid(uint64(number))...), event(binlog.Query, 0, query("BEGIN")...), event(binlog.XID, 0, 1)}
	}
	add(0, slices.Concat(transaction(1), transaction(2), transaction(9), [][]byte{event(binlog.AnonymousGTID, 0, gtid(0)...), event(binlog.XID, 0, 1)})...)
	tagged := slices.Concat([]byte{2, 60, 0, 0, 0, 2}, bytes.Repeat([]byte{2}, 16), []byte{4, 8, 6, 4, 'a', 'b'})
	for _, end := range []int{0, 1, 2, 8, 20, 24, 26, len(tagged)} {
		add(0, event(binlog.TaggedGTID, 0, tagged[:end]...), event(binlog.XID, 0, 1))
	}
	add(0, event(binlog.TaggedGTID, 0, 2, 60, 0, 0, 0, 6, 0xff, 1, 2, 3, 4, 5, 6, 7, 8))
	for _, version := range []byte{3, 4} {
		format := append([]byte{version, 0}, make([]byte, 54)...)
		lengths := make([]byte, 60)
		lengths[binlog.TableMap-1] = 8
		for _, size := range []byte{binlog.HeaderSize, 1} {
			for _, sum := range []byte{0, 1, 2} {
				add(0, event(binlog.FormatDescription, 0, slices.Concat(format, []byte{size}, lengths, []byte{sum, 0, 0, 0, 0})...), event(binlog.XID, 0, 1))
			}
			add(0, event(binlog.FormatDescription, 0, slices.Concat(format, []byte{size}, make([]byte, 60))...))
		}
	}
}
