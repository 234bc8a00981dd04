package operator

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// target has the handler that the flags choose, and its store.
type target struct {
	*issuer
	config  *configuration
	chosen  *configured
	by      nameKind
	timeout time.Duration
	close   func()
}

// given has the arguments of a command that can tell which handler is meant.
type given struct {
	text string // a token or a link; - is stdin
	url  string // of a link to be made
	same sameHandlers
}

// open prepares a command. It reads stdin into given.text. The caller calls close.
func (c *command) open(g *given) (*target, error) {
	t := &target{by: nameKind(c.text("by"))}
	if err := t.by.validate(); err != nil {
		return nil, fmt.Errorf("--by: %w", err)
	}
	var err error
	if t.timeout, err = c.timeout(); err != nil {
		return nil, err
	}
	if t.config, err = c.configuration(); err != nil {
		return nil, err
	}
	if g.text == "-" {
		if g.text, err = readText(c.stdin); err != nil {
			return nil, err
		}
	}
	link := parseWhole(strings.TrimSpace(g.text))
	if g.url != "" {
		link, _ = url.Parse(g.url) // newMint says what is wrong with it
	}
	if t.chosen, err = c.choose(t.config, link, g.same); err != nil {
		return nil, err
	}
	i, closeIssuer, err := openIssuer(c.context(), t.chosen.Handler, t.timeout)
	if err != nil {
		return nil, err
	}
	t.issuer = i
	t.close = func() { _ = closeIssuer() } // nothing depends on it any more
	return t, nil
}

// user finds the user that --user names.
func (t *target) user(c *command) (*userstore.User, error) {
	name := c.text("user")
	found, err := t.named(c.context(), t.by, []string{name})
	if err == nil {
		err = found[0].err
	}
	switch {
	case errors.Is(err, userstore.ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("--user %q: %w", name, err)
	}
	return found[0].user, nil
}
