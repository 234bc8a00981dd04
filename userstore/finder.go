package userstore

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// A Finder finds users for verdicts: in a kept row, or a replica's, if such a row
// can accept the credential, and otherwise in the current row.
type Finder struct {
	Store interface {
		Lookup(ctx context.Context, pk token.PrimaryKey) (*User, error)
		LookupAny(ctx context.Context, pk token.PrimaryKey) (user *User, isFresh bool, err error)
		LookupVia(ctx context.Context, key Key) (*User, error)
		Resolve(key Key) Key
	}
	Cache     *Cache     // nil for none
	Following *Following // nil for none; there is no Cache beside it
}

// Find looks up the user of a key and calls check with the user's row, or with nil if
// there is none. The error is that of check, or says why the store has no answer.
//
// A kept row, or a replica's, can accept a request, but not reject it, and neither
// can a kept answer that there is no row: the new link of a user with a new
// password, or of a new user, works at once. A rejection therefore takes a query,
// whether the user exists or not, and its time doesn't tell which.
func (f *Finder) Find(ctx context.Context, key Key, fresh bool, check func(*User) error) (*User, error) {
	ctx, span := StartSpan(ctx, "sesame.lookup")
	if span != nil {
		defer span.End()
	}
	key = f.Store.Resolve(key)
	if f.Following != nil {
		return f.Following.find(ctx, key, fresh, check)
	}
	pk, ok := key.PrimaryKey()
	if !ok {
		user, err := f.Store.LookupVia(ctx, key)
		return checked(user, err, check)
	}
	if !fresh {
		user, isFresh, err := f.any(ctx, pk)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		user, err = checked(user, err, check)
		if err == nil || isFresh {
			return user, err
		}
	}
	user, err := f.fresh(ctx, pk)
	return checked(user, err, check)
}

// Kept returns the user of a key from a kept row, or nil if there is none.
func (f *Finder) Kept(key Key) *User {
	if f.Following != nil {
		return f.Following.Kept(f.Store.Resolve(key))
	}
	if pk, ok := key.PrimaryKey(); ok && f.Cache != nil {
		user, _ := f.Cache.Kept(pk)
		return user
	}
	return nil
}

// any reads a row that may be as old as the configuration allows.
func (f *Finder) any(ctx context.Context, pk token.PrimaryKey) (user *User, isFresh bool, err error) {
	if f.Cache == nil {
		return f.Store.LookupAny(ctx, pk)
	}
	return f.Cache.Lookup(ctx, pk)
}

// fresh reads the row as it is now.
func (f *Finder) fresh(ctx context.Context, pk token.PrimaryKey) (*User, error) {
	if f.Cache == nil {
		return f.Store.Lookup(ctx, pk)
	}
	return f.Cache.LookupFresh(ctx, pk)
}

// StartSpan begins a span if the request is traced, as by the directive tracing,
// and returns a nil span otherwise.
func StartSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	request := trace.SpanFromContext(ctx)
	if !request.IsRecording() {
		return ctx, nil
	}
	return request.TracerProvider().Tracer("github.com/caddy-sesame/caddy-sesame").Start(ctx, name)
}

// checked returns the result of a lookup, after calling check with it.
func checked(user *User, err error, check func(*User) error) (*User, error) {
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, check(nil)
	case err != nil:
		return nil, err
	}
	return user, check(user)
}
