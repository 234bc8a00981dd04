package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestUploadOfAFormArrivesAsItIs sends 50 MB through a form.
func TestUploadOfAFormArrivesAsItIs(t *testing.T) {
	const size = 50 << 20
	file := filepath.Join(t.TempDir(), "big.bin")
	content := bytes.Repeat([]byte("a line of the big file, and more"), size/32)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	up := startUpstream(t)
	up.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		reader, err := r.MultipartReader()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		part, err := reader.NextPart()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, part); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>Done</title><p id="user">%s</p><p id="hash">%x</p>`, r.Header.Get("Remote-User"), hash.Sum(nil))
	})
	g := startGateway(t, up, site{options: "session"})
	b := newTab(t)
	b.open(g.origin + "/?sesame=" + tokenFor(t, alice))
	b.script(`document.body.insertAdjacentHTML("beforeend",
		'<form method="post" action="/upload" enctype="multipart/form-data"><input type="file" name="file"><button>send</button></form>')`)
	b.do(chromedp.SetUploadFiles(chromedp.CSS(`input[type="file"]`), []string{file}))
	b.click("form button")
	b.wantUser("alice")
	if got, want := b.text(`document.querySelector("#hash").textContent`), fmt.Sprintf("%x", sha256.Sum256(content)); got != want {
		t.Errorf("the app got %s, want %s", got, want)
	}
}

// TestUploadIsTakenAsTheApplicationReadsIt has an app read the first bytes of a large
// upload, which the client sends alone, and then no more for a while. The gateway must
// pass on what has come, and take no more from the client than sockets hold.
func TestUploadIsTakenAsTheApplicationReadsIt(t *testing.T) {
	most := heldBySockets(t)
	content := make([]byte, 1<<20-1) // not in step with any block
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			app := &slowApp{hasBegun: make(chan struct{}), mayGoOn: make(chan struct{})}
			up := startUpstream(t)
			up.Handle("/upload", app)
			g := startGateway(t, up, site{options: "session"})
			goOn := sync.OnceFunc(func() { close(app.mayGoOn) })
			t.Cleanup(goOn)
			client := g.client()
			client.Timeout = 10 * patience // the upload is large
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = protocol == "HTTP/2.0"
			sent := &upload{ctx: t.Context(), from: content, left: 2 * most, hasBegun: app.hasBegun, hash: sha256.New()}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.origin+"/upload?sesame="+tokenFor(t, alice), sent)
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			var got string
			go func() {
				answer, err := client.Do(request)
				if err == nil {
					var body []byte
					body, err = io.ReadAll(answer.Body)
					got = answer.Proto + " " + string(body)
					err = errors.Join(err, answer.Body.Close())
				}
				answered <- err
			}()
			select {
			case <-app.hasBegun:
			case err := <-answered:
				t.Fatalf("the app got nothing, but the client an answer: %q, %v", got, err)
			case <-time.After(patience):
				t.Fatalf("the app got nothing of the first %d bytes", firstOfUpload)
			}
			if taken := sent.whenItStops(most); taken > most {
				t.Errorf("%d bytes were taken from the client before the app read them, want %d at most", taken, most)
			}
			goOn()
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			if taken := int(sent.taken.Load()); taken != 2*most {
				t.Errorf("the client sent %d bytes, want %d", taken, 2*most)
			}
			if want := fmt.Sprintf("%s alice %x", protocol, sent.hash.Sum(nil)); got != want {
				t.Errorf("the app got %q, want %q", got, want)
			}
		})
	}
}

// firstOfUpload is how many bytes of an upload the client sends before the app has got
// any. It is more than the programs between them collect before they write.
const firstOfUpload = 64 << 10

// slowApp reads the first byte of an upload, and the others later.
type slowApp struct {
	hasBegun chan struct{} // closed by it when it has the first byte
	mayGoOn  chan struct{} // closed when it may read the others
}

func (a *slowApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	if _, err := io.CopyN(hash, r.Body, 1); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	close(a.hasBegun)
	<-a.mayGoOn
	if _, err := io.Copy(hash, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %x", r.Header.Get("Remote-User"), hash.Sum(nil))
}

// upload is a body that counts what the client takes of it to send. After its first
// bytes it waits until the app has begun to read.
type upload struct {
	ctx      context.Context
	from     []byte // its content, again and again
	left     int
	taken    atomic.Int64
	hasBegun <-chan struct{}
	hash     hash.Hash
}

func (u *upload) Read(p []byte) (int, error) {
	if u.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), u.left)
	if before := firstOfUpload - int(u.taken.Load()); before > 0 {
		n = min(n, before)
	} else {
		select {
		case <-u.hasBegun:
		case <-u.ctx.Done():
			return 0, u.ctx.Err()
		}
	}
	n = copy(p[:n], u.from[u.left%len(u.from):])
	u.hash.Write(p[:n])
	u.left -= n
	u.taken.Add(int64(n))
	return n, nil
}

// whenItStops returns how much was taken when no more is, or more than a bound as soon
// as it was. Whether it has stopped is a guess, made by the time since the last byte,
// which can only be wrong in favor of the gateway.
func (u *upload) whenItStops(most int) int {
	const still = 2 * time.Second
	var before int64
	since := time.Now()
	_ = comes(func() bool {
		now := u.taken.Load()
		if now != before {
			before, since = now, time.Now()
		}
		return now > int64(most) || time.Since(since) > still
	})
	return int(before)
}

// heldBySockets returns how many bytes the sockets of two connections hold at most,
// those between client and gateway and between gateway and app, and the programs'
// buffers with them.
func heldBySockets(t *testing.T) int {
	t.Helper()
	const connections, buffers = 2, 4 << 20
	held := 0
	for _, name := range []string{"tcp_rmem", "tcp_wmem"} {
		said, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err != nil {
			t.Skipf("only Linux says how much sockets hold: %v", err)
		}
		fields := strings.Fields(string(said)) // least, default, most
		most, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			t.Fatal(err)
		}
		held += most
	}
	return connections*held + buffers
}
