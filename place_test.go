package sesame_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// adapted is the JSON of a Caddyfile at a path.
func adapted(t *testing.T, path, text string) []byte {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": path})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestProvisioningErrorsBeginWithSiteFileAndLine starts configurations whose
// mistakes only a start finds: the module's part of the error begins with the place
// of the option, and a line of the log has that part alone.
func TestProvisioningErrorsBeginWithSiteFileAndLine(t *testing.T) {
	dir := t.TempDir()
	const header = "{\n\tadmin off\n\tpersist_config off\n\tlog default {\n\t\toutput file LOG\n\t}\n}\n"
	for _, test := range []struct{ name, site, want string }{
		{"a variable", "app.example.com {\n\tsesame {\n\t\tmax_age 10m\n\t\tsecret_key {env.PLACE_TEST_NONE}\n\t\tuserstore mysql {\n\t\t\tdsn u@tcp(127.0.0.1:1)/x\n\t\t}\n\t}\n}", "app.example.com (FILE:11): secret_key: the environment variable PLACE_TEST_NONE is empty"},
		{"a variable of the store", "app.example.com, b.example.com {\n\tsesame {\n\t\tsecret_key x\n\t\tuserstore mysql {\n\t\t\tdsn {env.PLACE_TEST_NONE}\n\t\t}\n\t}\n}", "app.example.com, b.example.com (FILE:12): userstore: dsn: the environment variable"},
		{"a site for any host", ":8080 {\n\tsesame {\n\t\tsecret_key {file./no/such/file}\n\t\tuserstore mysql {\n\t\t\tdsn u@tcp(127.0.0.1:1)/x\n\t\t}\n\t}\n}", ":8080 (FILE:10): secret_key: the file /no/such/file"},
		{"a handler in a route", "app.example.com {\n\troute /x/* {\n\t\tsesame {\n\t\t\tsecret_key {env.PLACE_TEST_NONE}\n\t\t\tuserstore mysql {\n\t\t\t\tdsn u@tcp(127.0.0.1:1)/x\n\t\t\t}\n\t\t}\n\t}\n}", "app.example.com (FILE:11): secret_key"},
		{"a snippet", "(auth) {\n\tsesame {\n\t\tsecret_key {env.PLACE_TEST_NONE}\n\t\tuserstore mysql {\n\t\t\tdsn u@tcp(127.0.0.1:1)/x\n\t\t}\n\t}\n}\napp.example.com {\n\timport auth\n}", "app.example.com (FILE:10): secret_key"},
		{"a server that is away", "app.example.com {\n\tsesame {\n\t\tsecret_key x\n\t\tuserstore mysql {\n\t\t\tdsn u@tcp(127.0.0.1:1)/x\n\t\t}\n\t}\n}", "app.example.com (FILE:11): userstore:"},
	} {
		file, log := filepath.Join(dir, test.name), filepath.Join(dir, test.name+".log")
		config := adapted(t, file, strings.Replace(header, "LOG", "\""+log+"\"", 1)+test.site)
		want := strings.Replace(test.want, "FILE", file, 1)
		var cfg caddy.Config
		if err := json.Unmarshal(config, &cfg); err != nil {
			t.Fatal(err)
		}
		err := caddy.Run(&cfg)
		if err == nil || !strings.Contains(err.Error(), "provision http.handlers.sesame: "+want) {
			t.Errorf("%s: error %v\nwant %q after Caddy's own words", test.name, err, want)
		}
		if logged := readFile(t, log); !strings.Contains(logged, "the configuration is rejected: "+want) {
			t.Errorf("%s: the log has no line with the place:\n%s", test.name, logged)
		}
	}
}
