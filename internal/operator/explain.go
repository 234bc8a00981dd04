package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func (m maker) explainCommand() *cobra.Command {
	cmd := m.command("explain TOKEN", "Says why a token is or isn't valid", `
Says what a token holds, whether the handler accepts it, and if not, why: what
differs here from where it was made, or what has changed since.

TOKEN is a token, a whole link, or - for stdin, which keeps it out of the list of
processes. A token is a credential as long as it is valid.

The exit status is 0 if the token is valid, 1 if not, and 2 if that couldn't be
told.
`, nil, runExplain)
	// 1 would say that a token isn't valid.
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(1)(cmd, args); err != nil {
			return misused(cmd, exitUnknown, err)
		}
		return nil
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misused(cmd, exitUnknown, err) })
	addConfigFlags(cmd)
	cmd.Flags().String("at", "", "The time at which the token is presented (default: now)")
	cmd.Flags().StringArrayP("scope", "s", nil, "A scope that it may have been made for; the first is what is expected where the handler's scope is a template")
	cmd.Flags().String("user", "", "Whose token it should be")
	cmd.Flags().String("by", "", "What that user is named by: pk, username or email (default: whatever fits)")
	cmd.Flags().Bool("json", false, "Print JSON")
	return cmd
}

// longestText is the most that explain reads.
const longestText = 64 << 10

// runExplain is `caddy sesame explain`.
func runExplain(cmd *command, args []string) (int, error) {
	by := nameKind(cmd.text("by"))
	if err := by.validate(); err != nil {
		return exitUnknown, fmt.Errorf("--by: %w", err)
	}
	at, err := cmd.at()
	if err != nil {
		return exitUnknown, err
	}
	timeout, err := cmd.timeout()
	if err != nil {
		return exitUnknown, err
	}
	config, err := cmd.configuration()
	if err != nil {
		return exitUnknown, err
	}
	text := args[0]
	if text == "-" {
		if text, err = readText(cmd.stdin); err != nil {
			return exitUnknown, err
		}
	}
	chosen, err := cmd.choose(config, parseWhole(strings.TrimSpace(text)), issueAlike)
	if err != nil {
		return exitUnknown, err
	}
	i, closeStore, err := openIssuer(cmd.context(), chosen.Handler, timeout)
	if err != nil {
		return exitUnknown, err
	}
	defer func() { _ = closeStore() }() // nothing depends on it any more

	scopes, _ := cmd.Flags().GetStringArray("scope") // it is there
	q := question{text: text, at: at, scopes: scopes, others: config.handlers}
	if name := cmd.text("user"); name != "" {
		found, err := i.named(cmd.context(), by, []string{name})
		switch {
		case err != nil:
			return exitUnknown, err
		case found[0].err != nil:
			return exitUnknown, fmt.Errorf("--user %q: %w", name, found[0].err)
		}
		q.user = found[0].user.PrimaryKey
	}
	explanation, err := i.explain(cmd.context(), q)
	if err != nil {
		return exitUnknown, err
	}
	if err := writeExplanation(cmd.OutOrStdout(), explanation.Explanation, cmd.isOn("json")); err != nil {
		return exitUnknown, err
	}
	switch {
	case explanation.openScope:
		return exitUnknown, fmt.Errorf("the handler's scope is the template %s, so that it depends on the request whether the token is valid: "+
			"give the whole link, or the scope with --scope", i.Issues.Scope)
	case explanation.Reason != 0:
		return exitFailed, nil
	}
	return exitOK, nil
}

// readText reads what stdin has, less the end of the line.
func readText(stdin io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(stdin, longestText))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func writeExplanation(w io.Writer, e *token.Explanation, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(e)
	}
	_, err := e.WriteTo(w)
	return err
}

// question is what there is to explain.
type question struct {
	text   string // a token or a link
	at     time.Time
	scopes []string // that the token may be for
	user   token.PrimaryKey
	others []*configured // handlers by whose settings it may have been made
}

// explained is an explanation, and whether it may be wrong because the scope
// that is expected isn't known.
type explained struct {
	*token.Explanation
	openScope bool
}

// explain answers a question.
func (i *issuer) explain(ctx context.Context, q question) (explained, error) {
	text, u := i.cutToken(q.text)
	want := token.Expectation{Now: q.at}
	var err error
	if want.Scope, err = i.expectedScope(u); err != nil && len(q.scopes) > 0 {
		want.Scope, err = q.scopes[0], nil
	}
	openScope := err != nil
	explanation, err := i.tokens.Explain(text, want, q.candidates(u), func(pk token.PrimaryKey) (*token.Row, error) {
		user, err := i.users.Lookup(ctx, pk)
		switch {
		case errors.Is(err, userstore.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, err
		}
		return &token.Row{User: user.User, Active: user.IsActive}, nil
	})
	if err != nil {
		return explained{}, err
	}
	if err := i.addRevoked(ctx, explanation, text, want); err != nil {
		return explained{}, err
	}
	// What doesn't depend on the scope is certain without it.
	openScope = openScope && (explanation.Reason == 0 || explanation.Reason == token.BadSignature || explanation.Reason == token.Revoked)
	return explained{explanation, openScope}, nil
}

// addRevoked has the explanation of a token that would be valid say if it was
// ended before its time.
func (i *issuer) addRevoked(ctx context.Context, e *token.Explanation, text string, want token.Expectation) error {
	if e.Reason != 0 {
		return nil //nolint:nilerr // a Reason is an error, but this one is explained
	}
	parsed, err := i.tokens.Parse(text, want)
	if err != nil {
		return fmt.Errorf("reading the token again: %w", err) // unreachable: it has been judged valid
	}
	user, err := i.users.Lookup(ctx, parsed.PrimaryKey())
	if err != nil {
		return fmt.Errorf("looking for tokens that were ended: %w", err)
	}
	if created, _ := parsed.Created(); !user.IsRevoked(parsed.Fingerprint(), created) {
		return nil
	}
	e.Reason, e.Verdict, e.Summary = token.Revoked, token.Revoked.String(), token.Revoked.Error()
	e.Findings = slices.Insert(e.Findings, 0, token.Finding{
		Cause: causeRevoked, Certainty: token.Certain,
		Text: "it was ended before its time, by an operator",
	})
	return nil
}

// causeRevoked is not of the token itself.
const causeRevoked token.Cause = "revoked"

// candidates are what the token may have been made with.
func (q *question) candidates(u *url.URL) token.ExplainCandidates {
	c := token.ExplainCandidates{Scopes: slices.Clone(q.scopes), Packers: make(map[string]token.Packer), User: q.user}
	for _, other := range q.others {
		if scope, err := other.expectedScope(u); err == nil && scope != "" {
			c.Scopes = append(c.Scopes, scope)
		}
		// Of another handler the secrets may not be there, which is no matter.
		settings, err := other.Settings()
		if err != nil {
			continue
		}
		c.SecretKeys = append(append(c.SecretKeys, settings.SecretKey), settings.SecretKeyFallbacks...)
		c.Keys = append(c.Keys, settings.Key)
		if packer := packerOf(settings); packer != nil && settings.Packer != "" {
			c.Packers[settings.Packer] = packer
		}
		if settings.PrimaryKeyField != "" {
			c.PrimaryKeyFields = append(c.PrimaryKeyFields, settings.PrimaryKeyField)
		}
		if settings.Salt != "" {
			c.Salts = append(c.Salts, settings.Salt)
		}
		if settings.Iterations > 0 {
			c.Iterations = append(c.Iterations, settings.Iterations)
		}
	}
	return c
}
