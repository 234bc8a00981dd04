package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// phpPage has what apps of its age have: relative links, and a form that posts
// to itself and redirects.
const phpPage = `<?php
session_save_path(sys_get_temp_dir());
session_start();
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
	$_SESSION['note'] = $_POST['note'];
	header('Location: index.php?saved=1', true, 302);
	exit;
}
?><!DOCTYPE html>
<html lang="en">
<title>Notes</title>
<link rel="icon" href="data:,">
<p id="user"><?= htmlspecialchars($_SERVER['HTTP_REMOTE_USER']) ?></p>
<p id="note"><?= htmlspecialchars($_SESSION['note'] ?? '') ?></p>
<pre id="seen"><?= htmlspecialchars(json_encode([$_SERVER, $_GET, $_COOKIE])) ?></pre>
<form method="post"><input name="note"><button>Save</button></form>
<a id="relative" href="../other/?p=2">other</a>
`

// TestPHPAppWorksBehindTheSession has a PHP app behind the session.
func TestPHPAppWorksBehindTheSession(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"notes", "other"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "index.php"), []byte(phpPage), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := startGateway(t, startUpstream(t), site{
		options: "session\none_time",
		after:   fmt.Sprintf("root * %s\nphp_fastcgi %s", root, testprogram.PHP(t, "-n")),
	})
	made := tokenFor(t, alice, oneTime)
	b := newTab(t)
	b.open(startMail(t, g.origin+"/notes/?x=1&sesame="+made))
	b.click("#link")
	b.click("button")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/notes/?x=1"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}

	b.do(chromedp.SendKeys(chromedp.CSS(`input[name="note"]`), "Grüße & <b>"))
	b.click("form button")
	b.wantUser("alice")
	if got := b.text(`document.querySelector("#note").textContent`); got != "Grüße & <b>" {
		t.Errorf("the app kept %q", got)
	}
	if got, want := b.url(), g.origin+"/notes/index.php?saved=1"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}
	seen := b.text(`document.querySelector("#seen").textContent`)
	if strings.Contains(seen, made) || strings.Contains(seen, "sesame=") || !strings.Contains(seen, "PHPSESSID") {
		t.Errorf("the app sees %s", seen)
	}
	b.click("#relative")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/other/?p=2"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}
}

// TestWebSocketEndsWithTheSession has a page open one behind the session. It ends with the
// session.
func TestWebSocketEndsWithTheSession(t *testing.T) {
	up := startUpstream(t)
	up.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("Remote-User")
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for {
				message, err := wsutil.ReadClientText(conn)
				if err != nil || wsutil.WriteServerText(conn, []byte(user+": "+string(message))) != nil {
					return
				}
			}
		}()
	})
	for name, end := range map[string]string{
		"a new password": "UPDATE auth_user SET password = 'new' WHERE id = 1",
		"deactivated":    "UPDATE auth_user SET is_active = 0 WHERE id = 1",
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, up, site{options: "session\nwatch 1s"})
			b := newTab(t)
			b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
			b.script(`
				window.heard = []; window.isOver = false;
				window.socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
				socket.onopen = () => socket.send("hello");
				socket.onmessage = e => heard.push(e.data);
				socket.onclose = () => { isOver = true }`)
			poll(t, "an echo", func() bool { return b.text(`heard.join()`) == "alice: hello" })
			b.script(`socket.send("again")`)
			poll(t, "another echo", func() bool { return b.text(`heard.join()`) == "alice: hello,alice: again" })
			db.exec(t, end)
			poll(t, "the end of the WebSocket", func() bool { return b.text(`isOver`) == "true" })
		})
	}
}

// TestLinkToAFileDownloadsIt has a link to a file.
func TestLinkToAFileDownloadsIt(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	up := startUpstream(t)
	up.HandleFunc("/files/report.bin", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="report 7.bin"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(content)
	})
	g := startGateway(t, up, site{options: "session"})
	made := tokenFor(t, alice)
	b := newTab(t)
	dir := t.TempDir()
	isOn := true
	if _, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID,
		DownloadPath: dir, EventsEnabled: &isOn,
	}); err != nil {
		t.Fatal(err)
	}
	b.open(g.origin + "/files/?sesame=" + made)
	b.script(`document.body.insertAdjacentHTML("beforeend", '<a id="file" href="report.bin">the report</a>')`)
	b.do(chromedp.Click(chromedp.CSS("#file")))
	file := filepath.Join(dir, "report 7.bin")
	poll(t, "the file", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() == int64(len(content))
	})
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file differs: %d bytes, %v", len(got), err)
	}
	up.wantNoToken(t, made)
}
