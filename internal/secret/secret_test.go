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
	t.Setenv("SECRET_PLACEHOLDER", "{env.SECRET_TEST}")
	t.Setenv("SECRET_BLANK", " \t ")
	empty := filepath.Join(t.TempDir(), "empty")
	marked := filepath.Join(filepath.Dir(empty), "marked")
	if err := os.WriteFile(marked, []byte("\ufeffhush"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"{env.SECRET_NONE}":                        "key: the environment variable SECRET_NONE is empty or not set",
		"hush-{env.SECRET_TEST}{env.SECRET_EMPTY}": "key: the environment variable SECRET_EMPTY is empty or not set",
		"{file./no/such/file}":                     "key: the file /no/such/file doesn't exist: create it, or correct the path",
		"{file." + empty + "}":                     "is empty: write the value into it",
		"{file." + filepath.Dir(empty) + "}":       "is a directory: name a file",
		"{file.no-such-file}":                      "doesn't exist in the directory that Caddy was started in: write its absolute path",
		"{env.SECRET_TEST:-hush}":                  "has a default behind a colon, which only {$SECRET_TEST:…} supports",
		"{env.SECRET_PLACEHOLDER}":                 "has a placeholder in it, which isn't replaced again",
		"{env.SECRET_BLANK}":                       "is empty, or only white space",
		"{file." + marked + "}":                    "begins with a byte order mark (BOM): save the file as UTF-8 without a BOM",
		marked:                                     "it is the path of a file, which would be used as the value itself: to read the file, write {file.",
		"$SECRET_TEST":                             "a shell variable isn't replaced, and would be used as the value itself: write {env.SECRET_TEST}",
		"${SECRET_TEST}":                           "write {env.SECRET_TEST}",
		"{env.SECRET_TEST":                         "a placeholder lacks its closing brace: write {env.…}",
		"os.environ['hush']":                       "it is code of another program",
		"SECRET_KEY = 'hush'":                      "it is code of another program",
		"{evn.SECRET_TEST}":                        "did you mean {env.…}?",
		"{flie./x}":                                "did you mean {file.…}?",
		"hush{hush}hush":                           "write {env.NAME} for an environment variable",
		"env.SECRET_TEST":                          "env.SECRET_TEST would be used as the value itself",
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

// TestResolveLeavesPathsWhereTheyAreMeant resolves options that name files.
func TestResolveLeavesPathsWhereTheyAreMeant(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"userstore: dsn_file", "userstore: replica_file", "userstore: tls_ca", "userstore: tls_key"} {
		if got, err := Resolve(option, file); err != nil || got != file {
			t.Errorf("%s: %q, error %v", option, got, err)
		}
	}
}
