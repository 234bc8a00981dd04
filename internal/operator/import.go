package operator

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/caddy-sesame/caddy-sesame/django/settings"
)

func (m maker) importCommand() *cobra.Command {
	cmd := m.command("import-django [FILE]", "Writes a Caddyfile from a Django project's settings", `
Reads the settings of a Django project, from a file or stdin, and prints the
block of a Caddyfile that goes with them. On stderr it says which environment
variables Caddy needs, and what can't be carried over.

The settings are what a script of Python prints, which asks the project:

  caddy sesame import-django --script >settings_json.py
  python manage.py shell <settings_json.py | caddy sesame import-django

or, with a little less in it, and with secrets, the output of
'python manage.py diffsettings --all'. No secret gets into the Caddyfile.
`, cobra.MaximumNArgs(1), runImport)
	cmd.Flags().Bool("script", false, "Print the script that prints a project's settings, and do nothing else")
	cmd.Flags().StringP("output", "o", "", "Write the block to this file, which must not exist (default: stdout)")
	return cmd
}

// runImport is `caddy sesame import-django`.
func runImport(cmd *command, args []string) (int, error) {
	if cmd.isOn("script") {
		_, err := io.WriteString(cmd.OutOrStdout(), settings.Script)
		return exitOK, err
	}
	input := cmd.stdin
	if len(args) > 0 && args[0] != "-" {
		file, err := os.Open(args[0])
		if err != nil {
			return exitFailed, fmt.Errorf("reading the settings: %w", err)
		}
		defer file.Close()
		input = file
	}
	project, err := settings.Read(input)
	if err != nil {
		return exitFailed, err
	}
	notes, env, err := cmd.writeBlock(project)
	if err != nil {
		return exitFailed, err
	}
	stderr := cmd.ErrOrStderr()
	if len(env) > 0 {
		fmt.Fprintln(stderr, "Environment variables that Caddy needs:")
		for _, variable := range env {
			fmt.Fprintf(stderr, "  %s  %s\n", variable.Name, variable.Setting)
		}
	}
	if len(notes) > 0 {
		fmt.Fprintln(stderr, "To be looked at:")
		for _, note := range notes {
			fmt.Fprintf(stderr, "  %s: %s\n", note.Setting, note.Text)
		}
	}
	return exitOK, nil
}

// writeBlock writes the block to where --output says.
func (c *command) writeBlock(project *settings.Project) (notes []settings.Note, env []settings.EnvVar, err error) {
	name := c.text("output")
	if name == "" || name == "-" {
		return project.Caddyfile(c.OutOrStdout())
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // whoever calls the command chooses
	if err != nil {
		return nil, nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	notes, env, err = project.Caddyfile(file)
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(name)
		return nil, nil, err
	}
	return notes, env, nil
}
