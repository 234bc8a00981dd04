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
block of a Caddyfile that goes with them, or writes a whole Caddyfile with
--output. On stderr it says which environment variables Caddy needs, and what
can't be carried over. A configuration that would let in users whom Django
doesn't let in, or might do so, doesn't start: it reads a view that has yet to
be made, by the SQL that is printed, or it has lines with "undecided".

The settings are what a script of Python prints, which asks the project:

  caddy sesame import-django --script >settings_json.py
  python manage.py shell <settings_json.py | caddy sesame import-django

The script sends no query, and prints no secret. Or, for a project with
Django's own user model, give the output of 'python manage.py diffsettings
--all', which has secrets in it. None of them gets into the Caddyfile.
`, cobra.MaximumNArgs(1), runImport)
	cmd.Flags().Bool("script", false, "Print the script that prints a project's settings, and do nothing else")
	cmd.Flags().StringP("output", "o", "", "Write a Caddyfile with a whole site to this file, which must not exist (default: the block, to stdout)")
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
	report, err := cmd.writeConfiguration(project)
	if err != nil {
		return exitFailed, err
	}
	printReport(cmd.ErrOrStderr(), report)
	return exitOK, nil
}

// printReport lists the steps that the operator has to do before Caddy can start.
func printReport(w io.Writer, report *settings.Report) {
	if len(report.Env) > 0 {
		fmt.Fprintln(w, "Environment variables that Caddy needs:")
		for _, variable := range report.Env {
			fmt.Fprintf(w, "  %s  %s\n", variable.Name, variable.Setting)
		}
	}
	printNotes(w, "To be looked at:", report.Notes)
	printNotes(w, "To be decided, before Caddy starts with this configuration:", report.Undecided)
	if report.View != "" {
		fmt.Fprintf(w, "The view that Caddy needs:\n\n%s\n", report.View)
	}
}

func printNotes(w io.Writer, title string, notes []settings.Note) {
	if len(notes) == 0 {
		return
	}
	fmt.Fprintln(w, title)
	for _, note := range notes {
		fmt.Fprintf(w, "  %s: %s\n", note.Setting, note.Text)
	}
}

// writeConfiguration writes the block to stdout, or a whole Caddyfile to where
// --output says.
func (c *command) writeConfiguration(project *settings.Project) (*settings.Report, error) {
	name := c.text("output")
	if name == "" || name == "-" {
		return project.Caddyfile(c.OutOrStdout())
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller of the command chooses
	if err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	report, err := project.Site(file)
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(name)
		return nil, err
	}
	return report, nil
}
