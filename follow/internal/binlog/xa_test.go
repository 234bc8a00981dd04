package binlog_test

import (
	"testing"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
)

func TestXAStatements(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		statement, does string
		id              binlog.XAName
		isNamed         bool
	}{
		{"XA START X'676c',X'62',1", "START", binlog.XAName{Format: 1, Global: "gl", Branch: "b"}, true},
		{"XA BEGIN X'676C',X'',1", "START", binlog.XAName{Format: 1, Global: "gl"}, true},
		{"XA COMMIT X'00ff27',X'2c',4294967295", "COMMIT", binlog.XAName{Format: 4294967295, Global: "\x00\xff'", Branch: ","}, true},
		{"XA COMMIT X'61',X'',1 ONE PHASE", "COMMIT", binlog.XAName{Format: 1, Global: "a"}, true},
		{"XA ROLLBACK X'61',X'',1", "ROLLBACK", binlog.XAName{Format: 1, Global: "a"}, true},
		{"XA COMMIT 'a'", "COMMIT", binlog.XAName{}, false},
		{"XA COMMIT X'6',X'',1", "COMMIT", binlog.XAName{}, false},
		{"XA COMMIT X'61',X'',", "COMMIT", binlog.XAName{}, false},
		{"XA COMMIT X'61',X'',99999999999999999999", "COMMIT", binlog.XAName{}, false},
		{"XA", "", binlog.XAName{}, false},
		{"COMMIT", "", binlog.XAName{}, false},
	} {
		does, id, isNamed := binlog.QueryEvent{Statement: []byte(test.statement)}.XA()
		if does != test.does || id != test.id || isNamed != test.isNamed {
			t.Errorf("%s: %q, %+v, %t", test.statement, does, id, isNamed)
		}
	}
}

// TestMariaGTIDs reads events as MariaDB writes them: the number, the domain, flags, and
// what they say is there.
func TestMariaGTIDs(t *testing.T) {
	t.Parallel()
	begin := "\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, test := range []struct {
		rest  string
		want  binlog.MariaBegin
		fails bool
	}{
		{"\x0c\x00\x00\x00\x00\x00\x00", binlog.MariaBegin{}, false},
		{"\x0d\x00\x00\x00\x00\x00\x00", binlog.MariaBegin{IsAlone: true}, false},
		{"\x0e\x01\x02\x03\x04\x05\x06\x07\x08", binlog.MariaBegin{}, false},
		{"\x4c\x01\x00\x00\x00\x02\x01abc", binlog.MariaBegin{IsXA: true, XA: binlog.XAName{Format: 1, Global: "ab", Branch: "c"}}, false},
		{"\x4e\x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xff\x01\x00'", binlog.MariaBegin{IsXA: true, XA: binlog.XAName{Format: 1<<32 - 1, Global: "'"}}, false},
		{"\x8c\x01\x00\x00\x00\x02\x01abc", binlog.MariaBegin{IsAlone: true}, false}, // its commit
		{"\x4c\x01\x00\x00\x00\x02\x01ab", binlog.MariaBegin{}, true},
		{"\x4c\x01", binlog.MariaBegin{}, true},
	} {
		begins, err := binlog.ParseMariaGTID([]byte(begin + test.rest))
		if begins != test.want || (err != nil) != test.fails {
			t.Errorf("%q: %+v, %v", test.rest, begins, err)
		}
	}
}
