package sesame

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// findUser looks a user up and calls check with the user's row, or with nil if
// there is none. The error is that of check, or says why the store has no answer.
//
// A row that is kept, or a replica's, lets a request in, but doesn't reject it,
// and neither does a former answer that there is none: the new link of a user
// with a new password, or of a new user, works at once. A rejection therefore
// takes a query, whether the user exists or not, and its time doesn't tell which.
func (h *Handler) findUser(ctx context.Context, pk token.PrimaryKey, fresh bool, check func(*userstore.User) error) (*userstore.User, error) {
	ctx, span := startSpan(ctx, "sesame.lookup")
	if span != nil {
		defer span.End()
	}
	if !fresh {
		user, isFresh, err := h.lookupAny(ctx, pk)
		if err != nil && !errors.Is(err, userstore.ErrNotFound) {
			return nil, err
		}
		user, err = checked(user, err, check)
		if err == nil || isFresh {
			return user, err
		}
	}
	user, err := h.lookupFresh(ctx, pk)
	return checked(user, err, check)
}

// lookupAny reads a row that may be old, as far as the configuration allows.
func (h *Handler) lookupAny(ctx context.Context, pk token.PrimaryKey) (user *userstore.User, isFresh bool, err error) {
	if h.cache == nil {
		return h.store.LookupAny(ctx, pk)
	}
	return h.cache.Lookup(ctx, pk)
}

// lookupFresh reads the row as it is now.
func (h *Handler) lookupFresh(ctx context.Context, pk token.PrimaryKey) (*userstore.User, error) {
	if h.cache == nil {
		return h.store.Lookup(ctx, pk)
	}
	return h.cache.LookupFresh(ctx, pk)
}

// startSpan begins a span in a request that is traced, as the directive tracing
// has it, and nil in others.
func startSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	request := trace.SpanFromContext(ctx)
	if !request.IsRecording() {
		return ctx, nil
	}
	return request.TracerProvider().Tracer("github.com/caddy-sesame/caddy-sesame").Start(ctx, name)
}

// checked returns what a lookup found, and what check says of it.
func checked(user *userstore.User, err error, check func(*userstore.User) error) (*userstore.User, error) {
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return nil, check(nil)
	case err != nil:
		return nil, err
	}
	return user, check(user)
}
