package emaillink

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
)

// letter is what a mail is about.
type letter struct {
	site, user, url, code string
	minutes               int
}

// content has the texts of a mail in one language.
type content struct {
	Language, Dir                            string
	Subject, Greeting, Message, Button, Copy string
	Code, Expiry, Ignore                     string
	URL, Typed                               string // the link, and the code to type
}

func contentOf(l Language, of letter) content {
	pairs := []string{"site", of.site, "user", of.user}
	return content{
		Language: l.Tag(), Dir: l.Dir(),
		Subject:  l.Text("mail.subject", pairs...),
		Greeting: l.Text("mail.greeting", pairs...),
		Message:  l.Text("mail.message", pairs...),
		Button:   l.Text("mail.button", pairs...),
		Copy:     l.Text("mail.copy", pairs...),
		Code:     l.Text("mail.code", pairs...),
		Expiry:   l.Plural("mail.expiry", of.minutes, pairs...),
		Ignore:   l.Text("mail.ignore", pairs...),
		URL:      of.url,
		Typed:    of.code,
	}
}

// text is the mail as plain text. The link and the code have lines of their own:
// programs that show text recognize a link by that.
func (c content) text() string {
	paragraphs := []string{c.Greeting, c.Message, c.URL, c.Code, "    " + c.Typed, c.Expiry, c.Ignore}
	return strings.Join(paragraphs, "\n\n") + "\n"
}

//go:embed mail.html
var mailTemplate string

var mailHTML = template.Must(template.New("mail").Parse(mailTemplate))

// html is the mail as HTML. It loads nothing.
func (c content) html() (string, error) {
	var b bytes.Buffer
	if err := mailHTML.Execute(&b, c); err != nil {
		return "", fmt.Errorf("writing the mail: %w", err)
	}
	return b.String(), nil
}

// siteName is what mails call a site that has no name: its host.
func siteName(base string) string {
	_, host, _ := strings.Cut(base, "://")
	host, _, _ = strings.Cut(host, "/")
	return host
}
