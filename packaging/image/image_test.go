package image

import (
	"archive/tar"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// source has programs that aren't caddy: what is compared is the image.
func source(t *testing.T) Source {
	t.Helper()
	dir := t.TempDir()
	binaries := make(map[string]string)
	for _, arch := range []string{"arm64", "amd64"} {
		binaries[arch] = filepath.Join(dir, arch)
		if err := os.WriteFile(binaries[arch], []byte("the program for "+arch), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return Source{
		Binaries: binaries, Version: "v1.2.3", Created: time.Unix(1795672932, 0).UTC(),
		GoRoot: strings.TrimSpace(string(root)), Notices: []byte("licences"),
	}
}

func digest(t *testing.T, from Source) string {
	t.Helper()
	index, err := Index(from)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestSameInputsGiveTheSameDigest(t *testing.T) {
	t.Parallel()
	// Two sources: in other directories, and made at another time.
	first, second := source(t), source(t)
	if a, b := digest(t, first), digest(t, second); a != b {
		t.Errorf("the digests are %s and %s", a, b)
	}
	second.Notices = []byte("other licences")
	if a, b := digest(t, first), digest(t, second); a == b {
		t.Errorf("another image has the same digest, %s", a)
	}
}

// imageOf is that of an architecture.
func imageOf(t *testing.T, from Source, arch string) v1.Image {
	t.Helper()
	index, err := Index(from)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range manifest.Manifests {
		if descriptor.Platform.OS != "linux" || descriptor.Platform.Architecture != arch {
			continue
		}
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	t.Fatalf("there is no image for %s", arch)
	return nil
}

// files are those of an image, as a container sees them.
func files(t *testing.T, image v1.Image) (headers map[string]*tar.Header, data map[string]string) {
	t.Helper()
	headers, data = make(map[string]*tar.Header), make(map[string]string)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(content)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			headers[header.Name], data[header.Name] = header, string(text)
		}
	}
	return headers, data
}

func TestImageHasWhatAProgramExpectsOfASystem(t *testing.T) {
	t.Parallel()
	from := source(t)
	for arch := range from.Binaries {
		headers, data := files(t, imageOf(t, from, arch))
		if data["usr/bin/caddy"] != "the program for "+arch {
			t.Errorf("%s: the program is %q", arch, data["usr/bin/caddy"])
		}
		for name, want := range map[string]struct {
			mode int64
			id   int
		}{
			"usr/bin/caddy": {0o755, 0}, "etc/caddy/Caddyfile": {0o644, 0}, "data/": {0o700, User}, "config/": {0o700, User}, "tmp/": {0o1777, 0},
		} {
			header := headers[name]
			if header == nil || header.Mode != want.mode || header.Uid != want.id || header.Gid != want.id {
				t.Errorf("%s: %s is %+v, want %+v", arch, name, header, want)
			}
		}
		for name := range headers {
			if dir := filepath.Dir(strings.TrimSuffix(name, "/")); dir != "." && headers[dir+"/"] == nil {
				t.Errorf("%s: %s is in a directory that isn't in the image, and would have any mode", arch, name)
			}
		}
		zone, err := time.LoadLocationFromTZData("Europe/Berlin", []byte(data["usr/share/zoneinfo/Europe/Berlin"]))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if got := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).In(zone).Hour(); got != 14 {
			t.Errorf("%s: noon is at %d in Berlin's summer", arch, got)
		}
	}
}

func TestAuthoritiesAreMozillas(t *testing.T) {
	t.Parallel()
	text, err := certificates()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		names[certificate.Subject.CommonName] = true
	}
	if len(names) < 80 || !names["ISRG Root X1"] {
		t.Errorf("there are %d authorities, and ISRG Root X1 is among them: %t", len(names), names["ISRG Root X1"])
	}
}

func TestContainerStartsWithoutRootAndChecksItsHealth(t *testing.T) {
	t.Parallel()
	file, err := imageOf(t, source(t), "arm64").ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := file.Config
	if file.OS != "linux" || file.Architecture != "arm64" || config.User != "65532:65532" {
		t.Errorf("%s, %s, %s", file.OS, file.Architecture, config.User)
	}
	for _, name := range []string{"/data", "/config"} {
		if _, ok := config.Volumes[name]; !ok {
			t.Errorf("%s is no volume: %v", name, config.Volumes)
		}
	}
	for _, port := range []string{"80/tcp", "443/tcp", "443/udp", "8080/tcp"} {
		if _, ok := config.ExposedPorts[port]; !ok {
			t.Errorf("the port %s isn't exposed: %v", port, config.ExposedPorts)
		}
	}
	if config.Healthcheck == nil || strings.Join(config.Healthcheck.Test, " ") != "CMD /usr/bin/caddy sesame probe" {
		t.Errorf("the health check is %+v", config.Healthcheck)
	}
}
