package emaillink

import (
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
)

// TestMailsCallTheSiteByItsName, or by its host where it has none.
func TestMailsCallTheSiteByItsName(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	for name, want := range map[string]string{"Example archive": "Example archive", "": siteName(g.base)} {
		g.env.SiteName = name
		user := newUser(1, "ann@example.com")
		w := &waiting{Request: Request{Address: "ann@example.com", Client: limit.Client(1), Tie: "TIE", Language: english(t)}, pending: g.newPending("ann@example.com", "", 0)}
		m, err := g.compose(w, user, "https://x.example/", "ABCD-EFGH")
		if err != nil || m.Subject != "Your link to log in to "+want || !strings.Contains(m.Text, "logs you in to "+want+":") || !strings.Contains(m.HTML, want) {
			t.Errorf("%q: %v, %+v", name, err, m)
		}
	}
}
