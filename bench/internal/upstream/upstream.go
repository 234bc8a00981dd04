// Package upstream is the application behind all gateways. It does as little as
// an application can.
package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Size of the answer, in bytes.
const Size = 1024

// SeenUser is a header field of the answer with the user that the gateway
// named.
const SeenUser = "Seen-User"

// SeenAssertion is a header field of the answer where the gateway sent what
// looks like a JSON Web Token.
const SeenAssertion = "Seen-Assertion"

// Serve answers requests on an address until ctx ends.
func Serve(ctx context.Context, address string) error {
	body := bytes.Repeat([]byte("a page of the application, as short as it may be\n"), Size/49+1)[:Size]
	length := strconv.Itoa(Size)
	server := &http.Server{
		Addr:              address,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", "text/plain; charset=utf-8")
			h.Set("Content-Length", length)
			h.Set(SeenUser, r.Header.Get("Remote-User"))
			if strings.Count(r.Header.Get("Authorization"), ".") == 2 {
				h.Set(SeenAssertion, "yes")
			}
			_, _ = w.Write(body) // the gateway may be gone
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the application: %w", err)
	}
	return nil
}
