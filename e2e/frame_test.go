package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
)

// framed is a page of the app for frames of other sites. It logs in by the token
// that is in its fragment, and tells the page around it who is logged in.
const framed = `<!DOCTYPE html>
<html lang="en">
<title>Framed</title>
<script>
	const tell = answer => answer.text().then(text => parent.postMessage(answer.status + " " + text, "*"));
	const token = location.hash.slice(1);
	const login = token ? fetch("/_sesame/login?next=/who&sesame=" + encodeURIComponent(token)) : fetch("/who");
	login.then(tell);
</script>`

// framing is a page that shows the app in a frame, and what the frame tells.
const framing = `<iframe src="%s/framed#%s"></iframe><p id="told"></p>
<script>addEventListener("message", event => { document.querySelector("#told").textContent = event.data })</script>`

// TestPartitionedSessionBelongsToTheSiteAroundTheFrame logs in within a frame of
// another site. The browser keeps that session from frames of a third site, and from
// the app in a tab of its own.
func TestPartitionedSessionBelongsToTheSiteAroundTheFrame(t *testing.T) {
	up := startUpstream(t)
	up.HandleFunc("/framed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, framed)
	})
	up.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Remote-User")) })
	g := startGateway(t, up, site{options: "session {\n same_site none\n partitioned on\n}\noptional"})
	b := newTab(t)
	around := func(host, token string) string {
		return startPage(t, "https", host, "no-referrer", fmt.Sprintf(framing, g.origin, token))
	}
	wantTold := func(want string) {
		t.Helper()
		var got string
		poll(t, "what the frame tells", func() bool {
			got = b.text(`document.querySelector("#told").textContent`)
			return got != ""
		})
		if got != want {
			t.Errorf("the frame is told %q, want %q", got, want)
		}
	}
	b.open(around(otherHost, tokenFor(t, alice)))
	wantTold("200 alice")
	b.open(around(otherHost, "")) // another page of the same site: the port is no part of a site
	wantTold("200 alice")
	b.open(around(mailHost, ""))
	wantTold("200 ")
	b.open(g.origin + "/")
	b.wantUser("")
	b.open(around(mailHost, tokenFor(t, carol)))
	wantTold("200 carol")
	b.open(around(otherHost, ""))
	wantTold("200 alice")
}
