package claim

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// shared has the sources of an HTTP app's handlers: a request may hold credentials
// of another handler than the one that answers it, and these must reach neither an
// upstream nor a log.
type shared struct {
	mu      sync.Mutex
	current atomic.Pointer[forms]
}

// forms are what credentials look like.
type forms struct {
	parameters []string                        // names of query parameters
	fields     []string                        // canonical names of header fields
	cookies    []string                        // names, without __Host-
	readers    []func(credentials string) bool // of Authorization
	handlers   int
}

// sharedOf has the shared of each HTTP app.
var sharedOf sync.Map

// Register adds the sources of a handler to those of its app, until the app ends.
func (s *Sources) Register(app *caddyhttp.App) (unregister func()) {
	found, _ := sharedOf.LoadOrStore(app, s.shared)
	if found := found.(*shared); found != s.shared {
		s.share(found)
	}
	return func() { sharedOf.CompareAndDelete(app, found) }
}

// share adds the sources to the shared ones.
func (s *Sources) share(with *shared) {
	with.mu.Lock()
	defer with.mu.Unlock()
	all := new(forms)
	if before := with.current.Load(); before != nil {
		*all = forms{
			parameters: slices.Clone(before.parameters),
			fields:     slices.Clone(before.fields),
			cookies:    slices.Clone(before.cookies),
			readers:    slices.Clone(before.readers),
			handlers:   before.handlers,
		}
	}
	all.handlers++
	for _, source := range s.Ordered {
		switch source.From {
		case FromQuery:
			addNew(&all.parameters, s.Name)
		case FromHeader:
			addNew(&all.fields, source.Name)
		}
	}
	all.readers = append(all.readers, s.isOurs)
	addNew(&all.parameters, s.ConfirmName)
	for _, name := range s.cookies {
		addNew(&all.cookies, name)
	}
	with.current.Store(all)
	s.shared = with
}

// addNew adds a name to a list that doesn't have it.
func addNew(list *[]string, name string) {
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// forms returns the forms of all handlers.
func (s *shared) forms() *forms { return s.current.Load() }

// isAlone reports whether no other handler of the app has credentials.
func (s *Sources) isAlone(all *forms) bool { return all.handlers == 1 }
