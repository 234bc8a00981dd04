package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/packaging/archive"
	"github.com/caddy-sesame/caddy-sesame/packaging/image"
	"github.com/caddy-sesame/caddy-sesame/packaging/notice"
)

const ownModule = "github.com/caddy-sesame/caddy-sesame"

func compress(data []byte) ([]byte, error) { return archive.Compress(data) }

// notices are the licences of what is in the binary for an architecture.
func (r *release) notices(arch string) (string, error) {
	return notice.Collect(r.binaries[arch], notice.Sources{ModuleCache: r.moduleCache, GoRoot: r.goRoot, Own: ownModule})
}

// changelog is Debian's, in nfpm's form. What has changed is in CHANGELOG.md, which
// goes along.
func (r *release) changelog(number string) []byte {
	return fmt.Appendf(nil, `- semver: %q
  date: %s
  packager: caddy-sesame maintainers <caddy-sesame@users.noreply.github.com>
  deb:
    urgency: medium
    distributions: [unstable]
  changes:
    - note: New version; changelog.gz says what has changed.
`, number, r.time.Format(time.RFC3339))
}

// packageFor has nfpm make a package.
func (r *release) packageFor(packager, arch, number, staged string) error {
	// Debian 12 and its tools want units there, which is a link to the other.
	units := map[string]string{"deb": "/lib/systemd/system", "rpm": "/usr/lib/systemd/system"}[packager]
	config, err := expand("packaging/nfpm.yaml", map[string]string{"ARCH": arch, "VERSION": number, "STAGE": staged, "UNITS": units})
	if err != nil {
		return fmt.Errorf("reading what packages contain: %w", err)
	}
	file := filepath.Join(staged, "nfpm.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(r.nfpm, "package", "--config", file, "--packager", packager, "--target", filepath.Join(r.dist, fileName(packager, arch, number)))
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the %s for %s: %w: %s", packager, arch, err, output)
	}
	return nil
}

// fileName is the usual name of a package, but for the tilde: where releases are
// published, it would become another letter, and no checksum would be found.
func fileName(packager, arch, number string) string {
	number = strings.ReplaceAll(number, "~", ".")
	if packager == "rpm" {
		arch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
		return "caddy-sesame-" + number + "-1." + arch + ".rpm"
	}
	return "caddy-sesame_" + number + "-1_" + arch + ".deb"
}

// expand reads a file and replaces variables in it. nfpm does that for some values
// only.
func expand(name string, variables map[string]string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	var unknown []error
	expanded := os.Expand(string(text), func(variable string) string {
		value, ok := variables[variable]
		if !ok {
			unknown = append(unknown, fmt.Errorf("%s names the variable %s, which has no value", name, variable))
		}
		return value
	})
	return expanded, errors.Join(unknown...)
}

// tarFile writes what a user unpacks who has no package manager.
func (r *release) tarFile(arch, staged string) error {
	name := "caddy-sesame_" + strings.TrimPrefix(r.version, "v") + "_linux_" + arch
	entries := []archive.Entry{{Name: name + "/", Mode: 0o755}}
	for _, file := range []struct {
		name, source string
		mode         int64
	}{
		{"caddy-sesame", filepath.Join(staged, "caddy-sesame"), 0o755},
		{"caddy-sesame.8", "packaging/caddy-sesame.8", 0o644},
		{"caddy-sesame.service", "packaging/caddy-sesame.service", 0o644},
		{"Caddyfile", "packaging/Caddyfile", 0o644},
		{"Caddyfile.example", "Caddyfile.example", 0o644},
		{"CHANGELOG.md", "CHANGELOG.md", 0o644},
		{"first-user.sql", "packaging/first-user.sql", 0o644},
		{"LICENSE", "LICENSE", 0o644},
		{"third-party-licences", filepath.Join(staged, "third-party-licences"), 0o644},
	} {
		data, err := os.ReadFile(file.source)
		if err != nil {
			return err
		}
		entries = append(entries, archive.Entry{Name: name + "/" + file.name, Mode: file.mode, Data: data})
	}
	var tar strings.Builder
	if err := archive.Write(&tar, entries, r.time); err != nil {
		return err
	}
	compressed, err := archive.Compress([]byte(tar.String()))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dist, name+".tar.gz"), compressed, 0o644)
}

// image writes the container image of all architectures, as a directory and as a
// file, and prints the digest.
func (r *release) image() error {
	notices, err := os.ReadFile(filepath.Join(r.stage, r.architectures[0], "third-party-licences"))
	if err != nil {
		return err
	}
	index, err := image.Index(image.Source{Binaries: r.binaries, Version: r.version, Created: r.time, GoRoot: r.goRoot, Notices: notices})
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("computing the digest of the image: %w", err)
	}
	dir := filepath.Join(r.stage, "image")
	if err := errors.Join(os.RemoveAll(dir), image.Save(index, r.version, dir)); err != nil {
		return err
	}
	entries, err := filesBelow(dir)
	if err != nil {
		return fmt.Errorf("reading the image that was written: %w", err)
	}
	name := filepath.Join(r.dist, "caddy-sesame_"+strings.TrimPrefix(r.version, "v")+"_image.tar")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(archive.Write(file, entries, r.time), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	fmt.Printf("Image %s@%s\n", image.Name, digest)
	return nil
}

// filesBelow are the files and directories below a directory, in their order.
func filesBelow(dir string) (entries []archive.Entry, err error) {
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == dir {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		entry := archive.Entry{Name: filepath.ToSlash(relative), Mode: 0o644}
		if info.IsDir() {
			entry.Name, entry.Mode = entry.Name+"/", 0o755
		} else if entry.Data, err = os.ReadFile(path); err != nil {
			return err
		}
		entries = append(entries, entry)
		return nil
	})
	return entries, err
}

// checksums writes SHA256SUMS, which sha256sum -c reads, for the files in dist.
func checksums(dist string) error {
	files, err := os.ReadDir(dist)
	if err != nil {
		return fmt.Errorf("listing what was made: %w", err)
	}
	var sums strings.Builder
	for _, file := range files {
		if file.Name() == "SHA256SUMS" || file.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dist, file.Name()))
		if err != nil {
			return fmt.Errorf("computing checksums: %w", err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), file.Name())
	}
	return os.WriteFile(filepath.Join(dist, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
