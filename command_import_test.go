package sesame_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// diffsettings is what a project prints, in short.
const diffsettings = `AUTH_USER_MODEL = 'auth.User'  ###
DATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'NAME': 'app', 'USER': 'web', 'PASSWORD': 'database-password', 'HOST': '127.0.0.1', 'PORT': ''}}
SECRET_KEY = 'django-key-nobody-may-see'
SESAME_MAX_AGE = 600
SESAME_ONE_TIME = True
USE_TZ = True  ###
`

func TestImportCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "settings.txt")
	if err := os.WriteFile(file, []byte(diffsettings), 0o600); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(dir, "sesame.caddy")
	for _, test := range []struct {
		name string
		args []string
	}{
		{"stdin", nil},
		{"stdin, named", []string{"-"}},
		{"file", []string{file}},
		{"to a file", []string{file, "--output", output}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := &operator{stdin: diffsettings}
			r := o.run(t, append([]string{"import-django"}, test.args...)...)
			r.wantStatus(t, 0)
			block := r.stdout
			if strings.Contains(test.name, "to a file") {
				if r.stdout != "" {
					t.Errorf("stdout: %s", r.stdout)
				}
				block = readFile(t, output)
			}
			wantText(t, block, "sesame {\n", "max_age 600", "one_time", "{env.DJANGO_SECRET_KEY}", "userstore mysql {")
			wantText(t, r.stderr, "Environment variables", "DJANGO_SECRET_KEY  SECRET_KEY")
			for _, secret := range []string{"nobody-may-see", "database-password"} {
				if strings.Contains(block+r.stderr, secret) {
					t.Errorf("%s is in\n%s%s", secret, block, r.stderr)
				}
			}
			// A site with the block can be loaded.
			site := &operator{config: filepath.Join(t.TempDir(), "Caddyfile")}
			if err := os.WriteFile(site.config, []byte("app.example.com {\n"+block+"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			wantText(t, site.run(t, "check").stdout, "the environment variable DJANGO_SECRET_KEY is empty or not set here")
		})
	}
}

func TestImportCommandRefuses(t *testing.T) {
	existing := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(existing, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"nothing", "", nil, "no SECRET_KEY"},
		{"another database", strings.Replace(diffsettings, "backends.mysql", "backends.postgresql", 1), nil, "DATABASES"},
		{"no file", "", []string{"/no/such/file"}, "no such file"},
		{"file that is there", diffsettings, []string{"--output", existing}, "exists"},
		{"two files", "", []string{"a", "b"}, "at most 1 arg"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := (&operator{stdin: test.stdin}).run(t, append([]string{"import-django"}, test.args...)...)
			r.wantStatus(t, 1)
			wantText(t, r.stderr, test.want)
			if r.stdout != "" {
				t.Errorf("stdout: %s", r.stdout)
			}
		})
	}
	if text := readFile(t, existing); text != "# mine\n" {
		t.Errorf("a file that was there is now %q", text)
	}
}

func TestImportCommandScript(t *testing.T) {
	r := (&operator{}).run(t, "import-django", "--script")
	r.wantStatus(t, 0)
	wantText(t, r.stdout, "from django.conf import settings")
}
