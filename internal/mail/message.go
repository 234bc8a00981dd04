package mail

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// A Message is a mail to one recipient.
type Message struct {
	// The recipient's address, without a name.
	To string

	Subject string

	// The body. HTML may be empty; both together may have 64 KiB.
	Text, HTML string

	// The BCP 47 tag of the texts' language, or "".
	Language string

	// What the mail is called in the log and in its Message-ID: letters, digits
	// and dashes, and nothing secret. Empty for a random one.
	ID string

	// Until when the mail is of use, an hour from now at most. It isn't sent
	// after that. Zero for ten minutes from now.
	Until time.Time
}

// The limits of messages.
const (
	largestMessage = 64 << 10
	longestSubject = 500 // bytes
	longestAddress = 254 // RFC 5321, 4.5.3.1.3, without the angle brackets
	longestID      = 64
	usefulLife     = 10 * time.Minute
	longestLife    = time.Hour
)

// Errors of messages that can't be sent. They don't repeat the message.
var (
	errRecipient = errors.New("the recipient's address is none that mail can be sent to")
	errTooLarge  = fmt.Errorf("the message is larger than %d KiB", largestMessage>>10)
	errEmpty     = errors.New("the message has no subject or no text")
	errSubject   = fmt.Errorf("the subject is longer than %d bytes", longestSubject)
	errID        = fmt.Errorf("the ID of the message must have 1 to %d letters, digits and dashes", longestID)
	errLanguage  = errors.New("the language of the message is no tag such as en or pt-BR")
)

// letter is a message in the queue.
type letter struct {
	Message
	recipient string // its address, with the domain as DNS has it
	tries     int
	content   []byte // with its header; made when it is first sent
}

// newLetter checks a message.
func newLetter(m Message, now time.Time) (*letter, error) {
	recipient, err := recipientOf(m.To)
	switch {
	case err != nil:
		return nil, err
	case strings.TrimSpace(m.Subject) == "" || m.Text == "":
		return nil, errEmpty
	case len(m.Subject) > longestSubject:
		return nil, errSubject
	case len(m.Text)+len(m.HTML) > largestMessage:
		return nil, errTooLarge
	case m.Language != "" && !isName(m.Language):
		return nil, errLanguage
	case m.ID != "" && !isName(m.ID):
		return nil, errID
	}
	if m.ID == "" {
		m.ID = rand.Text()
	}
	if m.Until.IsZero() {
		m.Until = now.Add(usefulLife)
	}
	if longest := now.Add(longestLife); m.Until.After(longest) {
		m.Until = longest
	}
	return &letter{Message: m, recipient: recipient}, nil
}

// recipientOf returns the address that is sent to, with its domain as DNS has
// it. Nothing but a plain address is accepted: no name, no list, no quotes.
func recipientOf(to string) (string, error) {
	if len(to) > longestAddress || strings.ContainsAny(to, "\"()<>,;:\\[] ") || hasControl(to) {
		return "", errRecipient
	}
	parsed, err := netmail.ParseAddress(to)
	if err != nil || parsed.Name != "" || parsed.Address != to {
		return "", errRecipient
	}
	address, err := asciiDomain(to)
	if err != nil {
		return "", errRecipient
	}
	return address, nil
}

// isName reports whether a text consists of letters, digits and dashes.
func isName(text string) bool {
	return text != "" && len(text) <= longestID && !strings.ContainsFunc(text, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-')
	})
}

// domain is that of the recipient, which may be logged.
func (l *letter) domain() string { return domainOf(l.recipient) }

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// compose makes the mail with its header, unless a former try has done so: all
// tries send the same, with the same Message-ID, by which a recipient's server
// recognizes a mail that it already has.
func (l *letter) compose(from settings, now time.Time) error {
	if l.content != nil {
		return nil
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	m.FromMailAddress(&netmail.Address{Name: from.fromName, Address: from.fromAddress})
	m.ToMailAddress(&netmail.Address{Address: l.recipient})
	m.Subject(oneLine(l.Subject))
	m.SetDateWithValue(now)
	m.SetMessageIDWithValue(l.ID + "@" + domainOf(from.fromAddress))
	// No out-of-office replies (RFC 3834, and the header of Exchange).
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	if l.Language != "" {
		m.SetGenHeader(gomail.HeaderContentLang, l.Language)
	}
	m.SetBodyString(gomail.TypeTextPlain, l.Text)
	if l.HTML != "" {
		m.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return fmt.Errorf("composing the mail: %w", err)
	}
	l.content, l.Text, l.HTML = b.Bytes(), "", ""
	return nil
}

// oneLine replaces control characters, line breaks included, by spaces.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' || c == '\u0085' {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "\ufffd"))
}
