package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// visitor is a browser without scripts, for the check.
type visitor struct {
	base   string
	client *http.Client
	body   string // of the last page
}

func newVisitor(base string) *visitor {
	jar, _ := cookiejar.New(nil) // it can't fail without options
	return &visitor{base: base, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{Proxy: nil}, Jar: jar}}
}

// send sends a request as browsers do, follows redirects, and reads the page.
func (v *visitor) send(ctx context.Context, method, to string, form url.Values) error {
	request, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", v.base)
	}
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	v.body = string(body)
	return err
}

func (v *visitor) open(ctx context.Context, to string) error {
	return v.send(ctx, http.MethodGet, to, nil)
}

var (
	formPattern   = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)".*?</form>`)
	hiddenPattern = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// fill fills in the form that has a field of a name, and sends it.
func (v *visitor) fill(ctx context.Context, field string, values url.Values) error {
	for _, form := range formPattern.FindAllStringSubmatch(v.body, -1) {
		if !strings.Contains(form[0], `name="`+field+`"`) {
			continue
		}
		for _, hidden := range hiddenPattern.FindAllStringSubmatch(form[0], -1) {
			values.Set(html.UnescapeString(hidden[1]), html.UnescapeString(hidden[2]))
		}
		return v.send(ctx, http.MethodPost, v.base+html.UnescapeString(form[1]), values)
	}
	return fmt.Errorf("the page has no form with the field %s:\n%s", field, v.body)
}

// wantUser is an error unless the application shows a user.
func (v *visitor) wantUser(name string) error {
	if !strings.Contains(v.body, "Hello, "+name) {
		return fmt.Errorf("the application isn't told that this is %s, but:\n%s", name, v.body)
	}
	return nil
}

// checkLogins logs in as the visitors of the demo are told to.
func (s *showcase) checkLogins(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, way := range []struct {
		what  string
		logIn func(context.Context, *visitor) error
	}{
		{"alice's link", s.byLink("alice", s.users.alice)},
		{"carol's link", s.byLink("carol", s.users.carol)},
		{"a login by password", s.byPassword},
		{"a login by password and the code of an app", s.byCode},
		{"a login by a link in a mail", s.byMail},
	} {
		v := newVisitor(s.url)
		err := v.open(ctx, s.url+"/reports/7")
		if err == nil {
			err = way.logIn(ctx, v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", way.what, err)
		}
		fmt.Println("ok        " + way.what)
	}
	return nil
}

// byLink logs in by the link of an application.
func (s *showcase) byLink(user, token string) func(context.Context, *visitor) error {
	return func(ctx context.Context, v *visitor) error {
		if err := v.open(ctx, s.link(token)); err != nil {
			return err
		}
		return v.wantUser(user)
	}
}

func (s *showcase) byPassword(ctx context.Context, v *visitor) error {
	if err := v.fill(ctx, "identifier", url.Values{"identifier": {"alice"}, "password": {s.users.password}}); err != nil {
		return err
	}
	return v.wantUser("alice")
}

func (s *showcase) byCode(ctx context.Context, v *visitor) error {
	if err := v.fill(ctx, "identifier", url.Values{"identifier": {"dave"}, "password": {s.users.password}}); err != nil {
		return err
	}
	if err := v.fill(ctx, "code", url.Values{"code": {s.users.appCode(time.Now())}}); err != nil {
		return err
	}
	if err := v.wantUser("dave"); err != nil {
		return err
	}
	if err := v.open(ctx, s.url+"/_sesame/sessions"); err != nil {
		return err
	}
	if !strings.Contains(v.body, "Your logins") {
		return errors.New("the page with dave's logins isn't shown:\n" + v.body)
	}
	return nil
}

func (s *showcase) byMail(ctx context.Context, v *visitor) error {
	if err := v.fill(ctx, "email", url.Values{"email": {"carol@example.com"}}); err != nil {
		return err
	}
	got, err := s.mails.await(ctx, "carol@example.com")
	if err != nil {
		return err
	}
	if got.Link == "" {
		return errors.New("the mail has no link:\n" + got.Text)
	}
	if err := v.open(ctx, got.Link); err != nil {
		return err
	}
	return v.wantUser("carol")
}
