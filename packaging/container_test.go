package packaging_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/caddy-sesame/caddy-sesame/packaging/image"
)

const (
	password  = "the gateway's password"
	secretKey = "a secret key of this test alone, and long enough"
	// The names that containers have in the examples.
	databaseName, applicationName = "database:3306", "application:9000"
)

// TestImageAnswersInAChroot runs the image's command as its user, with nothing but
// its files, and opens a link: with the configuration of the image, of compose.yaml
// and of Kubernetes.
func TestImageAnswersInAChroot(t *testing.T) {
	root, config := unpacked(t)
	first, err := os.ReadFile("compose/first-user.sql")
	if err != nil {
		t.Fatal(err)
	}
	compose, err := os.ReadFile("compose/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	// What MariaDB's image does before it runs the file.
	server := startMariaDB(t, "CREATE DATABASE sesame_example;\nCREATE USER 'gateway'@'%' IDENTIFIED BY \""+password+"\";\nGRANT ALL ON sesame_example.* TO 'gateway'@'%';\n"+string(first))
	dsn := server.UserDSN("gateway", password, "sesame_example")
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s", r.Header.Get("Remote-User"))
	}))
	t.Cleanup(application.Close)
	here := strings.NewReplacer(databaseName, server.Addr(), applicationName, application.Listener.Addr().String(), "app:9000", application.Listener.Addr().String())

	for _, test := range []struct {
		name, caddyfile string
		secrets         map[string]string
	}{
		{"with the image's Caddyfile", root.read(t, imageCaddyfile), map[string]string{"secret_key": secretKey, "dsn": dsn}},
		{"with that of compose.yaml", string(compose), map[string]string{"secret_key": secretKey, "gateway_password": password}},
		{"with that of Kubernetes", readCluster(t).config.Data["Caddyfile"], map[string]string{"sesame/secret_key": secretKey, "sesame/dsn": dsn}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, text := range test.secrets {
				mount(t, root, "/run/secrets/"+name, text)
			}
			// Another program of this machine may have the port.
			const socket = "/tmp/http.sock"
			changed := regexp.MustCompile(`(?m)^(\{\$SESAME_SITE:)?:8080(\})? \{\n`).ReplaceAllString(here.Replace(test.caddyfile), "$0\tbind unix/"+socket+"|0666\n")
			if !strings.Contains(changed, socket) {
				t.Fatalf("there is no site :8080 in\n%s", test.caddyfile)
			}
			// An admin endpoint on a socket, for the same reason.
			env := append(slices.Clone(config.Env), "CADDY_ADMIN=unix//tmp/admin.sock")
			root.write(t, imageCaddyfile, changed, 0o644)
			root.daemon(t, image.User, image.User, env, slices.Concat(config.Entrypoint, config.Cmd)...)
			link := root.runAs(t, env, "/usr/bin/caddy", "sesame", "token", "alice", "--config", imageCaddyfile, "--url", "http://localhost:8080/")
			openLink(t, strings.TrimSpace(link), root.path(socket))
			for _, path := range []string{"health", "ready"} {
				check := slices.Concat(config.Healthcheck.Test[1:], []string{"http://localhost:8080/_sesame/" + path, "--connect", relay(t, root.path(socket))})
				if said := root.runAs(t, env, check...); !strings.HasPrefix(said, "200 OK") {
					t.Errorf("%s says %q", path, said)
				}
			}
		})
	}
}

// imageCaddyfile is where the image has its configuration.
const imageCaddyfile = "/etc/caddy/Caddyfile"

// TestImageIsPublishedAsItIs has crane push it to a registry, as a release does.
func TestImageIsPublishedAsItIs(t *testing.T) {
	archive := made(t, "caddy-sesame_*_image.tar")
	host := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(host.Close)
	name := strings.TrimPrefix(host.URL, "http://") + "/caddy-sesame:v1.2.3"
	dir := t.TempDir()
	crane, archived := filepath.Join(dir, "crane"), filepath.Join(dir, "layout")
	for _, command := range [][]string{
		{"go", "-C", "../tools/crane", "build", "-o", crane, "github.com/google/go-containerregistry/cmd/crane"},
		{"mkdir", archived},
		{"tar", "-xf", archive, "-C", archived},
		{crane, "push", "--insecure", archived, name},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, output)
		}
	}
	output, err := exec.Command(crane, "manifest", "--insecure", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var published v1.IndexManifest
	if err := json.Unmarshal(output, &published); err != nil {
		t.Fatal(err)
	}
	// A registry's clients choose by these: the index must not be inside another one.
	for _, descriptor := range published.Manifests {
		if !descriptor.MediaType.IsImage() || descriptor.Platform == nil || descriptor.Platform.OS != "linux" {
			t.Errorf("%s has %+v", name, descriptor)
		}
	}
	if len(published.Manifests) == 0 {
		t.Errorf("%s has no images:\n%s", name, output)
	}
}

// mount writes a file that the image's user may read.
func mount(t *testing.T, root tree, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(root.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	root.write(t, name, text, 0o400)
	if err := os.Chown(root.path(name), image.User, image.User); err != nil {
		t.Fatal(err)
	}
}

// runAs runs a command as the image's user.
func (tr tree) runAs(t *testing.T, env []string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: string(tr), Credential: &syscall.Credential{Uid: image.User, Gid: image.User}}
	var said, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &failed
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, &failed)
	}
	return said.String()
}

// relay listens on a port, and passes connections on to a socket.
func relay(t *testing.T, socket string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				from.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(to, from)
				to.Close()
			}()
			go func() {
				_, _ = io.Copy(from, to)
				from.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// unpacked is the image for this machine, as another program unpacks it, and its
// configuration.
func unpacked(t *testing.T) (tree, v1.Config) {
	t.Helper()
	archive := made(t, "caddy-sesame_*_image.tar")
	if _, err := exec.LookPath("umoci"); err != nil {
		t.Skip("there is no umoci to unpack the image")
	}
	dir := newTree(t)
	archived, bundle := dir.path("layout"), dir.path("bundle")
	for _, command := range [][]string{
		{"mkdir", archived},
		{"tar", "-xf", archive, "-C", archived},
		{"umoci", "unpack", "--image", archived + ":" + reference(t, archive), bundle},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, output)
		}
	}
	return tree(filepath.Join(bundle, "rootfs")), configuration(t, archived)
}

// configuration is what the image for this machine starts with.
func configuration(t *testing.T, dir string) v1.Config {
	t.Helper()
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	index, err := all.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	images, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range images.Manifests {
		if descriptor.Platform.Architecture != runtime.GOARCH {
			continue
		}
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		return file.Config
	}
	t.Fatalf("there is no image for %s", runtime.GOARCH)
	return v1.Config{}
}

// reference is the name of the image in its archive.
func reference(t *testing.T, archive string) string {
	t.Helper()
	text, err := exec.Command("tar", "-xOf", archive, "index.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(text, &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%s has %d images, %v", archive, len(index.Manifests), err)
	}
	return index.Manifests[0].Annotations["org.opencontainers.image.ref.name"]
}
