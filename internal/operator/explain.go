package operator

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func (m maker) explainCommand() *cobra.Command {
	cmd := m.command("explain TOKEN", "Says why a token is or isn't valid", `
Says what a token holds, whether the handler accepts it, and if not, why: what
differs here from where it was made, or what has changed since.

TOKEN is a token, a whole link, a session cookie, a credential of another scheme
that the handler has, or - for stdin, which keeps it out of the list of processes.
A token is a credential as long as it is valid.

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
	cmd.Flags().String("site", "", "The host that a session cookie is of, where the configuration doesn't name it")
	cmd.Flags().String("user", "", "Whose token it should be")
	cmd.Flags().String("by", "", "What that user is named by: pk, username or email (default: whatever fits)")
	cmd.Flags().Bool("json", false, "Print JSON")
	return cmd
}

// longestText is the most that explain reads.
const longestText = 64 << 10

// runExplain is `caddy sesame explain`.
func runExplain(cmd *command, args []string) (int, error) {
	at, err := cmd.at()
	if err != nil {
		return exitUnknown, err
	}
	g := given{text: args[0], same: issueAlike}
	t, err := cmd.open(&g)
	if err != nil {
		return exitUnknown, err
	}
	defer t.close()
	scopes, _ := cmd.Flags().GetStringArray("scope") // it is there
	q := question{text: g.text, at: at, scopes: scopes, others: t.config.handlers, chosen: t.chosen, site: asciiHost(cmd.text("site"))}
	if cmd.text("user") != "" {
		if q.user, err = t.user(cmd); err != nil {
			return exitUnknown, err
		}
	}
	explanation, err := t.explain(cmd.context(), q)
	if err != nil {
		return exitUnknown, err
	}
	if err := explanation.write(cmd.OutOrStdout(), cmd.isOn("json")); err != nil {
		return exitUnknown, err
	}
	switch {
	case explanation.credential != nil && explanation.credential.ScopeUnknown:
		return exitUnknown, errors.New("the verdict needs the site and the scope that the session is for: name the host with --site, and with a template as the handler's scope, the scope with --scope")
	case explanation.openScope:
		return exitUnknown, fmt.Errorf("the handler's scope is the template %s, so that it depends on the request whether the token is valid: "+
			"give the whole link, or the scope with --scope", t.Issues.Scope)
	case explanation.isRejected(q.user):
		return exitFailed, nil
	}
	return exitOK, nil
}

// readText reads stdin, without the end of the line.
func readText(stdin io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(stdin, longestText))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// write prints the explanation.
func (e *explained) write(w io.Writer, asJSON bool) error {
	if e.credential != nil {
		return e.credential.write(w, asJSON)
	}
	if asJSON {
		return writeIndented(w, e.Explanation)
	}
	_, err := e.WriteTo(w)
	return err
}
