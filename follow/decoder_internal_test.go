package follow

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// These functions encode events of MySQL as TestLogOfMySQL has them of a server, for what
// that log doesn't have.

// event is an event with its header, which ends at a place of the log.
func event(kind binlog.Type, end uint32, body ...byte) []byte {
	e := make([]byte, 4, binlog.HeaderSize+len(body))
	e = append(e, byte(kind))
	e = binary.LittleEndian.AppendUint32(e, 1)
	e = binary.LittleEndian.AppendUint32(e, uint32(binlog.HeaderSize+len(body)))
	e = binary.LittleEndian.AppendUint32(e, end)
	e = append(e, 0, 0)
	return append(e, body...)
}

// usersMap maps the table d.users, with an int and a varchar, to the number 7.
func usersMap() []byte {
	return slices.Concat([]byte{7, 0, 0, 0, 0, 0, 1, 0, 1}, []byte("d\x00\x05users\x00"), []byte{2, binlog.TypeLong, binlog.TypeVarchar, 2, 40, 0, 0})
}

// head is the beginning of an event with rows of version 2, of both columns.
func head(bitmaps ...byte) []byte {
	return append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2}, bitmaps...)
}

// user is a row.
func user(id byte, name string) []byte {
	return append([]byte{0, id, 0, 0, 0, byte(len(name))}, name...)
}

func query(text string) []byte {
	return append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'd', 0}, text...)
}

func gtid(number uint64) []byte {
	return binary.LittleEndian.AppendUint64(append([]byte{0}, strings.Repeat("s", 16)...), number)
}

// payload compresses events as binlog_transaction_compression does.
func payload(t testing.TB, events ...[]byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{2, 1, 0, 3, 1, 9, 0}, encoder.EncodeAll(slices.Concat(events...), nil)...)
}

// reports is a feed that remembers what it is told.
type reports struct {
	said []string
	at   userstore.LogPosition
}

func (r *reports) Began(userstore.LogPosition, userstore.Positions) {}
func (r *reports) Changed(_ userstore.LogPosition, _ int, keys [][]*string) {
	for _, row := range keys {
		for _, key := range row {
			if key == nil {
				r.said = append(r.said, "NULL")
				continue
			}
			r.said = append(r.said, *key)
		}
	}
}

func (r *reports) ChangedTable(userstore.LogPosition, int) { r.said = append(r.said, "table") }

func (r *reports) ChangedAll(userstore.LogPosition, bool, string) { r.said = append(r.said, "all") }
func (r *reports) Reached(at userstore.LogPosition)               { r.at = at }

// newTestDecoder reads the log of a server from binlog.000003, 1000 on.
func newTestDecoder(version string) *decoder {
	s := &server{version: version, isMaria: strings.Contains(version, "MariaDB"), variables: map[string]string{
		"lower_case_table_names": "0", "gtid_mode": "ON", "binlog_optimize_thread_scheduling": "ON",
	}}
	end := logEnd{file: "binlog.000003", at: userstore.LogPosition{File: 3, Offset: 1000}}
	source := userstore.FollowSource{Tables: []userstore.FollowedTable{{Schema: "d", Name: "users", Keys: []string{"id"}}}, Logger: zap.NewNop()}
	users := &definition{keys: []keyColumn{{name: "id", index: 0, kind: keyUnsigned}}}
	v := newVisible(s)
	_ = v.begin(context.Background(), owning(""), end.at)
	return newDecoder(source, s, end, v, newDefinitions([]*definition{users}))
}

// owning answers the question for gtid_owned, and for what isn't executed.
type owning string

func (o owning) query(context.Context, string) ([]map[string]string, error) {
	return []map[string]string{{"owned": string(o), "missing": string(o)}}, nil
}

func TestEventsThatOnlyMySQLSends(t *testing.T) {
	t.Parallel()
	partial := slices.Concat(head(3, 3), user(4, "before"), []byte{0}, user(4, "after"))
	for name, test := range map[string]struct {
		events [][]byte
		want   []string
	}{
		"rows of version 2":     {[][]byte{event(binlog.TableMap, 1100, usersMap()...), event(binlog.WriteRowsV2, 1200, append(head(3), user(5, "ann")...)...)}, []string{"5"}},
		"a row that moves":      {[][]byte{event(binlog.TableMap, 1100, usersMap()...), event(binlog.UpdateRowsV2, 1200, slices.Concat(head(3, 3), user(5, "ann"), user(6, "ann"))...)}, []string{"5", "6"}},
		"a partial update":      {[][]byte{event(binlog.TableMap, 1100, usersMap()...), event(binlog.PartialUpdateRows, 1200, partial...)}, []string{"4"}},
		"an image without id":   {[][]byte{event(binlog.TableMap, 1100, usersMap()...), event(binlog.DeleteRowsV2, 1200, append(head(2), 0, 1, 'x')...)}, []string{"table"}},
		"rows that are cut off": {[][]byte{event(binlog.TableMap, 1100, usersMap()...), event(binlog.DeleteRowsV2, 1200, append(head(3), 0, 1)...)}, []string{"table"}},
		"rows without a table":  {[][]byte{event(binlog.DeleteRowsV2, 1200, append(head(3), user(5, "ann")...)...)}, []string{"all"}},
		"a table with the number of none": {[][]byte{
			event(binlog.TableMap, 1100, append([]byte{0xff, 0xff, 0xff}, usersMap()[3:]...)...),
			event(binlog.WriteRowsV2, 1200, slices.Concat([]byte{0xff, 0xff, 0xff}, head(3)[3:], user(5, "ann"))...),
		}, []string{"5"}},
		"an event without rows": {[][]byte{event(binlog.DeleteRowsV2, 1200, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0, 0)}, nil},
		"a compressed transaction": {[][]byte{event(binlog.TransactionPayload, 1300, payload(t, event(binlog.Query, 0, query("BEGIN")...),
			event(binlog.TableMap, 0, usersMap()...), event(binlog.WriteRowsV2, 0, append(head(3), user(9, "z")...)...), event(binlog.XID, 0, 1, 2, 3, 4, 5, 6, 7, 8))...)}, []string{"9"}},
		"a compressed transaction of other tables that is large": {[][]byte{event(binlog.TransactionPayload, 1300, payload(t, event(binlog.Query, 0, query("BEGIN")...),
			event(binlog.RowsQuery, 0, make([]byte, 3*binlog.MaxSize/4)...), event(binlog.RowsQuery, 0, make([]byte, 3*binlog.MaxSize/4)...),
			event(binlog.TableMap, 0, usersMap()...), event(binlog.WriteRowsV2, 0, append(head(3), user(9, "z")...)...), event(binlog.XID, 0, 1, 2, 3, 4, 5, 6, 7, 8))...)}, []string{"9"}},
		"a compressed transaction with a large row": {[][]byte{event(binlog.TransactionPayload, 1300, payload(t,
			event(binlog.TableMap, 0, usersMap()...), event(binlog.WriteRowsV2, 0, append(head(3), make([]byte, binlog.MaxSize)...)...), event(binlog.XID, 0, 1, 2, 3, 4, 5, 6, 7, 8))...)}, []string{"table"}},
		"a compressed transaction that needs much memory": {[][]byte{event(binlog.TransactionPayload, 1300, append([]byte{2, 1, 0, 3, 1, 9, 0},
			0x28, 0xb5, 0x2f, 0xfd, 0, 17<<3, 1, 0, 0)...)}, []string{"all"}},
		"an unknown event":             {[][]byte{event(99, 1100, 1, 2, 3)}, []string{"all"}},
		"an incident":                  {[][]byte{event(26, 1100, 1, 0, 0)}, []string{"all"}},
		"a statement":                  {[][]byte{event(binlog.Query, 1100, query("UPDATE users SET n = 1")...)}, []string{"all"}},
		"BEGIN and COMMIT":             {[][]byte{event(binlog.Query, 1100, query("BEGIN")...), event(binlog.Query, 1200, query("COMMIT")...)}, nil},
		"what groups of servers send":  {[][]byte{event(binlog.TransactionContext, 1100, 1), event(binlog.ViewChange, 1200, 1), event(binlog.PreviousGTIDs, 1300, 1)}, nil},
		"a file's name in a heartbeat": {[][]byte{event(binlog.Heartbeat, 1100, []byte("binlog.000003")...)}, nil},
		"a heartbeat of version 2":     {[][]byte{event(binlog.HeartbeatV2, 1100, slices.Concat([]byte{1, 13}, []byte("binlog.000003"), []byte{2, 3, 0xfc, 0x4c, 0x04, 0})...)}, nil},
		"a table that isn't followed":  {[][]byte{event(binlog.TableMap, 1100, []byte(strings.Replace(string(usersMap()), "users", "other", 1))...), event(binlog.WriteRowsV2, 1200, append(head(3), user(5, "ann")...)...)}, nil},
		"an unknown type of a column":  {[][]byte{event(binlog.TableMap, 1100, []byte(strings.Replace(string(usersMap()), "\x02\x03\x0f", "\x02\x03\x77", 1))...), event(binlog.WriteRowsV2, 1200, append(head(3), user(5, "ann")...)...)}, []string{"table"}},
		"another shape of a known table": {[][]byte{
			event(binlog.TableMap, 1100, usersMap()...), event(binlog.TableMap, 1200, []byte(strings.Replace(string(usersMap()), "\x02\x03\x0f", "\x02\x08\x0f", 1))...),
		}, []string{"all"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, r := newTestDecoder("8.4.2"), new(reports)
			for _, e := range test.events {
				if err := d.decode(e, false, r); err != nil {
					t.Fatal(err)
				}
			}
			if last := test.events[len(test.events)-1]; !slices.Equal(r.said, test.want) || uint32(r.at.Offset) != binary.LittleEndian.Uint32(last[13:]) {
				t.Errorf("%q was reported up to %v: want %q", r.said, r.at, test.want)
			}
		})
	}
}

func TestEventsThatEndTheStream(t *testing.T) {
	t.Parallel()
	damaged := event(binlog.XID, 1100, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0)
	for name, e := range map[string][]byte{
		"an event without a header":    {1, 2, 3},
		"an event of another length":   event(binlog.XID, 1100, 1)[:binlog.HeaderSize],
		"a damaged event":              damaged,
		"another log":                  checked(event(binlog.Rotate, 0, append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "other.000004"...)...)),
		"a former file":                checked(event(binlog.Rotate, 0, append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "binlog.000002"...)...)),
		"a file after the next one":    checked(event(binlog.Rotate, 0, append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "binlog.000005"...)...)),
		"a heartbeat of another file":  checked(event(binlog.Heartbeat, 1100, []byte("binlog.000004")...)),
		"a statement that is cut off":  checked(event(binlog.Query, 1100, 1, 2, 3)),
		"a payload that is cut off":    checked(event(binlog.TransactionPayload, 1100, 2, 1)),
		"a payload within another one": checked(event(binlog.TransactionPayload, 1100, payload(t, event(binlog.TransactionPayload, 0, payload(t)...))...)),
		"an unknown way to compress":   checked(event(binlog.TransactionPayload, 1100, 2, 1, 7, 0, 1)),
		"a format of another version":  event(binlog.FormatDescription, 0, make([]byte, 120)...),
		"a table map without a number": checked(event(binlog.TableMap, 1100, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newTestDecoder("8.4.2")
			d.checksum = binlog.ChecksumCRC32
			if err := d.decode(e, false, new(reports)); err == nil {
				t.Error("the stream goes on")
			}
		})
	}
}

// checked adds a checksum to an event.
func checked(e []byte) []byte {
	binary.LittleEndian.PutUint32(e[9:], uint32(len(e)+4))
	return binary.LittleEndian.AppendUint32(e, crc32.ChecksumIEEE(e))
}

// TestPositionsBeyond4GiB reads a transaction that is larger than the field for its
// position.
func TestPositionsBeyond4GiB(t *testing.T) {
	t.Parallel()
	d, r := newTestDecoder("10.11.19-MariaDB"), new(reports)
	for offset := uint64(1000); offset < 9<<30; {
		offset += 1 << 30
		if err := d.decode(event(binlog.MariaAnnotateRows, uint32(offset)), false, r); err != nil {
			t.Fatal(err)
		}
		if r.at.Offset != offset {
			t.Fatalf("it is at %d, and not at %d", r.at.Offset, offset)
		}
	}
	before := r.at
	// An event of MariaDB 11.4 and later has no position within a transaction.
	if err := d.decode(event(binlog.MariaAnnotateRows, 0, make([]byte, 81)...), false, r); err != nil || r.at.Offset != before.Offset+100 {
		t.Errorf("it is at %d after %d: %v", r.at.Offset, before.Offset, err)
	}
	next := append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "binlog.000004"...)
	if err := d.decode(event(binlog.Rotate, 0, next...), false, r); err != nil || r.at != (userstore.LogPosition{File: 4, Offset: 4}) {
		t.Errorf("it is at %v: %v", r.at, err)
	}
}
