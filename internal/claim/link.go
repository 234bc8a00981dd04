package claim

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// UnlinkedWriter adds header fields to the response for a URL with a token, so that
// browsers neither send the URL to other sites nor store the page, whatever the
// upstream's fields say.
type UnlinkedWriter struct {
	*caddyhttp.ResponseWriterWrapper
	wroteHeader bool
}

// WriteHeader implements http.ResponseWriter.
func (w *UnlinkedWriter) WriteHeader(status int) {
	if !w.wroteHeader && status >= http.StatusOK {
		w.wroteHeader = true
		policy := w.Header()["Referrer-Policy"]
		ForbidLinking(w.Header())
		if len(policy) == 1 && policy[0] == "strict-origin" {
			w.Header()["Referrer-Policy"] = policy // it tells the origin alone, and a button needs that
		}
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *UnlinkedWriter) Write(p []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (w *UnlinkedWriter) ReadFrom(r io.Reader) (int64, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// ForbidLinking keeps a response out of caches, and its URL out of Referer.
func ForbidLinking(header http.Header) {
	header["Cache-Control"] = []string{"no-store"}
	header["Referrer-Policy"] = []string{"no-referrer"}
}
