package version

import (
	"runtime/debug"
	"testing"
)

func TestRecordedVersion(t *testing.T) {
	t.Parallel()
	other := &debug.Module{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9"}
	for name, test := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"of a dependency":             {debug.BuildInfo{Deps: []*debug.Module{other, {Path: path, Version: "v1.2.3"}}}, "v1.2.3"},
		"of a fork in its place":      {debug.BuildInfo{Deps: []*debug.Module{{Path: path, Version: "v1.2.3", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.2.4"}}}}, "v1.2.4"},
		"of a directory":              {debug.BuildInfo{Deps: []*debug.Module{{Path: path, Version: "v0.0.0", Replace: &debug.Module{Path: "./sesame", Version: "(devel)"}}}}, unknown},
		"of the module itself":        {debug.BuildInfo{Main: debug.Module{Path: path, Version: "v1.2.3"}}, "v1.2.3"},
		"of a test":                   {debug.BuildInfo{Main: debug.Module{Path: path, Version: "(devel)"}}, unknown},
		"of a program without it":     {debug.BuildInfo{Main: *other}, unknown},
		"of one whose path is longer": {debug.BuildInfo{Deps: []*debug.Module{{Path: path + "/bench", Version: "v9.9.9"}}}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := recorded(&test.info); got != test.want {
				t.Errorf("the version is %q, want %q", got, test.want)
			}
		})
	}
}
