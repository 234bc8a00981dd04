// Package version tells which release of this module a program contains.
package version

import "runtime/debug"

const path = "github.com/caddy-sesame/caddy-sesame"

// stamped is the version of a build from a checkout, of which Go itself records
// nothing but a directory. xcaddy.sh sets it, with -ldflags -X.
var stamped string

// Module is the version of this module in the running program: that of a tag, as
// v1.2.3, or a pseudo-version of Go's with the time and hash of a commit. It is
// "unknown" for a build from a directory without either.
func Module() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return recorded(info)
}

const unknown = "unknown"

// recorded is the version that Go notes for a module that it has downloaded, as
// the program's own or as a dependency.
func recorded(info *debug.BuildInfo) string {
	for _, module := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if module.Path != path {
			continue
		}
		if module.Replace != nil {
			module = module.Replace
		}
		if module.Version == "" || module.Version == "(devel)" {
			return unknown
		}
		return module.Version
	}
	return unknown
}
