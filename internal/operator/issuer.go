package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/scope"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// issuer makes and explains the tokens of a handler.
type issuer struct {
	*Handler
	tokens *token.Tokens
	users  Users

	queryTimeout time.Duration // 0 means the configuration's timeout
}

// openIssuer opens the store of a handler, which need not be provisioned, to
// read users. The caller calls closeStore. With 0, queries have the time that
// the configuration gives them.
func openIssuer(ctx context.Context, h *Handler, queryTimeout time.Duration) (made *issuer, closeStore func() error, err error) {
	settings, err := h.Settings()
	if err != nil {
		return nil, nil, err
	}
	cfg, needs, err := h.reading(settings)
	if err != nil {
		return nil, nil, err
	}
	// Making tokens needs no rights of users, so don't read them.
	cfg.Groups, cfg.Permissions, cfg.Columns.IsStaff, cfg.Columns.IsSuperuser = nil, nil, "", ""
	needs.Staff, needs.Superuser = false, false
	if queryTimeout > 0 {
		cfg.QueryTimeout = caddy.Duration(queryTimeout)
	}
	logger := zap.NewNop()
	if h.Live != nil {
		logger = h.Live.Logger.Named("userstore") // the handler runs, and shares its connections and their logger
	}
	store, err := userstore.OpenReadOnly(ctx, cfg, needs, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("userstore: %w", err)
	}
	tokens, err := tokensFor(ctx, settings, store)
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return &issuer{Handler: h, tokens: tokens, users: store, queryTimeout: queryTimeout}, store.Close, nil
}

// reading returns the configuration of the handler's store, and the needs of its
// tokens.
func (h *Handler) reading(settings token.Settings) (userstore.Config, userstore.Needs, error) {
	cfg, needs, err := h.Store()
	if packer := packerOf(settings); packer != nil {
		needs.KeysOf(packer)
	}
	return cfg, needs, err
}

// packerOf is the packer that settings name, or nil where the table tells.
func packerOf(settings token.Settings) token.Packer {
	if settings.Encoding != nil || settings.Packer == "" {
		return settings.Encoding
	}
	packer, err := token.PackerByName(settings.Packer)
	if err != nil {
		return nil
	}
	return packer
}

// tokensFor makes tokens with the packer of the table, unless the settings name
// one.
func tokensFor(ctx context.Context, settings token.Settings, store Users) (*token.Tokens, error) {
	if packerOf(settings) == nil {
		schema, err := store.Schema(ctx)
		if err != nil {
			return nil, fmt.Errorf("userstore: %w", err)
		}
		if settings.Encoding, err = token.PackerByName(schema.Packer); err != nil {
			return nil, err
		}
	}
	return token.New(settings)
}

// errScope: the scope of a template is not known.
var errScope = errors.New("it depends on the request")

// expectedScope is the scope of tokens at a URL, which may be nil: with it, a
// template comes out as for a request to it, unless it takes more than a URL.
func (h *Handler) expectedScope(u *url.URL) (string, error) {
	template, err := scope.Parse(h.Issues.Scope)
	switch {
	case err != nil:
		return "", err
	case template.IsFixed():
		return h.Issues.Scope, nil
	case u == nil || u.Host == "":
		return "", errScope
	}
	request := &http.Request{
		Method: http.MethodGet, Host: u.Host, Header: make(http.Header), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery},
	}
	request.RequestURI = request.URL.RequestURI()
	repl := caddy.NewReplacer()
	request = caddyhttp.PrepareRequest(request, repl, nil, nil)
	if _, err := template.Of(request); err != nil {
		return "", fmt.Errorf("%w: %w", errScope, err)
	}
	expected, err := repl.ReplaceOrErr(h.Issues.Scope, true, true)
	if err != nil || expected == "" {
		return "", errScope
	}
	return expected, nil
}
