package mail

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A step of sending a mail, as errors name it.
type step string

const (
	stepConnect  step = "connecting"
	stepGreeting step = "waiting for the greeting"
	stepTLS      step = "setting up TLS"
	stepLogin    step = "logging in"
	stepMail     step = "MAIL FROM"
	stepRcpt     step = "RCPT TO"
	stepData     step = "DATA"
	stepContent  step = "sending the content"
	stepLate     step = "waiting in the queue"
)

// A Failure says why a mail wasn't sent, or why the server can't be used. Its
// text has no address, no password and no part of the mail, and may be logged.
type Failure struct {
	step      step
	server    string
	code      int // of the server's reply, or 0
	permanent bool
	isPolicy  bool // the server says that it may not relay (RFC 3463, X.7.X)
	text      string
	cause     error
}

func (f *Failure) Error() string { return f.server + ": " + string(f.step) + ": " + f.text }

// Unwrap returns the cause. Its own text may have addresses in it.
func (f *Failure) Unwrap() error { return f.cause }

// IsTemporary reports whether another try may succeed.
func (f *Failure) IsTemporary() bool { return !f.permanent }

// isOfRecipient reports whether the server rejected this recipient, and may
// accept others.
func (f *Failure) isOfRecipient() bool {
	return f.code != 0 && f.code != replyClosing && f.step == stepRcpt && !f.isPolicy
}

// replyClosing is the reply of a server that closes the connection.
const replyClosing = 421

// errTimeout is the cause of a try that took too long.
var errTimeout = errors.New("the server hasn't finished in time")

// errTooLate is the cause of a failure that comes before a try.
var errTooLate = errors.New("its time is over, so the mail is no longer of use")

// errNoSTARTTLS and the like are failures that no other try will change.
var (
	errNoSTARTTLS = errors.New("the server doesn't offer STARTTLS, so the connection would be unencrypted: " +
		"write smtps:// if it has TLS on port 465, or smtp_tls off for a server on this machine")
	errNoLogin = errors.New("the server offers no login (AUTH): " +
		"use its port for submission, 465 or 587, or remove the user and password from smtp")
	errNoMechanism = errors.New("the server has no login that is supported here: PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-1 or CRAM-MD5")
	errNoUTF8      = errors.New("the recipient's address has letters beyond ASCII, which the server doesn't support (SMTPUTF8)")
)

// failed returns the failure of a step.
func (s *settings) failed(ctx context.Context, at step, err error) *Failure {
	f := &Failure{step: at, server: s.address(), cause: err}
	if cause := context.Cause(ctx); cause != nil {
		// The connection was closed under the step's feet.
		f.cause, f.text = cause, cause.Error()
		return f
	}
	reply, isReply := errors.AsType[*textproto.Error](err)
	switch {
	case isReply:
		f.code = reply.Code
		f.permanent = reply.Code >= 500
		f.isPolicy = strings.HasPrefix(reply.Msg, "5.7.")
		f.text = strconv.Itoa(reply.Code) + " " + s.redact(reply.Msg) + loginRemedy(at, reply.Code)
	default:
		f.permanent = isPermanent(err)
		f.text = s.redact(err.Error()) + remedy(err)
	}
	return f
}

// tooLate is the failure of a mail that is no longer of use.
func (s *settings) tooLate() *Failure {
	return &Failure{step: stepLate, server: s.address(), permanent: true, text: errTooLate.Error(), cause: errTooLate}
}

// isPermanent reports whether an error that isn't the server's reply will be
// the same next time, since something is wrong in the configuration.
func isPermanent(err error) bool {
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, isNoTLS := errors.AsType[tls.RecordHeaderError](err)
	return isCertificate || isNoTLS || errors.Is(err, errNoSTARTTLS) || errors.Is(err, errNoLogin) ||
		errors.Is(err, errNoMechanism) || errors.Is(err, errNoUTF8)
}

func loginRemedy(at step, code int) string {
	if at == stepLogin && code >= 500 {
		return ": correct the user and password in smtp"
	}
	return ""
}

// remedy says what to do about an error.
func remedy(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ": write the host in smtp as the server's certificate has it; smtp_ca names an authority that the system doesn't trust"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return ": for a port with STARTTLS, usually 587, write smtp:// instead of smtps://"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return ": correct the host in smtp"
	}
	if _, ok := errors.AsType[*net.OpError](err); ok && strings.Contains(err.Error(), "connection refused") {
		return ": check the host and port in smtp, and that the server runs"
	}
	return ""
}

// longestReply is how much of a server's reply is logged.
const longestReply = 300

// redact returns a server's reply, or an error, without what identifies or
// authenticates a user: addresses lose the part before the @, URLs what is
// behind their host, and long words, which may be a part of a link, are left
// out. The server's password never stays.
func (s *settings) redact(text string) string {
	for _, secret := range s.secrets() {
		text = strings.ReplaceAll(text, secret, "…")
	}
	words := strings.Fields(oneLine(text))
	for i, word := range words {
		words[i] = redactWord(word)
	}
	text = strings.Join(words, " ")
	for len(text) > longestReply {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// secrets are the texts that no error may have.
func (s *settings) secrets() []string {
	if s.password == "" {
		return nil
	}
	encode := base64.StdEncoding.EncodeToString
	return []string{
		s.password, encode([]byte(s.password)), encode([]byte("\x00" + s.user + "\x00" + s.password)),
	}
}

// longestWord is the longest word of a reply that is kept.
const longestWord = 40

func redactWord(word string) string {
	if scheme, rest, ok := strings.Cut(word, "://"); ok {
		host := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"))]
		if len(scheme)+len(host) > longestWord {
			return "…"
		}
		return scheme + "://" + host + "/…"
	}
	if at := strings.LastIndexByte(word, '@'); at >= 0 {
		return "…" + word[at:min(len(word), at+longestWord)]
	}
	if len(word) > longestWord || strings.ContainsAny(word, "=?") {
		return "…"
	}
	return word
}
