package limit

import "testing"

// TestLinesBeyondTheLimitAreCounted has more written than there is room for.
func TestLinesBeyondTheLimitAreCounted(t *testing.T) {
	t.Parallel()
	var l lineLimit
	written := 0
	for range 1000 {
		if _, ok := l.take(); ok {
			written++
		}
	}
	if written != mostLines {
		t.Errorf("%d lines, want %d", written, mostLines)
	}
	l.began = l.began.Add(-2 * linesForTime)
	if omitted, ok := l.take(); !ok || omitted != 1000-mostLines {
		t.Errorf("later: %t, %d omitted", ok, omitted)
	}
}
