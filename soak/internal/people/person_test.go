package people

import (
	"testing"
	"time"
)

// TestVerdict has a password that is changed, and an account that is
// deactivated and comes back. Seconds count from the start.
func TestVerdict(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	p := &Person{states: []state{
		{"a", true, at(0), at(0)},
		{"b", true, at(10), at(12)},  // a new password
		{"b", false, at(20), at(21)}, // deactivated
		{"b", true, at(30), at(33)},  // back
		{"c", true, at(40), time.Time{}},
	}}
	for _, test := range []struct {
		password       string
		sent, answered int
		want           Verdict
	}{
		{"a", 1, 2, Verdict{MayPass: true}},
		{"a", 8, 9, Verdict{MayPass: true}},
		{"a", 8, 10, Verdict{MayPass: true, MayBeRefused: true}},
		{"a", 11, 11, Verdict{MayPass: true, MayBeRefused: true}},
		{"a", 13, 14, Verdict{MayBeRefused: true}},
		{"b", 1, 9, Verdict{MayBeRefused: true}},
		{"b", 13, 14, Verdict{MayPass: true}},
		{"b", 22, 25, Verdict{MayBeRefused: true}},
		{"b", 22, 31, Verdict{MayPass: true, MayBeRefused: true}},
		{"b", 34, 35, Verdict{MayPass: true}},
		{"b", 34, 41, Verdict{MayPass: true, MayBeRefused: true}},
		{"b", 50, 51, Verdict{MayPass: true, MayBeRefused: true}}, // never confirmed
		{"c", 34, 39, Verdict{MayBeRefused: true}},
		{"c", 41, 42, Verdict{MayPass: true, MayBeRefused: true}},
		{"a", 5, 60, Verdict{MayPass: true, MayBeRefused: true}},
	} {
		if got := p.Verdict(test.password, at(test.sent), at(test.answered)); got != test.want {
			t.Errorf("%q from %d to %d: %+v, want %+v", test.password, test.sent, test.answered, got, test.want)
		}
	}
}

func TestRefusedSince(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	p := &Person{states: []state{
		{"a", true, at(0), at(0)},
		{"a", false, at(10), at(11)},
		{"b", false, at(20), at(21)},
		{"b", true, at(30), time.Time{}},
	}}
	if since, ok := p.RefusedSince("a"); !ok || !since.Equal(at(11)) {
		t.Errorf("a: %s, %v", since.Sub(start), ok)
	}
	if _, ok := p.RefusedSince("b"); ok {
		t.Error("b may have been let in since")
	}
	p.states = p.states[:1]
	p.begin("c", true)
	if _, ok := p.RefusedSince("a"); ok {
		t.Error("a change that isn't confirmed is not certain")
	}
	p.confirm()
	if since, ok := p.RefusedSince("a"); !ok || time.Since(since) > time.Minute {
		t.Error("a confirmed change is")
	}
}
