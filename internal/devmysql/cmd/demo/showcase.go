package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// showcase is what a visitor of the demo can try.
type showcase struct {
	url      string
	users    users
	mails    *mailbox
	dsn      string
	programs programs
}

// client follows no redirect, since the gateway's own answers count.
var client = &http.Client{
	Timeout:       time.Minute,
	Transport:     &http.Transport{Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (s *showcase) link(token string) string { return s.url + "/reports/7?page=2&sesame=" + token }

// forged is alice's token with another signature.
func (s *showcase) forged() string {
	token := []byte(s.users.alice)
	// Not the last character: some of its bits may count for nothing.
	at := len(token) - 4
	if token[at] == 'A' {
		token[at] = 'B'
	} else {
		token[at] = 'A'
	}
	return string(token)
}

func (s *showcase) print(w io.Writer, logPath string) error {
	_, err := fmt.Fprintf(w, `
The gateway is at work. Its users are alice, bob (inactive), carol (who has no
password) and dave (who has a second factor). Links are good for %v.

  Log in, as alice or dave with the password %q, or with a link to
  alice@example.com or carol@example.com:
    %s/reports/7
  The mailbox of all users, where that link arrives, with the code of dave's app:
    %s
  When you are logged in, your logins, and all others to end:
    %s/_sesame/sessions

  Click a link that an application has made, as alice:
    %s
  Or as carol:
    %s

  Accepted:
    curl -H 'Authorization: Bearer %s' %s/
  Refused, because its signature is wrong:
    curl -i -H 'Authorization: Bearer %s' %s/

  For the gateway's commands:
    export DJANGO_SECRET_KEY=%s SESAME_DSN='%s' SESAME_SMTP=%s SESAME_BASE_URL=%s
    ./caddy sesame check --config %s
    ./caddy sesame token --config %s alice
  Caddy's log: %s

Ctrl-C ends it.
`, maxAge, s.users.password, s.url, s.mails.url, s.url, s.link(s.users.alice), s.link(s.users.carol), s.users.alice, s.url, s.forged(), s.url,
		s.users.secretKey, s.dsn, s.mails.smtp, s.url, s.programs.config, s.programs.config, logPath)
	return err
}

// attempt is a request, and what must become of it.
type attempt struct {
	what   string
	url    string
	bearer string
	status int
	user   string // whom the application must see
}

// check makes the requests that print suggests, and some more.
func (s *showcase) check(ctx context.Context, gateway *caddy) error {
	attempts := []attempt{
		{"alice's token in a header", s.url, s.users.alice, http.StatusOK, "alice"},
		{"a forged token", s.url, s.forged(), http.StatusUnauthorized, ""},
		{"no token", s.url, "", http.StatusUnauthorized, ""},
		{"a token of bob, who is inactive", s.link(s.users.bob), "", http.StatusUnauthorized, ""},
	}
	var failures []error
	for _, a := range attempts {
		if err := a.make(ctx); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", a.what, err))
			continue
		}
		fmt.Printf("ok   %d  %s\n", a.status, a.what)
	}
	if err := s.checkLogins(ctx); err != nil {
		failures = append(failures, err)
	}
	if err := s.checkLog(gateway.logPath); err != nil {
		failures = append(failures, err)
	}
	if len(failures) > 0 {
		return errors.Join(append(failures, fmt.Errorf("caddy: %w", gateway.Logged()))...)
	}
	return nil
}

func (a *attempt) make(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return err
	}
	if a.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+a.bearer)
	}
	// The gateway removes it: only the gateway itself may say so.
	request.Header.Set("Remote-User", "mallory")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != a.status {
		return fmt.Errorf("the answer is %d, not %d:\n%s", response.StatusCode, a.status, body)
	}
	if a.user == "" {
		return nil
	}
	seen := string(body)
	switch {
	case !strings.Contains(seen, "Remote-User: "+a.user+"\n"):
		return fmt.Errorf("the application isn't told that this is %s, but:\n%s", a.user, seen)
	case strings.Contains(seen, "mallory"):
		return fmt.Errorf("the application got an identity from the client:\n%s", seen)
	case strings.Contains(seen, "sesame=") || strings.Contains(seen, "Bearer"):
		return fmt.Errorf("the application got the token:\n%s", seen)
	}
	return nil
}

// checkLog makes sure that no token is in Caddy's log, which has a line of
// each request.
func (s *showcase) checkLog(path string) error {
	log, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading caddy's log: %w", err)
	}
	for _, token := range []string{s.users.alice, s.users.bob, s.users.carol, s.forged()} {
		if strings.Contains(string(log), token) {
			return errors.New("caddy's log has a token")
		}
	}
	if !strings.Contains(string(log), "/reports/7") {
		return errors.New("caddy's log lacks the requests")
	}
	fmt.Println("ok        no token in Caddy's log")
	return nil
}
