package operator

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

func (m maker) tokenCommand() *cobra.Command {
	cmd := m.command("token [USER]", "Makes a token or a link for a user", `
Prints a token for a user, or with --url a whole link, and nothing else on
stdout. The user is named by the primary key that tokens hold, the user name or
the e-mail address; if these are several users, none is taken, and --by says
what it is.

With --stdin, users are read from there, one a line, and each gets a line of
CSV or JSON. The exit status is 1 if one of them got no token.

Without --scope, a token is for the scope of the handler. If that is a template,
it comes out as for a request to --url; what takes more than a URL must be given.
`, cobra.MaximumNArgs(1), runToken)
	addConfigFlags(cmd)
	cmd.Flags().String("by", "", "What users are named by: pk, username or email (default: whatever fits)")
	cmd.Flags().StringP("scope", "s", "", "The scope of the token (default: the handler's)")
	cmd.Flags().StringP("url", "u", "", "Print a link: this URL with the token")
	cmd.Flags().Bool("any-url", false, "Make links to a --url that no site of the configuration serves, or without TLS")
	cmd.Flags().String("at", "", "The time at which the token is made (default: now)")
	cmd.Flags().Bool("force", false, "Make tokens of inactive users, too")
	cmd.Flags().Bool("stdin", false, "Read users from stdin, one a line")
	cmd.Flags().StringP("format", "f", "", "csv or json (default: the token alone; with --stdin csv)")
	return cmd
}

// runToken is `caddy sesame token`.
func runToken(cmd *command, args []string) (int, error) {
	if cmd.isOn("stdin") == (len(args) > 0) {
		return exitFailed, errors.New("name a user, or give users on stdin with --stdin")
	}
	format := cmd.text("format")
	switch {
	case format == "" && cmd.isOn("stdin"):
		format = formatCSV
	case format != "" && format != formatCSV && format != formatJSON:
		return exitFailed, fmt.Errorf("--format %q: it must be %s or %s", format, formatCSV, formatJSON)
	}
	m, t, err := cmd.mint()
	if err != nil {
		return exitFailed, err
	}
	defer t.close()
	audit := newCommandAudit(cmd)
	defer audit.end()
	if cmd.isOn("stdin") {
		w := auditedResults{newResultWriter(format, cmd.OutOrStdout(), m), m, audit}
		failed, err := mintMany(cmd.context(), m, t.by, cmd.stdin, w, newProgress(cmd))
		if err == nil && failed > 0 {
			err = fmt.Errorf("%d of the users got no token: the output says why", failed)
		}
		return exitOK, err
	}
	result, err := m.makeOne(cmd.context(), t.by, args[0])
	if err != nil {
		return exitFailed, err
	}
	audit.note(m.line(result.ID, result.made))
	if format == "" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), result.text())
		return exitOK, err
	}
	w := newResultWriter(format, cmd.OutOrStdout(), m)
	return exitOK, errors.Join(w.write(result), w.flush())
}

// mint prepares what the flags ask for.
func (c *command) mint() (*mint, *target, error) {
	at, err := c.at()
	if err != nil {
		return nil, nil, err
	}
	g := given{url: c.text("url"), same: issueAlike}
	var scope *string
	if c.Flags().Changed("scope") {
		scope, g.same = new(c.text("scope")), issueAlikeForScope
	}
	t, err := c.open(&g)
	if err != nil {
		return nil, nil, err
	}
	m, err := newMint(t.issuer, scope, g.url, site{t.chosen, t.config.handlers, c.isOn("any-url")}, at)
	if err != nil {
		t.close()
		return nil, nil, err
	}
	m.force = c.isOn("force")
	return m, t, nil
}

// minted is a token that was made for a user.
type minted struct {
	User    string     `json:"user"` // as named
	ID      string     `json:"id,omitempty"`
	Token   string     `json:"token,omitempty"`
	Link    string     `json:"link,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Err     string     `json:"error,omitempty"`

	made string // the token, also of a link
}

// text is the link, or the token if no link is wanted.
func (m *minted) text() string {
	if m.Link != "" {
		return m.Link
	}
	return m.Token
}

// make makes the user's token, or returns the error if no user was found.
func (m *mint) make(name string, found namedUser) (minted, error) {
	result := minted{User: name}
	if found.err != nil {
		return result, found.err
	}
	result.ID = found.user.ID()
	made, err := m.token(found.user)
	if err != nil {
		return result, err
	}
	result.made = made
	if result.Link = m.link(made); result.Link == "" {
		result.Token = made
	}
	if at, ok := m.expires(); ok {
		result.Expires = &at
	}
	return result, nil
}

// The formats of results.
const (
	formatCSV  = "csv"
	formatJSON = "json"
)

// resultWriter writes what users got.
type resultWriter interface {
	write(result minted) error
	flush() error
}

// auditedResults records tokens in the audit before they are written.
type auditedResults struct {
	resultWriter
	mint  *mint
	audit auditor
}

func (w auditedResults) write(result minted) error {
	if result.made != "" {
		w.audit.note(w.mint.line(result.ID, result.made))
	}
	return w.resultWriter.write(result)
}

func newResultWriter(format string, w io.Writer, m *mint) resultWriter {
	if format == formatJSON {
		buffer := bufio.NewWriter(w)
		encoder := json.NewEncoder(buffer)
		encoder.SetEscapeHTML(false) // & stays readable in links
		return jsonResults{encoder, buffer}
	}
	title := "token"
	if m.url != "" {
		title = "link"
	}
	return &csvResults{csv: csv.NewWriter(w), title: title}
}

// jsonResults writes an object a line.
type jsonResults struct {
	json   *json.Encoder
	buffer *bufio.Writer
}

func (w jsonResults) write(result minted) error { return w.json.Encode(result) }
func (w jsonResults) flush() error              { return w.buffer.Flush() }

// csvResults writes records behind a header.
type csvResults struct {
	csv   *csv.Writer
	title string // of the second column, once the header is written empty
}

func (w *csvResults) write(result minted) error {
	if w.title != "" {
		if err := w.csv.Write([]string{"user", w.title, "error"}); err != nil {
			return err
		}
		w.title = ""
	}
	return w.csv.Write([]string{result.User, result.text(), result.Err})
}

func (w *csvResults) flush() error {
	w.csv.Flush()
	return w.csv.Error()
}
