// Package mail sends e-mails through an SMTP server. Messages wait in a bounded
// queue, so that no request waits for the server, and are tried again while
// their failure is temporary.
package mail

import (
	"crypto/x509"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/idna"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Config says how mails are sent.
type Config struct {
	// The SMTP server: `smtps://user:password@host:port` for TLS from the
	// beginning, or `smtp://user:password@host:port` for STARTTLS, which is then
	// required. The ports default to 465 and 587; without a user there is no
	// login. The host is a name or an address, of IPv6 in brackets and without a
	// zone. Placeholders such as `{env.SMTP_PASSWORD}` are replaced when Caddy
	// loads the configuration, and stand for the value as it is; a password that
	// is written here itself is percent-encoded, as in all URLs. Required.
	SMTP string `json:"smtp,omitempty"`

	// The sender, such as `Example Ltd <no-reply@example.com>`. Required.
	From string `json:"from,omitempty"`

	// `required`, or `off` for a server without TLS, as is usual for one on this
	// machine. A password is then sent to this machine only. Default:
	// `required`.
	SMTPTLS string `json:"smtp_tls,omitempty"`

	// A file with the certificates, in PEM, of the authorities that may have
	// signed the certificate of the server. Default: those that the system
	// trusts.
	SMTPCA string `json:"smtp_ca,omitempty"`

	// The name by which this machine introduces itself to the server (EHLO).
	// An address is sent as a literal, such as `[192.0.2.1]`. Default: the host's
	// name if it has a dot, else the domain of `from`.
	SMTPHelo string `json:"smtp_helo,omitempty"`
}

// The values of Config.SMTPTLS.
const (
	tlsRequired = "required"
	tlsOff      = "off"
)

// Options are the options of a Caddyfile block that has a mail server:
//
//	smtp      <url>
//	from      <address>
//	smtp_tls  required|off
//	smtp_ca   <file>
//	smtp_helo <name>
func Options(cfg *Config) directive.Options {
	return directive.Options{
		"smtp": directive.Text(&cfg.SMTP, "the URL of a server").Secret().
			Example("smtp smtps://mailer:{env.SMTP_PASSWORD}@mail.example.com"),
		"from": directive.Text(&cfg.From, "an address").
			Example(`from "Example Ltd <no-reply@example.com>"`),
		"smtp_tls":  directive.Text(&cfg.SMTPTLS, "required or off"),
		"smtp_ca":   directive.Text(&cfg.SMTPCA, "a file"),
		"smtp_helo": directive.Text(&cfg.SMTPHelo, "the name of this machine"),
	}
}

// Validate checks what is written, without files, variables or the network.
// What placeholders stand for is checked by Acquire.
func (c *Config) Validate() error {
	_, err := c.resolve(nil)
	return err
}

// resolver returns the text of an option with its placeholders replaced, as
// secret.Resolve does. Where it is nil, their values aren't known yet.
type resolver func(option, text string) (string, error)

// settings are a Config with its placeholders replaced and its defaults filled
// in. Equal settings share a Sender.
type settings struct {
	server
	fromName, fromAddress string
}

// resolve returns the settings of a configuration. It reads no file.
func (c *Config) resolve(value resolver) (settings, error) {
	var s settings
	switch c.SMTPTLS {
	case "", tlsRequired:
	case tlsOff:
		s.plaintext = true
	default:
		return s, setting.Errorf("smtp_tls", "smtp_tls: it must be required or off, not %q%s", c.SMTPTLS, tlsHint(c.SMTPTLS))
	}
	if err := s.readURL(c.SMTP, value); err != nil {
		return s, setting.Of("smtp", err)
	}
	isKnown := value != nil || !strings.Contains(c.SMTP, "{")
	if err := s.checkPlaintext(isKnown); err != nil {
		return s, err
	}
	if c.SMTPCA != "" && s.plaintext {
		return s, setting.Errorf("smtp_ca", "smtp_ca: smtp_tls is off, so no certificate is checked: remove one of the two")
	}
	var err error
	if s.fromName, s.fromAddress, err = c.sender(value); err != nil {
		return s, err
	}
	s.helo, err = heloName(c.SMTPHelo, s.fromAddress)
	return s, err
}

// checkPlaintext rejects settings that would send a password unencrypted over a
// network. isKnown says whether the URL has its values.
func (s *settings) checkPlaintext(isKnown bool) error {
	switch {
	case !s.plaintext:
		return nil
	case s.implicit:
		return setting.Errorf("smtp_tls", "smtp_tls is off, and smtps:// means TLS: write smtp://, or remove smtp_tls")
	case s.user != "" && !s.isLocal() && isKnown:
		return setting.Errorf("smtp_tls", "smtp_tls is off, and smtp has a password, which everyone on the way to %s could read: remove smtp_tls, or the user and password", s.host)
	}
	return nil
}

// tlsHint suggests what to write for other words for a kind of TLS.
func tlsHint(word string) string {
	switch strings.ToLower(word) {
	case "starttls", "explicit", "mandatory":
		return ": for STARTTLS write smtp:// in smtp, and remove smtp_tls"
	case "implicit", "ssl", "tls", "smtps":
		return ": for TLS from the beginning write smtps:// in smtp, and remove smtp_tls"
	case "on", "true", "yes":
		return ": it is required by default, so remove smtp_tls"
	case "none", "false", "no", "plain", "plaintext", "disabled":
		return "; write off"
	}
	return nearest.Hint(word, []string{tlsRequired, tlsOff})
}

// sender returns the name and the address of From.
func (c *Config) sender(value resolver) (name, address string, err error) {
	const form = "write it as no-reply@example.com, or with a name as \"Example Ltd <no-reply@example.com>\""
	text := c.From
	if strings.Contains(text, "{") {
		if value == nil {
			return "", "no-reply@localhost", nil
		}
		if text, err = value("from", text); err != nil {
			return "", "", err
		}
	}
	if text == "" {
		return "", "", setting.Errorf("from", "from is missing: it is the sender of the mails; "+form)
	}
	parsed, err := netmail.ParseAddress(text)
	if err != nil || hasControl(parsed.Name) {
		return "", "", setting.Errorf("from", "from: %q is no address of one sender: %s", text, form)
	}
	if _, domain, _ := strings.Cut(parsed.Address, "@"); strings.ContainsAny(domain, "[]") {
		return "", "", setting.Errorf("from", "from: %q has no domain: %s", text, form)
	}
	if address, err = asciiDomain(parsed.Address); err != nil {
		return "", "", setting.Errorf("from", "from: the domain of %q can't be: %s", text, form)
	}
	return parsed.Name, address, nil
}

// asciiDomain returns an address with its domain as DNS has it (RFC 5890).
func asciiDomain(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if isASCII(address[at+1:]) {
		return address, nil
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	return address[:at+1] + domain, err
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c >= 0x80 })
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// heloName returns the name for EHLO: the configured name, else the name of this
// machine if it has a dot, else the sender's domain. Some servers reject names without
// a dot, and addresses that aren't written as literals (RFC 5321, section 4.1.3).
func heloName(configured, from string) (string, error) {
	if configured != "" {
		address, notAddress := netip.ParseAddr(strings.TrimPrefix(withoutBrackets(configured), "IPv6:"))
		switch {
		case notAddress == nil && address.Is4():
			return "[" + address.String() + "]", nil
		case notAddress == nil && address.Zone() == "":
			return "[IPv6:" + address.String() + "]", nil
		case !isHostName(configured):
			return "", setting.Errorf("smtp_helo", "smtp_helo: %q is no name of a host: write one such as gateway.example.com", configured)
		}
		return configured, nil
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && isHostName(name) {
		return name, nil
	}
	return from[strings.LastIndexByte(from, '@')+1:], nil
}

// isHostName reports whether a text may be the name of a host in DNS.
func isHostName(text string) bool {
	return text != "" && len(text) <= 253 && !strings.HasPrefix(text, "-") && !strings.HasPrefix(text, ".") &&
		!strings.ContainsFunc(text, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_')
		})
}

// readAuthorities reads the file of Config.SMTPCA, if there is one.
func (c *Config) readAuthorities() (pem string, err error) {
	if c.SMTPCA == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.SMTPCA)
	switch {
	case err != nil && strings.HasPrefix(c.SMTPCA, "-----BEGIN"):
		return "", errors.New("smtp_ca is a certificate itself: write it to a file, and name the file")
	case err != nil:
		return "", fmt.Errorf("smtp_ca: %w: name a file that Caddy's system user can read", err)
	case !x509.NewCertPool().AppendCertsFromPEM(text):
		return "", fmt.Errorf("smtp_ca: %s has no certificate in PEM: name the file with the certificate of the authority", c.SMTPCA)
	}
	return string(text), nil
}
