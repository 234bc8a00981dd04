// Package notice collects the licences of what is in a binary.
package notice

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// Sources says where the sources of a binary are.
type Sources struct {
	ModuleCache string // GOMODCACHE
	GoRoot      string
	Own         string // the path of the module whose licence is elsewhere, with those in its directories
}

// Collect returns the licences and notices of Go and of all modules that are in a
// binary. It is an error if one has none: that could not be given to others.
func Collect(binary string, from Sources) (string, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "", fmt.Errorf("reading what is in %s: %w", binary, err)
	}
	text, err := section("Go's standard library, "+info.GoVersion, from.GoRoot)
	if err != nil {
		return "", err
	}
	all := []string{text}
	for _, dep := range info.Deps {
		if dep.Path == from.Own || strings.HasPrefix(dep.Path, from.Own+"/") {
			continue
		}
		dir, err := directory(dep, from.ModuleCache)
		if err != nil {
			return "", err
		}
		text, err := section(dep.Path+" "+dep.Version, dir)
		if err != nil {
			return "", err
		}
		all = append(all, text)
	}
	return strings.Join(all, "\n"), nil
}

// directory is where a module's files are.
func directory(dep *debug.Module, cache string) (string, error) {
	if dep.Replace != nil {
		dep = dep.Replace
	}
	path, err := module.EscapePath(dep.Path)
	if err != nil {
		return "", fmt.Errorf("finding the files of %s: %w", dep.Path, err)
	}
	version, err := module.EscapeVersion(dep.Version)
	if err != nil {
		return "", fmt.Errorf("finding the files of %s: %w", dep.Path, err)
	}
	return filepath.Join(cache, filepath.FromSlash(path)+"@"+version), nil
}

// licence is the name of a file that has to go along.
var licence = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|notice|patents|copyright)([-._].*)?$`)

// section is a heading with the licences in a directory.
func section(heading, dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("looking for the licence of %s: %w", heading, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%[1]s\n", strings.Repeat("=", 78), heading)
	found := false
	for _, entry := range entries {
		if entry.IsDir() || !licence.MatchString(entry.Name()) || slices.Contains([]string{".go", ".sh"}, filepath.Ext(entry.Name())) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return "", fmt.Errorf("reading the licence of %s: %w", heading, err)
		}
		fmt.Fprintf(&b, "\n%s:\n\n%s\n", entry.Name(), strings.TrimSpace(string(text)))
		found = true
	}
	if !found {
		return "", fmt.Errorf("%s has no licence in %s", heading, dir)
	}
	return b.String(), nil
}
