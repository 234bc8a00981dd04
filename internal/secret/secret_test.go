package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolveReplacesPlaceholders(t *testing.T) {
	t.Setenv("SECRET_TEST", "hush")
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from a file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                       "",
		"plain":                  "plain",
		"{env.SECRET_TEST}":      "hush",
		"a{env.SECRET_TEST}b":    "ahushb",
		"{file." + file + "}":    "from a file",
		`django-insecure-\{x\}$`: "django-insecure-{x}$",
		"env.lower_case":         "env.lower_case",
	} {
		if got, err := Resolve("key", text); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestResolveNamesWhatIsMissingAndNothingElse(t *testing.T) {
	t.Setenv("SECRET_TEST", "hush")
	t.Setenv("SECRET_EMPTY", "")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"{env.SECRET_NONE}":                        "key: the environment variable SECRET_NONE is empty or not set",
		"hush-{env.SECRET_TEST}{env.SECRET_EMPTY}": "key: the environment variable SECRET_EMPTY is empty or not set",
		"{file./no/such/file}":                     "key: the file /no/such/file is empty, or can't be read",
		"{file." + empty + "}":                     "is empty, or can't be read",
		"{evn.SECRET_TEST}":                        "did you mean {env.…}?",
		"{flie./x}":                                "did you mean {file.…}?",
		"hush{hush}hush":                           "write {env.NAME} for an environment variable",
		"env.SECRET_TEST":                          "env.SECRET_TEST is taken as it stands",
		"$env.SECRET_TEST":                         "write it in braces, as {env.SECRET_TEST}",
		"file./run/secrets/key":                    "write it in braces, as {file./run/secrets/key}",
		"\n":                                       "key is empty",
	} {
		_, err := Resolve("key", text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q): error %v, want %q in it", text, err, want)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("Resolve(%q): the error holds a secret: %v", text, err)
		}
	}
}
