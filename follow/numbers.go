package follow

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// numbers are those of MySQL's transactions, their GTIDs. A transaction has its GTID
// before it is in the log, and is in gtid_owned from then on until it is committed, and in
// gtid_executed afterwards.
type numbers struct {
	current *binlog.GlobalID // of the transaction that the stream is in
	pending []numbered       // those that weren't visible when the server was asked
	count   int              // of the intervals in pending

	// before are the transactions that were owned when the log was read up to a position.
	// If isMissed, that position is known, but they haven't been asked for.
	before   gtids
	until    userstore.LogPosition
	isMissed bool

	lost bool // a transaction had no number
}

// numbered are transactions that follow one another, and where the last one ends.
type numbered struct {
	ids gtids
	end userstore.LogPosition
}

const (
	// separateNumbers is how many transactions of MySQL are kept one by one. Further
	// ones are visible when all of them are.
	separateNumbers = 256

	// mostNumbers is how many intervals of numbers are kept.
	mostNumbers = 1 << 14
)

// transaction notes the number of MySQL's transaction that begins, or nil if it has none.
func (v *visible) transaction(id *binlog.GlobalID) { v.numbers.current = id }

// ended notes the end of the transaction that has begun. The mutex of visible is held.
func (n *numbers) ended(at userstore.LogPosition) {
	id := n.current
	n.current = nil
	switch {
	case n.lost:
		return
	case id == nil:
		n.lost, n.pending = true, nil
		return
	case n.isMissed:
		n.until = at
		return
	}
	last := len(n.pending) - 1
	if last+1 < separateNumbers {
		n.pending = append(n.pending, numbered{ids: make(gtids)})
		last++
	}
	n.pending[last].end = at
	if n.pending[last].ids.add(*id) {
		n.count++
	}
	if n.count > mostNumbers {
		n.missed(at)
	}
}

// missed forgets transactions. They count as those before the stream's beginning.
func (n *numbers) missed(until userstore.LogPosition) {
	n.pending, n.count = nil, 0
	n.before, n.until, n.isMissed = nil, until, true
}

// askBefore asks which of the transactions up to a position are being committed.
func (v *visible) askBefore(ctx context.Context, q querier) error {
	v.mu.Lock()
	n := &v.numbers
	isMissed, until := n.isMissed, n.until
	n.isMissed = false // those that end from now on are pending
	v.mu.Unlock()
	if !isMissed {
		return nil
	}
	owned, err := askOwned(ctx, q)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err != nil:
		if last := len(n.pending) - 1; last >= 0 {
			until = n.pending[last].end
		}
		n.missed(until)
	case len(owned) == 0:
		v.advance(until)
	default:
		n.before = owned
	}
	return err
}

// beforeIsVisible asks whether the transactions before are committed, or given up.
func (v *visible) beforeIsVisible(ctx context.Context, q querier) (bool, error) {
	v.mu.Lock()
	before, until := v.numbers.before, v.numbers.until
	v.mu.Unlock()
	if before == nil {
		return true, nil
	}
	owned, err := askOwned(ctx, q)
	if err != nil || owned.hasAnyOf(before) {
		return false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.numbers.until == until {
		v.numbers.before = nil
	}
	v.advance(until)
	return true, nil
}

// askNumbers asks which of the pending transactions are executed.
func (v *visible) askNumbers(ctx context.Context, q querier) (at userstore.LogPosition, ok bool, err error) {
	if err := v.askBefore(ctx, q); err != nil {
		return at, false, err
	}
	isVisible, err := v.beforeIsVisible(ctx, q)
	if err != nil {
		return at, false, err
	}
	v.mu.Lock()
	n := &v.numbers
	known, lost := v.known, n.lost
	all := make(gtids)
	ends := make([]numbered, len(n.pending))
	for i, one := range n.pending {
		ends[i] = numbered{one.ids.clone(), one.end} // more may be added to the last one
		all.addAll(one.ids)
	}
	v.mu.Unlock()
	if lost || !isVisible || len(ends) == 0 {
		return known, !lost, nil
	}
	rows, err := q.query(ctx, "SELECT GTID_SUBTRACT('"+all.String()+"', @@GLOBAL.gtid_executed) AS missing")
	if err != nil {
		return at, false, fmt.Errorf("asking which transactions are executed: %w", err)
	}
	if len(rows) != 1 {
		return at, false, errors.New("the server doesn't tell which transactions are executed")
	}
	missing, err := parseGTIDs(rows[0]["missing"])
	if err != nil {
		return at, false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range ends {
		if missing.hasAnyOf(one.ids) {
			break
		}
		v.advance(one.end)
	}
	n.pending = slices.DeleteFunc(n.pending, func(one numbered) bool { return !v.known.Before(one.end) })
	n.count = 0
	for _, one := range n.pending {
		n.count += one.ids.intervals()
	}
	return v.known, !n.lost, nil
}

// askOwned asks which transactions have a number, and aren't committed.
func askOwned(ctx context.Context, q querier) (gtids, error) {
	rows, err := q.query(ctx, "SELECT @@GLOBAL.gtid_owned AS owned")
	if err != nil {
		return nil, fmt.Errorf("asking which transactions are being committed: %w", err)
	}
	if len(rows) != 1 {
		return nil, errors.New("the server doesn't tell which transactions are being committed")
	}
	return parseOwned(rows[0]["owned"])
}

// interval are numbers of one source.
type interval struct{ from, to int64 }

// gtids are intervals by source.
type gtids map[binlog.GlobalSource][]interval

// add adds a transaction, and reports whether that took another interval.
func (g gtids) add(id binlog.GlobalID) bool {
	of := g[id.Source]
	if last := len(of) - 1; last >= 0 && of[last].to+1 == id.Number {
		of[last].to = id.Number
		return false
	}
	g[id.Source] = append(of, interval{id.Number, id.Number})
	return true
}

func (g gtids) addAll(more gtids) {
	for source, of := range more {
		g[source] = append(g[source], of...)
	}
}

func (g gtids) clone() gtids {
	made := make(gtids, len(g))
	made.addAll(g)
	return made
}

func (g gtids) intervals() (n int) {
	for _, of := range g {
		n += len(of)
	}
	return n
}

// hasAnyOf reports whether two sets have a transaction in common.
func (g gtids) hasAnyOf(other gtids) bool {
	for source, some := range other {
		for _, i := range g[source] {
			if slices.ContainsFunc(some, func(j interval) bool { return i.from <= j.to && j.from <= i.to }) {
				return true
			}
		}
	}
	return false
}

// String writes the set as MySQL reads it.
func (g gtids) String() string {
	var b strings.Builder
	for source, of := range g {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		id := source.UUID
		fmt.Fprintf(&b, "%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
		if source.Tag != "" {
			b.WriteString(":" + source.Tag)
		}
		for _, i := range of {
			fmt.Fprintf(&b, ":%d-%d", i.from, i.to)
		}
	}
	return b.String()
}

// parseGTIDs reads a set that MySQL has written, as uuid:1-3:7:tag:1,uuid:5.
func parseGTIDs(text string) (gtids, error) {
	set := make(gtids)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			if err := set.parse(part); err != nil {
				return nil, fmt.Errorf("the set of transactions %q can't be read: %w", part, err)
			}
		}
	}
	return set, nil
}

// parse adds what is written of one server.
func (g gtids) parse(part string) error {
	fields := strings.Split(part, ":")
	var source binlog.GlobalSource
	uuid := strings.ReplaceAll(fields[0], "-", "")
	if len(uuid) != 2*len(source.UUID) {
		return errors.New("a server's UUID has another length")
	}
	if _, err := hex.Decode(source.UUID[:], []byte(uuid)); err != nil {
		return err
	}
	for _, field := range fields[1:] {
		if field = strings.TrimSpace(field); field == "" || field[0] < '0' || field[0] > '9' {
			source.Tag = field // of the numbers that follow
			continue
		}
		from, to, isRange := strings.Cut(field, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			return err
		}
		last, err := strconv.ParseInt(to, 10, 64)
		if err != nil {
			return err
		}
		g[source] = append(g[source], interval{first, last})
	}
	return nil
}

var (
	// ownerOf is the thread that owns a transaction's number.
	ownerOf = regexp.MustCompile(`#\d+`)

	uuidOf = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// parseOwned reads what MySQL has written in gtid_owned: uuid:5#61:7#62uuid:tag:5#63. There
// is nothing between the sets of two servers, or of two tags.
func parseOwned(text string) (gtids, error) {
	set := make(gtids)
	begins := uuidOf.FindAllStringIndex(text, -1)
	if len(begins) == 0 && strings.TrimSpace(text) != "" {
		return nil, fmt.Errorf("the transactions that are being committed, %q, can't be read", text)
	}
	for i, begin := range begins {
		part := text[begin[0]:]
		if i+1 < len(begins) {
			part = text[begin[0]:begins[i+1][0]]
		}
		part = ownerOf.ReplaceAllString(strings.TrimRight(part, ", \n"), "")
		if err := set.parse(part); err != nil {
			return nil, fmt.Errorf("the transactions that are being committed, %q, can't be read: %w", part, err)
		}
	}
	return set, nil
}
