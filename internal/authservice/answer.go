package authservice

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Answer is the answer to a proxy. No page of the gateway can be one that has the
// request go on: a status of 2xx is only ever Grant's.
type Answer struct {
	caddyhttp.ResponseWriterWrapper
	service *Service
	isDone  bool // a final status was written
}

// NewAnswer makes the answer that is written to w.
func (s *Service) NewAnswer(w http.ResponseWriter) *Answer {
	return &Answer{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, service: s}
}

// Grant has the proxy let the request go on, with the header fields that the gateway
// would have sent.
func (a *Answer) Grant(r *http.Request) {
	header := a.Header()
	for _, name := range a.service.fields {
		if values := r.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", "0")
	a.isDone = true
	a.ResponseWriter.WriteHeader(http.StatusOK)
}

// Refuse ends the answer with a status if nothing else has.
func (a *Answer) Refuse(status int) {
	if !a.isDone {
		a.WriteHeader(status)
	}
}

// WriteHeader writes the status of an answer that doesn't have the request go on.
func (a *Answer) WriteHeader(status int) {
	isInterim := status < http.StatusOK
	if status >= http.StatusOK && status < http.StatusMultipleChoices {
		status = http.StatusUnauthorized
	}
	if a.service.kind == AuthRequest && status >= http.StatusMultipleChoices && status < http.StatusBadRequest {
		status = http.StatusUnauthorized // nginx knows no redirect, and reads Location
	}
	a.isDone = a.isDone || !isInterim
	a.Header().Del("Content-Length") // a page for HEAD has no body, and the proxy asks with GET
	a.ResponseWriter.WriteHeader(status)
}

// Write writes a body.
func (a *Answer) Write(p []byte) (int, error) {
	a.Refuse(http.StatusUnauthorized)
	return a.ResponseWriter.Write(p)
}

// ReadFrom writes a body.
func (a *Answer) ReadFrom(r io.Reader) (int64, error) {
	a.Refuse(http.StatusUnauthorized)
	return a.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError flushes what was written, and writes no status by itself.
func (a *Answer) FlushError() error {
	a.Refuse(http.StatusUnauthorized)
	return http.NewResponseController(a.ResponseWriter).Flush() //nolint:wrapcheck // as it is without this writer
}

// Interface guards
var (
	_ http.ResponseWriter = (*Answer)(nil)
	_ io.ReaderFrom       = (*Answer)(nil)
)
