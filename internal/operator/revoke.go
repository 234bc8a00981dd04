package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func (m maker) revokeCommand() *cobra.Command {
	cmd := m.command("revoke [TOKEN]", "Ends a token before its time, or all of a user's", `
Ends one token, or with --user all that a user has, and says for each kind of
token and for sessions whether they are ended, and what is to be done else.

TOKEN is a token, a whole link, or - for stdin. A single token is ended by an
entry in the table that the option revocations of userstore names; so are all
of a user's sessions, and tokens that hold a time. One-time tokens end by
writing last_login. The MySQL user of the configuration needs the rights for it.

Django doesn't know the table: what is ended here is valid there.

The exit status is 1 if something may be valid still.
`, cobra.MaximumNArgs(1), runRevoke)
	addConfigFlags(cmd)
	cmd.Flags().String("user", "", "End all of this user's")
	cmd.Flags().String("by", "", "What the user is named by: pk, username or email (default: whatever fits)")
	return cmd
}

// revocationsName is the table's where the configuration names none yet.
const revocationsName = "sesame_revocations"

// printRevocationsTable prints what makes the table. Of several handlers it is
// the first one's name: the others have the same, or are chosen by --route.
func (c *command) printRevocationsTable() error {
	config, err := c.configuration()
	if err != nil {
		return err
	}
	handlers := config.handlers
	if route := c.text("route"); route != "" {
		chosen, err := choose(handlers, route, nil, areSame)
		if err != nil {
			return err
		}
		handlers = []*configured{chosen}
	}
	name := revocationsName
	for _, h := range handlers {
		if h.Issues.Store.Revocations != "" {
			name = h.Issues.Store.Revocations
			break
		}
	}
	statement, err := userstore.RevocationsTable(name)
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), statement)
	return err
}

// runRevoke is `caddy sesame revoke`.
func runRevoke(cmd *command, args []string) (int, error) {
	name := cmd.text("user")
	if (name != "") == (len(args) > 0) {
		return exitFailed, errors.New("give the token to end, or with --user the user all of whose tokens are to end")
	}
	by := nameKind(cmd.text("by"))
	if err := by.validate(); err != nil {
		return exitFailed, fmt.Errorf("--by: %w", err)
	}
	timeout, err := cmd.timeout()
	if err != nil {
		return exitFailed, err
	}
	config, err := cmd.configuration()
	if err != nil {
		return exitFailed, err
	}
	var text string
	var link *url.URL
	if len(args) > 0 {
		if text = args[0]; text == "-" {
			if text, err = readText(cmd.stdin); err != nil {
				return exitFailed, err
			}
		}
		link = parseWhole(strings.TrimSpace(text))
	}
	chosen, err := choose(config.handlers, cmd.text("route"), link, issueAlike)
	if err != nil {
		return exitFailed, err
	}
	i, closeStore, err := openIssuer(cmd.context(), chosen.Handler, timeout)
	if err != nil {
		return exitFailed, err
	}
	defer func() { _ = closeStore() }() // nothing depends on it any more
	store, ok := i.users.(*userstore.MySQL)
	if !ok {
		return exitFailed, errors.New("the user store can't end tokens") // unreachable: openIssuer opens one
	}
	r := revocation{issuer: i, store: store, timeout: timeout, now: time.Now(), out: cmd.OutOrStdout()}
	if name == "" {
		return exitOK, r.endToken(cmd.context(), text)
	}
	found, err := i.named(cmd.context(), by, []string{name})
	switch {
	case err != nil:
		return exitFailed, err
	case found[0].err != nil:
		return exitFailed, fmt.Errorf("--user %q: %w", name, found[0].err)
	}
	return exitOK, r.endAll(cmd.context(), found[0].user)
}

// revocation ends tokens of a handler.
type revocation struct {
	*issuer
	store   *userstore.MySQL
	timeout time.Duration
	now     time.Time
	out     io.Writer
}

// errNoTable: there is nowhere to write what is ended.
var errNoTable = errors.New("userstore has no option revocations: make the table that " +
	"`caddy sesame check --create` prints, and name it with that option")

// endToken ends one token.
func (r *revocation) endToken(ctx context.Context, text string) error {
	if r.Issues.Store.Revocations == "" {
		return errNoTable
	}
	tokenText, link := r.cutToken(text)
	want := token.Expectation{Now: r.now}
	want.Scope, _ = r.expectedScope(link) // the scope makes no difference to what is ended
	parsed, err := r.tokens.Parse(tokenText, want)
	switch {
	case errors.Is(err, token.Expired):
		fmt.Fprintln(r.out, "The token has expired: there is nothing to end.")
		return nil
	case err != nil:
		return fmt.Errorf("that is no token of this handler: %w; `caddy sesame explain` says more", err)
	}
	user, err := r.store.Lookup(ctx, parsed.PrimaryKey())
	if errors.Is(err, userstore.ErrNotFound) {
		fmt.Fprintln(r.out, "The token's user doesn't exist: there is nothing to end.")
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.store.Revoke(ctx, user, parsed.Fingerprint(), r.expiry(&parsed)); err != nil {
		return r.rights(err)
	}
	fmt.Fprintf(r.out, "Ended the token %s of user %s.\n", parsed.Fingerprint(), user.ID())
	return nil
}

// expiry is when a token would have ended by itself, or the zero time for
// never. A token may be told a longer life by a max_age that is raised later:
// then it is revoked for too short a time, so a new password is due, too.
func (r *revocation) expiry(parsed *token.Parsed) time.Time {
	created, ok := parsed.Created()
	maxAge := r.tokens.Settings().MaxAge
	if !ok || maxAge == nil {
		return time.Time{}
	}
	return created.Add(*maxAge)
}

// endAll ends all of a user's, as far as it can be done, and says what is left.
func (r *revocation) endAll(ctx context.Context, user *userstore.User) error {
	var left []string
	hasTime := r.tokens.Settings().MaxAge != nil
	byTable := r.Issues.Store.Revocations != "" && (hasTime || r.SessionMaxAge > 0)
	if byTable {
		if err := r.store.RevokeAll(ctx, user, r.now.Add(r.longest())); err != nil {
			return r.rights(err)
		}
	}
	if r.Issues.Settings.OneTime {
		if err := r.writeLastLogin(ctx, user); err != nil {
			return err
		}
	}
	switch {
	case r.Issues.Settings.OneTime:
		fmt.Fprintf(r.out, "Ended the one-time tokens of user %s: last_login is now.\n", user.ID())
	case hasTime && byTable:
		fmt.Fprintf(r.out, "Ended the tokens of user %s that were made up to now.\n", user.ID())
	case hasTime:
		left = append(left, "tokens, which end after max_age")
	default:
		left = append(left, "tokens, which hold no time, so that new ones are the same as old ones")
	}
	switch {
	case r.SessionMaxAge == 0:
	case byTable:
		fmt.Fprintf(r.out, "Ended the sessions of user %s that began up to now.\n", user.ID())
	default:
		left = append(left, "sessions")
	}
	if len(left) == 0 {
		return nil
	}
	advice := "set a new password, or an unusable one (in Django: user.set_unusable_password(), user.save()), which ends all of them"
	if r.Issues.Store.Revocations == "" && (hasTime || r.SessionMaxAge > 0) {
		advice += "; or " + errNoTable.Error()
	}
	return fmt.Errorf("not ended are %s: %s", strings.Join(left, ", and "), advice)
}

// longest is how long anything that is ended could have lasted.
func (r *revocation) longest() time.Duration {
	longest := r.SessionMaxAge
	if maxAge := r.tokens.Settings().MaxAge; maxAge != nil {
		longest = max(longest, *maxAge)
	}
	return longest
}

// writeLastLogin uses all one-time tokens of a user up.
func (r *revocation) writeLastLogin(ctx context.Context, user *userstore.User) error {
	cfg, needs, err := r.reading(r.tokens.Settings())
	if err != nil {
		return err
	}
	cfg.QueryTimeout = caddy.Duration(r.timeout)
	needs.LastLogin = true
	store, err := userstore.Open(ctx, cfg, needs, zap.NewNop())
	if err != nil {
		return fmt.Errorf("userstore: %w", err)
	}
	defer func() { _ = store.Close() }() // nothing depends on it any more
	user, err = store.Lookup(ctx, user.PrimaryKey)
	if err != nil {
		return err
	}
	err = store.Consume(ctx, user, r.now)
	if errors.Is(err, userstore.ErrConsumed) {
		return nil // somebody else has just written it
	}
	return err
}

// rights adds what to do to an error of writing the table.
func (r *revocation) rights(err error) error {
	return fmt.Errorf("%w; it takes INSERT and DELETE on %s, for the MySQL user of the configuration or of another one (--config)", err, r.Issues.Store.Revocations)
}
