package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// mailbox stands for the mail program of all users: a mail server that delivers
// nothing, and a page that shows the mails.
type mailbox struct {
	smtp   string // the URL of the mail server
	url    string // of the page
	input  io.Closer
	server *http.Server
	served chan error

	appCode func(time.Time) string

	mu    sync.Mutex
	mails []letter        // newest first
	more  chan struct{}   // closed at the next mail
	ended <-chan struct{} // closed when the mail server has ended
}

// letter is a mail as a user sees it.
type letter struct {
	To, Subject string
	At          time.Time
	Text        string
	Link        string // empty without one
}

// startMailbox runs the mail server of a program, devsmtp. The page also shows the
// code of an app.
func startMailbox(program string, appCode func(time.Time) string) (*mailbox, error) {
	m := &mailbox{appCode: appCode, served: make(chan error, 1), more: make(chan struct{})}
	command := exec.Command(program, "{}")
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the mail server: %w", err)
	}
	m.input = input
	// Not StdoutPipe, whose reader loses lines when the program ends.
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting the mail server: %w", err)
	}
	command.Stdout = in
	m.ended, err = child.StartTied(command)
	_ = in.Close()
	if err != nil {
		return nil, fmt.Errorf("starting the mail server: %w", err)
	}
	lines := bufio.NewReader(out)
	var ready struct{ URL string }
	if line, err := lines.ReadBytes('\n'); err != nil || json.Unmarshal(line, &ready) != nil {
		return nil, errors.Join(errors.New("the mail server doesn't say where it is"), m.input.Close())
	}
	m.smtp = ready.URL
	go m.receive(lines)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for the mailbox: %w", err), m.input.Close())
	}
	m.url = "http://" + l.Addr().String() + "/"
	m.server = &http.Server{Handler: http.HandlerFunc(m.show), ReadHeaderTimeout: 10 * time.Second}
	go func() { m.served <- m.server.Serve(l) }()
	return m, nil
}

// receive takes the mails that the server tells of, until it ends.
func (m *mailbox) receive(lines *bufio.Reader) {
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var event struct {
			Kind string
			Mail *struct{ To, Content string }
		}
		if json.Unmarshal(line, &event) != nil || event.Mail == nil {
			continue
		}
		got := open(event.Mail.To, event.Mail.Content)
		m.mu.Lock()
		m.mails = append([]letter{got}, m.mails...)
		close(m.more)
		m.more = make(chan struct{})
		m.mu.Unlock()
	}
}

var anyLink = regexp.MustCompile(`https?://\S+`)

// open reads a mail.
func open(to, content string) letter {
	got := letter{To: to, At: time.Now(), Text: content}
	read, err := mail.ReadMessage(strings.NewReader(content))
	if err != nil {
		return got
	}
	got.Subject, _ = new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	_, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil {
		return got
	}
	// The first part is the text, since the last is the best (RFC 2046).
	part, err := multipart.NewReader(read.Body, params["boundary"]).NextRawPart()
	if err != nil {
		return got
	}
	var body io.Reader = part
	if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(part)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return got
	}
	got.Text = string(text)
	got.Link = anyLink.FindString(got.Text)
	return got
}

// await returns the first mail to an address, or an error when the context ends.
func (m *mailbox) await(ctx context.Context, to string) (letter, error) {
	for {
		m.mu.Lock()
		mails, more := m.mails, m.more
		m.mu.Unlock()
		for _, got := range mails {
			if strings.Contains(got.To, to) {
				return got, nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return letter{}, fmt.Errorf("waiting for a mail to %s: %w", to, ctx.Err())
		}
	}
}

// shown is what the page shows.
type shown struct {
	Code  string
	Mails []letter
}

//go:embed mailbox.html
var mailboxSource string

var mailboxPage = template.Must(template.New("mailbox").Parse(mailboxSource))

// show shows the mails.
func (m *mailbox) show(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	m.mu.Lock()
	mails := m.mails
	m.mu.Unlock()
	var html bytes.Buffer
	if err := mailboxPage.Execute(&html, shown{m.appCode(time.Now()), mails}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = html.WriteTo(w) // the client may be gone
}

func (m *mailbox) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if served := <-m.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	err = errors.Join(err, m.input.Close())
	<-m.ended
	return err
}
