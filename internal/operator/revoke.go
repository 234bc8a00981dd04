package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func (m maker) revokeCommand() *cobra.Command {
	cmd := m.command("revoke [TOKEN]", "Ends a token or a session before its time, or all of a user's", `
Ends one token, with --session one session, or with --user all that a user has,
and says for each kind of token and for sessions whether they are ended, and what
is to be done else.

TOKEN is a token, a whole link, or - for stdin. A single token is ended by an
entry in the table that the option revocations of userstore names; so are all
of a user's sessions, and tokens that hold a time. One-time tokens end by
writing last_login. The MySQL user of the configuration needs the rights for it.

A single session can be ended if it is in the table that the option table of
session names. Its ID is on the user's page /_sesame/sessions, in that table, and
in what explain says of the cookie. Instead of a token, the cookie can be given.

Django doesn't know the table: what is ended here is valid there.

It takes effect with the next request, but where a gateway reads a replica or
another node of a cluster, once that has the entry, and where it keeps rows
(cache), once the row is read again. The command mentions these if they are
configured.

The exit status is 1 if something may be valid still.
`, cobra.MaximumNArgs(1), runRevoke)
	addConfigFlags(cmd)
	cmd.Flags().String("session", "", "End the session with this ID")
	cmd.Flags().String("user", "", "End all of this user's")
	cmd.Flags().String("by", "", "What the user is named by: pk, username or email (default: whatever fits)")
	return cmd
}

// runRevoke is `caddy sesame revoke`.
func runRevoke(cmd *command, args []string) (int, error) {
	name, ofSession := cmd.text("user"), cmd.text("session")
	if given := len(args) + len(slices.DeleteFunc([]string{name, ofSession}, func(s string) bool { return s == "" })); given != 1 {
		return exitFailed, errors.New("give the token to end, or with --session the ID of a session, or with --user the user all of whose tokens are to end")
	}
	id, isID := session.ParseID(ofSession)
	if ofSession != "" && !isID {
		return exitFailed, fmt.Errorf("--session %q is no ID of a session: it has 26 small letters and digits", ofSession)
	}
	g := given{same: issueAlike}
	if len(args) > 0 {
		g.text = args[0]
	}
	t, err := cmd.open(&g)
	if err != nil {
		return exitFailed, err
	}
	defer t.close()
	store, ok := t.users.(*userstore.MySQL)
	if !ok {
		return exitFailed, errors.New("the user store can't end tokens") // unreachable: openIssuer opens one
	}
	r := revocation{issuer: t.issuer, store: store, timeout: t.timeout, now: time.Now(), out: cmd.OutOrStdout(), chosen: t.chosen}
	audit := newCommandAudit(cmd)
	defer audit.end()
	r.audit = audit
	r.tables = tablesOfSessions(t.config.handlers, t.chosen)
	switch {
	case isID:
		return exitOK, r.endSession(cmd.context(), id)
	case name == "":
		return exitOK, r.endToken(cmd.context(), g.text)
	}
	user, err := t.user(cmd)
	if err != nil {
		return exitFailed, err
	}
	return exitOK, r.endAll(cmd.context(), user)
}

// revocation ends tokens of a handler.
type revocation struct {
	*issuer
	store   *userstore.MySQL
	timeout time.Duration // of a query; 0 for the configuration's
	now     time.Time
	out     io.Writer
	chosen  *configured
	tables  []string // of sessions
	audit   auditor
}

// notEnded says what may be valid still, and what to do about it.
type notEnded string

func (e notEnded) Error() string { return string(e) }

// errNoTable says that there is no table to write revocations to.
const errNoTable = notEnded("userstore has no option revocations: make the table that " +
	"`caddy sesame check --create` prints, and name it with that option")

// errNotOurs says that a text is neither a token nor a session.
var errNotOurs = errors.New("that is no token of this handler")

// endToken ends one token.
func (r *revocation) endToken(ctx context.Context, text string) error {
	tokenText, link, _ := r.cutToken(text)
	want := token.Expectation{Now: r.now}
	want.Scope, _ = r.expectedScope(link) // the scope makes no difference to a revocation
	parsed, err := r.tokens.Parse(tokenText, want)
	switch {
	case errors.Is(err, token.Expired):
		fmt.Fprintln(r.out, "The token has expired: there is nothing to end.")
		return nil
	case err != nil:
		if read, ok := r.readSession(tokenText, r.now); ok {
			return r.endCookie(ctx, &read)
		}
		return fmt.Errorf("%w: %w; `caddy sesame explain` says more", errNotOurs, err)
	case r.Issues.Store.Revocations == "":
		return errNoTable
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
	r.record(auditRevoked, user, parsed.Fingerprint())
	fmt.Fprintf(r.out, "Ended the token %s of user %s.\n", parsed.Fingerprint(), user.ID())
	r.mention()
	return nil
}

// record writes an audit line.
func (r *revocation) record(message string, user *userstore.User, fingerprint string) {
	r.audit.note(auditLine{
		message: message, user: user.ID(), host: strings.Join(r.chosen.hosts, ","), scope: r.Issues.Scope, token: fingerprint,
	})
}

// mention says when other servers know.
func (r *revocation) mention() {
	if r.HasReplicas {
		fmt.Fprintln(r.out, "This was written to the primary server: a gateway that reads a replica goes by it once the replica has it.")
	}
	r.mentionNodes()
	if r.Cached > 0 {
		fmt.Fprintf(r.out, "Gateways with cache go by a row that they have read for up to %s.\n", r.Cached)
	}
}

// mentionNodes says when other nodes of a cluster know.
func (r *revocation) mentionNodes() {
	if store := r.Issues.Store; len(store.MoreDSNs)+len(store.MoreDSNFiles) > 0 && !store.ReadAfterWrite {
		fmt.Fprintln(r.out, "This was written to one node of the cluster: a gateway that reads another goes by it once that node has it. With read_after_write, it does at once.")
	}
}

// expiry returns when a token expires, or the zero time for never. If max_age is
// raised later, the token outlasts its revocation: then change the password, too.
func (r *revocation) expiry(parsed *token.Parsed) time.Time {
	created, ok := parsed.Created()
	maxAge := r.tokens.Settings().MaxAge
	if !ok || maxAge == nil {
		return time.Time{}
	}
	return created.Add(*maxAge)
}

// endAll ends all of a user's credentials that it can, and names those that remain.
func (r *revocation) endAll(ctx context.Context, user *userstore.User) error {
	var left []string
	hasTime := r.tokens.Settings().MaxAge != nil
	byTable := r.Issues.Store.Revocations != "" && (hasTime || r.SessionMaxAge > 0)
	if byTable {
		until, err := r.store.RevokeAll(ctx, user, r.now.Add(r.longest()))
		if err != nil {
			return r.rights(err)
		}
		fmt.Fprintf(r.out, "Tokens and sessions of user %s that began before %s are rejected from now on. The user must log in again after that time, by the clock of this machine.\n",
			user.ID(), until.UTC().Format("15:04:05 UTC"))
	}
	if err := r.endListed(ctx, user); err != nil {
		return err
	}
	if r.Issues.Settings.OneTime {
		if err := r.writeLastLogin(ctx, user); err != nil {
			return err
		}
	}
	if byTable || r.Issues.Settings.OneTime || len(r.tables) > 0 {
		r.record(auditRevokedAll, user, "")
	}
	if byTable || r.Issues.Settings.OneTime {
		defer r.mention()
	} else if len(r.tables) > 0 {
		defer r.mentionNodes()
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
	case len(r.tables) > 0:
		left = append(left, "sessions from before there was a table of them, which end after max_age")
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
	return notEnded(fmt.Sprintf("not ended are %s: %s", strings.Join(left, ", and "), advice))
}

// longest returns the longest life that a revoked credential can have.
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
	if r.timeout > 0 {
		cfg.QueryTimeout = caddy.Duration(r.timeout)
	}
	needs.LastLogin = true
	store, err := userstore.Open(ctx, cfg, needs, zap.NewNop())
	switch {
	case lacksPrivilege(err):
		return r.rightsOnLastLogin(err)
	case err != nil:
		return fmt.Errorf("userstore: %w", err)
	}
	defer func() { _ = store.Close() }() // nothing depends on it any more
	user, err = store.Lookup(ctx, user.PrimaryKey)
	if err != nil {
		return err
	}
	before := user.LastLogin
	err = store.Consume(ctx, user, r.now)
	switch {
	case errors.Is(err, userstore.ErrConsumed): // another login has just written it
	case lacksPrivilege(err):
		return r.rightsOnLastLogin(err)
	case err != nil:
		return err
	}
	user, err = store.Lookup(ctx, user.PrimaryKey)
	if err != nil {
		return fmt.Errorf("last_login is written, and couldn't be read again: %w", err)
	}
	if before != nil && user.LastLogin != nil && user.LastLogin.Equal(*before) {
		return errors.New("last_login is written, and has the value that it had: its column has no fractions of a second, or a trigger has changed it; call this command again")
	}
	return nil
}

// rights returns the remedy if the table can't be written.
func (r *revocation) rights(err error) error {
	if !lacksPrivilege(err) {
		return err
	}
	return fmt.Errorf("the MySQL user of the configuration may not write to %s: grant it INSERT and DELETE on that table, or call this command with a configuration of another user (--config): %w",
		r.Issues.Store.Revocations, mysqlError(err))
}

// rightsOnLastLogin returns the remedy if last_login can't be written.
func (r *revocation) rightsOnLastLogin(err error) error {
	return fmt.Errorf("the MySQL user of the configuration may not write last_login: grant it UPDATE (%s) on the users' table, or call this command with a configuration of another user (--config): %w",
		cmp.Or(r.Issues.Store.Columns.LastLogin, "last_login"), mysqlError(err))
}

// mysqlError returns the server's message, without the advice for requests.
func mysqlError(err error) error {
	if answer, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return answer
	}
	return err
}
