package main

import (
	"fmt"
	"regexp"
)

var (
	released = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-([0-9A-Za-z.]+))?(\+dirty)?$`)
	pseudo   = regexp.MustCompile(`^v(\d+\.\d+\.\d+)-(\d{14})-([0-9a-f]{12})(\+dirty)?$`)
)

// packageVersion is a version as Debian and RPM compare them: what is before a
// release has a tilde, and a dash only separates the package's own number. A
// commit without a tag is from before the release, and sorted by its time.
func packageVersion(version string) (string, error) {
	if part := pseudo.FindStringSubmatch(version); part != nil {
		return part[1] + "~git" + part[2] + "." + part[3] + part[4], nil
	}
	part := released.FindStringSubmatch(version)
	switch {
	case part == nil:
		return "", fmt.Errorf("%q is no version for a package: set SESAME_VERSION to one such as v1.2.3 or v1.2.3-rc.1", version)
	case part[2] == "":
		return part[1] + part[3], nil
	default:
		return part[1] + "~" + part[2] + part[3], nil
	}
}
