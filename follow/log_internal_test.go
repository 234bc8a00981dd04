package follow

import (
	"context"
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// logOfMySQL is a file of the log of MySQL 9.7.4, as it sends it, of statements in the
// database d. Before, there were:
//
//	CREATE TABLE users (id int unsigned NOT NULL PRIMARY KEY, name varchar(40), settings json)
//	CREATE TABLE grants (id int PRIMARY KEY AUTO_INCREMENT, user_id int unsigned NOT NULL, FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)
//	CREATE TABLE other (a int)
const logOfMySQL = "testdata/mysql-9.7.4.binlog"

// transactionsOfLog are those of logOfMySQL, and what they change in users and grants.
var transactionsOfLog = []struct {
	statement string
	want      []string
}{
	{"INSERT INTO users VALUES (1, 'ann', '{...}'), (2, 'bob', NULL)", []string{"1", "2"}},
	{"SET GLOBAL binlog_row_metadata = FULL; UPDATE users SET name = 'anna' WHERE id = 1", []string{"1"}},
	{"SET gtid_next = 'AUTOMATIC:tag'; UPDATE users SET name = 'bobby' WHERE id = 2", []string{"2"}},
	{"SET binlog_row_value_options = PARTIAL_JSON; UPDATE users SET settings = JSON_SET(settings, '$.theme', 'b') WHERE id = 1", []string{"1"}},
	{"SET binlog_row_image = MINIMAL; UPDATE users SET settings = JSON_SET(settings, '$.size', 2), name = 'ann' WHERE id = 1", []string{"1"}},
	{"INSERT INTO grants (user_id) VALUES (2)", []string{"2"}},
	{"DELETE FROM users WHERE id = 2, and a cascade, which MySQL 9.6 and later log", []string{"2", "2"}},
	{"SET binlog_transaction_compression = ON; BEGIN; INSERT INTO users (id, name) VALUES (3, REPEAT('cid ', 9)); INSERT INTO other VALUES (1); COMMIT", []string{"3"}},
	{"XA START 'x'; UPDATE users SET name = 'x' WHERE id = 3; XA END 'x'; XA PREPARE 'x'", []string{"3"}},
	{"XA COMMIT 'x'", []string{"all"}},
	{"XA START 'y'; UPDATE users SET name = 'y' WHERE id = 3; XA END 'y'; XA COMMIT 'y' ONE PHASE", []string{"3"}},
	{"SET binlog_rows_query_log_events = ON; UPDATE users SET name = 'ann and more' WHERE id = 1", []string{"1"}},
	{"SET binlog_format = STATEMENT; UPDATE users SET name = 'z' WHERE id = 3", []string{"all"}},
	{"INSERT INTO other VALUES (2)", nil},
	{"CREATE TABLE copied SELECT id FROM users", []string{"all"}},
	{"ALTER TABLE users ADD COLUMN first int FIRST, ALGORITHM = INSTANT", []string{"all"}},
	{"UPDATE users SET first = 1 WHERE id = 1", []string{"table"}},
}

// eventsOfLog are the events of logOfMySQL.
func eventsOfLog(t testing.TB) (events [][]byte) {
	t.Helper()
	text, err := os.ReadFile(logOfMySQL)
	if err != nil {
		t.Fatal(err)
	}
	for text = text[4:]; len(text) > 0; { // the file begins with \xfebin
		size := binary.LittleEndian.Uint32(text[9:])
		events = append(events, text[:size])
		text = text[size:]
	}
	return events
}

// newLogDecoder reads logOfMySQL from its beginning.
func newLogDecoder(t testing.TB) *decoder {
	t.Helper()
	s := &server{version: "9.7.4", variables: map[string]string{"lower_case_table_names": "0", "gtid_mode": "ON"}}
	end := logEnd{file: "binlog.000001", at: userstore.LogPosition{File: 1, Offset: 4}}
	source := userstore.FollowSource{Logger: zap.NewNop(), Tables: []userstore.FollowedTable{
		{Schema: "d", Name: "users", Keys: []string{"id"}}, {Schema: "d", Name: "grants", Keys: []string{"user_id"}},
	}}
	v := newVisible(s)
	if err := v.begin(context.Background(), owning(""), end.at); err != nil {
		t.Fatal(err)
	}
	return newDecoder(source, s, end, v, newDefinitions([]*definition{
		{keys: []keyColumn{{name: "id", index: 0, kind: keyUnsigned}}}, {keys: []keyColumn{{name: "user_id", index: 1, kind: keyUnsigned}}},
	}))
}

func TestLogOfMySQL(t *testing.T) {
	t.Parallel()
	d, r := newLogDecoder(t), new(reports)
	rest := transactionsOfLog
	for _, e := range eventsOfLog(t) {
		if kind := binlog.Type(e[4]); kind == binlog.Rotate {
			break
		}
		before := len(d.visible.numbers.pending)
		if err := d.decode(e, false, r); err != nil {
			t.Fatal(err)
		}
		if len(d.visible.numbers.pending) == before {
			continue // the transaction goes on
		}
		if len(rest) == 0 {
			t.Fatalf("there is another transaction, with %q", r.said)
		}
		if !slices.Equal(r.said, rest[0].want) {
			t.Errorf("it was reported that %q changed, and not %q, by %s", r.said, rest[0].want, rest[0].statement)
		}
		r.said, rest = nil, rest[1:]
	}
	if len(rest) > 0 || len(r.said) > 0 {
		t.Errorf("transactions are missing: %q, and %q was reported", rest, r.said)
	}
	// They are visible in their order.
	ends := slices.Clone(d.visible.numbers.pending)
	for i, one := range ends {
		missing := one.ids.String()
		at, ok, err := d.visible.askNumbers(t.Context(), owning(missing))
		if want := (userstore.LogPosition{File: 1, Offset: 4}); err != nil || !ok || i == 0 && at != want || i > 0 && at != ends[i-1].end {
			t.Errorf("while %s is missing, Committed is at %v, %t, %v", missing, at, ok, err)
		}
	}
	if at, ok, err := d.visible.askNumbers(t.Context(), owning("")); err != nil || !ok || at != ends[len(ends)-1].end {
		t.Errorf("Committed is at %v, %t, %v", at, ok, err)
	}
}
