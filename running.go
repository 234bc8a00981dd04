package sesame

import (
	"slices"
	"sync"
)

// handlers are those that are provisioned in this process: of the
// configuration that runs, and for a moment of the one before or the next.
var handlers struct {
	mu   sync.Mutex
	list []*Handler
}

// running lists the provisioned handlers, in the order in which they were.
func running() []*Handler {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	return slices.Clone(handlers.list)
}

// register adds a handler to those that run.
func register(h *Handler) {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	handlers.list = append(handlers.list, h)
}

// unregister takes it out. One that isn't there is none of its business.
func unregister(h *Handler) {
	handlers.mu.Lock()
	defer handlers.mu.Unlock()
	handlers.list = slices.DeleteFunc(handlers.list, func(other *Handler) bool { return other == h })
}
