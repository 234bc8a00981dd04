package mail

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

// hush is a password that no error may show.
const hush = "hush-hush"

func TestURLsAreRead(t *testing.T) {
	t.Setenv("MAIL_TEST_PASSWORD", "p@ss:w/o#r?d%41{}")
	t.Setenv("MAIL_TEST_URL", "smtps://u%40x:{%3F@mail.example.com")
	t.Setenv("MAIL_TEST_HOST", "mail.example.com:2525")
	file := filepath.Join(t.TempDir(), "pass@word")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]server{
		"smtps://mail.example.com":                                   {host: "mail.example.com", port: 465, implicit: true},
		"smtp://mail.example.com":                                    {host: "mail.example.com", port: 587},
		"SMTP://mail.example.com/":                                   {host: "mail.example.com", port: 587},
		"smtp://mail.example.com:25":                                 {host: "mail.example.com", port: 25},
		"smtp://127.0.0.1:2525":                                      {host: "127.0.0.1", port: 2525},
		"smtp://[::1]:2525":                                          {host: "::1", port: 2525},
		"smtps://[2001:db8::1]":                                      {host: "2001:db8::1", port: 465, implicit: true},
		"smtp://u:hush@h":                                            {host: "h", port: 587, user: "u", password: "hush"},
		"smtp://u%40example.com:a%25b%2Fc@h":                         {host: "h", port: 587, user: "u@example.com", password: "a%b/c"},
		"smtp://u@example.com:a@b@h":                                 {host: "h", port: 587, user: "u@example.com", password: "a@b"},
		"smtps://mailer:{env.MAIL_TEST_PASSWORD}@mail.example.com":   {host: "mail.example.com", port: 465, implicit: true, user: "mailer", password: "p@ss:w/o#r?d%41{}"},
		"smtps://mailer:x{env.MAIL_TEST_PASSWORD}%41@h:1":            {host: "h", port: 1, implicit: true, user: "mailer", password: "xp@ss:w/o#r?d%41{}A"},
		"smtps://mailer:{file." + file + "}@mail.example.com":        {host: "mail.example.com", port: 465, implicit: true, user: "mailer", password: "from a file"},
		"smtps://{env.MAIL_TEST_HOST}":                               {host: "mail.example.com", port: 2525, implicit: true},
		"{env.MAIL_TEST_URL}":                                        {host: "mail.example.com", port: 465, implicit: true, user: "u@x", password: "{?"},
		"smtp://user:{env.MAIL_TEST_PASSWORD}@{env.MAIL_TEST_HOST}/": {host: "mail.example.com", port: 2525, user: "user", password: "p@ss:w/o#r?d%41{}"},
	} {
		cfg := &Config{SMTP: url, From: "a@example.com", SMTPHelo: "me"}
		want.helo = "me"
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if got, err := cfg.provisioned(); err != nil || got.server != want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", url, got.server, err, want)
		}
	}
}

// wrongURLs have what is wrong with each; those with nothing are right.
var wrongURLs = map[string]string{
	"":                                       "smtp is missing",
	"mail.example.com":                       "begins with smtps:// or smtp://",
	"mailer:" + hush + "@h":                  "begins with smtps:// or smtp://",
	"mailer:" + hush + "://x@h":              "must begin with smtps://",
	"ssl://mailer:" + hush + "@h":            "not with ssl://; did you mean smtps://?",
	"starttls://h":                           "did you mean smtp://?",
	"smpt://h":                               "did you mean smtp://?",
	"smtpss://h":                             "did you mean smtps://?",
	"ftp://h":                                "not with ftp://",
	"smtps://":                               "the host is missing",
	"smtps://mailer:" + hush + "@":           "the host is missing",
	"smtps://mailer@h":                       "a user without a password",
	"smtps://mailer:@h":                      "a user without a password",
	"smtps://:" + hush + "@h":                "the user in front of the password is missing",
	"smtps://mailer:" + hush + "%@h":         "write %25 for a %",
	"smtps://mailer:" + hush + "@h:0":        "a number from 1 to 65535",
	"smtps://mailer:" + hush + "@h:x":        "a number from 1 to 65535",
	"smtps://mailer:" + hush + "@h:587":      "port 587 is for STARTTLS",
	"smtp://mailer:" + hush + "@h:465":       "port 465 is for TLS from the beginning",
	"smtps://h?tls=1":                        `there is "?" behind the host`,
	"smtps://h/x":                            `there is "/" behind the host`,
	"smtps://h h":                            "no name or address of a server",
	"smtps://2001:db8::1":                    "",
	"smtps://[2001:db8::1]":                  "",
	"smtps://[2001:db8::1":                   "no name or address of a server",
	"smtps://2001:db8::1]":                   "no name or address of a server",
	"smtps://[]":                             "the host is missing",
	"smtps://[]:465":                         "the host is missing",
	"smtps://:465":                           "the host is missing",
	"smtps://h:+465":                         "a number from 1 to 65535",
	"smtps://fe80::1%eth0":                   "an address with a zone",
	"smtps://[fe80::1%25eth0]:465":           "an address with a zone",
	"smtp://[::%0\x00":                       "no name or address of a server",
	"smtp://[::%0\x00]":                      "an address with a zone",
	"smtp://[::1%lo\r\nQUIT]:25":             "an address with a zone",
	"smtp://127.0.0.1%lo":                    "no name or address of a server",
	"smtp://h\r\n":                           "no name or address of a server",
	"smtps://mailer:{env.MAIL_TEST_NONE}@h":  "the environment variable MAIL_TEST_NONE is empty or not set",
	"smtps://mailer:{env.MAIL_TEST_LINES}@h": "line break",
	"smtps://mailer:" + hush + "{env.X@h":    "closing brace",
	"{env.MAIL_TEST_WRONG}":                  "begins with smtps:// or smtp://",
	"smtps://{env.MAIL_TEST_WRONG}":          "a number from 1 to 65535",
}

func TestWrongURLsAreRejectedAndNotShown(t *testing.T) {
	t.Setenv("MAIL_TEST_WRONG", "mailer:"+hush+"@mail.example.com")
	t.Setenv("MAIL_TEST_LINES", hush+"\nx")
	for url, want := range wrongURLs {
		cfg := &Config{SMTP: url, From: "a@example.com"}
		_, err := cfg.provisioned()
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want == "":
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: error %v, want %q in it", url, err, want)
		case strings.Contains(err.Error(), hush):
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

func TestWrongOptionsAreNamedWithTheirRemedy(t *testing.T) {
	t.Parallel()
	const url, from = "smtps://mail.example.com", "a@example.com"
	for _, test := range []struct {
		cfg  Config
		want string // "" for none
	}{
		{Config{SMTP: url, From: "Example Ltd <no-reply@example.com>"}, ""},
		{Config{SMTP: url, From: "no-reply@bücher.example"}, ""},
		{Config{SMTP: url, From: "{env.MAIL_FROM}"}, ""},
		{Config{SMTP: url}, "from is missing"},
		{Config{SMTP: url, From: "Example Ltd"}, `from: "Example Ltd" is no address of one sender: write it as`},
		{Config{SMTP: url, From: "a@example.com, b@example.com"}, "no address of one sender"},
		{Config{SMTP: url, From: "=?utf-8?q?a=0ABcc:_b?= <a@example.com>"}, "no address of one sender"},
		{Config{SMTP: url, From: "a@[192.0.2.1]"}, "has no domain"},
		{Config{SMTP: url, From: from, SMTPTLS: "required"}, ""},
		{Config{SMTP: url, From: from, SMTPTLS: "starttls"}, "for STARTTLS write smtp:// in smtp, and remove smtp_tls"},
		{Config{SMTP: url, From: from, SMTPTLS: "implicit"}, "for TLS from the beginning write smtps:// in smtp"},
		{Config{SMTP: url, From: from, SMTPTLS: "on"}, "it is required by default"},
		{Config{SMTP: url, From: from, SMTPTLS: "no"}, "write off"},
		{Config{SMTP: url, From: from, SMTPTLS: "requierd"}, "did you mean required?"},
		{Config{SMTP: url, From: from, SMTPTLS: "off"}, "smtps:// means TLS"},
		{Config{SMTP: "smtp://mail.example.com", From: from, SMTPTLS: "off"}, ""},
		{Config{SMTP: "smtp://u:p@mail.example.com", From: from, SMTPTLS: "off"}, "everyone on the way to mail.example.com could read"},
		{Config{SMTP: "smtp://u:p@{env.HOST}", From: from, SMTPTLS: "off"}, ""},
		{Config{SMTP: "smtp://u:p@127.0.0.1:25", From: from, SMTPTLS: "off"}, ""},
		{Config{SMTP: "smtp://u:p@[::1]:25", From: from, SMTPTLS: "off"}, ""},
		{Config{SMTP: "smtp://u:p@localhost", From: from, SMTPTLS: "off"}, ""},
		{Config{SMTP: "smtp://localhost", From: from, SMTPTLS: "off", SMTPCA: "x"}, "no certificate is checked"},
		{Config{SMTP: url, From: from, SMTPHelo: "my host"}, "no name of a host"},
		{Config{SMTP: url, From: from, SMTPHelo: "[192.0.2.1"}, "no name of a host"},
		{Config{SMTP: url, From: from, SMTPHelo: "[::%0\r\n]"}, "no name of a host"},
	} {
		err := test.cfg.Validate()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%+v: %v", test.cfg, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%+v: error %v, want %q in it", test.cfg, err, test.want)
		}
	}
}

func TestHeloIsANameOrALiteralOfAnAddress(t *testing.T) {
	t.Parallel()
	for configured, want := range map[string]string{
		"gateway.example.com": "gateway.example.com",
		"192.0.2.1":           "[192.0.2.1]",
		"[192.0.2.1]":         "[192.0.2.1]",
		"2001:db8::1":         "[IPv6:2001:db8::1]",
		"[2001:db8:0::1]":     "[IPv6:2001:db8::1]",
		"[IPv6:2001:db8::1]":  "[IPv6:2001:db8::1]",
	} {
		if got, err := heloName(configured, "a@example.com"); err != nil || got != want {
			t.Errorf("smtp_helo %s: %q, %v, want %q", configured, got, err, want)
		}
	}
}

func TestAuthoritiesAreReadWhenTheSenderIsAcquired(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[string]string{
		"/no/such/file":                "name a file that Caddy's system user can read",
		empty:                          "has no certificate in PEM",
		"-----BEGIN CERTIFICATE-----x": "smtp_ca is a certificate itself",
	} {
		cfg := &Config{SMTP: "smtps://mail.example.com", From: "a@example.com", SMTPCA: ca}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", ca, err)
		}
		if _, err := Acquire(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", ca, err, want)
		}
	}
}

func TestOptionsAreReadFromACaddyfile(t *testing.T) {
	t.Parallel()
	var cfg Config
	block := `email_link {
		smtp smtps://mailer:{env.SMTP_PASSWORD}@mail.example.com
		from "Example Ltd <no-reply@example.com>"
		smtp_tls required
		smtp_ca /etc/ca.pem
		smtp_helo gateway.example.com
	}`
	if _, err := directive.Read(caddyfile.NewTestDispenser(block), Options(&cfg)); err != nil {
		t.Fatal(err)
	}
	want := Config{"smtps://mailer:{env.SMTP_PASSWORD}@mail.example.com", "Example Ltd <no-reply@example.com>", "required", "/etc/ca.pem", "gateway.example.com"}
	if cfg != want {
		t.Errorf("got %+v, want %+v", cfg, want)
	}
	_, err := directive.Read(caddyfile.NewTestDispenser("email_link {\nsmtp mailer "+hush+"\n}"), Options(&cfg))
	if err == nil || strings.Contains(err.Error(), hush) || !strings.Contains(err.Error(), "smtp smtps://") {
		t.Errorf("two values: %v", err)
	}
}

// FuzzURL looks for URLs that are accepted and can't be used, or whose errors
// show a password.
func FuzzURL(f *testing.F) {
	for _, url := range []string{"smtps://u:p@h", "smtp://h:1", "smtp://[::1]:25/", "smtps://u:%zz@h", "{}", "smtps://{env.X}:{env.X}@{env.X}:{env.X}", "smtp://@", "smtps://u:{@h", "smtp://[::%0\x00", "smtp://[::%0\x00]:1"} {
		f.Add(url)
	}
	for _, url := range slices.Sorted(maps.Keys(wrongURLs)) {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		cfg := &Config{SMTP: url, From: "a@example.com"}
		_ = cfg.Validate()
		read, err := cfg.resolve(func(_, text string) (string, error) { return text, nil })
		if err == nil && (read.host == "" || read.port < 1 || read.port > 65535 || hasControl(read.host) || strings.ContainsAny(read.host, " %[]/?#@") || (read.user == "") != (read.password == "")) {
			t.Errorf("%q was read as %+v", url, read.server)
		}
		cfg.SMTP = "smtps://mailer:" + hush + url + "@mail.example.com"
		if err := cfg.Validate(); err != nil && strings.Contains(err.Error(), hush) {
			t.Errorf("the error shows the password: %v", err)
		}
	})
}
