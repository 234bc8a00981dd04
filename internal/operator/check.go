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

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func (m maker) checkCommand() *cobra.Command {
	cmd := m.command("check", "Checks the configuration against the database", `
Looks at the configuration and the database that it names, and prints a line for
each thing that was looked at: ok, warn or fail, and what to do about it. It
writes nothing, and sends no mail without --mail-to. Without --route, all handlers
are checked.

The exit status is 1 if something fails, which would keep Caddy from starting or
tokens from working.
`, cobra.NoArgs, runCheck)
	addConfigFlags(cmd)
	cmd.Flags().Bool("json", false, "Print JSON")
	cmd.Flags().String("mail-to", "", "Send a test mail to this address")
	cmd.Flags().Bool("create", false, "Print the statements that make the tables in the options revocations of userstore and table of session, and check nothing")
	return cmd
}

// verdict is how a check came out.
type verdict string

// The verdicts.
const (
	verdictOK   verdict = "ok"
	verdictWarn verdict = "warn"
	verdictFail verdict = "fail"
)

// finding is what a check found.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Text    string  `json:"text"`
	Advice  string  `json:"advice,omitempty"` // what to do about it
}

// report is what was found about a handler.
type report struct {
	Number   int       `json:"number"`
	Route    string    `json:"route"`
	Hosts    []string  `json:"hosts,omitempty"`
	Findings []finding `json:"findings"`
}

// runCheck is `caddy sesame check`.
func runCheck(cmd *command, _ []string) (int, error) {
	if cmd.isOn("create") {
		return exitOK, cmd.printTables()
	}
	reports, handlers, err := cmd.check()
	if err != nil {
		if cmd.isOn("json") {
			return exitFailed, errors.Join(err, writeIndented(cmd.OutOrStdout(), struct {
				OK    bool   `json:"ok"`
				Error string `json:"error"`
			}{false, err.Error()}))
		}
		return exitFailed, err
	}
	sum := summarize(reports)
	if cmd.isOn("json") {
		return sum.status(), writeIndented(cmd.OutOrStdout(), struct {
			OK       bool     `json:"ok"`
			Verdict  string   `json:"verdict"`
			Handlers []report `json:"handlers"`
		}{sum.failed == 0, sum.String(), reports})
	}
	for i, handler := range handlers {
		if len(handlers) > 1 {
			fmt.Fprintf(cmd.OutOrStdout(), "handler %s\n", handler)
		}
		if err := writeFindings(cmd.OutOrStdout(), reports[i].Findings); err != nil {
			return exitFailed, err
		}
	}
	fmt.Fprintln(cmd.OutOrStdout(), sum)
	return sum.status(), nil
}

// writeIndented writes JSON for programs that people look at, too.
func writeIndented(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// summary counts what was found.
type summary struct{ failed, warned int }

func summarize(reports []report) summary {
	var s summary
	for _, r := range reports {
		for _, f := range r.Findings {
			switch f.Verdict {
			case verdictFail:
				s.failed++
			case verdictWarn:
				s.warned++
			case verdictOK:
			}
		}
	}
	return s
}

// status is the exit status.
func (s summary) status() int {
	if s.failed > 0 {
		return exitFailed
	}
	return exitOK
}

// String is the verdict in a line.
func (s summary) String() string {
	warnings := fmt.Sprintf("%d warnings", s.warned)
	switch s.warned {
	case 0:
		warnings = "no warnings"
	case 1:
		warnings = "1 warning"
	}
	switch s.failed {
	case 0:
		return "verdict: ok, with " + warnings
	case 1:
		return "verdict: 1 check failed, with " + warnings
	}
	return fmt.Sprintf("verdict: %d checks failed, with %s", s.failed, warnings)
}

// check checks the handlers that the flags name.
func (c *command) check() ([]report, []*configured, error) {
	timeout, err := c.timeout()
	if err != nil {
		return nil, nil, err
	}
	config, err := c.configuration()
	if err != nil {
		return nil, nil, err
	}
	handlers := distinctSurroundings(config)
	if c.text("route") != "" {
		chosen, err := c.choose(config, nil, areSame)
		if err != nil {
			return nil, nil, err
		}
		handlers = []*configured{chosen}
	}
	if c.text("mail-to") != "" && !slices.ContainsFunc(handlers, func(h *configured) bool { return h.Mail != nil }) {
		return nil, nil, errors.New("--mail-to: no mail server is configured: write email_link into the block of login")
	}
	var reports []report
	for _, handler := range handlers {
		checker := &checker{configured: handler, config: config, timeout: timeout, mailTo: c.text("mail-to")}
		checker.run(c.context())
		reports = append(reports, report{handler.number, handler.path, handler.hosts, checker.findings})
	}
	return reports, handlers, nil
}

// distinctSurroundings returns one handler of each group of handlers that are equal
// and have equal surroundings.
func distinctSurroundings(config *configuration) []*configured {
	return distinct(config.handlers, func(a, b *configured) bool {
		return areSame(a, b) && slices.Equal(a.before, b.before) && a.logsCredentials == b.logsCredentials &&
			slices.Equal(config.flowFindings(a), config.flowFindings(b))
	})
}

func writeFindings(w io.Writer, findings []finding) error {
	for _, f := range findings {
		advice := ""
		if f.Advice != "" {
			advice = "; " + f.Advice
		}
		// Text from the configuration or the database must not move the cursor.
		text := strings.Map(printable, f.Text+advice)
		if _, err := fmt.Fprintf(w, "%-4s  %-12s  %s\n", f.Verdict, f.Check, text); err != nil {
			return err
		}
	}
	return nil
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
		return ' '
	}
	return r
}

// checker checks a handler.
type checker struct {
	*configured
	config   *configuration
	timeout  time.Duration
	mailTo   string // where a test mail is sent, or ""
	findings []finding

	needs     userstore.Needs
	inspector *userstore.Inspector
}

func (c *checker) ok(check, format string, args ...any) {
	c.findings = append(c.findings, finding{check, verdictOK, fmt.Sprintf(format, args...), ""})
}

func (c *checker) warn(check, text, advice string) {
	c.findings = append(c.findings, finding{check, verdictWarn, text, advice})
}

func (c *checker) fail(check, text, advice string) {
	c.findings = append(c.findings, finding{check, verdictFail, text, advice})
}

// failWith reports an error of this module, which has its own advice.
func (c *checker) failWith(check string, err error) { c.fail(check, err.Error(), "") }

// run runs the checks in order, and stops where the next ones have nothing to
// check.
func (c *checker) run(ctx context.Context) {
	c.checkAccessLog()
	c.checkHelpURL()
	c.checkRoutes()
	c.checkProxies()
	settings, ok := c.checkSettings()
	if !ok {
		return
	}
	c.checkMail(ctx)
	cfg, needs, err := c.reading(settings)
	if err == nil {
		err = c.AddNeeds(&needs)
	}
	if err == nil {
		needs.LastLogin = needs.LastLogin || c.WritesLastLogin
		cfg.QueryTimeout = caddy.Duration(c.timeout)
		c.needs = needs
		c.inspector, err = userstore.NewInspector(cfg, needs)
	}
	if err != nil {
		c.failWith("settings", err)
		return
	}
	defer func() { _ = c.inspector.Close() }() // nothing depends on it any more

	server, ok := c.checkServer(ctx)
	if ok {
		c.checkNodes(ctx)
	}
	if !ok {
		return
	}
	c.checkClock(ctx)
	table, ok := c.checkTable(ctx)
	if !ok {
		return
	}
	c.checkKey(ctx, table, settings)
	c.checkPrivileges(ctx, server)
	c.checkFollow(ctx)
	c.checkLastLogin(ctx, table)
}

// checkSettings checks the settings that need no database.
func (c *checker) checkSettings() (token.Settings, bool) {
	err := c.Validate()
	if err != nil {
		c.failWith("settings", err)
		return token.Settings{}, false
	}
	settings, err := c.Settings()
	if err != nil {
		c.failWith("settings", err)
		return settings, false
	}
	for _, warning := range c.Warnings(c.hosts) {
		c.warn("session", warning.Text, warning.Advice)
	}
	for _, warning := range c.Constants {
		c.warn("identity", warning.Text, warning.Advice)
	}
	for _, warning := range c.Placeholders {
		c.warn("placeholders", warning.Text, warning.Advice)
	}
	c.checkStrength(settings)
	switch {
	case settings.MaxAge == nil && !settings.OneTime:
		c.warn("settings", "links of django-sesame never expire, as neither max_age nor one_time is set", "set max_age here, and SESAME_MAX_AGE in Django if it makes links")
	default:
		c.ok("settings", "they can be used, and the secrets are there")
	}
	return settings, c.checkAssertion(settings)
}

// Bounds below which checkStrength warns: a signature of 6 bytes takes 2^48
// guesses, and Django 5.2 hashes passwords with a million iterations.
const (
	shortestSignature = 6
	mostIterations    = 1_000_000
)

// checkStrength warns about values that work, but are hardly intended.
func (c *checker) checkStrength(settings token.Settings) {
	if size := settings.SignatureSize; size != 0 && size < shortestSignature {
		c.warn("settings", fmt.Sprintf("signature_size %d: signatures that short can be guessed", size),
			fmt.Sprintf("set SESAME_SIGNATURE_SIZE in Django and signature_size here to %d or more; 10 is the default", shortestSignature))
	}
	if settings.Iterations > mostIterations {
		c.warn("settings", fmt.Sprintf("iterations %d: each v1 token that a client makes up keeps a processor busy for seconds", settings.Iterations),
			"set SESAME_ITERATIONS in Django and iterations here to less; 10000 is the default")
	}
	for _, key := range append([]string{settings.SecretKey}, settings.SecretKeyFallbacks...) {
		if n := len(key); n > 1 && (key[0] == '"' || key[0] == '\'') && key[n-1] == key[0] {
			c.warn("settings", "a secret key begins and ends with quotes, which are taken for a part of it",
				"remove them, unless they are a part of Django's SECRET_KEY as well: docker --env-file keeps quotes, a shell and systemd don't")
		}
	}
}

// checkAssertion shows the IDs by which upstreams know the keys of assertions.
func (c *checker) checkAssertion(settings token.Settings) bool {
	const check = "assertion"
	if c.AssertionKeys == nil {
		return true
	}
	ids, isDerived, err := c.AssertionKeys(settings)
	if err != nil {
		c.failWith(check, err)
		return false
	}
	published := ""
	if len(ids) > 1 {
		published = "; also published: " + strings.Join(ids[1:], ", ")
	}
	from := ""
	if isDerived {
		from = ", which is derived from secret_key"
	}
	c.ok(check, "signed by the key %s%s%s", ids[0], from, published)
	return true
}

// checkHelpURL warns if a user without a valid link can't read the page on how to
// get one.
func (c *checker) checkHelpURL() {
	place, _, _ := strings.Cut(c.HelpURL, "?")
	u, err := url.Parse(place)
	switch {
	case err != nil, u.Path == "" && u.Host == "", u.Host != "" && !c.serves(u):
		return // none, an e-mail address, or on another site
	case len(c.matchers) > 0:
		return // whether the page is protected is unknown
	}
	c.warn("help_url", "help_url leads to "+place+", which is behind sesame itself: users without a valid link can't read it",
		"let requests for it pass with a matcher, such as @protected not path "+u.Path+" and sesame @protected")
}
