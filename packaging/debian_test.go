package packaging_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// debian is a copy of the bare Debian that debootstrap has made.
func debian(t *testing.T) tree {
	t.Helper()
	made(t, "SHA256SUMS")
	bare := os.Getenv("SESAME_DEBIAN")
	if bare == "" {
		t.Skip("SESAME_DEBIAN isn't set: it names a directory that debootstrap has made, with systemd")
	}
	copied := newTree(t)
	if output, err := exec.Command("cp", "-a", bare+"/.", string(copied)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return copied
}

// install has apt-get install a file, as users do.
func (tr tree) install(t *testing.T, deb string, options ...string) {
	t.Helper()
	const file = "/tmp/caddy-sesame.deb"
	data, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	tr.write(t, file, string(data), 0o644)
	tr.run(t, slices.Concat([]string{"apt-get", "install", "-qq", "-y", "--no-install-recommends"}, options, []string{file})...)
	if err := os.Remove(tr.path(file)); err != nil {
		t.Fatal(err)
	}
}

// unit is the package's, as lists of values by their names.
func (tr tree) unit(t *testing.T) map[string][]string {
	t.Helper()
	settings := make(map[string][]string)
	for line := range strings.Lines(tr.read(t, "lib/systemd/system/caddy-sesame.service")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			settings[name] = append(settings[name], value)
		}
	}
	return settings
}

// debFile is the package for this machine.
func debFile(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("there is no dpkg")
	}
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	return made(t, "caddy-sesame_*_"+strings.TrimSpace(string(arch))+".deb")
}

const (
	caddyfile = "/etc/caddy-sesame/Caddyfile"
	secrets   = "/etc/caddy-sesame/secrets/"
	firstUser = "/usr/share/doc/caddy-sesame/examples/first-user.sql"
	socket    = "/run/caddy-sesame/http.sock"
)

// TestPackageInABareDebian installs the package, opens a link, upgrades and purges
// it.
func TestPackageInABareDebian(t *testing.T) {
	deb := debFile(t)
	system := debian(t)
	before := system.state(t)
	system.install(t, deb)
	wantInstalled(t, system)

	system.configure(t)
	gateway := system.startGateway(t)
	wantLink(t, system)
	system.reload(t)
	wantLink(t, system)
	gateway()

	changed := system.read(t, caddyfile)
	system.install(t, newer(t, deb, "+2", ""))
	wantKept(t, system, changed)
	// Also where the new package has another example. dpkg asks then, and keeps the
	// administrator's file if there is no other answer.
	system.install(t, newer(t, deb, "+3", "# a new example\n"), "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
	wantKept(t, system, changed)

	system.run(t, "apt-get", "remove", "-qq", "-y", "caddy-sesame")
	wantKept(t, system, changed)
	system.run(t, "apt-get", "purge", "-qq", "-y", "caddy-sesame")
	if left := system.state(t); !slices.Equal(left, before) {
		t.Errorf("a purge leaves or takes:\n%s", strings.Join(difference(before, left), "\n"))
	}
}

// TestPackageBesideDebiansCaddy has dpkg look for files in both.
func TestPackageBesideDebiansCaddy(t *testing.T) {
	deb := debFile(t)
	system := debian(t)
	if _, err := system.try("apt-get", "update", "-qq"); err != nil {
		t.Skipf("Debian's caddy can't be had: %v", err)
	}
	system.run(t, "apt-get", "install", "-qq", "-y", "--no-install-recommends", "caddy")
	system.install(t, deb)
	wantInstalled(t, system)
	if theirs := system.run(t, "caddy", "version"); strings.Contains(theirs, "sesame") {
		t.Errorf("caddy is %s", theirs)
	}
	if ours := system.run(t, "caddy-sesame", "version"); !strings.HasPrefix(ours, "caddy-sesame v") {
		t.Errorf("caddy-sesame is %s", ours)
	}
}

// wantInstalled looks at what the package has made.
func wantInstalled(t *testing.T, system tree) {
	t.Helper()
	if got, want := system.run(t, "getent", "passwd", "caddy-sesame"), regexp.MustCompile(`^caddy-sesame:x:\d{3}:\d{3}:[^:]*:/var/lib/caddy-sesame:/usr/sbin/nologin\n$`); !want.MatchString(got) {
		t.Errorf("the user is %q", got)
	}
	info, err := os.Stat(system.path(secrets))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory for secrets: %v, %v", info, err)
	}
	system.run(t, "systemd-analyze", "verify", "--man=no", "caddy-sesame.service")
	if system.exists("/etc/systemd/system/multi-user.target.wants/caddy-sesame.service") {
		t.Error("the service is enabled, though it has no secrets")
	}
	for _, name := range []string{"copyright", "changelog.Debian.gz", "changelog.gz", "README.Debian", "third-party-licences.gz"} {
		if !system.exists("/usr/share/doc/caddy-sesame/" + name) {
			t.Errorf("%s isn't there", name)
		}
	}
}

// configure does what README.Debian says, and changes the example: it listens on a
// socket, since another program of this machine may have the port.
func (tr tree) configure(t *testing.T) {
	t.Helper()
	// Over TCP, the server of a test knows no names of machines.
	server := startMariaDB(t, strings.ReplaceAll(tr.read(t, firstUser), "'localhost'", "'127.0.0.1'"))
	tr.write(t, secrets+"dsn", server.UserDSN("gateway", "change me", "sesame_example"), 0o600)
	tr.write(t, secrets+"secret_key", secretKey, 0o600)
	example := tr.read(t, caddyfile)
	changed := strings.Replace(example, "\tbind 127.0.0.1\n", "\tbind unix/"+socket+"\n", 1)
	if changed == example {
		t.Fatalf("the example doesn't bind to 127.0.0.1:\n%s", example)
	}
	tr.write(t, caddyfile, changed, 0o644)
	if report := tr.run(t, "caddy-sesame", "sesame", "check", "--config", caddyfile); strings.Contains(report, "fail") {
		t.Errorf("check says:\n%s", report)
	}
}

// startGateway does what systemd does with the unit.
func (tr tree) startGateway(t *testing.T) (end func()) {
	t.Helper()
	unit := tr.unit(t)
	uid, gid := tr.id(t, "etc/passwd", unit["User"][0]), tr.id(t, "etc/group", unit["Group"][0])
	tr.makeDir(t, "/var/lib/"+unit["StateDirectory"][0], uid, gid)
	tr.makeDir(t, "/run/"+unit["RuntimeDirectory"][0], uid, gid)
	return tr.daemon(t, uid, gid, tr.environment(t, uid, gid), strings.Fields(unit["ExecStart"][0])...)
}

// environment is the service's, with a copy of its credentials.
func (tr tree) environment(t *testing.T, uid, gid int) (env []string) {
	t.Helper()
	unit := tr.unit(t)
	const credentials = "/run/credentials/caddy-sesame.service"
	tr.makeDir(t, credentials, uid, gid)
	for _, credential := range unit["LoadCredential"] {
		name, file, _ := strings.Cut(credential, ":")
		copied := filepath.Join(credentials, name)
		tr.write(t, copied, tr.read(t, file), 0o400)
		if err := os.Chown(tr.path(copied), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range unit["Environment"] {
		env = append(env, strings.Fields(line)...)
	}
	return append(env, "CREDENTIALS_DIRECTORY="+credentials, "PATH=/usr/bin:/bin", "HOME=/var/lib/caddy-sesame")
}

// reload does what systemctl reload does, as the service's user.
func (tr tree) reload(t *testing.T) {
	t.Helper()
	unit := tr.unit(t)
	uid, gid := tr.id(t, "etc/passwd", unit["User"][0]), tr.id(t, "etc/group", unit["Group"][0])
	tr.run(t, slices.Concat(
		[]string{"setpriv", "--reuid", unit["User"][0], "--regid", unit["Group"][0], "--clear-groups", "env", "-i"},
		tr.environment(t, uid, gid), strings.Fields(unit["ExecReload"][0]))...)
}

// wantLink makes a link and opens it.
func wantLink(t *testing.T, system tree) {
	t.Helper()
	link := system.run(t, "caddy-sesame", "sesame", "token", "alice", "--config", caddyfile, "--url", "http://localhost:8080/")
	openLink(t, strings.TrimSpace(link), system.path(socket))
}

func wantKept(t *testing.T, system tree, want string) {
	t.Helper()
	if got := system.read(t, caddyfile); got != want {
		t.Errorf("the Caddyfile is %q, want the one that was written", got)
	}
	if !system.exists(secrets + "dsn") {
		t.Error("the secrets are gone")
	}
}

// newer is the same package with a higher version and, if it isn't empty, a line
// more in the example.
func newer(t *testing.T, deb, suffix, line string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "package")
	if output, err := exec.Command("dpkg-deb", "--raw-extract", deb, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	content := tree(dir)
	content.write(t, "DEBIAN/control", regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAllString(content.read(t, "DEBIAN/control"), "$0"+suffix), 0o644)
	content.write(t, caddyfile, line+content.read(t, caddyfile), 0o644)
	file := dir + suffix + ".deb"
	if output, err := exec.Command("dpkg-deb", "--build", "-Znone", dir, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return file
}

// notOurs are files that apt, dpkg and useradd write by themselves.
var notOurs = regexp.MustCompile(`^(tmp|run/credentials|run/lock|run/systemd|var/log|var/cache|var/lib/dpkg|var/lib/apt|etc/\.pwd\.lock|etc/(passwd|group|shadow|gshadow|subuid|subgid)-)(/|$)`)

// state are the files of a system, and its users.
func (tr tree) state(t *testing.T) (state []string) {
	t.Helper()
	err := filepath.WalkDir(string(tr), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(string(tr), path)
		if err == nil && !notOurs.MatchString(name) {
			state = append(state, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"} {
		for line := range strings.Lines(tr.read(t, file)) {
			state = append(state, file+": "+strings.TrimSpace(line))
		}
	}
	return state
}

// difference is what is in one of two lists only.
func difference(before, after []string) (lines []string) {
	for _, name := range before {
		if !slices.Contains(after, name) {
			lines = append(lines, "- "+name)
		}
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			lines = append(lines, "+ "+name)
		}
	}
	return lines
}
