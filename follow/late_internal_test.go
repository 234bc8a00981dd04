package follow

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestLateChangesAreVisibleOnceTheServerHasAnsweredForAWhile(t *testing.T) {
	t.Parallel()
	at := func(offset uint64) userstore.LogPosition { return userstore.LogPosition{File: 3, Offset: offset} }
	var l late
	now := time.Unix(1_700_000_000, 0)
	mustBe := func(committed, visible, later uint64, every time.Duration, times int) {
		t.Helper()
		for range times {
			if got := l.visible(at(committed), now); got != at(visible) {
				t.Fatalf("what is committed up to %d is visible up to %d, and not %d", committed, got.Offset, visible)
			}
			now = now.Add(every)
		}
		if got := l.visible(at(committed), now); got != at(later) {
			t.Fatalf("after %d questions, one each %s, it is visible up to %d, and not %d", times, every, got.Offset, later)
		}
	}
	l.transaction(at(1000), false)
	l.transaction(at(1100), true)
	l.transaction(at(1200), false)
	l.transaction(at(1300), true)
	mustBe(900, 900, 900, time.Second, 10)    // nothing of it is committed
	mustBe(1200, 1000, 1200, settled/20, 20)  // the first is believed, with what follows it
	mustBe(1300, 1200, 1200, time.Hour, 5)    // the server is frozen at times
	mustBe(1250, 1200, 1200, settled/20, 100) // the answer was one of another kind
	mustBe(1300, 1200, 1300, settled/20, 20)  // and counts anew
	mustBe(1200, 1300, 1300, settled/20, 1)   // what was told holds
	for i := range uint64(2 * separateSpans) {
		l.transaction(at(1400+100*i), true)
	}
	if len(l.spans) > separateSpans {
		t.Errorf("%d parts of the log are kept", len(l.spans))
	}
	end := uint64(1300 + 100*2*separateSpans)
	mustBe(end, 1300, end, settled/20, 20)
}

// TestTransactionsThatAreCommittedAfterTheLog looks at which ends of transactions say
// nothing of when queries see them.
func TestTransactionsThatAreCommittedAfterTheLog(t *testing.T) {
	t.Parallel()
	users := event(binlog.TableMap, 1100, usersMap()...)
	row := event(binlog.WriteRowsV2, 1200, append(head(3), user(9, "z")...)...)
	others := event(binlog.TableMap, 1100, slices.Concat([]byte{7, 0, 0, 0, 0, 0, 1, 0, 1}, []byte("d\x00\x06others\x00"), []byte{1, binlog.TypeLong, 0, 0})...)
	begin, commit := event(binlog.Query, 1050, query("BEGIN")...), event(binlog.Query, 1300, query("COMMIT")...)
	gtid, alone := event(binlog.MariaGTID, 1050, append(make([]byte, 12), 0, 0, 0, 0, 0, 0, 0)...), event(binlog.MariaGTID, 1050, append(make([]byte, 12), 1, 0, 0, 0, 0, 0, 0)...)
	text, xid := event(binlog.Query, 1200, query("UPDATE users SET n = 1")...), event(binlog.XID, 1300, 1, 2, 3, 4, 5, 6, 7, 8)
	for _, test := range []struct {
		name            string
		isMySQL, isLate bool
		events          [][]byte
	}{
		{"with an XID", false, false, [][]byte{begin, users, row, xid}},
		{"of a statement, with an XID", false, false, [][]byte{gtid, text, xid}},
		{"of a statement, without one", false, true, [][]byte{gtid, text, commit}},
		{"of a statement alone", false, true, [][]byte{alone, event(binlog.Query, 1300, query("TRUNCATE users")...)}},
		{"without one", false, true, [][]byte{begin, users, row, commit}},
		{"of another table", false, false, [][]byte{begin, others, row, commit}},
		{"of nothing", false, false, [][]byte{begin, commit}},
		{"a prepared one", false, false, [][]byte{begin, users, row, event(binlog.XAPrepare, 1300, make([]byte, 20)...)}},
		{"XA COMMIT", false, false, [][]byte{event(binlog.Query, 1300, query("XA COMMIT X'61',X'',1")...)}},
		{"XA COMMIT of MySQL", true, true, [][]byte{event(binlog.Query, 1300, query("XA COMMIT X'61',X'',1")...)}},
		{"a statement", false, true, [][]byte{event(binlog.Query, 1300, query("UPDATE users SET n = 1")...)}},
	} {
		version := "10.11.6-MariaDB"
		if test.isMySQL {
			version = "9.7.4"
		}
		d, r := newTestDecoder(version), new(reports)
		before := len(d.visible.late.spans)
		for _, e := range test.events {
			if err := d.decode(e, false, r); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
		}
		if isLate := len(d.visible.late.spans) > before; isLate != test.isLate || d.visible.late.ended.Offset != 1300 {
			t.Errorf("a transaction %s is late: %t; want %t, and its end in %+v", test.name, isLate, test.isLate, d.visible.late)
		}
	}
}
