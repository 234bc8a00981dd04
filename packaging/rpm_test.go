package packaging_test

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// rpm runs the program on a system. The packages that ours depends on aren't known to
// RPM there: the system is Debian.
func (tr tree) rpm(t *testing.T, arguments ...string) {
	t.Helper()
	if output, err := exec.Command("rpm", append([]string{"--root", string(tr), "--nodeps"}, arguments...)...).CombinedOutput(); err != nil {
		t.Fatalf("rpm %s: %v: %s", strings.Join(arguments, " "), err, output)
	}
}

// TestPackageOfRPM installs the RPM, upgrades and removes it. Its scripts call what
// Debian has as well.
func TestPackageOfRPM(t *testing.T) {
	file := made(t, "caddy-sesame-*."+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]+".rpm")
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("there is no rpm")
	}
	system := debian(t)
	if output, err := exec.Command("rpm", "--root", string(system), "--initdb").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	system.rpm(t, "--install", file)
	system.rpm(t, "--verify", "caddy-sesame")
	if user := system.run(t, "getent", "passwd", "caddy-sesame"); !strings.HasSuffix(user, ":/var/lib/caddy-sesame:/sbin/nologin\n") {
		t.Errorf("the user is %q", user)
	}
	system.run(t, "systemd-analyze", "verify", "--man=no", "caddy-sesame.service")

	changed := system.read(t, caddyfile) + "# changed\n"
	system.write(t, caddyfile, changed, 0o644)
	system.rpm(t, "--upgrade", "--force", file)
	if got := system.read(t, caddyfile); got != changed {
		t.Errorf("an upgrade has made the Caddyfile %q", got)
	}
	system.rpm(t, "--erase", "caddy-sesame")
	if !system.exists(caddyfile+".rpmsave") || system.exists("/usr/bin/caddy-sesame") {
		t.Error("the changed Caddyfile isn't kept, or the binary is")
	}
}
