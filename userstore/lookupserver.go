package userstore

import (
	"context"
	"database/sql/driver"
	"sync"
)

// lookupServer is the server that a pool's connections lead to, where its log of
// changes is followed: one name may lead to several servers, and rows of one server
// must not be kept by the log of another. So each new connection asks for the
// server's identity, and if that has changed, older connections aren't used again.
type lookupServer struct {
	mu      sync.Mutex
	is      ServerIdentity
	isKnown bool
	changed map[*sharedLog]func() // called before the first connection to another server is used
}

// note notes the server that a new connection leads to. renew is called first if it is
// another one than before; generation is that of the connection. isOurs reports whether
// the DSN that the connection was opened by is still in use. If it isn't, the answer is
// of a server that the pool has left meanwhile: ok is false, and nothing is noted.
func (l *lookupServer) note(is ServerIdentity, renew func(), generation func() uint64, isOurs func() bool) (of uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isOurs() {
		return 0, false
	}
	if l.isKnown && !l.is.Is(is) {
		renew()
		for _, changed := range l.changed {
			changed()
		}
	}
	// In this order: if the DSN changes from now on, that ends the generation.
	of = generation()
	if !isOurs() {
		return 0, false
	}
	if !l.isKnown || !l.is.Is(is) {
		l.is, l.isKnown = is, true
	}
	return of, true
}

// forget forgets the server. Its log isn't followed until a new connection has asked for
// the server's identity. No connection is opened while kept rows answer all requests.
func (l *lookupServer) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isKnown = false
	for _, changed := range l.changed {
		changed()
	}
}

// current returns the server. isKnown is false before the first connection.
func (l *lookupServer) current() (is ServerIdentity, isKnown bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is, l.isKnown
}

// onChange has a function be called when connections lead to another server, until
// the returned function is called.
func (l *lookupServer) onChange(of *sharedLog, changed func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(map[*sharedLog]func())
	}
	l.changed[of] = changed
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.changed, of)
	}
}

// identify asks the server of a connection who it is. A server that refuses the
// question, as only another kind than MySQL does, has no identity.
func identify(ctx context.Context, conn driver.QueryerContext) (ServerIdentity, error) {
	is, err := IdentityOf(func(statement string, found func(name, value string)) error {
		return readPairs(ctx, conn, statement, found)
	})
	if numberOf(err) != 0 {
		return ServerIdentity{}, nil
	}
	return is, err
}
