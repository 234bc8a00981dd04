package mail

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"
	"time"
)

// testSettings are those of a server that is never asked.
func testSettings(t testing.TB, from string) settings {
	t.Helper()
	cfg := &Config{SMTP: "smtps://mailer:" + hush + "@mail.example.com", From: from, SMTPHelo: "gateway.example.com"}
	s, err := cfg.provisioned()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// composed is a message as it is sent, read by the standard library.
func composed(t testing.TB, from string, m Message) *netmail.Message {
	t.Helper()
	l, err := newLetter(m, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.compose(testSettings(t, from), testTime); err != nil {
		t.Fatal(err)
	}
	read, err := netmail.ReadMessage(bytes.NewReader(l.content))
	if err != nil {
		t.Fatalf("%v in\n%s", err, l.content)
	}
	return read
}

func TestMailHasItsHeaderAndBothBodies(t *testing.T) {
	t.Parallel()
	read := composed(t, "Bücher <no-reply@bücher.example>", Message{
		To: "user@exämple.com", Subject: "Dein Link für „Bücher“ 日本", Text: "Öffne https://app.example.com/?sesame=AAAA=\n",
		HTML: `<p lang="de">Öffne <a href="https://app.example.com/?sesame=AAAA=">den Link</a></p>`, Language: "de", ID: "abc123",
	})
	for name, want := range map[string]string{
		"From":                     "=?utf-8?q?B=C3=BCcher?= <no-reply@xn--bcher-kva.example>",
		"To":                       "<user@xn--exmple-cua.com>",
		"Date":                     "Sun, 01 Mar 2026 12:00:00 +0000",
		"Message-Id":               "<abc123@xn--bcher-kva.example>",
		"Auto-Submitted":           "auto-generated",
		"X-Auto-Response-Suppress": "All",
		"Content-Language":         "de",
		"Mime-Version":             "1.0",
		"User-Agent":               "",
		"X-Mailer":                 "",
	} {
		if got := read.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if err != nil || subject != "Dein Link für „Bücher“ 日本" {
		t.Errorf("Subject: %q, %v", subject, err)
	}
	kind, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type: %s, %v", kind, err)
	}
	parts := multipart.NewReader(read.Body, params["boundary"])
	for _, want := range []struct{ kind, text string }{
		{"text/plain; charset=UTF-8", "Öffne https://app.example.com/?sesame=AAAA=\r\n"},
		{"text/html; charset=UTF-8", `<p lang="de">Öffne <a href="https://app.example.com/?sesame=AAAA=">den Link</a></p>`},
	} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil || part.Header.Get("Content-Type") != want.kind || string(text) != want.text {
			t.Errorf("part %s: %q, %v; want %q", part.Header.Get("Content-Type"), text, err, want.text)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("there is another part: %v", err)
	}
}

func TestMailWithoutHTMLIsPlainText(t *testing.T) {
	t.Parallel()
	read := composed(t, "a@example.com", Message{To: "b@example.com", Subject: "s", Text: "t"})
	if kind := read.Header.Get("Content-Type"); kind != "text/plain; charset=UTF-8" {
		t.Errorf("Content-Type: %s", kind)
	}
	if id := read.Header.Get("Message-Id"); len(id) < 30 || !strings.HasSuffix(id, "@example.com>") {
		t.Errorf("Message-ID: %s", id)
	}
	if from := read.Header.Get("From"); from != "<a@example.com>" {
		t.Errorf("From: %s", from)
	}
}

func TestAllTriesSendTheSame(t *testing.T) {
	t.Parallel()
	l, err := newLetter(Message{To: "b@example.com", Subject: "s", Text: "t", HTML: "<p>t</p>"}, testTime)
	if err != nil {
		t.Fatal(err)
	}
	s := testSettings(t, "a@example.com")
	if err := l.compose(s, testTime); err != nil {
		t.Fatal(err)
	}
	first := string(l.content)
	if err := l.compose(s, testTime.Add(time.Minute)); err != nil || string(l.content) != first {
		t.Errorf("the second try sends something else: %v\n%s", err, l.content)
	}
}

func TestMessagesThatCannotBeSentAreRejected(t *testing.T) {
	t.Parallel()
	good := Message{To: "user@example.com", Subject: "s", Text: "t"}
	for name, change := range map[string]func(*Message){
		"no recipient":            func(m *Message) { m.To = "" },
		"no address":              func(m *Message) { m.To = "user" },
		"a name":                  func(m *Message) { m.To = "User <user@example.com>" },
		"angle brackets":          func(m *Message) { m.To = "<user@example.com>" },
		"two recipients":          func(m *Message) { m.To = "user@example.com,other@example.com" },
		"a line break":            func(m *Message) { m.To = "user@example.com\r\nBcc: other@example.com" },
		"a line break in quotes":  func(m *Message) { m.To = "\"a\r\nRCPT TO:<b@example.com>\"@example.com" },
		"quotes":                  func(m *Message) { m.To = `"a b"@example.com` },
		"a parameter":             func(m *Message) { m.To = "user@example.com NOTIFY=NEVER" },
		"a comment":               func(m *Message) { m.To = "user(x)@example.com" },
		"an address of a machine": func(m *Message) { m.To = "user@[127.0.0.1]" },
		"an invalid domain":       func(m *Message) { m.To = "user@exa\u2024mple.com" },
		"a long address":          func(m *Message) { m.To = strings.Repeat("a", 243) + "@example.com" },
		"no subject":              func(m *Message) { m.Subject = " " },
		"a long subject":          func(m *Message) { m.Subject = strings.Repeat("a", longestSubject+1) },
		"no text":                 func(m *Message) { m.Text = "" },
		"a large text":            func(m *Message) { m.HTML = strings.Repeat("a", largestMessage) },
		"an ID with a line break": func(m *Message) { m.ID = "a\r\nBcc: other@example.com" },
		"a language with a break": func(m *Message) { m.Language = "de\r\nBcc: other@example.com" },
	} {
		m := good
		change(&m)
		if _, err := newLetter(m, testTime); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "example.com") {
			t.Errorf("%s: the error shows the address: %v", name, err)
		}
	}
	if _, err := newLetter(good, testTime); err != nil {
		t.Error(err)
	}
}

func TestMessagesAreOfUseForABoundedTime(t *testing.T) {
	t.Parallel()
	for until, want := range map[time.Time]time.Time{
		{}:                           testTime.Add(usefulLife),
		testTime.Add(time.Minute):    testTime.Add(time.Minute),
		testTime.Add(24 * time.Hour): testTime.Add(longestLife),
	} {
		l, err := newLetter(Message{To: "b@example.com", Subject: "s", Text: "t", Until: until}, testTime)
		if err != nil || !l.Until.Equal(want) {
			t.Errorf("until %s: %v, %v; want %s", until, l, err, want)
		}
	}
}

// FuzzMessage looks for messages that add a header, a recipient or a part to the
// mail.
func FuzzMessage(f *testing.F) {
	f.Add("user@example.com", "subject", "text", "<p>html</p>", "de", "id")
	f.Add("user@example.com\r\nBcc: b@example.com", "subject\r\nBcc: b@example.com", "text\r\n.\r\nMAIL FROM:<>", "\r\n--", "de\r\nBcc: b", "id\r\n")
	f.Add("üser@exämple.com", "=?utf-8?q?=0D=0ABcc:_b?=", "\x00\xff", "\u2028", "", "")
	f.Add("a@b", strings.Repeat("ü \t", 90), "\n.\n", "", "", "")
	want := map[string]bool{
		"From": true, "To": true, "Subject": true, "Date": true, "Message-Id": true, "Auto-Submitted": true, "X-Auto-Response-Suppress": true,
		"Content-Language": true, "Mime-Version": true, "Content-Type": true, "Content-Transfer-Encoding": true,
	}
	f.Fuzz(func(t *testing.T, to, subject, text, html, language, id string) {
		m := Message{To: to, Subject: subject, Text: text, HTML: html, Language: language, ID: id}
		if _, err := newLetter(m, testTime); err != nil {
			return
		}
		read := composed(t, "Example <a@example.com>", m)
		for name, values := range read.Header {
			if !want[name] || len(values) != 1 {
				t.Errorf("the header has %s: %q", name, values)
			}
		}
		recipients, err := netmail.ParseAddressList(read.Header.Get("To"))
		if err != nil || len(recipients) != 1 {
			t.Errorf("To: %s: %v, %v", read.Header.Get("To"), recipients, err)
		}
		if !strings.HasPrefix(read.Header.Get("Content-Type"), "multipart/") {
			return
		}
		_, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := 0
		for r := multipart.NewReader(read.Body, params["boundary"]); ; parts++ {
			part, err := r.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, part); err != nil {
				t.Fatal(err)
			}
		}
		if parts != 2 {
			t.Errorf("the mail has %d parts", parts)
		}
	})
}
