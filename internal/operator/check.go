package operator

import (
	"cmp"
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
	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func (m maker) checkCommand() *cobra.Command {
	cmd := m.command("check", "Checks the configuration against the database", `
Looks at the configuration and the database that it names, and prints a line for
each thing that was looked at: ok, warn or fail, and what to do about it. It
writes nothing. Without --route, all handlers are checked.

The exit status is 1 if something fails, which would keep Caddy from starting or
tokens from working.
`, cobra.NoArgs, runCheck)
	addConfigFlags(cmd)
	cmd.Flags().Bool("json", false, "Print JSON")
	cmd.Flags().Bool("create", false, "Print the statement that makes the table in the option revocations, and check nothing")
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
		return exitOK, cmd.printRevocationsTable()
	}
	timeout, err := cmd.timeout()
	if err != nil {
		return exitFailed, err
	}
	config, err := cmd.configuration()
	if err != nil {
		return exitFailed, err
	}
	handlers := distinctSurroundings(config.handlers)
	if cmd.text("route") != "" {
		chosen, err := cmd.choose(config, nil, areSame)
		if err != nil {
			return exitFailed, err
		}
		handlers = []*configured{chosen}
	}
	var reports []report
	worst := exitOK
	for _, handler := range handlers {
		c := &checker{configured: handler, config: config, timeout: timeout}
		c.run(cmd.context())
		reports = append(reports, report{handler.number, handler.path, handler.hosts, c.findings})
		if slices.ContainsFunc(c.findings, func(f finding) bool { return f.Verdict == verdictFail }) {
			worst = exitFailed
		}
	}
	if cmd.isOn("json") {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return worst, encoder.Encode(struct {
			OK       bool     `json:"ok"`
			Handlers []report `json:"handlers"`
		}{worst == exitOK, reports})
	}
	for i, handler := range handlers {
		if len(handlers) > 1 {
			fmt.Fprintf(cmd.OutOrStdout(), "handler %s\n", handler)
		}
		if err := writeFindings(cmd.OutOrStdout(), reports[i].Findings); err != nil {
			return exitFailed, err
		}
	}
	return worst, nil
}

// distinctSurroundings returns the first of handlers that are equal and are
// surrounded by the same.
func distinctSurroundings(handlers []*configured) []*configured {
	return distinct(handlers, func(a, b *configured) bool {
		return areSame(a, b) && slices.Equal(a.before, b.before) && a.logsCredentials == b.logsCredentials
	})
}

func writeFindings(w io.Writer, findings []finding) error {
	for _, f := range findings {
		advice := ""
		if f.Advice != "" {
			advice = "; " + f.Advice
		}
		// What comes from the configuration or the database moves no cursor.
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

// The errors of this module say what to do themselves.
func (c *checker) failWith(check string, err error) { c.fail(check, err.Error(), "") }

// run goes on for as long as there is something to look at.
func (c *checker) run(ctx context.Context) {
	c.checkAccessLog()
	c.checkHelpURL()
	settings, ok := c.checkSettings()
	if !ok {
		return
	}
	cfg, needs, err := c.reading(settings)
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
	c.checkLastLogin(ctx, table)
}

// checkSettings checks what can be without a database.
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
	switch {
	case settings.MaxAge == nil && !settings.OneTime:
		c.warn("settings", "links are good for ever, as neither max_age nor one_time is set", "set SESAME_MAX_AGE in Django, and max_age here")
	default:
		c.ok("settings", "they can be used, and the secrets are there")
	}
	return settings, c.checkAssertion(settings)
}

// checkAssertion shows the keys of assertions by what upstreams know them by.
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

// checkAccessLog looks for what could log a token in spite of the handler.
func (c *checker) checkAccessLog() {
	const check = "access_log"
	if c.logsCredentials {
		c.warn(check, "log_credentials is on, so that Caddy's logs show the cookies of sessions", "remove log_credentials from the global options")
	}
	var loggers []string
	for module, logger := range map[string]string{"rewrite": "http.handlers.rewrite", "reverse_proxy": "http.handlers.reverse_proxy"} {
		if slices.Contains(c.before, module) && c.config.logsAtDebug(logger) {
			loggers = append(loggers, module)
		}
	}
	if len(loggers) > 0 {
		slices.Sort(loggers)
		c.warn(check, fmt.Sprintf("%s stands in front of sesame, and logs URLs with tokens at level DEBUG", strings.Join(loggers, " and ")),
			"raise the log's level, exclude http.handlers."+loggers[0]+" from it, or place sesame in front in a route block")
	}
	assertions := c.LogsAssertions &&
		(c.config.logsAtDebug("http.handlers.reverse_proxy") || c.config.logsAtDebug("http.reverse_proxy.transport.fastcgi"))
	if assertions {
		c.warn(check, "at level DEBUG, Caddy's proxies log the header fields that they send, assertions among them",
			"raise the log's level, or have a filter delete the field")
	}
	if !c.logsCredentials && len(loggers) == 0 && !assertions {
		c.ok(check, "tokens are taken out of Caddy's logs by the handler itself")
	}
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
		return // that it is protected can't be told
	}
	c.warn("help_url", "help_url leads to "+place+", which is behind sesame itself: users without a valid link can't read it",
		"let requests for it pass with a matcher, such as @protected not path "+u.Path+" and sesame @protected")
}

func (c *checker) checkServer(ctx context.Context) (userstore.Server, bool) {
	server, err := c.inspector.Server(ctx)
	if err != nil {
		c.failWith("connection", err)
		return server, false
	}
	c.ok("connection", "%s at %s, as %s", server.Version, server.Address, server.Account)
	const check = "tls"
	switch {
	case server.TLS != "" && server.Verified:
		c.ok(check, "%s, and the server's certificate is checked", server.TLS)
	case server.TLS != "" && server.Local:
		c.ok(check, "%s; the connection doesn't leave this machine", server.TLS)
	case server.TLS != "":
		c.warn(check, server.TLS+", but with anybody who answers: the server's certificate isn't checked", "write tls=true in the dsn")
	case server.Local:
		c.ok(check, "none, and the connection doesn't leave this machine")
	default:
		c.warn(check, "none: whoever is on the way to the database reads password hashes", "write tls=true in the dsn")
	}
	return server, true
}

// mostClockDifference is how far two clocks may differ.
const mostClockDifference = 2 * time.Second

func (c *checker) checkClock(ctx context.Context) {
	const check = "clock"
	ahead, err := c.inspector.ClockDifference(ctx)
	if err != nil {
		c.warn(check, err.Error(), "")
		return
	}
	if ahead.Abs() > mostClockDifference {
		direction := "ahead of"
		if ahead < 0 {
			direction = "behind"
		}
		c.warn(check, fmt.Sprintf("the database's clock is %s %s the one here", ahead.Abs().Round(time.Millisecond), direction),
			"keep both right with NTP, and Django's: tokens expire by the clock here")
		return
	}
	c.ok(check, "the database's clock and the one here differ by %s", ahead.Abs().Round(time.Millisecond))
}

func (c *checker) checkTable(ctx context.Context) (*userstore.Table, bool) {
	table, err := c.inspector.Table(ctx)
	if err != nil {
		check := "table"
		if lacksPrivilege(err) {
			check = "privileges"
		}
		c.fail(check, err.Error(), "what the dsn's user may not read is, to the gateway, not there")
		return nil, false
	}
	kind := "table"
	if table.View {
		kind = "view"
	}
	columns := make([]string, len(table.Columns))
	for i, column := range table.Columns {
		columns[i] = column.Name + " " + column.Type
	}
	c.ok("table", "%s %s", kind, table.Name)
	c.ok("columns", "%s", strings.Join(columns, ", "))
	c.checkRights(table)
	switch active := c.Issues.Store.Columns.IsActive; {
	case table.HasIsActive:
	case active == userstore.NoColumn:
		c.ok("is_active", "none, as configured: every user may log in")
	default:
		c.warn("is_active", "the table has no such column, so that every user may log in",
			"name it with the is_active option, or say with is_active - that there is none")
	}
	return table, true
}

// checkRights is about what is read of a user's groups and permissions.
func (c *checker) checkRights(table *userstore.Table) {
	if len(table.Related) > 0 {
		c.ok("rights", "they are read from %s", strings.Join(table.Related, ", "))
	}
}

// lacksPrivilege reports whether MySQL refused for want of a privilege
// (ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR,
// ER_COLUMNACCESS_DENIED_ERROR).
func lacksPrivilege(err error) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains([]uint16{1044, 1142, 1143}, answer.Number)
}

// checkKey is about the column that tokens hold.
func (c *checker) checkKey(ctx context.Context, table *userstore.Table, settings token.Settings) {
	column, _ := table.Find("primary_key") // it is always read
	if packer := packerOf(settings); packer != nil {
		c.ok("packer", "%s, as configured; by the type of %s it would be %s", cmp.Or(settings.Packer, packer.Name()), column.Name, table.Packer)
	} else {
		c.ok("packer", "%s, by the type of %s", table.Packer, column.Name)
	}
	c.checkUnique(ctx, table)
	switch {
	case column.Collation == "":
	case strings.HasSuffix(column.Collation, "_bin") || column.Collation == "binary":
		c.ok("collation", "%s tells apart whatever differs", column.Collation)
	default:
		c.ok("collation", "%s may take keys for equal that differ in case or accents; the gateway takes none but the token's own", column.Collation)
	}
}

func (c *checker) checkUnique(ctx context.Context, table *userstore.Table) {
	const check = "primary_key"
	if !table.View {
		c.ok(check, "%s is unique", table.PrimaryKey)
		return
	}
	const advice = "make it unique in what the view selects: of several users with one key, none gets in"
	switch twice, err := c.inspector.HasDuplicateKeys(ctx); {
	case err != nil:
		c.warn(check, "nothing makes "+table.PrimaryKey+" unique in a view, and it couldn't be looked at: "+err.Error(), "")
	case twice:
		c.fail(check, "several rows of the view have one "+table.PrimaryKey, advice)
	default:
		c.ok(check, "%s is unique now; in a view, nothing makes it so", table.PrimaryKey)
	}
}

func (c *checker) checkPrivileges(ctx context.Context, server userstore.Server) {
	const check = "privileges"
	found, err := c.inspector.Privileges(ctx, server.Account)
	least := "what is needed is " + strings.Join(found.Least, "; ")
	if err := c.inspector.Needed(ctx); err != nil {
		c.fail(check, err.Error(), least)
		return
	}
	switch {
	case err != nil:
		c.warn(check, "all that is needed is granted; what more is couldn't be told: "+err.Error(), least)
	case len(found.Surplus) > 0:
		c.warn(check, "more than is needed: "+strings.Join(found.Surplus, ", "), least)
	case found.Others > 0:
		c.warn(check, "all that is needed is granted; roles and the like weren't looked into", least)
	default:
		c.ok(check, "those that are needed, and no others")
	}
}

// djangoPrecision is the number of digits of a second that Django keeps.
const djangoPrecision = 6

func (c *checker) checkLastLogin(ctx context.Context, table *userstore.Table) {
	const check = "last_login"
	if !c.needs.LastLogin {
		c.ok(check, "it isn't needed without one_time and session")
		return
	}
	column, _ := table.Find("last_login") // or there would be no table
	const advice = "make it DATETIME(6), as Django does: ALTER TABLE … MODIFY … DATETIME(6) NULL"
	switch {
	case table.LastLoginPrecision >= djangoPrecision:
		c.ok(check, "%s keeps microseconds", column.Type)
	case c.Issues.Settings.OneTime:
		c.fail(check, fmt.Sprintf("%s cuts off the microseconds on which Django's one-time tokens depend: "+
			"those that it makes right after a login are refused", column.Type), advice)
	default:
		c.warn(check, column.Type+" cuts off microseconds, which one_time would need", advice)
	}
	c.checkTimes(ctx)
}

// mostInFuture is how far a login may lie in the future.
const mostInFuture = 5 * time.Minute

// checkTimes is about use_tz and time_zone. What is wrong there shows where the
// zone is east of UTC.
func (c *checker) checkTimes(ctx context.Context) {
	const check = "time_zone"
	at, found, err := c.inspector.LatestLogin(ctx)
	switch {
	case err != nil:
		c.warn(check, err.Error(), "")
	case !found:
		c.ok(check, "nobody has logged in yet, so that nothing is to be seen of use_tz and time_zone")
	case time.Until(at) > mostInFuture:
		c.warn(check, fmt.Sprintf("the latest login is in the future, by %s", time.Until(at).Round(time.Minute)),
			"compare use_tz with Django's USE_TZ, and time_zone with TIME_ZONE, if that is off")
	default:
		c.ok(check, "the latest login was at %s", at.UTC().Format(time.RFC3339))
	}
}
