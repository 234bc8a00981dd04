package sesame_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// django is a Python process with Django, django-sesame and settings. See
// testdata/interop/django_side.py.
type django struct {
	in     io.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
}

func startDjango(t *testing.T, db *database, settings map[string]any) *django {
	t.Helper()
	given := map[string]any{
		"SECRET_KEY":       secretKey,
		"DATABASES":        map[string]any{"default": testpeer.DjangoDatabase(t, db.dsn)},
		"USE_TZ":           true,
		"PASSWORD_HASHERS": djangoHashers,
	}
	for name, value := range settings {
		given[name] = value
	}

	cmd := exec.Command(testprogram.Python(t, "django", "pymysql"), "testdata/interop/django_side.py")
	cmd.Env = testprogram.SesameEnv(os.Getenv("SESAME_SRC"))
	dialog := testprogram.StartDialog(t, cmd)
	d := &django{in: dialog.In, out: bufio.NewReader(dialog.Out), stderr: dialog.Errors}
	if err := json.NewEncoder(d.in).Encode(given); err != nil {
		t.Fatal(err)
	}
	return d
}

// djangoHashers has a quick one first, so that the default costs little.
var djangoHashers = []string{
	"people.hashers.QuickHasher",
	"django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
	"django.contrib.auth.hashers.Argon2PasswordHasher",
	"django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
	"django.contrib.auth.hashers.BCryptPasswordHasher",
	"django.contrib.auth.hashers.SHA1PasswordHasher",
	"django.contrib.auth.hashers.MD5PasswordHasher",
	"django.contrib.auth.hashers.UnsaltedMD5PasswordHasher",
	"django.contrib.auth.hashers.UnsaltedSHA1PasswordHasher",
	"django.contrib.auth.hashers.CryptPasswordHasher",
}

// call has Django run a command with arguments in pairs.
func (d *django) call(t *testing.T, command string, arguments ...any) map[string]any {
	t.Helper()
	line := map[string]any{"do": command}
	for i := 0; i < len(arguments); i += 2 {
		line[arguments[i].(string)] = arguments[i+1]
	}
	if err := json.NewEncoder(d.in).Encode(line); err != nil {
		t.Fatalf("asking Django to %s: %v\n%s", command, err, d.stderr)
	}
	answer, err := d.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("asking Django to %s: %v\n%s", command, err, d.stderr)
	}
	var result map[string]any
	if err := json.Unmarshal(answer, &result); err != nil {
		t.Fatalf("asking Django to %s: %v: %s", command, err, answer)
	}
	if problem, ok := result["error"]; ok {
		t.Fatalf("asking Django to %s: %s", command, problem)
	}
	return result
}
