package page

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

const svgImage = "<?xml version=\"1.0\"?>\n<!-- a logo -->\n<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>"

// fileWith writes a file of the operator's.
func fileWith(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// serveAsset asks for an image below the reserved path.
func serveAsset(t *testing.T, p *Pages, method, url string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	if !p.ServeAsset(w, r, strings.TrimPrefix(r.URL.Path, "/_sesame/")) {
		t.Fatalf("%s isn't there", url)
	}
	return w
}

// TestLogoIsPublicCacheableAndInert: its URL has the hash of the content, and its
// scripts don't run where it is opened by itself.
func TestLogoIsPublicCacheableAndInert(t *testing.T) {
	t.Parallel()
	p, err := New(&Config{Name: "A & B", Logo: fileWith(t, svgImage)})
	if err != nil {
		t.Fatal(err)
	}
	if url := p.assets.url(assetLogo); url != "" {
		t.Errorf("the logo has the URL %s before it is served", url)
	}
	p.ServeBelow("/_sesame/")
	url := p.assets.url(assetLogo)
	w := serveAsset(t, p, http.MethodGet, url)
	hash := strings.TrimPrefix(url, "/_sesame/logo?v=")
	wantHeader(t, w.Header(), map[string]string{
		"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "image/svg+xml", "X-Content-Type-Options": "nosniff", "Etag": `"` + hash + `"`,
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox", "Accept-Ranges": "bytes", "Content-Length": w.Header().Get("Content-Length"),
	})
	if w.Body.String() != svgImage {
		t.Errorf("%s", w.Body)
	}
	if w := serveAsset(t, p, http.MethodGet, "/_sesame/logo?v=old"); w.Header().Get("Cache-Control") != "public, max-age=600" || w.Code != http.StatusOK {
		t.Errorf("by another URL: %d %v", w.Code, w.Header())
	}
	if w := serveAsset(t, p, http.MethodGet, url, "If-None-Match", `"`+hash+`"`); w.Code != http.StatusNotModified {
		t.Errorf("a browser that has it gets %d", w.Code)
	}
	if w := serveAsset(t, p, http.MethodPost, url); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	if p.ServeAsset(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), "login") {
		t.Error("a page is an image")
	}
	page := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html")
	if err := p.Write(page, r, http.StatusOK, Data{Kind: LoggedOut}); err != nil {
		t.Fatal(err)
	}
	wantParts(t, page.Body.String(), "<title>You are logged out – A &amp; B</title>", `<link rel="icon" href="/_sesame/favicon.ico?v=`, `<img src="`+url+`" alt="A &amp; B">`)
}

// TestFaviconOfTheSiteIsServedWithoutAUser, but to that browser alone.
func TestFaviconOfTheSiteIsServedWithoutAUser(t *testing.T) {
	t.Parallel()
	p, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.ServeFavicon(w, httptest.NewRequest(http.MethodGet, "/favicon.ico", nil))
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "private, max-age=600" || w.Header().Get("Vary") != "Cookie" ||
		w.Header().Get("Content-Type") != "image/x-icon" || !bytes.Equal(w.Body.Bytes(), builtInFavicon) {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if got := imageType(builtInFavicon); got != typeICO {
		t.Errorf("the built-in icon is %s", got)
	}
	own, err := New(&Config{Favicon: fileWith(t, svgImage)})
	if err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	own.ServeFavicon(w, httptest.NewRequest(http.MethodGet, "/favicon.ico", nil))
	if w.Header().Get("Content-Type") != "image/svg+xml" || w.Body.String() != svgImage {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestImagesAreCheckedWhenTheyAreRead(t *testing.T) {
	t.Parallel()
	const png, gif, webp, jpeg = "\x89PNG\r\n\x1a\n", "GIF89a", "RIFF\x00\x00\x00\x00WEBPVP", "\xff\xd8\xff"
	for content, want := range map[string]string{png: typePNG, gif: typeGIF, webp: typeWebP, jpeg: typeJPEG, svgImage: typeSVG} {
		if _, err := New(&Config{Logo: fileWith(t, content)}); err != nil || imageType([]byte(content)) != want {
			t.Errorf("%q: %v, and the type %s", content, err, imageType([]byte(content)))
		}
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]*Config{
		"SVG, PNG, JPEG, GIF or WebP; its content is text/html":           {Logo: fileWith(t, "<!DOCTYPE html><html><svg xmlns=\"http://www.w3.org/2000/svg\"></svg></html>")},
		"ICO, SVG or PNG; its content is image/gif":                       {Favicon: fileWith(t, gif)},
		"its content is text/xml":                                         {Logo: fileWith(t, "<?xml version=\"1.0\"?><svg></svg>")},
		"its content is text/plain":                                       {Logo: fileWith(t, "")},
		"it may have 256 KiB, and has more":                               {Logo: fileWith(t, png+strings.Repeat("x", 256<<10))},
		"it may have 128 KiB, and has more":                               {Favicon: fileWith(t, png+strings.Repeat("x", 128<<10))},
		"no such file or directory: name a file that Caddy's":             {Logo: "/nowhere/logo.svg"},
		"it is not a file":                                                {Logo: fifo},
		"it is not a file; name a file that Caddy's system user can read": {Favicon: t.TempDir()},
	} {
		_, err := New(cfg)
		var located *setting.Error
		if !errors.As(err, &located) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), located.Option()+" /") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
