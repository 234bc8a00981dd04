package claim

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// places are the sources of all handlers of an HTTP app: a request may
// hold the token of another handler than the one that answers it, and logs
// show none.
type places struct {
	mu   sync.Mutex
	list atomic.Pointer[[]Source] // Name of query is the parameter's
}

// placesOf has the places of each HTTP app.
var placesOf sync.Map

// Register adds the sources of a handler to those of its app, until the app is
// gone.
func (s *Sources) Register(app *caddyhttp.App) (unregister func()) {
	found, _ := placesOf.LoadOrStore(app, s.places)
	shared := found.(*places)
	if shared != s.places {
		shared.add(s.places.all())
		s.places = shared
	}
	return func() { placesOf.CompareAndDelete(app, shared) }
}

func (p *places) add(sources []Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.Clone(p.all())
	for _, source := range sources {
		if !slices.Contains(list, source) {
			list = append(list, source)
		}
	}
	p.list.Store(&list)
}

func (p *places) all() []Source {
	if list := p.list.Load(); list != nil {
		return *list
	}
	return nil
}
