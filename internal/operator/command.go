package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// AddCommands adds the commands to `caddy sesame`. decode reads the handlers of
// the configuration that they are for.
func AddCommands(parent *cobra.Command, decode Decode) {
	m := maker{decode}
	parent.SetHelpTemplate(helpTemplate)
	parent.Args = cobra.ArbitraryArgs
	parent.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return misused(cmd, exitUnknown, unknownCommand(cmd, args[0]))
	}
	parent.AddCommand(m.tokenCommand(), m.explainCommand(), m.checkCommand(), m.importCommand(), m.probeCommand(), m.revokeCommand())
}

// helpTemplate is cobra's, with this project's documentation in the place of
// Caddy's.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}
Full documentation is available at:
https://github.com/caddy-sesame/caddy-sesame/blob/main/docs/operating.md
`

// unknownCommand names the existing commands, and the most similar one.
func unknownCommand(parent *cobra.Command, name string) error {
	var names []string
	for _, cmd := range parent.Commands() {
		if cmd.Name() != "help" && cmd.Name() != "completion" { // cobra's
			names = append(names, cmd.Name())
		}
	}
	if meant := nearest.Name(name, names); meant != "" {
		return fmt.Errorf("there is no command %q: did you mean %s?", name, meant)
	}
	return fmt.Errorf("there is no command %q; there are %s", name, strings.Join(names, ", "))
}

// maker makes commands.
type maker struct{ decode Decode }

// The exit statuses of commands. What 1 means depends on the command.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUnknown = 2 // of explain; and a command that there isn't
)

// command is a running cobra command, with its input and the decoder of handlers.
type command struct {
	*cobra.Command
	stdin  io.Reader
	decode Decode
}

// command makes a command. run returns its exit status, and an error to show.
func (m maker) command(use, short, long string, args cobra.PositionalArgs, run func(cmd *command, args []string) (status int, err error)) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long:  "\n" + strings.TrimSpace(long) + "\n",
		Args:  args,
		RunE: func(cmd *cobra.Command, args []string) error {
			status, err := run(&command{Command: cmd, stdin: cmd.InOrStdin(), decode: m.decode}, args)
			if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", cmd.CommandPath(), err)
				status = max(status, exitFailed)
			}
			return exitWith(cmd, status)
		},
	}
}

// errFailed ends a command with status 1, after its error has been shown.
var errFailed = errors.New("exit status 1")

// exitWith has Caddy's main function exit with a status.
func exitWith(cmd *cobra.Command, status int) error {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	switch status {
	case exitOK:
		return nil
	case exitFailed:
		return errFailed
	default:
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
	}
}

// misused shows what is wrong with a command's flags or arguments, and ends the
// command with a status.
func misused(cmd *cobra.Command, status int, err error) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\nSee '%[1]s --help'.\n", cmd.CommandPath(), err)
	return exitWith(cmd, status)
}

// defaultTimeout is more than a gateway gives MySQL, since no request
// waits.
const defaultTimeout = 10 * time.Second

// addConfigFlags adds the flags that choose a handler.
func addConfigFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "Configuration file (default: the Caddyfile in the current directory)")
	cmd.Flags().StringP("adapter", "a", "", "Name of config adapter to apply")
	cmd.Flags().String("route", "", "Which sesame handler: its host, its place in the JSON, or its number")
	cmd.Flags().Bool("verbose", false, "Print log lines of reading the configuration, too")
	cmd.Flags().Duration("timeout", defaultTimeout, "How long to wait for each answer of MySQL")
}

// configuration reads the configuration that the flags name.
func (c *command) configuration() (*configuration, error) {
	file := c.text("config")
	if file == "-" && c.readsStdin() {
		return nil, errors.New("the configuration and the input can't both come from stdin")
	}
	if c.isOn("verbose") {
		return loadConfiguration(caddycmd.LoadConfig, file, c.text("adapter"), c.decode)
	}
	return loadConfiguration(readConfig, file, c.text("adapter"), c.decode)
}

// choose finds the handler that --route names, as the function choose does.
func (c *command) choose(config *configuration, u *url.URL, equal sameHandlers) (*configured, error) {
	chosen, err := choose(config.handlers, c.text("route"), u, equal)
	if err != nil {
		return nil, fmt.Errorf("--route: %w", err)
	}
	return chosen, nil
}

// readsStdin reports whether the command's input is there.
func (c *command) readsStdin() bool {
	if stdin, err := c.Flags().GetBool("stdin"); err == nil && stdin {
		return true
	}
	args := c.Flags().Args()
	return len(args) > 0 && args[0] == "-"
}

// context lasts as long as the command.
func (c *command) context() context.Context {
	if ctx := c.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// text is the value of a flag.
func (c *command) text(name string) string {
	value, _ := c.Flags().GetString(name) // it is there
	return value
}

// isOn is the value of a flag that is a switch.
func (c *command) isOn(name string) bool {
	value, _ := c.Flags().GetBool(name) // it is there
	return value
}

func (c *command) timeout() (time.Duration, error) {
	value, err := c.Flags().GetDuration("timeout")
	if err == nil && value <= 0 {
		err = errors.New("--timeout must be more than nothing")
	}
	return value, err
}

// at is the time that --at names, or now.
func (c *command) at() (time.Time, error) {
	text := c.text("at")
	if text == "" {
		return time.Now(), nil
	}
	at, err := parseTime(text, time.Now())
	if err != nil {
		return at, fmt.Errorf("--at: %w", err)
	}
	return at, nil
}

// parseTime reads a time: as in RFC 3339, in this machine's zone without one, in
// Unix seconds, or relative to now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		if offset, err := time.ParseDuration(text); err == nil {
			return now.Add(offset), nil
		}
	}
	if unix, err := strconv.ParseInt(text, 10, 64); err == nil && unix >= 0 {
		return time.Unix(unix, 0), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-23T20:15:00Z, 2026-11-23 20:15:00, Unix seconds, or -10m", text)
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
