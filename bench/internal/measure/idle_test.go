package measure

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
)

func TestQuestionsOfOtherGatewaysAreNotOfTheMeasured(t *testing.T) {
	t.Parallel()
	named := func(name string) *peer.Gateway {
		found, err := peer.ByNames([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		return &peer.Gateway{Peer: found[len(found)-1]}
	}
	follow, sesame := named(peer.Follow), named(peer.Sesame)
	r := &Runner{idle: idle{perSecond: 12, following: 3}}
	if got := r.askedByOthers(follow, 10*time.Second); got != 80 {
		t.Errorf("beside one that follows, the others asked %d questions, want 80", got)
	}
	if got := r.askedByOthers(sesame, 10*time.Second); got != 120 {
		t.Errorf("beside one that doesn't follow, the others asked %d questions, want 120", got)
	}
	r.idle = idle{}
	if got := r.askedByOthers(sesame, time.Second); got != 0 {
		t.Errorf("without gateways that follow, %d questions were asked", got)
	}
}
