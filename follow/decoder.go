package follow

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// decoder reports what the events of a stream change.
type decoder struct {
	source      userstore.FollowSource
	server      *server
	definitions *definitions
	visible     *visible
	logger      *zap.Logger

	at       userstore.LogPosition // the end of what was read
	base     string                // the files' name without its number
	checksum binlog.Checksum
	isOpen   bool // a transaction has begun
	changes  bool // it has changed rows that are followed
	xa       xaTransactions

	followed map[string]map[string]int // tables by schema and name
	schemas  []string                  // in lower case
	tables   map[uint64]*mapped        // of the statement; nil for tables that aren't followed
}

// mapped is a table as the log describes it.
type mapped struct {
	index   int
	columns []binlog.Column // nil if they can't be read
}

func newDecoder(source userstore.FollowSource, s *server, end logEnd, v *visible, d *definitions) *decoder {
	made := &decoder{
		source: source, server: s, definitions: d, visible: v, logger: source.Logger,
		at: end.at, base: baseOf(end.file),
		followed: make(map[string]map[string]int), tables: make(map[uint64]*mapped), xa: newXATransactions(),
	}
	for i, table := range source.Tables {
		schema, name := made.fold(table.Schema), made.fold(table.Name)
		if made.followed[schema] == nil {
			made.followed[schema] = make(map[string]int)
			made.schemas = append(made.schemas, lower(schema))
		}
		made.followed[schema][name] = i
	}
	return made
}

// fold is a name of a schema or table in the form in which the server compares it.
func (d *decoder) fold(name string) string {
	if d.server.foldsNames() {
		return lower(name)
	}
	return name
}

// baseOf is a binlog's name without its number.
func baseOf(file string) string { return file[:max(0, bytes.LastIndexByte([]byte(file), '.'))] }

// decode reports what an event changes. An error ends the stream.
func (d *decoder) decode(event []byte, isCut bool, feed userstore.Feed) error {
	head, err := binlog.ParseHeader(event)
	if err != nil {
		return err
	}
	if head.Type == binlog.FormatDescription {
		format, err := binlog.ParseFormat(event[binlog.HeaderSize:])
		if err != nil {
			return fmt.Errorf("the description of the binlog's format: %w", err)
		}
		d.checksum = format.Checksum
	}
	if !isCut {
		if int(head.Size) != len(event) {
			return fmt.Errorf("an event of type %d has %d bytes instead of %d", head.Type, len(event), head.Size)
		}
		if event, err = d.checksum.Verify(event); err != nil {
			return fmt.Errorf("an event of type %d after %d: %w", head.Type, d.at.Offset, err)
		}
	}
	d.move(head)
	if err := d.report(head, event[binlog.HeaderSize:], isCut, feed); err != nil {
		return fmt.Errorf("an event of type %d before %d: %w", head.Type, d.at.Offset, err)
	}
	feed.Reached(d.at)
	return nil
}

// move goes to the end of an event. Its header has the low half of that; an event is
// less than 2 GiB long, so the high half follows.
func (d *decoder) move(head binlog.Header) {
	switch {
	case head.IsArtificial, head.Type == binlog.Heartbeat, head.Type == binlog.HeartbeatV2:
	case head.End == 0 && head.Type != binlog.FormatDescription && head.Type != binlog.Rotate:
		// MariaDB 11.4 and later: an event within a transaction.
		d.at.Offset += uint64(head.Size)
	case head.End != 0:
		d.moveTo(head.End)
	}
}

func (d *decoder) moveTo(end uint32) {
	if ahead := end - uint32(d.at.Offset); ahead < 1<<31 {
		d.at.Offset += uint64(ahead)
	}
}

// report reports what an event changes.
func (d *decoder) report(head binlog.Header, body []byte, isCut bool, feed userstore.Feed) error {
	kind := head.Type
	if kind.IsRows() {
		return d.rows(kind, body, isCut, feed)
	}
	switch kind {
	case binlog.TableMap:
		return d.tableMap(body, isCut, feed)
	case binlog.Query, binlog.MariaQueryCompressed:
		return d.statement(kind, body, isCut, feed)
	case binlog.TransactionPayload:
		return d.payload(body, isCut, feed)
	case binlog.Rotate:
		return d.rotate(body)
	case binlog.FormatDescription:
		clear(d.tables)
		return nil
	case binlog.Heartbeat, binlog.HeartbeatV2:
		return d.heartbeat(head, body)
	case binlog.MariaCheckpoint:
		return d.checkpoint(body)
	case binlog.GTID, binlog.TaggedGTID:
		id, err := binlog.ParseGTID(kind, body)
		d.visible.transaction(&id)
		return err
	case binlog.MariaGTID:
		return d.mariaGTID(body)
	case binlog.AnonymousGTID:
		d.visible.transaction(nil)
		return nil
	case binlog.XID:
		d.changes = false // that are late: the commit follows the log
		d.ended()
		return nil
	case binlog.XAPrepare:
		d.xa.prepared(d.changes)
		d.changes = false // which aren't visible yet
		d.ended()
		return nil
	case binlog.ExecuteLoadQuery:
		d.changedAll(feed, false, "LOAD DATA in the binlog instead of rows")
		if !d.isOpen {
			d.ended()
		}
		return nil
	case binlog.Stop, binlog.IntVar, binlog.BeginLoadQuery, binlog.AppendBlock, binlog.DeleteFile, binlog.Rand, binlog.UserVar, binlog.Ignorable, binlog.RowsQuery, binlog.PreviousGTIDs,
		binlog.TransactionContext, binlog.ViewChange, binlog.MariaAnnotateRows, binlog.MariaGTIDList,
		binlog.MariaStartEncryption:
		return nil // they change nothing, or belong to a statement that follows
	default:
		d.changedAll(feed, true, fmt.Sprintf("an event of type %d", kind))
		d.ended()
		return nil
	}
}

// mariaGTID notes the transaction that begins.
func (d *decoder) mariaGTID(body []byte) error {
	begins, err := binlog.ParseMariaGTID(body)
	if err != nil {
		return err
	}
	d.isOpen = !begins.IsAlone
	if begins.IsXA {
		d.xa.start(begins.XA, true)
	}
	return nil
}

// ended notes the end of a transaction.
func (d *decoder) ended() {
	d.visible.ended(d.at, d.changes)
	d.isOpen, d.changes = false, false
}

// changedAll reports that anything may have changed.
func (d *decoder) changedAll(feed userstore.Feed, isStructure bool, why string) {
	if isStructure {
		d.definitions.outdated()
	}
	d.changes = true
	feed.ChangedAll(d.at, isStructure, why)
}

// statement reports what a statement changes.
func (d *decoder) statement(kind binlog.Type, body []byte, isCut bool, feed userstore.Feed) error {
	q, err := binlog.ParseQuery(kind, body)
	switch {
	case isCut, errors.Is(err, binlog.ErrTooLarge):
		d.changedAll(feed, true, "a large statement")
		d.ended()
		return nil
	case err != nil:
		return err
	}
	does, id, isNamed := q.XA()
	switch effect := q.Effect(d.schemas); {
	case does == "COMMIT":
		d.commitPrepared(id, isNamed, feed)
	case does == "START":
		d.xa.start(id, isNamed)
	case does == "ROLLBACK":
		d.xa.forget(id)
	case effect == binlog.ChangesRows:
		d.changedAll(feed, false, "a statement in the binlog instead of rows")
	case effect == binlog.ChangesTables:
		d.changedAll(feed, true, "a statement that may change tables")
	}
	switch {
	case q.Begins():
		d.isOpen = true
	case q.Ends() || !d.isOpen:
		d.ended()
	}
	return nil
}

// commitPrepared reports what the commit of a prepared transaction changes: its rows are
// in the log since it was prepared, and visible from now on.
func (d *decoder) commitPrepared(id binlog.XAName, isNamed bool, feed userstore.Feed) {
	if !d.xa.mayHaveChanged(id, isNamed) {
		return
	}
	d.changedAll(feed, false, "XA COMMIT")
	if d.server.isMaria {
		d.visible.finishing(id, isNamed, d.at)
		d.changes = false // that are late: whether it is finished is known better
	}
}

// payload reports what the events of a compressed transaction change.
func (d *decoder) payload(body []byte, isCut bool, feed userstore.Feed) error {
	if isCut {
		d.changedAll(feed, true, "a large transaction")
		d.ended()
		return nil
	}
	err := binlog.ReadPayload(body, func(head binlog.Header, body []byte, isCut bool) error {
		if head.Type == binlog.TransactionPayload {
			return errors.New("a compressed transaction is in another one")
		}
		return d.report(head, body, isCut, feed)
	})
	if errors.Is(err, binlog.ErrTooLarge) {
		d.changedAll(feed, true, "a large transaction")
		d.ended()
		return nil
	}
	return err
}

// rotate goes to another file.
func (d *decoder) rotate(body []byte) error {
	file, offset, err := binlog.ParseRotate(body)
	if err != nil {
		return err
	}
	number, err := fileNumber(file)
	if err != nil {
		return err
	}
	to := userstore.LogPosition{File: number, Offset: offset}
	switch {
	case baseOf(file) != d.base:
		return fmt.Errorf("the log continues in another one, %s", file)
	case number == d.at.File:
		// The server says where the stream begins, or begins a file once more.
		to.Offset = max(to.Offset, d.at.Offset)
	case number != d.at.File+1:
		return fmt.Errorf("the log continues in %s: files are missing, or the log was reset", file)
	}
	d.at = to
	return nil
}

// heartbeat goes to the position that a heartbeat has.
func (d *decoder) heartbeat(head binlog.Header, body []byte) error {
	file, offset, err := binlog.ParseHeartbeat(head.Type, body)
	if err != nil {
		return err
	}
	number, err := fileNumber(file)
	if err != nil {
		return err
	}
	if number != d.at.File {
		return fmt.Errorf("a heartbeat is of %s, which the stream hasn't reached", file)
	}
	if offset > d.at.Offset {
		d.at.Offset = offset
	} else {
		d.moveTo(head.End)
	}
	return nil
}

// checkpoint notes which files' transactions are all committed.
func (d *decoder) checkpoint(body []byte) error {
	file, err := binlog.ParseCheckpoint(body)
	if err != nil {
		return err
	}
	number, err := fileNumber(file)
	if err != nil {
		return err
	}
	d.visible.checkpoint(number, d.at)
	return nil
}

// tableMap notes the table that rows are of.
func (d *decoder) tableMap(body []byte, isCut bool, feed userstore.Feed) error {
	table, err := binlog.ParseTable(body)
	if err != nil {
		return err
	}
	const most = 4096 // a statement changes as many tables at most
	if len(d.tables) >= most {
		clear(d.tables)
	}
	d.tables[table.ID] = nil
	index, ok := d.followed[d.fold(string(table.Schema))][d.fold(string(table.Name))]
	if !ok {
		return nil
	}
	columns, shape, err := table.Columns()
	isReadable := err == nil && !isCut
	if !isReadable {
		columns = nil
	}
	d.tables[table.ID] = &mapped{index, columns}
	if isReadable && !d.definitions.fits(index, columns, shape) {
		d.changedAll(feed, true, "the table "+d.source.Tables[index].Name+" has other columns than before")
	}
	return nil
}

// rows reports changed rows.
func (d *decoder) rows(kind binlog.Type, body []byte, isCut bool, feed userstore.Feed) error {
	rows, err := binlog.ParseRows(kind, body)
	if err != nil {
		return err
	}
	table, isKnown := d.tables[rows.TableID]
	switch {
	case !isKnown && rows.MayBeEmpty():
		return nil
	case !isKnown:
		d.changedAll(feed, false, "rows of a table that the log doesn't name")
		return nil
	case table == nil:
		return nil
	}
	d.changes = true
	keys, ok := d.keys(rows, table, isCut)
	switch {
	case !ok:
		feed.ChangedTable(d.at, table.index)
	case len(keys) > 0:
		feed.Changed(d.at, table.index, keys)
	}
	return nil
}

// keys reads the values of the keys. ok is false if they aren't there, or can't be
// read: then any rows of the table may have changed.
func (d *decoder) keys(rows binlog.Rows, table *mapped, isCut bool) (keys [][]*string, ok bool) {
	definition := d.definitions.of(table.index)
	if isCut || table.columns == nil || definition == nil || len(definition.keys) == 0 || !definition.canRead(table.columns) {
		return nil, false
	}
	ok = true
	err := rows.Each(table.columns, definition.places(), func(row binlog.Row) {
		if !ok {
			return
		}
		keys, ok = definition.append(keys, row)
	})
	return keys, ok && err == nil
}

// canRead reports whether the lengths of all columns' values are known.
func (d *definition) canRead(columns []binlog.Column) bool {
	for i, column := range columns {
		if column.IsOldTime() && !d.precise[i] {
			return false
		}
	}
	return true
}

// places are the places of the keys' columns.
func (d *definition) places() []int {
	places := make([]int, len(d.keys))
	for i, key := range d.keys {
		places[i] = key.index
	}
	return places
}

// append adds the values of the keys before and after a change.
func (d *definition) append(keys [][]*string, row binlog.Row) ([][]*string, bool) {
	before, ok := d.texts(row.Before, nil)
	if !ok {
		return nil, false
	}
	after, ok := d.texts(row.After, before)
	if !ok {
		return nil, false
	}
	if before != nil {
		keys = append(keys, before)
	}
	if after != nil && !slices.EqualFunc(before, after, sameText) {
		keys = append(keys, after)
	}
	return keys, true
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// texts are the texts of values. Those that aren't in the log are as before.
func (d *definition) texts(values []binlog.Value, before []*string) (texts []*string, ok bool) {
	if values == nil {
		return nil, true
	}
	texts = make([]*string, len(values))
	for i, value := range values {
		switch {
		case value.IsAbsent && before == nil:
			return nil, false
		case value.IsAbsent:
			texts[i] = before[i]
		case !value.IsNull:
			text, ok := d.keys[i].text(value.Bytes)
			if !ok {
				return nil, false
			}
			texts[i] = &text
		}
	}
	return texts, true
}
