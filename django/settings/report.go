package settings

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Report has the remarks on a block that was written.
type Report struct {
	// Notes are about settings that the configuration can't express, and
	// assumptions.
	Notes []Note `json:"notes"`

	// Undecided are restrictions of Django's that the gateway might drop. The
	// configuration has a line for each of them, and doesn't start until the
	// operator has removed that.
	Undecided []Note `json:"undecided"`

	// Env are the environment variables that Caddy needs.
	Env []EnvVar `json:"env"`

	// View is the SQL that makes the view which the configuration reads users
	// from, or empty.
	View string `json:"view,omitempty"`
}

// Note is about a setting: its meaning for the gateway, and the advice.
type Note struct {
	Setting string `json:"setting"`
	Text    string `json:"text"`
}

// EnvVar is an environment variable that Caddy needs, and the Django setting that
// its value comes from.
type EnvVar struct {
	Name    string `json:"name"`
	Setting string `json:"setting"`
}

// The environment variables.
const (
	envSecretKey       = "DJANGO_SECRET_KEY"
	envFallback        = "DJANGO_SECRET_KEY_FALLBACK_" // with a number
	envKey             = "SESAME_KEY"
	envDBPassword      = "DJANGO_DB_PASSWORD"
	envDSN             = "SESAME_DSN"
	envReplicaPassword = "DJANGO_DB_REPLICA_PASSWORD"
	envReplicaDSN      = "SESAME_REPLICA_DSN"
	envAddress         = "SITE_ADDRESS"
	envUpstream        = "UPSTREAM"
)

// Caddyfile writes the block `sesame { … }` for the project. Secrets are
// placeholders in it, for environment variables that the report names.
//
// It fails, and writes nothing, if no block can do what the project does: for
// example with a database other than MySQL or MariaDB. The error names the setting.
func (p *Project) Caddyfile(w io.Writer) (*Report, error) {
	b, err := p.block()
	if err != nil {
		return nil, err
	}
	return b.write(w)
}

// Site writes a whole Caddyfile for the project, with a site that has the block.
// The addresses of the site and of the application are environment variables as
// well.
func (p *Project) Site(w io.Writer) (*Report, error) {
	b, err := p.block()
	if err != nil {
		return nil, err
	}
	b.lines = slices.Concat(
		[]string{
			"# The address of the site, such as app.example.com: set " + envAddress + ", or write it here.",
			"# Without it, Caddy takes the site for global options, and says that sesame isn't one of them.", "{$" + envAddress + "} {",
		},
		b.lines,
		[]string{"\t# The application behind the gateway, such as localhost:8000: set " + envUpstream + ", or write it here.", "\treverse_proxy {$" + envUpstream + "}", "}"},
	)
	for i := 3; i < len(b.lines)-3; i++ {
		b.lines[i] = "\t" + b.lines[i]
	}
	b.report.Env = append(b.report.Env,
		EnvVar{envAddress, "the address of the site, such as app.example.com"},
		EnvVar{envUpstream, "the address of the application, such as localhost:8000"})
	return b.write(w)
}

// block is a block being written.
type block struct {
	*Project
	lines []string
	// hasSessions is whether Django's sessions are accepted. hasVias is whether
	// sessions or API tokens are accepted: their tables refer to users.
	hasSessions, hasVias bool
	undecided            []string // lines as well, which come first
	report               Report
}

// block has the options for the project.
func (p *Project) block() (*block, error) {
	b := &block{Project: p}
	b.lines = append(b.lines, "sesame {")
	for _, step := range []func() error{
		b.secrets, b.lifecycle, b.packer, b.versions, b.times, b.sessions, b.passwords, b.apiTokens, b.store,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	b.logins()
	b.lines = slices.Insert(b.lines, 1, b.undecided...)
	b.lines = append(b.lines, "}")
	return b, nil
}

func (b *block) write(w io.Writer) (*Report, error) {
	if _, err := io.WriteString(w, strings.Join(b.lines, "\n")+"\n"); err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	return &b.report, nil
}
