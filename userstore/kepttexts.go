package userstore

import (
	"database/sql"
	"encoding/binary"
	"errors"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// keptTexts are a row as the server has sent it, in two texts. Groups and permissions
// are in the second, because many users have the same.
type keptTexts struct{ own, shared string }

// textsOf encodes a row: each column's value follows its length. It is empty where no
// rows are kept.
func (p *plan) textsOf(r *row) keptTexts {
	if p.following == nil {
		return keptTexts{}
	}
	var sizes [2]int
	for i, raw := range r.raw[:p.width] {
		sizes[p.part(i)] += len(raw) + binary.MaxVarintLen16
	}
	own, shared := make([]byte, 0, sizes[0]), make([]byte, 0, sizes[1])
	for i, raw := range r.raw[:p.width] {
		if p.part(i) == 0 {
			own = appendValue(own, raw)
		} else {
			shared = appendValue(shared, raw)
		}
	}
	return keptTexts{string(own), string(shared)}
}

// part is the text that a column is in.
func (p *plan) part(column int) int {
	switch column {
	case p.groups, p.permissions, p.groupPermissions:
		return 1
	}
	return 0
}

// appendValue appends a value. The length is one more, so that 0 is NULL.
func appendValue(to []byte, raw sql.RawBytes) []byte {
	if raw == nil {
		return append(to, 0)
	}
	return append(binary.AppendUvarint(to, uint64(len(raw))+1), raw...)
}

// errTexts is a mistake in this package.
var errTexts = errors.New("a kept row can't be read")

// userOf makes a user of a row that was kept, as plan.user does of one that was read.
func (p *plan) userOf(texts keptTexts, kind token.Kind) (*User, error) {
	r := newRow(p.width)
	left := [2][]byte{[]byte(texts.own), []byte(texts.shared)}
	for i := range r.raw {
		from := &left[p.part(i)]
		size, n := binary.Uvarint(*from)
		if n <= 0 || size > uint64(len(*from)-n)+1 {
			return nil, errTexts
		}
		*from = (*from)[n:]
		if size > 0 {
			r.raw[i], *from = sql.RawBytes((*from)[:size-1:size-1]), (*from)[size-1:]
		}
	}
	return p.user(r, kind)
}

// valueAt returns a column's value in a row, which mustn't be of the shared text.
func (p *plan) valueAt(texts keptTexts, column int) (value []byte, ok bool) {
	left := []byte(texts.own)
	for i := range p.width {
		if p.part(i) != 0 {
			continue
		}
		size, n := binary.Uvarint(left)
		if n <= 0 || size > uint64(len(left)-n)+1 {
			return nil, false
		}
		left = left[n:]
		if i == column {
			return left[:max(size, 1)-1], size > 0
		}
		left = left[max(size, 1)-1:]
	}
	return nil, false
}
