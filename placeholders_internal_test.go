package sesame

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOptionsWithPlaceholdersAreDocumented compares the options in which placeholders
// are replaced with the column of the reference that says so.
func TestOptionsWithPlaceholdersAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `[^|]*` \\|([^|]*)\\|[^|]*\\| (?:at start|per request)[^|]* \\|")
	var documented []string
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		for name := range strings.SplitSeq(match[1], ",") {
			documented = append(documented, strings.ReplaceAll(strings.Trim(name, "` "), "[]", ""))
		}
	}
	known := slices.Clone(replacedOptions)
	slices.Sort(known)
	documented = slices.DeleteFunc(documented, func(name string) bool { return name == "identity.name" })
	slices.Sort(documented)
	if documented = slices.Compact(documented); !slices.Equal(known, documented) {
		t.Errorf("replaced are\n%s\ndocumented are\n%s", known, documented)
	}
}
