package sesame_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestCookiesThatBrowsersDontTakeOrSend expects a warning when Caddy starts.
func TestCookiesThatBrowsersDontTakeOrSend(t *testing.T) {
	for name, test := range map[string]struct {
		sites, options string
		want           []string
	}{
		"a domain of the host":                {"http://app.example.com", "session {\n domain example.com\n}", nil},
		"the host itself":                     {"http://App.example.com", "session {\n domain app.example.com\n}", nil},
		"a domain of a wildcard":              {"http://*.example.com", "session {\n domain example.com\n}", nil},
		"any host":                            {"http://", "session {\n domain example.com\n}", nil},
		"another domain":                      {"http://app.example.com", "session {\n domain example.org\n}", []string{"session domain example.org is not a parent of the host app.example.com", "leave it out"}},
		"a sibling host":                      {"http://app.example.com", "session {\n domain www.example.com\n}", []string{"domain www.example.com is not a parent of the host app.example.com"}},
		"a domain that ends like it":          {"http://app.example.com", "session {\n domain ample.com\n}", []string{"domain ample.com is not"}},
		"one of two hosts":                    {"http://app.example.com, http://app.example.net", "session {\n domain example.com\n}", []string{"of the host app.example.net"}},
		"a host below":                        {"http://example.com", "session {\n domain app.example.com\n}", []string{"domain app.example.com is not a parent of the host example.com"}},
		"a path without the reserved pages":   {"http://app.example.com", "session {\n path /app\n}", []string{"session path /app leaves out /_sesame/", "reserved_path /app/_sesame/"}},
		"a path that begins like it":          {"http://app.example.com", "session {\n path /app\n}\nreserved_path /application/", []string{"session path /app leaves out /application/"}},
		"a path with them":                    {"http://app.example.com", "session {\n path /app\n}\nreserved_path /app/_sesame/", nil},
		"a path with a slash":                 {"http://app.example.com", "session {\n path /app/\n}\nreserved_path /app/_sesame/", nil},
		"a path where there are no such":      {"http://app.example.com", "session {\n path /app\n}\nreserved_path off", nil},
		"in frames, kept apart":               {"http://app.example.com", "session {\n same_site none\n partitioned on\n}", nil},
		"in frames, not kept apart":           {"http://app.example.com", "session {\n same_site None\n}", []string{"session same_site none: in frames", "partitioned on"}},
		"in frames, with forms of all sites":  {"http://app.example.com", "session {\n same_site none\n partitioned on\n check_origin off\n}", []string{"session check_origin off with same_site none", "any site's page", "check where forms and WebSockets come from"}},
		"the same, of a site without session": {"http://app.example.com", "reserved_path /app/", nil},
	} {
		t.Run(name, func(t *testing.T) {
			logs := filepath.Join(t.TempDir(), "caddy.log")
			port := portOf(freeAddr(t))
			sites := strings.ReplaceAll(test.sites, ", ", ":"+port+", ") + ":" + port
			text := fmt.Sprintf("{\nadmin off\npersist_config off\nlog {\noutput file %s\n}\n}\n%s {\nsesame {\nsecret_key %q\n%s\nuserstore mysql {\ndsn user@tcp(127.0.0.1:1)/none\nstart_without\n}\n}\n}\n",
				logs, sites, secretKey, test.options)
			loadCaddyfile(t, text)
			var warnings []string
			for _, line := range (&gateway{logs: logs}).lines(t, "http.handlers.sesame") {
				if line["level"] == "warn" && strings.HasPrefix(line["msg"].(string), "session ") {
					warnings = append(warnings, fmt.Sprint(line["msg"], "; ", line["advice"]))
				}
			}
			if len(test.want) == 0 && len(warnings) > 0 || len(test.want) > 0 && len(warnings) != 1 {
				t.Fatalf("warned of %q, want %q", warnings, test.want)
			}
			for _, part := range test.want {
				if !strings.Contains(warnings[0], part) {
					t.Errorf("warned of %q, want %q in it", warnings[0], part)
				}
			}
		})
	}
}
