package ledger_test

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
)

func TestSpans(t *testing.T) {
	t.Parallel()
	begin := time.Now().Add(-time.Hour)
	var s ledger.Spans
	end := s.BeginAt(begin)
	if !s.Touch(begin.Add(time.Minute), begin.Add(2*time.Minute), 0) {
		t.Error("an open span has no end yet")
	}
	if s.Touch(begin.Add(-2*time.Minute), begin.Add(-time.Minute), time.Hour) {
		t.Error("what was over before a span began has nothing to do with it")
	}
	if _, open := s.Last(); !open {
		t.Error("the span is open")
	}
	end()
	ended, open := s.Last()
	if open || ended.Before(begin) {
		t.Errorf("the span ended at %s, open: %v", ended, open)
	}
	if !s.Touch(ended.Add(time.Second), ended.Add(2*time.Second), time.Minute) {
		t.Error("a second after a span may be its consequence")
	}
	if s.Touch(ended.Add(2*time.Minute), ended.Add(3*time.Minute), time.Minute) {
		t.Error("two minutes after it are no consequence")
	}
}
