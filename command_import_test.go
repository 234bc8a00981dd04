package sesame_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// diffsettings is a short output of manage.py diffsettings.
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
			if strings.Contains(test.name, "to a file") {
				wantText(t, block, "{$SITE_ADDRESS} {\n", "reverse_proxy {$UPSTREAM}")
				wantText(t, r.stderr, "SITE_ADDRESS", "UPSTREAM")
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
			t.Setenv("SITE_ADDRESS", "app.example.com")
			t.Setenv("UPSTREAM", "localhost:8000")
			if !strings.Contains(test.name, "to a file") {
				block = "app.example.com {\n" + block + "}\n"
			}
			if err := os.WriteFile(site.config, []byte(block), 0o600); err != nil {
				t.Fatal(err)
			}
			wantText(t, site.run(t, "check").stdout, "the environment variable DJANGO_SECRET_KEY is empty or not set")
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

// TestImportCommandSaysWhatIsUndecided imports settings that don't tell which
// users Django finds. The configuration doesn't load before that is decided.
func TestImportCommandSaysWhatIsUndecided(t *testing.T) {
	for name, settings := range map[string]string{
		"a user model of the project's": strings.Replace(diffsettings, "auth.User", "crew.Member", 1),
		"a backend of the project's":    diffsettings + "AUTHENTICATION_BACKENDS = ['crew.backends.Backend']  ###\n",
		"a router":                      diffsettings + "DATABASE_ROUTERS = ['crew.routers.Router']  ###\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := (&operator{stdin: settings}).run(t, "import-django")
			r.wantStatus(t, 0)
			wantText(t, r.stderr, "To be decided, before Caddy starts with this configuration:", "import-django --script")
			site := &operator{config: filepath.Join(t.TempDir(), "Caddyfile")}
			if err := os.WriteFile(site.config, []byte("app.example.com {\n"+r.stdout+"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			checked := site.run(t, "check")
			checked.wantStatus(t, 1)
			wantText(t, checked.stdout+checked.stderr, "undecided: ", "Decide, then remove this line")
		})
	}
}

func TestImportCommandScript(t *testing.T) {
	r := (&operator{}).run(t, "import-django", "--script")
	r.wantStatus(t, 0)
	wantText(t, r.stdout, "from django.conf import settings")
}
