package sesame_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// phpPage shows what a PHP app sees of a request: as index.php it is a front
// controller, which gets every path that is no file.
const phpPage = `<?php
header('Content-Type: application/json');
echo json_encode([
	'server' => $_SERVER,
	'get' => $_GET,
	'request' => $_REQUEST,
	'post' => $_POST,
	'input' => file_get_contents('php://input'),
	'environment' => getenv(),
	'headers' => getallheaders(),
]);
`

// phpRequest is what phpPage shows.
type phpRequest struct {
	Server map[string]any `json:"server"`
	Get    any            `json:"get"`
	Post   any            `json:"post"`
	Input  string         `json:"input"`
}

// phpCase is a request with a token, and what PHP must see of it.
type phpCase struct {
	name   string
	method string
	uri    string
	header []string
	body   string
	want   map[string]any // of $_SERVER
}

// phpURIs have the token in a place that PHP reads the URI from.
func phpURIs(valid string) []phpCase {
	return []phpCase{
		{
			name: "front controller",
			uri:  "/blog/post-1?x=1&sesame=" + valid,
			want: map[string]any{
				"REQUEST_URI": "/blog/post-1?x=1", "QUERY_STRING": "x=1",
				"SCRIPT_NAME": "/index.php", "DOCUMENT_URI": "/index.php",
			},
		},
		{
			name: "front controller, token first",
			uri:  "/blog/post-1?sesame=" + valid + "&x=%20+1&y",
			want: map[string]any{"REQUEST_URI": "/blog/post-1?x=%20+1&y", "QUERY_STRING": "x=%20+1&y"},
		},
		{
			name: "front controller, token alone",
			uri:  "/blog/post-1?sesame=" + valid,
			want: map[string]any{"REQUEST_URI": "/blog/post-1", "QUERY_STRING": ""},
		},
		{
			name: "front controller, encoded path",
			uri:  "/caf%C3%A9/a%20b?q=%C3%A9&%73esame=" + valid,
			want: map[string]any{"REQUEST_URI": "/caf%C3%A9/a%20b?q=%C3%A9", "QUERY_STRING": "q=%C3%A9"},
		},
		{
			name: "root",
			uri:  "/?sesame=" + valid + "&p=12",
			want: map[string]any{"REQUEST_URI": "/?p=12", "QUERY_STRING": "p=12", "SCRIPT_NAME": "/index.php"},
		},
		{
			name: "a script",
			uri:  "/info.php?a=1&sesame=" + valid,
			want: map[string]any{"REQUEST_URI": "/info.php?a=1", "QUERY_STRING": "a=1", "SCRIPT_NAME": "/info.php"},
		},
		{
			name: "path info",
			uri:  "/info.php/user/7?a=1&sesame=" + valid + "&b=2",
			want: map[string]any{
				"REQUEST_URI": "/info.php/user/7?a=1&b=2", "QUERY_STRING": "a=1&b=2",
				"SCRIPT_NAME": "/info.php", "PATH_INFO": "/user/7",
			},
		},
		{
			name: "path info of the front controller",
			uri:  "/index.php/blog?sesame=" + valid,
			want: map[string]any{"REQUEST_URI": "/index.php/blog", "PATH_INFO": "/blog", "QUERY_STRING": ""},
		},
		{
			name: "a directory's index",
			uri:  "/sub/?sesame=" + valid + "&x=1",
			want: map[string]any{"REQUEST_URI": "/sub/?x=1", "SCRIPT_NAME": "/sub/index.php"},
		},
		{
			name:   "bearer",
			uri:    "/blog/post-1?x=1",
			header: []string{"Authorization", "Bearer " + valid},
			want:   map[string]any{"REQUEST_URI": "/blog/post-1?x=1", "HTTP_AUTHORIZATION": nil, "PHP_AUTH_DIGEST": nil},
		},
		{
			name:   "header",
			uri:    "/blog/post-1?x=1",
			header: []string{"X-Sesame-Token", valid},
			want:   map[string]any{"REQUEST_URI": "/blog/post-1?x=1", "HTTP_X_SESAME_TOKEN": nil},
		},
	}
}

// phpFields have bodies, and identity fields that a client forges.
func phpFields(valid string) []phpCase {
	return []phpCase{
		{
			name:   "POST",
			method: http.MethodPost,
			uri:    "/form?x=1&sesame=" + valid,
			header: []string{"Content-Type", "application/x-www-form-urlencoded"},
			body:   "a=1&sesame=mine&b=%C3%A9",
			want:   map[string]any{"REQUEST_URI": "/form?x=1", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "24"},
		},
		{
			name:   "POST of bytes",
			method: http.MethodPost,
			uri:    "/form?sesame=" + valid,
			header: []string{"Content-Type", "application/octet-stream"},
			body:   strings.Repeat("0123456789", 100_000),
			want:   map[string]any{"REQUEST_URI": "/form", "CONTENT_LENGTH": "1000000"},
		},
		{
			name: "Referer, and what proxies say of the URI",
			uri:  "/?sesame=" + valid,
			header: []string{
				"Referer", "https://example.com/a?b=1&sesame=" + valid, "X-Forwarded-Uri", "/a?sesame=" + valid,
				"X-Original-Url", "/a?sesame=" + valid,
			},
			want: map[string]any{"HTTP_REFERER": "https://example.com/a?b=1"},
		},
		{
			name: "spoofed names",
			uri:  "/?sesame=" + valid,
			header: []string{
				"Remote_User", "admin", "Remote.User", "admin", "Remote-User", "admin", "REMOTE-USER", "admin",
				"X-Remote-User", "admin", "X-Real-User", "kept", "Remote~User", "admin", "Remote_User_Id", "0", "Remote-Email", "root@example.com",
			},
			want: map[string]any{"HTTP_X_REMOTE_USER": nil, "HTTP_X_REAL_USER": "kept"},
		},
		{
			name:   "our names in Connection",
			uri:    "/?sesame=" + valid,
			header: []string{"Connection", "Remote-User, remote-user-id", "Connection", "Remote-Email"},
		},
		{
			name:   "a Proxy header",
			uri:    "/?sesame=" + valid,
			header: []string{"Proxy", "evil", "Remote-User", ""},
			want:   map[string]any{"HTTP_PROXY": nil},
		},
	}
}

// TestPHPSeesTheUserAndNoForgedIdentity has php_fastcgi and a real PHP behind the gateway.
func TestPHPSeesTheUserAndNoForgedIdentity(t *testing.T) {
	root := t.TempDir()
	for _, page := range []string{"index.php", "sub/index.php", "info.php"} {
		path := filepath.Join(root, page)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(phpPage), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fpm := testprogram.PHP(t, "-n")
	db := anyDatabase(t)
	g := startGateway(t, db, new(upstream), site{
		options: "token_from query bearer header X-Sesame-Token",
		after:   fmt.Sprintf("root * %s\nphp_fastcgi %s", root, fpm),
	})
	valid := tokenFor(t, alice)

	for _, test := range slices.Concat(phpURIs(valid), phpFields(valid)) {
		t.Run(test.name, func(t *testing.T) {
			if test.method == "" {
				test.method = http.MethodGet
			}
			answer := g.doWithBody(t, test.method, test.uri, test.body, test.header...)
			answer.wantStatus(t, http.StatusOK)
			if strings.Contains(answer.body, valid) {
				t.Errorf("PHP sees the token: %s", answer.body)
			}
			if strings.Contains(answer.body, "admin") {
				t.Errorf("PHP sees what the client sent in place of an identity: %s", answer.body)
			}
			var got phpRequest
			if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
				t.Fatalf("%v: %s", err, answer.body)
			}
			for name, want := range map[string]any{
				"REMOTE_USER": "1", "HTTP_REMOTE_USER": "alice", "HTTP_REMOTE_USER_ID": "1", "HTTP_REMOTE_EMAIL": "alice@example.com",
			} {
				if got.Server[name] != want {
					t.Errorf("%s is %v, want %v", name, got.Server[name], want)
				}
			}
			for name, want := range test.want {
				if got.Server[name] != want {
					t.Errorf("%s is %v, want %v", name, got.Server[name], want)
				}
			}
			if got.Input != test.body {
				t.Errorf("the body is %.100q…, want %.100q…", got.Input, test.body)
			}
		})
	}

	t.Run("a body of the client's own", func(t *testing.T) {
		// The token belongs to the URL: a form may have a field of that name.
		answer := g.doWithBody(t, http.MethodPost, "/?sesame="+valid, "sesame=mine", "Content-Type", "application/x-www-form-urlencoded")
		var got phpRequest
		if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
			t.Fatalf("%v: %s", err, answer.body)
		}
		if fmt.Sprint(got.Get) != "[]" || fmt.Sprint(got.Post) != "map[sesame:mine]" {
			t.Errorf("$_GET is %v, $_POST %v", got.Get, got.Post)
		}
	})
	t.Run("refused", func(t *testing.T) {
		for _, uri := range []string{"/", "/info.php", "/info.php/sesame=AAAA", "/?sesame=" + valid[1:], "/index.php/%3Fsesame=AAAA"} {
			answer := g.get(t, uri, "Remote-User", "alice")
			answer.wantStatus(t, http.StatusUnauthorized)
			if strings.Contains(answer.body, "SCRIPT_NAME") {
				t.Errorf("%s reached PHP: %s", uri, answer.body)
			}
		}
	})
	// At DEBUG, php_fastcgi logs what it sends.
	g.wantNoToken(t, valid)
}

// TestPHPSeesNoUserWithoutALogin has PHP serve requests without a user, too.
func TestPHPSeesNoUserWithoutALogin(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.php"), []byte(phpPage), 0o644); err != nil {
		t.Fatal(err)
	}
	fpm := testprogram.PHP(t, "-n")
	g := startGateway(t, anyDatabase(t), new(upstream), site{
		options: "optional",
		after:   fmt.Sprintf("root * %s\nphp_fastcgi %s", root, fpm),
	})
	for _, header := range [][]string{
		nil,
		{"Remote-User", "admin", "Remote_User", "admin", "Remote.User", "admin", "Remote~User", "admin", "remote-user-id", "admin"},
		{"Remote-User", "admin", "Connection", "Remote-User"},
	} {
		answer := g.get(t, "/a?b=1", header...)
		answer.wantStatus(t, http.StatusOK)
		var got phpRequest
		if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
			t.Fatalf("%v: %s", err, answer.body)
		}
		if user := got.Server["REMOTE_USER"]; user != "" && user != nil {
			t.Errorf("REMOTE_USER is %v", user)
		}
		if strings.Contains(answer.body, "admin") || strings.Contains(answer.body, "HTTP_REMOTE") {
			t.Errorf("PHP sees a user: %s", answer.body)
		}
	}
}
