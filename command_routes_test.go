package sesame_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestCheckCommandRoutes reports handlers that protect no route, and routes that no
// handler protects.
func TestCheckCommandRoutes(t *testing.T) {
	const sesame = "sesame MATCHER {\nsecret_key SECRET\nuserstore mysql {\ndsn DSN\n}\n}\n"
	plain := strings.Replace(sesame, "MATCHER ", "", 1)
	on := func(matcher string) string { return strings.Replace(sesame, "MATCHER", matcher, 1) }
	const proxy = "reverse_proxy localhost:9\n"
	with := func(option, matcher string) string {
		return strings.Replace(on(matcher), "userstore", option+"\nuserstore", 1)
	}
	tests := []struct {
		name, site string
		status     int
		want, not  []string
	}{
		{"everything behind it", plain + proxy, 0, []string{"ok    routes", "verdict: ok, with"}, nil},
		{"a respond in front, in a route", "route {\nrespond hello\n" + plain + proxy + "}", 1, []string{"fail  routes", "static_response answers every request in front of sesame", "verdict: 1 check failed"}, nil},
		{"a proxy in front, in a route", "route {\n" + proxy + plain + "}", 1, []string{"fail  routes", "reverse_proxy answers every request in front of sesame", "without sesame"}, nil},
		{"files in front, in a route", "route {\nfile_server\n" + plain + proxy + "}", 1, []string{"fail  routes", "file_server answers every request"}, nil},
		{"a health check in front", "route {\nrespond /health 200\n" + plain + proxy + "}", 0, []string{"ok    routes"}, []string{"protects nothing"}},
		{"an exact path", on("/admin") + proxy, 0, []string{"warn  routes", "exact path /admin alone", "/admin/x is open", "write /admin*"}, nil},
		{"an exact path and what is below", "@admin path /admin /admin/*\n" + on("@admin") + proxy, 0, []string{"unless they match path"}, []string{"exact path"}},
		{"the path of a file", on("/report.pdf") + proxy, 0, nil, []string{"exact path"}},
		{"everything below a path", on("/admin*") + proxy, 0, []string{"answers every request, unless they match path [\"/admin*\"], without sesame"}, []string{"exact path"}},
		{"a proxy beside it", "handle /api/* {\n" + proxy + "}\nhandle {\n" + plain + proxy + "}", 0, []string{"warn  routes", `answers requests that match path ["/api/*"] without sesame`}, nil},
		{"a block of its own for each", "handle /api/* {\n" + plain + proxy + "}\nhandle {\n" + plain + proxy + "}", 0, []string{"ok    routes"}, []string{"without sesame"}},
		{"a proxy beside it, for any host", "}\nhttp://:9180 {\nhandle /api/* {\n" + proxy + "}\nhandle {\n" + plain + proxy + "}", 0, []string{"warn  routes", `answers requests that match path ["/api/*"] without sesame`}, nil},
		{"everything below a path, for any host", "}\nhttp://:9180 {\n" + on("/admin*") + proxy, 0, []string{"answers every request, unless they match path [\"/admin*\"], without sesame"}, nil},
		{"a respond in front, in a route, for any host", "}\nhttp://:9180 {\nroute {\nrespond hello\n" + plain + proxy + "}", 1, []string{"static_response answers every request in front of sesame"}, nil},
		{"forward_auth in front", "route {\nforward_auth localhost:8 {\nuri /auth\n}\n" + plain + proxy + "}", 0, []string{"forward_auth stands in front of sesame", "Remote-User"}, []string{"without sesame", "protects nothing"}},
		{"forward_auth behind", "route {\n" + plain + "forward_auth localhost:8 {\nuri /auth\n}\n" + proxy + "}", 0, []string{"ok    routes"}, nil},
		{"request_body in front", "route {\nrequest_body {\nmax_size 1MB\n}\n" + plain + proxy + "}", 0, []string{"ok    access_log"}, nil},
		{"redir in front", "route {\nredir /old /new\n" + plain + proxy + "}", 0, []string{"ok    access_log"}, nil},
		{"the login page outside of the matcher", with("password\nlogin {\npassword\n}", "/admin*") + proxy, 1, []string{"fail  routes", "requests for /_sesame/ don't come to sesame", "the login page sends passwords to what answers there", "add /_sesame/* to what the matcher of sesame matches"}, nil},
		{"the page for logging out outside of the matcher", with("session", "/admin*") + proxy, 0, []string{"warn  routes", "requests for /_sesame/ don't come to sesame", "no user can log out there"}, nil},
		{"the pages outside of a handle", "handle /admin/* {\n" + with("session", "") + proxy + "}\n" + proxy, 0, []string{"requests for /_sesame/ don't come to sesame"}, nil},
		{"the pages excluded", "@app not path /api/* /_sesame/*\n" + with("session", "@app") + proxy, 0, []string{"requests for /_sesame/ don't come to sesame"}, nil},
		{"the pages below the matcher's path", with("reserved_path /admin/_sesame/\nsession", "/admin*") + proxy, 0, nil, []string{"don't come to sesame"}},
		{"the pages in the matcher", "@admin path /admin* /_sesame/*\n" + with("session", "@admin") + proxy, 0, nil, []string{"don't come to sesame"}},
		{"the pages of another handler", "handle /admin/* {\n" + with("session", "") + proxy + "}\nhandle {\n" + with("session", "") + proxy + "}", 0, nil, []string{"don't come to sesame"}},
		{"the pages of another handler, for any host", "}\nhttp://:9180 {\nhandle /admin/* {\n" + with("session", "") + proxy + "}\nhandle {\n" + with("session", "") + proxy + "}", 0, nil, []string{"don't come to sesame"}},
		{"the pages outside of the matcher, for any host", "}\nhttp://:9180 {\n" + with("session", "/admin*") + proxy, 0, []string{"requests for /_sesame/ don't come to sesame"}, nil},
		{"a matcher of another kind", "@get method GET POST\n" + with("session", "@get") + proxy, 0, nil, []string{"don't come to sesame"}},
		{"tokens without pages", on("/admin*") + proxy, 0, nil, []string{"don't come to sesame"}},
		{"the application by another site", plain + "reverse_proxy 127.0.0.1:9\n}\nhttp://other.example.com {\n" + proxy, 0, []string{"warn  routes", "127.0.0.1:9, which is behind sesame here, gets requests of another site without it", "optional"}, nil},
		{"the application by a php_fastcgi of another site", "php_fastcgi localhost:9\n" + plain + "}\nhttp://other.example.com {\nhandle /x/* {\nphp_fastcgi localhost:9\n}", 0, []string{"gets requests of another site without it"}, nil},
		{"the application by another site, for everyone", plain + proxy + "}\nhttp://other.example.com {\n" + with("optional", "") + proxy, 0, []string{"ok    routes"}, []string{"another site"}},
		{"another application by another site", plain + proxy + "}\nhttp://other.example.com {\nreverse_proxy localhost:8", 0, []string{"ok    routes"}, []string{"another site"}},
		{"an application for errors", plain + proxy + "handle_errors {\n" + proxy + "}", 0, []string{"warn  routes", "errors.routes.0", "answers requests that sesame has rejected", "rewrite * /error.html"}, []string{"without sesame, in a site"}},
		{"an application for outages", plain + proxy + "handle_errors 404 5xx {\n" + proxy + "}", 0, []string{"answers requests that sesame has rejected"}, nil},
		{"files for errors, for any host", "}\nhttp://:9180 {\n" + plain + proxy + "handle_errors 401 {\ntry_files /error.html\nfile_server\n}", 0, []string{"file_server (", "answers requests that sesame has rejected"}, nil},
		{"an application for errors, behind optional", plain + proxy + "handle_errors {\n" + with("optional", "") + proxy + "}", 0, []string{"answers requests that sesame has rejected"}, nil},
		{"an application for errors, behind sesame", plain + proxy + "handle_errors {\n" + plain + proxy + "}", 0, []string{"ok    routes"}, nil},
		{"an application for errors of its own", plain + proxy + "handle_errors 404 502 {\n" + proxy + "}", 0, []string{"ok    routes"}, nil},
		{"pages for errors", plain + proxy + "handle_errors {\nrewrite * /{err.status_code}.html\nfile_server\n}", 0, []string{"ok    routes"}, nil},
		{"an application for errors of an open site", with("optional", "") + proxy + "handle_errors {\n" + proxy + "}", 0, []string{"ok    routes"}, nil},
		{"a named route", "invoke guarded\n" + proxy, 0, []string{"ok    routes"}, []string{"without sesame"}},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				named := ""
				if strings.Contains(test.site, "invoke") {
					named = "&(guarded) {\n" + plain + "}\n"
				}
				o := newOperator(t, named+"app.example.com {\n"+test.site+"\n}\n", db.dsn)
				r := o.run(t, "check")
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, test.want...)
				for _, part := range test.not {
					if strings.Contains(r.stdout, part) {
						t.Errorf("%q is in:\n%s", part, r.stdout)
					}
				}
				lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
				if last := lines[len(lines)-1]; !strings.HasPrefix(last, "verdict: ") {
					t.Errorf("the last line is %q", last)
				}
			})
		}
	})
}

// TestCheckCommandTrustedProxies warns where clients can invent their address.
func TestCheckCommandTrustedProxies(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		const servers = "{\nservers {\ntrusted_proxies static private_ranges\n}\n}\n"
		r := newOperator(t, servers+oneSite("", ""), db.dsn).run(t, "check")
		wantText(t, r.stdout, "warn  client_ip", "trusted_proxies_strict")
		strict := strings.Replace(servers, "private_ranges\n", "private_ranges\ntrusted_proxies_strict\n", 1)
		r = newOperator(t, strict+oneSite("", ""), db.dsn).run(t, "check")
		if strings.Contains(r.stdout, "client_ip") {
			t.Error(r.stdout)
		}
	})
}

// TestCheckCommandJSONError answers an error in JSON where that is asked for.
func TestCheckCommandJSONError(t *testing.T) {
	o := newOperator(t, "app.example.com {\nrespond fine\n}\n", "")
	r := o.run(t, "check", "--json")
	r.wantStatus(t, 1)
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &answer); err != nil || answer.OK == nil || *answer.OK || !strings.Contains(answer.Error, "no sesame handler") {
		t.Errorf("%v: %s", err, r.stdout)
	}
}
