package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestIdentityHeadersAreRemoved sends identity headers in disguise, as raw bytes,
// with and without a valid token. An upstream that makes variables of header fields
// as CGI does must not get any identity variable but the gateway's.
func TestIdentityHeadersAreRemoved(t *testing.T) {
	disguises := []string{
		"Remote-User: admin",
		"remote-user: admin",
		"REMOTE-USER: admin",
		"rEmOtE-uSeR: admin",
		"Remote-User: admin\nRemote-User: root",
		"Remote-User:admin",
		"Remote-User: ",
		"Remote_User: admin",
		"Remote.User: admin",
		"Remote~User: admin",
		"Remote!User: admin",
		"Remote+User: admin",
		"Remote'User: admin",
		"Remote`User: admin",
		"Remote*User: admin",
		"Remote|User: admin",
		"RemoteUser: admin",
		"Remote--User: admin",
		"-Remote-User-: admin",
		"Remote-User-Id: 7",
		"Remote_User-Id: 7",
		"Remote-User.Id: 7",
		"Remote-Email: admin@example.com",
		"remote_email: admin@example.com",
		"Remote~Email: admin@example.com",
	}
	withEachDatabase(t, func(t *testing.T, db *database) {
		for _, options := range []string{"", "optional"} {
			up := startUpstream(t)
			g := startGateway(t, db, up, site{
				options: options,
				// Caddy drops these names itself unless they are expected.
				global: "servers {\n expected_underscore_headers Remote_* remote_* \n expected_dot_headers Remote.* Remote-User.* \n}",
			})
			for _, disguise := range disguises {
				t.Run(fmt.Sprintf("%s %q", options, disguise), func(t *testing.T) {
					g.raw(t, "GET /?sesame="+tokenFor(t, carol)+" HTTP/1.1\nHost: app.example.com\n"+disguise+"\nConnection: close\n\n")
					wantCGI(t, up.takeOne(t).header, map[string]string{"REMOTEUSER": "carol", "REMOTEUSERID": "3"})
					if options == "optional" {
						g.raw(t, "GET / HTTP/1.1\nHost: app.example.com\n"+disguise+"\nConnection: close\n\n")
						wantCGI(t, up.takeOne(t).header, nil)
					}
				})
			}
		}
	})
}

// wantCGI fails the test unless the fields whose letters and digits are those
// of an identity header are as given.
func wantCGI(t *testing.T, header http.Header, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for name, values := range header {
		folded := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return r - 'a' + 'A'
			}
			if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, name)
		if strings.HasPrefix(folded, "REMOTE") {
			got[folded] += strings.Join(values, "|")
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) && len(got)+len(want) > 0 {
		t.Errorf("the upstream got %v, want %v", got, want)
	}
}

// TestConnectionCantDropIdentity names our fields in Connection, which makes
// Caddy's reverse_proxy drop them.
func TestConnectionCantDropIdentity(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		for _, connection := range []string{
			"Connection: close, Remote-User, Remote-User-Id, Remote-Email",
			"Connection: remote-user,remote_user-id\nConnection: close\nConnection: REMOTE-EMAIL",
			"Connection:Remote-User ,\tRemote-User-Id,,Remote-Email,close",
		} {
			t.Run(connection, func(t *testing.T) {
				g.raw(t, "GET /?sesame="+tokenFor(t, alice)+" HTTP/1.1\nHost: app.example.com\nX-Hop: 1\n"+connection+", X-Hop\n\n")
				got := up.takeOne(t)
				wantHeader(t, got.header, "Remote-User", "alice")
				wantHeader(t, got.header, "Remote-User-Id", "1")
				wantHeader(t, got.header, "Remote-Email", "alice@example.com")
				wantHeader(t, got.header, "X-Hop", "") // Connection still removes other fields
			})
		}
	})
}

// TestTrailersCantSetIdentity sends identity headers behind the body.
func TestTrailersCantSetIdentity(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "optional"})
		for _, announced := range []string{
			"Trailer: Remote-User, X-Checksum\n",
			"Trailer: X-Checksum\n",
			"",
		} {
			t.Run(announced, func(t *testing.T) {
				for _, uri := range []string{"/?sesame=" + tokenFor(t, carol), "/"} {
					g.raw(t, "POST "+uri+" HTTP/1.1\nHost: app.example.com\nTransfer-Encoding: chunked\n"+announced+"Connection: close\n\n"+
						"4\nbody\n0\nRemote-User: admin\nremote_user: admin\nX-Checksum: 5\n\n")
					got := up.takeOne(t)
					if got.body != "body" {
						t.Errorf("the upstream got the body %q", got.body)
					}
					for name := range got.trailer {
						if strings.Contains(strings.ToLower(name), "remote") {
							t.Errorf("the upstream got the trailers %v", got.trailer)
						}
					}
					if announced != "" {
						wantHeader(t, got.trailer, "X-Checksum", "5")
					}
					if len(got.header["Remote-User"]) > 0 && got.header.Get("Remote-User") != "carol" {
						t.Errorf("the upstream got %v", got.header)
					}
				}
			})
		}
	})
}

// TestTokenReachesNoUpstream sends tokens in every place from which they might reach the
// upstream.
func TestTokenReachesNoUpstream(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			options: "token_from query bearer header X-Token",
			global:  "servers {\n trusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}",
			before:  "tracing {\n span test\n}",
			after: `request_header X-Original {http.request.orig_uri}
				request_header X-Original-Query {http.request.orig_uri.query}
				request_header X-Uri {http.request.uri}
				request_header X-Query-Parameter {http.request.uri.query.sesame}
				reverse_proxy ` + up.addr,
		})
		valid := tokenFor(t, alice)
		link := "http://app.example.com/?a=1&sesame=" + valid + "#x"
		for _, request := range []string{
			"GET /?sesame=T HTTP/1.1\nHost: app.example.com",
			"GET /?a=1&sesame=T&sesame=T&b=%20;2 HTTP/1.1\nHost: app.example.com",
			"GET /?a=1;sesame=T&sesame=T HTTP/1.1\nHost: app.example.com",
			"GET /?a=1&amp;sesame=T&sesame=T HTTP/1.1\nHost: app.example.com",
			"GET /?%73%65same=T&SESAME=1 HTTP/1.1\nHost: app.example.com",
			"GET http://app.example.com/?sesame=T HTTP/1.1\nHost: app.example.com",
			"GET /?a#&sesame=T HTTP/1.1\nHost: app.example.com",
			"GET /#?sesame=T HTTP/1.1\nHost: app.example.com\nX-Original-URL: /#?sesame=T",
			"GET / HTTP/1.1\nHost: app.example.com\nAuthorization: Bearer T",
			"GET / HTTP/1.1\nHost: app.example.com\nAuthorization: Basic eDp5\nAuthorization: bEARER T",
			"GET / HTTP/1.1\nHost: app.example.com\nX-Token: T",
			"GET /?sesame=T HTTP/1.1\nHost: app.example.com\nX-Token: T\nAuthorization: Bearer T",
			"GET /?sesame=T HTTP/1.1\nHost: app.example.com\nReferer: " + link,
			"GET / HTTP/1.1\nHost: app.example.com\nX-Token: T\nReferer: " + link,
			"GET / HTTP/1.1\nHost: app.example.com\nX-Token: T\nX-Forwarded-Uri: /?sesame=T\nX-Original-URL: /?sesame=T\nX-Rewrite-Url: /x?sesame=T&y",
		} {
			t.Run(request, func(t *testing.T) {
				g.raw(t, replaceToken(request, valid)+"\nConnection: close\n\n")
				got := up.takeOne(t)
				wantHeader(t, got.header, "Remote-User", "alice")
				if text := fmt.Sprint(got); strings.Contains(text, valid) {
					t.Errorf("the upstream got the token: %s", text)
				}
			})
		}
	})
}

// replaceToken puts the token in the place of each T that stands alone.
func replaceToken(request, valid string) string {
	for _, before := range []string{"sesame=", "%65same=", "earer ", "EARER ", "X-Token: "} {
		request = strings.ReplaceAll(request, before+"T", before+valid)
	}
	return request
}
