// Command release makes what users install from binaries of caddy: packages for
// Debian and Fedora, tar files, a container image and checksums. xcaddy.sh package
// builds the binaries and calls it, at the root of a checkout.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	var r release
	seconds := flag.Int64("time", 0, "the time of the commit, in seconds since 1970")
	flag.StringVar(&r.version, "version", "", "the version, as v1.2.3")
	flag.StringVar(&r.dist, "dist", "dist", "the directory to write to")
	flag.StringVar(&r.stage, "stage", "", "a directory for files in between")
	flag.StringVar(&r.nfpm, "nfpm", "", "the program nfpm")
	flag.StringVar(&r.moduleCache, "modcache", "", "GOMODCACHE")
	flag.StringVar(&r.goRoot, "goroot", "", "GOROOT")
	flag.Parse()
	r.time = time.Unix(*seconds, 0).UTC()
	if err := r.parseBinaries(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(2)
	}
	if err := r.make(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is what is made, and of what.
type release struct {
	version       string
	time          time.Time
	dist, stage   string
	nfpm          string
	moduleCache   string
	goRoot        string
	architectures []string
	binaries      map[string]string // of each architecture
}

// parseBinaries reads arguments such as amd64=path/to/caddy.
func (r *release) parseBinaries(arguments []string) error {
	r.binaries = make(map[string]string)
	for _, argument := range arguments {
		arch, file, ok := strings.Cut(argument, "=")
		if !ok {
			return fmt.Errorf("%q is no architecture with a binary, as amd64=path/to/caddy", argument)
		}
		r.architectures = append(r.architectures, arch)
		r.binaries[arch] = file
	}
	if len(r.architectures) == 0 {
		return fmt.Errorf("there is no binary: name some, as amd64=path/to/caddy")
	}
	return nil
}

func (r *release) make() error {
	number, err := packageVersion(r.version)
	if err != nil {
		return err
	}
	for _, arch := range r.architectures {
		staged, err := r.stageFiles(arch, number)
		if err != nil {
			return fmt.Errorf("preparing the files for %s: %w", arch, err)
		}
		for _, packager := range []string{"deb", "rpm"} {
			if err := r.packageFor(packager, arch, number, staged); err != nil {
				return err
			}
		}
		if err := r.tarFile(arch, staged); err != nil {
			return fmt.Errorf("writing the tar file for %s: %w", arch, err)
		}
	}
	if err := r.image(); err != nil {
		return err
	}
	return checksums(r.dist)
}

// stageFiles makes the files of a package that aren't in the checkout, and returns
// their directory.
func (r *release) stageFiles(arch, number string) (string, error) {
	dir := filepath.Join(r.stage, arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	binary, err := os.ReadFile(r.binaries[arch])
	if err != nil {
		return "", err
	}
	notices, err := r.notices(arch)
	if err != nil {
		return "", err
	}
	files := map[string][]byte{
		"caddy-sesame":         binary,
		"third-party-licences": []byte(notices),
		"changelog.yaml":       r.changelog(number),
	}
	for name, source := range map[string]string{"changelog": "CHANGELOG.md", "caddy-sesame.8": "packaging/caddy-sesame.8"} {
		if files[name], err = os.ReadFile(source); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"changelog", "caddy-sesame.8", "third-party-licences"} {
		if files[name+".gz"], err = compress(files[name]); err != nil {
			return "", err
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
