package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// The names of assets below the reserved path.
const (
	assetLogo    = "logo"
	assetFavicon = "favicon.ico"
)

// The media types of images.
const (
	typeSVG  = "image/svg+xml"
	typeICO  = "image/x-icon"
	typePNG  = "image/png"
	typeJPEG = "image/jpeg"
	typeGIF  = "image/gif"
	typeWebP = "image/webp"
)

// assetKind says which files an asset may be.
type assetKind struct {
	option string
	types  []string
	named  string // the types, for errors
	limit  int64  // bytes
}

// assetKinds are those of the assets, by their names.
var assetKinds = map[string]assetKind{
	assetLogo:    {"logo", []string{typeSVG, typePNG, typeJPEG, typeGIF, typeWebP}, "SVG, PNG, JPEG, GIF or WebP", 256 << 10},
	assetFavicon: {"favicon", []string{typeICO, typeSVG, typePNG}, "ICO, SVG or PNG", 128 << 10},
}

//go:embed favicon.ico
var builtInFavicon []byte

// asset is an image that the gateway serves to everyone.
type asset struct {
	mediaType string
	content   []byte
	hash      string // of the content, for the URL and the ETag
}

// assets are the images of the gateway's pages, by name.
type assets struct {
	base string // of their URLs; empty where they aren't served
	all  map[string]asset
}

// url is where browsers get an asset, empty for nowhere. A new image has a new URL,
// since browsers don't ask for an old one again.
func (a assets) url(name string) string {
	found, ok := a.all[name]
	if !ok || a.base == "" {
		return ""
	}
	return a.base + name + "?v=" + found.hash
}

// setAssets reads the images of the configuration.
func (p *Pages) setAssets() error {
	p.assets.all = map[string]asset{assetFavicon: newAsset(typeICO, builtInFavicon)}
	for name, file := range map[string]string{assetLogo: p.config.Logo, assetFavicon: p.config.Favicon} {
		if file == "" {
			continue
		}
		read, err := assetKinds[name].read(file)
		if err != nil {
			option := assetKinds[name].option
			return setting.Errorf(option, "%s %s: %w", option, file, err)
		}
		p.assets.all[name] = read
	}
	return nil
}

// ServeBelow has pages load their images from below a path, where ServeAsset answers.
// It must be called before a page is written. Without it, pages have no images.
func (p *Pages) ServeBelow(path string) { p.assets.base = path }

// Name is the site's name, empty where none is configured.
func (p *Pages) Name() string { return p.config.Name }

func newAsset(mediaType string, content []byte) asset {
	hash := sha256.Sum256(content)
	return asset{mediaType, content, hex.EncodeToString(hash[:8])}
}

// read reads an image from a file.
func (k assetKind) read(file string) (asset, error) {
	const remedy = "name a file that Caddy's system user can read; a relative path is relative to the directory that Caddy was started in"
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return asset{}, fmt.Errorf("%w: %s", errors.Unwrap(err), remedy)
	case !info.Mode().IsRegular():
		return asset{}, errors.New("it is not a file; " + remedy)
	}
	opened, err := os.Open(file) //nolint:gosec // the operator names it
	if err != nil {
		return asset{}, fmt.Errorf("%w: %s", errors.Unwrap(err), remedy)
	}
	defer opened.Close()
	content, err := io.ReadAll(io.LimitReader(opened, k.limit+1))
	switch {
	case err != nil:
		return asset{}, fmt.Errorf("reading it: %w", errors.Unwrap(err))
	case int64(len(content)) > k.limit:
		return asset{}, fmt.Errorf("it may have %d KiB, and has more: make it smaller", k.limit>>10)
	}
	mediaType := imageType(content)
	if !slices.Contains(k.types, mediaType) {
		return asset{}, fmt.Errorf("it must be an image, %s; its content is %s", k.named, mediaType)
	}
	return newAsset(mediaType, content), nil
}

// imageType is the media type of a file, by its content.
func imageType(content []byte) string {
	sniffed := http.DetectContentType(content)
	isText := strings.HasPrefix(sniffed, "text/")
	if isText && isSVG(content) {
		return typeSVG
	}
	mediaType, _, _ := strings.Cut(sniffed, ";")
	return mediaType
}

// isSVG reports whether the first element of an XML document is svg.
func isSVG(content []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if element, ok := token.(xml.StartElement); ok {
			return element.Name.Local == "svg" && element.Name.Space == "http://www.w3.org/2000/svg"
		}
	}
}

// assetAge is how long browsers keep an image that they have by its URL with the
// hash, and iconAge is for URLs without it.
const (
	assetAge = 365 * 24 * time.Hour
	iconAge  = 10 * time.Minute
)

// assetPolicy keeps scripts in an SVG from running where it is opened as a page. As an
// image, it can't run any.
const assetPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

// ServeAsset answers a request for an image by its name below the reserved path. It
// reports whether there is one.
func (p *Pages) ServeAsset(w http.ResponseWriter, r *http.Request, name string) bool {
	if !p.HasAsset(name) {
		return false
	}
	found := p.assets.all[name]
	if r.URL.Query().Get("v") == found.hash {
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d, immutable", int(assetAge.Seconds())))
	} else {
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(iconAge.Seconds())))
	}
	found.serve(w, r)
	return true
}

// HasAsset reports whether there is an image of this name below the reserved path.
func (p *Pages) HasAsset(name string) bool { return p.assets.url(name) != "" }

// HasOwnAssets reports whether the configuration has images.
func (p *Pages) HasOwnAssets() bool { return p.config.Logo != "" || p.config.Favicon != "" }

// ServeFavicon answers a browser that asks the site for its icon without a user. The
// application may have another icon for users.
func (p *Pages) ServeFavicon(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", fmt.Sprintf("private, max-age=%d", int(iconAge.Seconds())))
	w.Header().Add("Vary", "Cookie")
	p.assets.all[assetFavicon].serve(w, r)
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		header.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Type", a.mediaType)
	header.Set("Content-Security-Policy", assetPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("ETag", `"`+a.hash+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
}
