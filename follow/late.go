package follow

import (
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// late are changes that queries may see only some time after the server has told that
// the log is committed up to them. A transaction that ends with an XID is committed
// before the server tells so. Others are written to the log first: changes of tables, and
// a transaction that changes also a table of Aria or MyISAM. No answer of a server tells
// when queries see them. (MariaDB writes XA COMMIT first, too, but see finishing.)
//
// They are believed to be visible after the server has answered questions for settled.
// What happens between two questions is counted only for longestStep, since a frozen
// server commits nothing.
type late struct {
	spans []span
	asked time.Time             // when the last question was asked
	told  userstore.LogPosition // the last answer
	ended userstore.LogPosition // where the last transaction has ended
}

// span is a part of the log with such changes.
type span struct {
	from, to    userstore.LogPosition
	isCommitted bool          // the server has told so
	answering   time.Duration // for how long the server has answered since then
}

const (
	// settled is how long a server must have answered.
	settled = time.Second

	longestStep = 100 * time.Millisecond

	// separateSpans is how many spans are settled one by one. Further ones are settled
	// together.
	separateSpans = 256
)

// transaction notes the end of a transaction.
func (l *late) transaction(end userstore.LogPosition, isLate bool) {
	from := l.ended
	l.ended = end
	switch last := len(l.spans) - 1; {
	case !isLate:
	case last+1 < separateSpans:
		l.spans = append(l.spans, span{from: from, to: end})
	default:
		l.spans[last] = span{from: l.spans[last].from, to: end}
	}
}

// visible returns the position up to which changes are visible. asked is when the
// question was asked whose answer is that changes are committed up to a position.
func (l *late) visible(committed userstore.LogPosition, asked time.Time) userstore.LogPosition {
	step := min(asked.Sub(l.asked), longestStep)
	l.asked = asked
	for i := range l.spans {
		switch s := &l.spans[i]; {
		case committed.Before(s.to):
			s.isCommitted, s.answering = false, 0
		case !s.isCommitted:
			s.isCommitted = true
		default:
			s.answering += step
		}
	}
	for len(l.spans) > 0 && l.spans[0].answering >= settled {
		l.spans = l.spans[1:]
	}
	if len(l.spans) > 0 && l.spans[0].from.Before(committed) {
		committed = l.spans[0].from
	}
	if l.told.Before(committed) {
		l.told = committed
	}
	return l.told
}
