package e2e_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axeFile is where the gate puts axe-core, which checks pages for WCAG. It isn't a
// part of the repository.
const axeFile = "../.cache/axe/axe.min.js"

// axeSource is axe-core's program, empty where it isn't there.
var axeSource = func() string {
	source, err := os.ReadFile(axeFile)
	if err != nil {
		return ""
	}
	return string(source)
}()

// axeRules are the rules of WCAG 2.2 for A and AA.
const axeRules = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]`

// violation is a rule of WCAG that a page doesn't meet.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// violations are those that axe-core finds on the page as it is shown now.
func (b *tab) violations() []violation {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](axeSource + "; undefined"))
	// The page's policy forbids neither: scripts of the debugger aren't the page's.
	result := ask(b, chromedp.Evaluate[string](
		`axe.run(document, {runOnly: `+axeRules+`}).then(found => JSON.stringify(found.violations))`,
		chromedp.EvalAwaitPromise))
	var found []violation
	if err := json.Unmarshal([]byte(result), &found); err != nil {
		b.t.Fatalf("reading what axe-core has found: %v", err)
	}
	return found
}

// wantNoViolations fails the test for each rule of WCAG 2.2 AA that the page doesn't
// meet, as far as axe-core is there to tell.
func (b *tab) wantNoViolations(screen string) {
	b.t.Helper()
	if axeSource == "" {
		return // TestAxeFindsWhatIsWrong is skipped, and says so
	}
	for _, v := range b.violations() {
		var where []string
		for _, node := range v.Nodes {
			where = append(where, node.HTML+": "+node.Summary)
		}
		b.t.Errorf("%s: %s: %s: %s", screen, v.ID, v.Help, strings.Join(where, "; "))
	}
}

// TestAxeFindsWhatIsWrong shows that pages with mistakes don't pass.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	if axeSource == "" {
		t.Skipf("axe-core isn't in %s, so that pages aren't checked for WCAG 2.2; .ci/run gets it from npm", axeFile)
	}
	b := newTab(t)
	for rule, body := range map[string]string{
		"label":          `<main><input name="x"></main>`,
		"color-contrast": `<main><p style="color: #999; background: #fff">too light</p></main>`,
		"button-name":    `<main><button></button></main>`,
	} {
		b.open(startPage(t, "http", otherHost, "no-referrer", body))
		found := b.violations()
		if len(found) != 1 || found[0].ID != rule {
			t.Errorf("of a page that violates %s, axe-core says %+v", rule, found)
		}
	}
}
