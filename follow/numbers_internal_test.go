package follow

import (
	"encoding/hex"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestCommittedOfMySQL has transactions with numbers, of which some are executed.
func TestCommittedOfMySQL(t *testing.T) {
	t.Parallel()
	d, r := newTestDecoder("8.4.2"), new(reports)
	const source = "73737373-7373-7373-7373-737373737373"
	transact := func(number uint64, end uint32) {
		for _, e := range [][]byte{event(binlog.GTID, end-30, gtid(number)...), event(binlog.Query, end-20, query("BEGIN")...), event(binlog.XID, end, 1, 2, 3, 4, 5, 6, 7, 8)} {
			if err := d.decode(e, false, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustBe := func(missing string, offset uint64) {
		t.Helper()
		at, ok, err := d.visible.askNumbers(t.Context(), owning(missing))
		if err != nil || !ok || at != (userstore.LogPosition{File: 3, Offset: offset}) {
			t.Errorf("Committed is at %v, %t, %v, and not at %d, if %q isn't executed", at, ok, err, offset, missing)
		}
	}
	mustBe("", 1000)
	transact(1, 1100)
	transact(2, 1200)
	transact(3, 1300)
	mustBe(source+":1-3", 1000)
	mustBe(source+":2", 1100)
	mustBe(source+":3", 1200)
	mustBe("", 1300)
	for i := range 2 * separateNumbers {
		transact(uint64(i+4), uint32(1400+100*i))
	}
	mustBe("", 1300+100*2*separateNumbers)
	// A transaction without a number.
	if err := d.decode(event(binlog.AnonymousGTID, 70000, gtid(0)...), false, r); err != nil {
		t.Fatal(err)
	}
	if err := d.decode(event(binlog.XID, 70100, 1, 2, 3, 4, 5, 6, 7, 8), false, r); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.visible.ask(t.Context(), owning("")); ok || err != nil {
		t.Errorf("after a transaction without a number, Committed says %t, %v", ok, err)
	}
}

// TestCommittedOfMySQLWaitsForTransactionsBeforeTheStream begins while transactions
// that are in the log aren't executed yet. MySQL 9.7.4 has sent the first set.
func TestCommittedOfMySQLWaitsForTransactionsBeforeTheStream(t *testing.T) {
	t.Parallel()
	for _, then := range []string{
		"", // all have ended, also those that were rolled back
		"11111111-1111-1111-1111-111111111111:8#63:9#6222111111-1111-1111-1111-111111111111:8#64",
	} {
		d := newTestDecoder("8.4.2")
		v := newVisible(d.server)
		const owned = "11111111-1111-1111-1111-111111111111:6#63:7#6211111111-1111-1111-1111-111111111111:tag_a:5#6122111111-1111-1111-1111-111111111111:tag_a:8#64"
		if err := v.begin(t.Context(), owning(owned), d.at); err != nil {
			t.Fatal(err)
		}
		for _, still := range []string{owned, "11111111-1111-1111-1111-111111111111:7#62", "22111111-1111-1111-1111-111111111111:tag_a:8#64"} {
			if at, ok, err := v.askNumbers(t.Context(), owning(still)); err != nil || !ok || !at.Before(d.at) {
				t.Errorf("while %q are being committed, Committed is at %v, %t, %v", still, at, ok, err)
			}
		}
		if at, ok, err := v.askNumbers(t.Context(), owning(then)); err != nil || !ok || at != d.at {
			t.Errorf("Committed is at %v, %t, %v", at, ok, err)
		}
	}
}

// TestCommittedOfMySQLGoesOnAfterManyTransactions has more transactions than are kept,
// whose numbers don't follow one another, before the server is asked.
func TestCommittedOfMySQLGoesOnAfterManyTransactions(t *testing.T) {
	t.Parallel()
	d := newTestDecoder("8.4.2")
	at := d.at
	transact := func(number int64) {
		at.Offset += 100
		d.visible.transaction(&binlog.GlobalID{Number: number})
		d.visible.ended(at, false)
	}
	for i := range int64(mostNumbers) {
		transact(2 * i)
	}
	if kept := d.visible.numbers.count; kept > mostNumbers {
		t.Errorf("%d intervals are kept", kept)
	}
	for i := range int64(10) {
		transact(2*mostNumbers + i)
	}
	const first = "00000000-0000-0000-0000-000000000000:"
	if got, ok, err := d.visible.askNumbers(t.Context(), owning(first+"6#1")); err != nil || !ok || got != (userstore.LogPosition{File: 3, Offset: 1000}) {
		t.Errorf("while a transaction is being committed, Committed is at %v, %t, %v", got, ok, err)
	}
	transact(3 * mostNumbers)
	if got, ok, err := d.visible.askNumbers(t.Context(), owning("")); err != nil || !ok || got != at {
		t.Errorf("Committed is at %v, %t, %v, and not at %v", got, ok, err, at)
	}
}

// TestTransactionsOfMySQLWithTags reads events and sets as MySQL 9.7.4 has sent them.
func TestTransactionsOfMySQLWithTags(t *testing.T) {
	t.Parallel()
	d, r := newTestDecoder("9.7.4"), new(reports)
	d.checksum = binlog.ChecksumCRC32
	for _, sent := range []string{
		"5f55086b2a0100000051000000470100000000027400000002e085030428a503c10222c503c102b004f103000000020408060c74616767656408000a040c7fe736a9e82f61061009051283120b9e719f80",
		"5f55086b2a010000006b000000a3020000000002a800000002e085030428a503c10222c503c102b004f1030000000204040640615f6d7563685f6c6f6e6765725f7461675f6f665f33325f63686172735f787808040a080c7fa43aa9e82f61061071051283120b3640a080",
	} {
		e, err := hex.DecodeString(sent)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.decode(e, false, r); err != nil {
			t.Fatal(err)
		}
		if err := d.decode(checked(event(binlog.XID, uint32(d.at.Offset)+100, 1, 2, 3, 4, 5, 6, 7, 8)), false, r); err != nil {
			t.Fatal(err)
		}
	}
	const server = "70e10214-e9b0-11f1-b058-02fc00000001"
	for _, test := range []struct {
		missing string
		offset  uint64
	}{
		{server + ":58-80:a_much_longer_tag_of_32_chars_xx:1-3:tagged:2:5", 1000},
		{server + ":58-80:a_much_longer_tag_of_32_chars_xx:1-3:tagged:3:5", 1100},
		{server + ":1-2:tagged:1", 1200},
		{"", 1200},
	} {
		if at, ok, err := d.visible.askNumbers(t.Context(), owning(test.missing)); err != nil || !ok || at.Offset != test.offset {
			t.Errorf("Committed is at %v, %t, %v, and not at %d, if %q isn't executed", at, ok, err, test.offset, test.missing)
		}
	}
}
