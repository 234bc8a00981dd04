package testprogram

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Python is a Python that has all of some modules, as Debian's packages have them:
// django, pymysql. A test ends if there is none.
func Python(t testing.TB, modules ...string) string {
	t.Helper()
	program, ok := FindPython(modules...)
	if !ok {
		lacks(t, "there is no Python with "+strings.Join(modules, " and ")+" (Debian: apt-get install python3-"+strings.Join(modules, " python3-")+")")
	}
	return program
}

// FindPython is Python for tests that do without one. It prefers the
// distribution's, which is the one that its packages of modules are for.
func FindPython(modules ...string) (program string, ok bool) {
	for _, candidate := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(candidate, "-c", "import "+strings.Join(modules, ", ")).Run() == nil { //nolint:gosec // tests name the modules
			return candidate, true
		}
	}
	return "", false
}

// Sesame is a checkout of django-sesame. Without one the test is skipped.
func Sesame(t testing.TB) (checkout string) {
	t.Helper()
	checkout = os.Getenv("SESAME_SRC")
	if checkout == "" {
		t.Skip("SESAME_SRC doesn't name a checkout of django-sesame")
	}
	return checkout
}

// SesameEnv is the environment of a Python that imports django-sesame from a
// checkout, in addition to this program's.
func SesameEnv(checkout string) []string { return PythonEnv(filepath.Join(checkout, "src"), checkout) }

// PythonEnv is the environment of a Python that imports from some folders, and
// leaves no compiled files there.
func PythonEnv(folders ...string) []string {
	return append(os.Environ(),
		"PYTHONPATH="+strings.Join(folders, string(os.PathListSeparator)),
		"PYTHONDONTWRITEBYTECODE=1",
		"PYTHONIOENCODING=utf-8",
	)
}
