package mail

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// server is an SMTP server, and how to log in there.
type server struct {
	host           string
	port           int
	implicit       bool // TLS from the beginning, instead of STARTTLS
	plaintext      bool // no TLS
	authorities    string
	user, password string
	helo           string
}

// The ports of submission (RFC 8314), by scheme.
var defaultPorts = map[string]int{"smtps": 465, "smtp": 587}

// schemes are the words that are written for a scheme, besides its own name.
var schemes = map[string]string{
	"ssl": "smtps", "tls": "smtps", "smtp+tls": "smtps", "smtp+ssl": "smtps", "ssmtp": "smtps", "submissions": "smtps", "https": "smtps",
	"starttls": "smtp", "smtp+starttls": "smtp", "submission": "smtp", "http": "smtp", "mailto": "smtp",
}

// readURL reads the server's URL. Errors show neither the user nor the password.
//
// It isn't read by net/url, since placeholders stand for values as they are: a
// password from a variable may have any character. For the same reason the last
// @ outside of placeholders ends the password, and only a % must be encoded.
func (s *server) readURL(text string, value resolver) error {
	if text == "" {
		return errors.New("smtp is missing: it is the server that mails are sent through, such as smtps://USER:PASSWORD@mail.example.com")
	}
	if isOnePlaceholder(text) {
		if value == nil {
			s.host = hidden
			return nil
		}
		resolved, err := value("smtp", text)
		if err != nil {
			return err
		}
		// Its braces are no placeholders.
		text = strings.NewReplacer("{", "%7B", "}", "%7D").Replace(resolved)
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return errors.New("smtp: it must be a URL that begins with smtps:// or smtp://, such as smtps://USER:PASSWORD@mail.example.com")
	}
	port, ok := defaultPorts[strings.ToLower(scheme)]
	if !ok {
		return wrongScheme(scheme)
	}
	s.implicit, s.port = strings.EqualFold(scheme, "smtps"), port
	credentials, host := cutLastAt(rest)
	if err := s.readHost(host, value); err != nil {
		return err
	}
	if credentials == nil {
		return nil
	}
	return s.readCredentials(*credentials, value)
}

func wrongScheme(scheme string) error {
	meant := schemes[strings.ToLower(scheme)]
	if meant == "" {
		meant = nearest.Name(scheme, []string{"smtp", "smtps"})
	}
	hint := ""
	if meant != "" {
		hint = "; did you mean " + meant + "://?"
	}
	const form = "smtp: it must begin with smtps:// (TLS from the beginning) or smtp:// (STARTTLS)"
	if strings.ContainsAny(scheme, ":@{") { // it may be a password
		return errors.New(form)
	}
	return fmt.Errorf("%s, not with %s://%s", form, scheme, hint)
}

// hidden stands for the values of placeholders before they are known. It is
// valid wherever a placeholder may be: as a user, a host or a port.
const hidden = "1"

// readHost reads HOST, HOST:PORT or [ADDRESS]:PORT. An address has no zone: netip
// takes any text for one, a zero byte too, and no certificate names an address with
// a zone.
func (s *server) readHost(text string, value resolver) error {
	text, err := replaced(strings.TrimSuffix(text, "/"), value, literal)
	if err != nil {
		return err
	}
	if i := strings.IndexAny(text, "/?#"); i >= 0 {
		return fmt.Errorf("smtp: there is %q behind the host: remove it", text[i:i+1])
	}
	host, port := text, ""
	if strings.HasPrefix(text, "[") || strings.Count(text, ":") == 1 {
		if host, port, err = net.SplitHostPort(text); err != nil {
			host, port = withoutBrackets(text), ""
		}
	}
	address, notAddress := netip.ParseAddr(host)
	switch {
	case host == "":
		return errors.New("smtp: the host is missing: write smtps://USER:PASSWORD@mail.example.com")
	case address.Zone() != "":
		return errors.New("smtp: the host is an address with a zone, which no certificate is made for: write the server's name, or its address without % and what follows it")
	case notAddress != nil && !isHostName(host):
		return errors.New("smtp: the host is no name or address of a server: write smtps://USER:PASSWORD@mail.example.com, " +
			"and an address of IPv6 in brackets")
	}
	s.host = host
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16) // which takes no sign
		if err != nil || n == 0 {
			return errors.New("smtp: the port behind the host must be a number from 1 to 65535: leave it out for the default, 465 for smtps:// and 587 for smtp://")
		}
		s.port = int(n)
	}
	switch {
	case s.implicit && (s.port == 587 || s.port == 25):
		return fmt.Errorf("smtp: port %d is for STARTTLS, and smtps:// is TLS from the beginning: write smtp://, or port 465", s.port)
	case !s.implicit && s.port == 465:
		return errors.New("smtp: port 465 is for TLS from the beginning, and smtp:// is STARTTLS: write smtps://, or port 587")
	}
	return nil
}

// withoutBrackets removes the brackets around a text, if there are both.
func withoutBrackets(text string) string {
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]")
	}
	return text
}

// readCredentials reads USER:PASSWORD.
func (s *server) readCredentials(text string, value resolver) error {
	user, password, ok := cutColon(text)
	var err error
	if s.user, err = replaced(user, value, decoded); err != nil {
		return err
	}
	if s.password, err = replaced(password, value, decoded); err != nil {
		return err
	}
	switch {
	case !ok || s.password == "":
		return errors.New("smtp: a user without a password can't log in: write smtps://USER:PASSWORD@HOST, or remove the user")
	case s.user == "":
		return errors.New("smtp: the user in front of the password is missing: write smtps://USER:PASSWORD@HOST")
	case strings.ContainsAny(s.user+s.password, "\x00\r\n"):
		return errors.New("smtp: the user or the password has a line break or a zero byte in it: remove it from the variable or file")
	}
	return nil
}

// isLocal reports whether the server is on this machine.
func (s *server) isLocal() bool {
	if strings.EqualFold(s.host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(s.host)
	return err == nil && address.IsLoopback()
}

func (s *server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// isOnePlaceholder reports whether a text is exactly one placeholder.
func isOnePlaceholder(text string) bool {
	return strings.HasPrefix(text, "{") && strings.IndexByte(text, '}') == len(text)-1
}

// replaced returns a text with the values of its placeholders. What is written
// between them is read by written.
func replaced(text string, value resolver, written func(string) (string, error)) (string, error) {
	var b strings.Builder
	for text != "" {
		begin := strings.IndexByte(text, '{')
		if begin < 0 {
			begin = len(text)
		}
		plain, err := written(text[:begin])
		if err != nil {
			return "", err
		}
		b.WriteString(plain)
		if text = text[begin:]; text == "" {
			break
		}
		end := strings.IndexByte(text, '}') + 1
		if end == 0 {
			end = len(text) // the resolver says that the brace is missing
		}
		resolved := hidden
		if value != nil {
			if resolved, err = value("smtp", text[:end]); err != nil {
				return "", err
			}
		}
		b.WriteString(resolved)
		text = text[end:]
	}
	return b.String(), nil
}

func literal(text string) (string, error) { return text, nil }

func decoded(text string) (string, error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return "", errors.New("smtp: the user or the password has a % that encodes nothing: write %25 for a %, or put the password in a variable: smtps://USER:{env.SMTP_PASSWORD}@HOST")
	}
	return plain, nil
}

// cutLastAt cuts the last @ that is outside of placeholders. credentials is nil
// if there is none.
func cutLastAt(text string) (credentials *string, host string) {
	outside := outsidePlaceholders(text, '@')
	if len(outside) == 0 {
		return nil, text
	}
	at := outside[len(outside)-1]
	before := text[:at]
	return &before, text[at+1:]
}

// cutColon cuts the first colon that is outside of placeholders.
func cutColon(text string) (before, after string, found bool) {
	outside := outsidePlaceholders(text, ':')
	if len(outside) == 0 {
		return text, "", false
	}
	return text[:outside[0]], text[outside[0]+1:], true
}

// outsidePlaceholders returns where a text has a character outside of
// placeholders.
func outsidePlaceholders(text string, c byte) []int {
	var at []int
	inside := false
	for i := range len(text) {
		switch {
		case text[i] == '{':
			inside = true
		case text[i] == '}':
			inside = false
		case text[i] == c && !inside:
			at = append(at, i)
		}
	}
	return slices.Clip(at)
}
