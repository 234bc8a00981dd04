package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestPackageVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3":                             "1.2.3",
		"v1.2.3-rc.1":                        "1.2.3~rc.1",
		"v1.2.3+dirty":                       "1.2.3+dirty",
		"v0.0.0-20261126060212-a0a830ff4f60": "0.0.0~git20261126060212.a0a830ff4f60",
		"v0.0.0-20261126060212-a0a830ff4f60+dirty": "0.0.0~git20261126060212.a0a830ff4f60+dirty",
	} {
		if got, err := packageVersion(version); err != nil || got != want {
			t.Errorf("%s is %q in packages, %v; want %q", version, got, err, want)
		}
	}
	for _, version := range []string{"", "unknown", "1.2.3", "v1.2", "v1.2.3-rc_1", "v1.2.3; rm"} {
		if got, err := packageVersion(version); err == nil || !strings.Contains(err.Error(), "SESAME_VERSION") {
			t.Errorf("%q is %q in packages, %v; want an error that names SESAME_VERSION", version, got, err)
		}
	}
}

// TestNewerVersionsAreUpgrades has dpkg compare versions in the order in which they
// would be released.
func TestNewerVersionsAreUpgrades(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("there is no dpkg")
	}
	before := ""
	for _, version := range []string{
		"v0.0.0-20261126060212-ffffffffffff", "v0.0.0-20261126060213-000000000000", "v0.1.0-rc.1", "v0.1.0-rc.2", "v0.1.0", "v0.2.0", "v0.10.0", "v1.0.0",
	} {
		number, err := packageVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		if before != "" && exec.Command("dpkg", "--compare-versions", before+"-1", "lt", number+"-1").Run() != nil {
			t.Errorf("%s is no upgrade of %s", number, before)
		}
		before = number
	}
}
