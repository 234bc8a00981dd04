package sesame_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestDamagedTokenReachesNoUpstream sends tokens as programs damage links and
// as fields quote them, and looks for the token at the upstream and in all that
// Caddy logs. A damaged token authenticates no request; the upstream gets the
// request without a user.
func TestDamagedTokenReachesNoUpstream(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{
		global:  "servers {\n log_credentials\n}",
		before:  "log_append <asked \"{uri} {http.request.host} {header.X-Note}\"",
		options: "optional",
	})
	made := tokenFor(t, alice)
	var requests []string
	for _, target := range []string{
		"/x?SeSaMe=T", "/x?form[sesame]=T", "/x?sesame[" + strings.Repeat("a", 100) + "]=T", "/x?sesame[a%3Db]=T",
		"/x?sesame%20=T", "/x?+sesame+=T", "/x?sesame%C2%A0=T", "/x?sesame%E2%80%8B=T", "/x?%EF%BB%BFsesame=T",
		`/x?a=1\u0026sesame\u003dT`, "/x?a=1%u0026sesame%u003DT", "/x?a=1&ampsesame=T", "/x?a=3Dx&next=%26ampsesame=T",
		"/x?u=sesame%26equals%3BT", "/x?u=sesame%26%2361%3BT", "/x?a,sesame=T", "/x?a|sesame=T", "/x?a(sesame=T)",
		"/x;SESAME=T/y", "/x/sesame=T", "http://u:sesame=T@app.example.com/x", "http://app.example.com/x#sesame=T",
	} {
		requests = append(requests, "GET "+target+" HTTP/1.1\nHost: app.example.com")
	}
	for _, host := range []string{"sesame=T.wild.example.com", "a&sesame=T.wild.example.com", "a;SESAME=T.wild.example.com"} {
		requests = append(requests, "GET /x HTTP/1.1\nHost: "+host)
	}
	for _, field := range []string{
		`X-Note: sesame="T"`, "X-Note: sesame='T'", "X-Note: sesame= T", `X-Note: "sesame" = "T"`, `X-Note: {"u":"\u0026sesame\u003dT"}`,
		"X-Note: <a?sesame[]=sesame[]=T>", "X-Note: amp;SESAME&#61;T", `Forwarded: for="[::1]";sesame="T"`, `Link: </x>; sesame="T"`,
		"Sec-WebSocket-Protocol: chat, sesame=T", "Content-Type: multipart/form-data; boundary=x; sesame=T", `Authorization: sesame="T"`,
		"Cookie: a=sesame=T", `Cookie: a="sesame=T"`, "Cookie: a=x|sesame=T; b=1", "Cookie: a=1; b=%22sesame%3DT%22", "Cookie: a=x,sesame=T",
		"Origin: http://x?sesame=T", "Destination: /x?sesame=T", "If: (<http://x/?sesame=T>)", "Baggage: sesame=T", "Range: bytes=0-1;sesame=T",
	} {
		requests = append(requests, "GET /x HTTP/1.1\nHost: app.example.com\n"+field)
	}
	for i, request := range requests {
		status := g.raw(t, inPlaceOfT(request, made)+"\nConnection: close\n\n")
		if status != "HTTP/1.1 200 OK" {
			t.Errorf("%q: %s", request, status)
			continue
		}
		got := up.takeOne(t)
		wantHeader(t, got.header, "Remote-User", "")
		if text := fmt.Sprint(got); strings.Contains(text, made) {
			t.Errorf("%q: the upstream got the token: %s", request, text)
		}
		g.awaitLines(t, "http.log.access", i+1)
	}
	g.wantNoToken(t, made)
}

// inPlaceOfT puts the token in the place of the only capital T that no letter
// stands beside.
func inPlaceOfT(request, made string) string {
	isLetter := func(i int) bool {
		return i >= 0 && i < len(request) && ('a' <= request[i]|0x20 && request[i]|0x20 <= 'z')
	}
	for i := len(request) - 1; i > 0; i-- {
		escaped := strings.HasSuffix(request[:i], "3D") || strings.HasSuffix(request[:i], "3d") || strings.HasSuffix(request[:i], "3B")
		if request[i] == 'T' && !isLetter(i+1) && (!isLetter(i-1) || escaped) {
			return request[:i] + made + request[i+1:]
		}
	}
	return request
}
