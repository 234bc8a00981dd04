package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// application stands for an application that has no login of its own. It shows what
// reaches it.
type application struct {
	address string
	server  *http.Server
	served  chan error
}

func startApplication() (*application, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the demo's application: %w", err)
	}
	a := &application{
		address: l.Addr().String(),
		server:  &http.Server{Handler: http.HandlerFunc(showRequest), ReadHeaderTimeout: 10 * time.Second},
		served:  make(chan error, 1),
	}
	go func() { a.served <- a.server.Serve(l) }()
	return a, nil
}

func (a *application) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("stopping the demo's application: %w", err)
	}
	if err := <-a.served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// received is a request as it arrived.
type received struct {
	User    string
	Line    string
	Headers []header
}

type header struct {
	Name, Value string
	Identity    bool // set by the gateway
}

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

func showRequest(w http.ResponseWriter, r *http.Request) {
	got := received{
		User: r.Header.Get("Remote-User"),
		Line: r.Method + " " + r.RequestURI + " " + r.Proto,
	}
	for name, values := range r.Header {
		for _, value := range values {
			got.Headers = append(got.Headers, header{name, value, strings.HasPrefix(name, "Remote-")})
		}
	}
	got.Headers = append(got.Headers, header{Name: "Host", Value: r.Host})
	// The interesting ones first.
	slices.SortStableFunc(got.Headers, func(a, b header) int {
		if a.Identity != b.Identity {
			if a.Identity {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})

	w.Header().Set("Cache-Control", "no-store")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, got.Line)
		for _, h := range got.Headers {
			fmt.Fprintf(w, "%s: %s\n", h.Name, h.Value)
		}
		return
	}
	var html bytes.Buffer
	if err := page.Execute(&html, got); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = html.WriteTo(w) // the client may be gone
}
