package testprogram

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Python returns a Python interpreter that has all given modules, such as
// django and pymysql, as from Debian's packages. The test ends if there is
// none.
func Python(t testing.TB, modules ...string) string {
	t.Helper()
	program, ok := FindPython(modules...)
	if !ok {
		lacks(t, "there is no Python with "+strings.Join(modules, " and ")+" (Debian: apt-get install python3-"+strings.Join(modules, " python3-")+")")
	}
	return program
}

// FindPython is Python for tests that can also run without it. It prefers the
// distribution's interpreter, which has the modules of its packages.
func FindPython(modules ...string) (program string, ok bool) {
	for _, candidate := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(candidate, "-c", "import "+strings.Join(modules, ", ")).Run() == nil { //nolint:gosec // tests name the modules
			return candidate, true
		}
	}
	return "", false
}

// Sesame returns the path of a checkout of django-sesame. Without one the test
// is skipped.
func Sesame(t testing.TB) (checkout string) {
	t.Helper()
	checkout = os.Getenv("SESAME_SRC")
	if checkout == "" {
		t.Skip("SESAME_SRC doesn't name a checkout of django-sesame")
	}
	return checkout
}

// SesameEnv returns environment variables for a Python that imports
// django-sesame from a checkout, in addition to this program's.
func SesameEnv(checkout string) []string { return PythonEnv(filepath.Join(checkout, "src"), checkout) }

// PythonEnv returns environment variables for a Python that imports from the
// given directories, and writes no compiled files there.
func PythonEnv(folders ...string) []string {
	return append(os.Environ(),
		"PYTHONPATH="+strings.Join(folders, string(os.PathListSeparator)),
		"PYTHONDONTWRITEBYTECODE=1",
		"PYTHONIOENCODING=utf-8",
	)
}
