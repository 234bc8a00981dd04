package packaging_test

import (
	"os"
	"strings"
	"testing"
)

// TestExamplesHaveTheSameUser compares the packages' file with that for containers, in
// which MariaDB's image has made the database and the account: the table, the user and
// the rights are the same.
func TestExamplesHaveTheSameUser(t *testing.T) {
	t.Parallel()
	const packages, containers = "first-user.sql", "compose/first-user.sql"
	for _, part := range [][2]string{{"CREATE TABLE ", "'alice@example.com', TRUE);"}, {"GRANT ", " TO 'gateway'"}} {
		if a, b := between(t, packages, part[0], part[1]), between(t, containers, part[0], part[1]); a != b {
			t.Errorf("%s has %s%s\nand %s has %s%s", packages, part[0], a, containers, part[0], b)
		}
	}
}

// between is what stands in a file between two texts.
func between(t *testing.T, file, start, end string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, hasStart := strings.Cut(string(text), start)
	part, _, hasEnd := strings.Cut(rest, end)
	if !hasStart || !hasEnd {
		t.Fatalf("%s has no %q with %q behind it", file, start, end)
	}
	return part
}
