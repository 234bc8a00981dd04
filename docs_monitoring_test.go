package sesame_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestMonitoring looks for metrics, labels and values that don't exist in the
// dashboard and in the alert rules, and has Prometheus's own tool read both.
func TestMonitoring(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, startUpstream(t), site{})
		g.get(t, "/?sesame=bad").wantStatus(t, http.StatusUnauthorized) // a count of rejections is there from the first one on
		ctx := caddy.ActiveContext()
		families, err := ctx.GetMetricsRegistry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		known := make(map[string]map[string][]string) // labels and values by metric
		for _, family := range families {
			names := []string{family.GetName()}
			if family.GetType().String() == "HISTOGRAM" {
				names = []string{family.GetName() + "_bucket", family.GetName() + "_sum", family.GetName() + "_count"}
			}
			labels := map[string][]string{"job": nil, "instance": nil, "le": nil}
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					labels[label.GetName()] = append(labels[label.GetName()], label.GetValue())
				}
			}
			for _, open := range []string{"server", "handler", "caddy", "go", "version"} {
				if _, ok := labels[open]; ok {
					labels[open] = nil // it can be any
				}
			}
			for _, name := range names {
				known[name] = labels
			}
		}
		expressions := dashboardExpressions(t)
		for _, expression := range expressions {
			wantHandlerChosen(t, known, expression)
		}
		rules := readFile(t, "monitoring/alerts.yml")
		series := regexp.MustCompile(`series: '([^']+)'`).FindAllStringSubmatch(readFile(t, "monitoring/alerts_test.yml"), -1)
		texts := slices.Concat(expressions, []string{rules})
		for _, match := range series {
			texts = append(texts, match[1])
		}
		seen := make(map[string]bool)
		for _, text := range texts {
			wantKnown(t, known, seen, text)
		}
		for name := range known {
			if strings.HasPrefix(name, "caddy_sesame_") && !seen[name] {
				t.Errorf("neither the dashboard nor the rules use %s", name)
			}
		}
		if len(series) == 0 {
			t.Error("the rules' tests have no series")
		}
		promtool(t, "check", "rules", "monitoring/alerts.yml")
		promtool(t, "test", "rules", "monitoring/alerts_test.yml")
		promtool(t, "check", "rules", asRules(t, expressions))
	})
}

// dashboardExpressions are the queries of the dashboard's panels and variables.
func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "monitoring/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var expressions []string
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	if len(expressions) == 0 || len(dashboard.Templating.List) == 0 {
		t.Fatal("the dashboard has no panels, or no variables")
	}
	return expressions
}

// wantKnown fails the test for metrics, labels or values in a text that aren't
// known.
func wantKnown(t *testing.T, known map[string]map[string][]string, seen map[string]bool, text string) {
	t.Helper()
	labels := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(caddy_sesame_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
		has, ok := known[match[1]]
		if !ok {
			t.Errorf("there is no metric %s, as in %s", match[1], text)
			continue
		}
		seen[match[1]] = true
		for label := range has {
			labels[label] = true
		}
		for _, matcher := range regexp.MustCompile(`(\w+)(?:=~|!=|=)"([^"]*)"`).FindAllStringSubmatch(match[2], -1) {
			values, ok := has[matcher[1]]
			if !ok {
				t.Errorf("%s has no label %s", match[1], matcher[1])
			}
			for value := range strings.SplitSeq(matcher[2], "|") {
				if values != nil && !slices.Contains(values, value) {
					t.Errorf("%s has no %s %q", match[1], matcher[1], value)
				}
			}
		}
	}
	for _, match := range regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		for label := range strings.SplitSeq(match[1], ", ") {
			if !labels[label] {
				t.Errorf("there is no label %s for %s", label, text)
			}
		}
	}
}

// wantHandlerChosen fails the test if the dashboard's choice of handlers doesn't concern
// a metric that has them.
func wantHandlerChosen(t *testing.T, known map[string]map[string][]string, expression string) {
	t.Helper()
	for _, match := range regexp.MustCompile(`(caddy_sesame_\w+)\{([^}]*)\}`).FindAllStringSubmatch(expression, -1) {
		if _, has := known[match[1]]["handler"]; has != strings.Contains(match[2], `handler=~"$handler"`) {
			t.Errorf("%s has handlers: %t; as in %s", match[1], has, expression)
		}
	}
}

// asRules writes the dashboard's queries as rules, since there is a tool that
// checks those. Grafana's variables are filled in.
func asRules(t *testing.T, expressions []string) string {
	t.Helper()
	text := "groups:\n  - name: dashboard\n    rules:\n"
	for i, expression := range expressions {
		expression = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*", "$handler", ".*").Replace(expression)
		text += fmt.Sprintf("      - record: dashboard:query:%d\n        expr: %s\n", i, strconv.Quote(expression))
	}
	name := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// promtool runs Prometheus's tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		const lack = "promtool is not on PATH (Debian: apt-get install prometheus)"
		if os.Getenv("CI") != "" {
			t.Fatal(lack)
		}
		t.Log(lack)
		return
	}
	if output, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// TestAlertRulesAreTestedForEachFaultOfTheSoak, which are the faults that operators may
// see: each has a test of the rules by its name.
func TestAlertRulesAreTestedForEachFaultOfTheSoak(t *testing.T) {
	t.Parallel()
	faults := regexp.MustCompile(`(?m)^\t\{"([^"]+)", \(\*Site\)`).FindAllStringSubmatch(readFile(t, "soak/internal/fault/fault.go"), -1)
	if len(faults) == 0 {
		t.Fatal("the soak has no faults")
	}
	tests := readFile(t, "monitoring/alerts_test.yml")
	for _, fault := range faults {
		if !strings.Contains(tests, "- name: "+fault[1]+"\n") {
			t.Errorf("no test of the alert rules has the name %q", fault[1])
		}
	}
}

// TestLogLinesOfFaultsAreDocumented reads the lines in the guide: each is JSON, and its
// message is in the reference unless it is Caddy's own.
func TestLogLinesOfFaultsAreDocumented(t *testing.T) {
	t.Parallel()
	var known []string
	for _, row := range rows(reference(t, "## Log messages")) {
		known = append(known, codes(row[0])[0])
	}
	lines := 0
	for _, block := range codeBlocks(section(t, readFile(t, "docs/operating.md"), "### A normal day, and faults"), "json") {
		for text := range strings.Lines(block) {
			var line struct{ Logger, Msg string }
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			lines++
			isKnown := func(message string) bool {
				begins, goesOn := strings.CutSuffix(message, "…")
				return line.Msg == message || goesOn && strings.HasPrefix(line.Msg, begins)
			}
			if strings.HasPrefix(line.Logger, "http.handlers.sesame") && !slices.ContainsFunc(known, isKnown) {
				t.Errorf("the reference has no message %q", line.Msg)
			}
		}
	}
	if lines < 10 {
		t.Errorf("the guide has %d lines", lines)
	}
}
