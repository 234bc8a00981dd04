// Package image makes the container image: the binary, and what it needs beside it,
// from nothing and without a daemon. The same inputs give the same digest.
package image

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/caddy-sesame/caddy-sesame/packaging/archive"
)

// Caddyfile is the configuration in the image.
//
//go:embed Caddyfile
var Caddyfile []byte

// User is the number of the user that the image runs as, who owns Volumes alone.
// Kubernetes can see of a number that it isn't root's.
const User = 65532

// Name is where the image is published.
const Name = "ghcr.io/caddy-sesame/caddy-sesame"

// Source is what an image is made of.
type Source struct {
	Binaries map[string]string // the file for each architecture, as Go names it
	Version  string
	Created  time.Time
	GoRoot   string // whose time zones are taken
	Notices  []byte // the licences
}

// Index makes an image for each architecture, and lists them.
func Index(from Source) (v1.ImageIndex, error) {
	system, err := systemLayer(from)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range slices.Sorted(maps.Keys(from.Binaries)) {
		image, err := one(from, arch, system)
		if err != nil {
			return nil, fmt.Errorf("making the image for %s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

// Save writes an index to a directory, as an OCI image layout with the version as
// the name of the one image in it.
func Save(index v1.ImageIndex, version, dir string) error {
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the image to %s: %w", dir, err)
	}
	return written.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag(version),
		"io.containerd.image.name":          Name + ":" + tag(version),
	}))
}

// tag is a version as a tag may be: it has no plus sign.
func tag(version string) string { return strings.ReplaceAll(version, "+", "-") }

// one makes the image for an architecture.
func one(from Source, arch string, system v1.Layer) (v1.Image, error) {
	program, err := programLayer(from, arch)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: system, History: v1.History{Created: v1.Time{Time: from.Created}, CreatedBy: "certificates, time zones, user"}},
		mutate.Addendum{Layer: program, History: v1.History{Created: v1.Time{Time: from.Created}, CreatedBy: "caddy with sesame"}})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, configuration(from, arch, image))
}

// configuration is what a container starts with. OCI's specification has no health
// check; Docker and Podman read it from where Docker's images have it.
func configuration(from Source, arch string, image v1.Image) *v1.ConfigFile {
	file, err := image.ConfigFile()
	if err != nil {
		file = &v1.ConfigFile{}
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", arch, v1.Time{Time: from.Created}
	file.Config = v1.Config{
		User: fmt.Sprintf("%d:%[1]d", User),
		Env: []string{
			"PATH=/usr/bin",
			"XDG_CONFIG_HOME=/config",
			"XDG_DATA_HOME=/data",
			"CREDENTIALS_DIRECTORY=/run/secrets",
		},
		Entrypoint:   []string{"/usr/bin/caddy"},
		Cmd:          []string{"run", "--config", "/etc/caddy/Caddyfile"},
		WorkingDir:   "/etc/caddy",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}, "443/udp": {}, "8080/tcp": {}},
		Volumes:      map[string]struct{}{"/config": {}, "/data": {}},
		StopSignal:   "SIGTERM",
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/usr/bin/caddy", "sesame", "probe"},
			Interval: 10 * time.Second, Timeout: 5 * time.Second, StartPeriod: 30 * time.Second, Retries: 3,
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":         "caddy-sesame",
			"org.opencontainers.image.description":   "Caddy with an authentication gateway for users of Django and others",
			"org.opencontainers.image.version":       from.Version,
			"org.opencontainers.image.source":        "https://github.com/caddy-sesame/caddy-sesame",
			"org.opencontainers.image.documentation": "https://github.com/caddy-sesame/caddy-sesame/blob/main/docs/docker.md",
			"org.opencontainers.image.licenses":      "Apache-2.0",
		},
	}
	return file
}

// programLayer has what differs between versions and architectures.
func programLayer(from Source, arch string) (v1.Layer, error) {
	binary, err := os.ReadFile(from.Binaries[arch])
	if err != nil {
		return nil, err
	}
	return layerOf([]archive.Entry{
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/caddy/", Mode: 0o755},
		{Name: "etc/caddy/Caddyfile", Mode: 0o644, Data: Caddyfile},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/bin/", Mode: 0o755},
		{Name: "usr/bin/caddy", Mode: 0o755, Data: binary},
		{Name: "usr/bin/caddy-sesame", Mode: 0o777, Link: "caddy"},
		{Name: "usr/share/", Mode: 0o755},
		{Name: "usr/share/doc/", Mode: 0o755},
		{Name: "usr/share/doc/caddy-sesame/", Mode: 0o755},
		{Name: "usr/share/doc/caddy-sesame/third-party-licences", Mode: 0o644, Data: from.Notices},
	}, from.Created)
}

// systemLayer has what a program expects of a system.
func systemLayer(from Source) (v1.Layer, error) {
	authorities, err := certificates()
	if err != nil {
		return nil, err
	}
	zones, err := timeZones(filepath.Join(from.GoRoot, "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, err
	}
	entries := []archive.Entry{
		{Name: "config/", Mode: 0o700, ID: User},
		{Name: "data/", Mode: 0o700, ID: User},
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/group", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:\ncaddy-sesame:x:%d:\n", User)},
		// Where the runtime mounts none.
		{Name: "etc/hosts", Mode: 0o644, Data: []byte("127.0.0.1 localhost\n::1 localhost\n")},
		{Name: "etc/passwd", Mode: 0o644, Data: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\ncaddy-sesame:x:%d:%[1]d:Caddy with sesame:/data:/sbin/nologin\n", User)},
		{Name: "etc/ssl/", Mode: 0o755},
		{Name: "etc/ssl/certs/", Mode: 0o755},
		{Name: "etc/ssl/certs/ca-certificates.crt", Mode: 0o644, Data: authorities},
		{Name: "run/", Mode: 0o755},
		{Name: "run/secrets/", Mode: 0o755},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/share/", Mode: 0o755},
	}
	return layerOf(append(entries, zones...), from.Created)
}

// certificates are the authorities that Mozilla trusts without a condition, in PEM.
// A file can't hold conditions, such as a day until which an authority counts.
func certificates() ([]byte, error) {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate of Mozilla's: %w", err)
		}
		fmt.Fprintf(&all, "# %s\n", certificate.Subject)
		if err := pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return all.Bytes(), nil
}

// timeZones are those that Go comes with, as files.
func timeZones(name string) ([]archive.Entry, error) {
	zones, err := zip.OpenReader(name)
	if err != nil {
		return nil, fmt.Errorf("reading Go's time zones: %w", err)
	}
	defer func() { _ = zones.Close() }() // it was only read
	const below = "usr/share/zoneinfo/"
	entries := []archive.Entry{{Name: below, Mode: 0o755}}
	made := map[string]bool{".": true}
	for _, file := range zones.File {
		if dir := path.Dir(file.Name); !made[dir] { // zones are at most two levels deep
			for _, dir := range []string{path.Dir(dir), dir} {
				if !made[dir] {
					entries = append(entries, archive.Entry{Name: below + dir + "/", Mode: 0o755})
					made[dir] = true
				}
			}
		}
		data, err := contents(file)
		if err != nil {
			return nil, fmt.Errorf("reading the time zone %s: %w", file.Name, err)
		}
		entries = append(entries, archive.Entry{Name: below + file.Name, Mode: 0o644, Data: data})
	}
	return entries, nil
}

func contents(file *zip.File) ([]byte, error) {
	r, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

func layerOf(entries []archive.Entry, modified time.Time) (v1.Layer, error) {
	var layer bytes.Buffer
	if err := archive.Write(&layer, entries, modified); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}
