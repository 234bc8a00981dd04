package login

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/session"
)

// TestSharedComputerOutweighsToBeRemembered: a user who ticks both boxes gets the
// shorter session.
func TestSharedComputerOutweighsToBeRemembered(t *testing.T) {
	t.Parallel()
	offered, not := &Page{config: &Config{Remember: caddy.Duration(time.Hour)}}, &Page{config: new(Config)}
	for _, test := range []struct {
		page   *Page
		ticked []string
		want   session.Length
	}{
		{offered, nil, session.Default},
		{offered, []string{"remember"}, session.Remembered},
		{offered, []string{"shared"}, session.Shared},
		{offered, []string{"remember", "shared"}, session.Shared},
		{offered, []string{"forever", ""}, session.Default},
		{not, []string{"remember"}, session.Default},
		{not, []string{"remember", "shared"}, session.Shared},
	} {
		if got := test.page.lengthOf(test.ticked); got != test.want {
			t.Errorf("%q: %v, want %v", test.ticked, got, test.want)
		}
	}
}
