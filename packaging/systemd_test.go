package packaging_test

import (
	"os/exec"
	"strings"
	"testing"
)

// trial is what an administrator does after README.Debian's first steps. The network
// is the container's own, so that no other program has port 8080.
const trial = `#!/bin/sh
exec >/trial.log 2>&1
set -x
run() { "$@" || echo "failed: $*"; }
ready() { run caddy-sesame sesame probe http://localhost:8080/_sesame/ready; }
run caddy-sesame sesame check --config /etc/caddy-sesame/Caddyfile
run systemctl enable --now caddy-sesame
ready
run systemctl reload caddy-sesame
ready
run systemctl restart caddy-sesame
ready
run caddy-sesame sesame token alice --config /etc/caddy-sesame/Caddyfile --url http://localhost:8080/
run systemctl is-active caddy-sesame
run apt-get purge -qq -y caddy-sesame
systemctl is-active caddy-sesame
journalctl --no-pager --unit caddy-sesame --lines 30
echo done
systemctl poweroff --no-block
`

// TestServiceUnderSystemd boots the bare Debian, and starts the service with the real
// unit: with its credentials, its limits and its system calls.
func TestServiceUnderSystemd(t *testing.T) {
	deb := debFile(t)
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		t.Skip("there is no systemd-nspawn to boot a Debian with")
	}
	system := debian(t)
	system.install(t, deb)
	server := startMariaDB(t, system.read(t, firstUser))
	system.write(t, secrets+"dsn", "gateway:change me@unix(/mnt/mysql.sock)/sesame_example", 0o600)
	system.write(t, secrets+"secret_key", secretKey, 0o600)
	system.write(t, "/mnt/mysql.sock", "", 0o644)
	// Debian's installer writes that.
	system.write(t, "/etc/hosts", "127.0.0.1 localhost\n", 0o644)
	system.write(t, "/usr/local/bin/trial", trial, 0o755)
	system.write(t, "/etc/systemd/system/trial.service", "[Service]\nType=oneshot\nEnvironment=HOME=/root\nExecStart=/usr/local/bin/trial\n[Install]\nWantedBy=multi-user.target\n", 0o644)
	system.run(t, "systemctl", "enable", "trial.service")

	said, err := exec.Command("systemd-nspawn", "--quiet", "--directory", string(system), "--boot", "--private-network",
		"--register=no", "--keep-unit", "--bind", server.Socket()+":/mnt/mysql.sock").CombinedOutput()
	if !system.exists("/trial.log") {
		t.Skipf("systemd-nspawn can't boot a Debian here: %v: %s", err, said)
	}
	log := system.read(t, "/trial.log")
	if strings.Contains(log, "failed: ") || !strings.Contains(log, "\ndone\n") {
		t.Errorf("the service doesn't work:\n%s", log)
	}
	if n := strings.Count(log, "200 OK"); n != 3 {
		t.Errorf("the service was ready %d times, want 3:\n%s", n, log)
	}
	if !strings.Contains(log, "http://localhost:8080/?sesame=") {
		t.Errorf("there is no link:\n%s", log)
	}
	if system.exists("/etc/caddy-sesame") || system.exists("/var/lib/caddy-sesame") {
		t.Error("a purge leaves something behind")
	}
}
