package page

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

func TestPagesOfACaddyfile(t *testing.T) {
	t.Parallel()
	read := func(block string) (*Config, error) {
		var cfg *Config
		d := caddyfile.NewTestDispenser("sesame {\n\tpages {\n" + block + "\n\t}\n}")
		_, err := directive.Read(d, directive.Options{"pages": Option(&cfg)})
		return cfg, err
	}
	got, err := read(`help_url https://help.example.com
		expired_hint
		language de
		languages de fr
		template page.html
		text confirm.title "Log in"
		text confirm.message ""
		text fr confirm.title "Entrez"
		text fr confirm.button ""
		color accent teal
		color text "#123" "#456"`)
	want := &Config{
		HelpURL: "https://help.example.com", ExpiredHint: true, Language: "de", Languages: []string{"de", "fr"}, Template: "page.html",
		Texts:   map[string]string{"confirm.title": "Log in", "confirm.message": ""},
		TextsIn: map[string]map[string]string{"fr": {"confirm.title": "Entrez", "confirm.button": ""}},
		Colors:  map[string][]string{"accent": {"teal"}, "text": {"#123", "#456"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for block, part := range map[string]string{
		"text confirm.title":                               "a name and a text",
		"text confirm.title a b":                           `Quote a value that has spaces: text confirm.title "a b"`,
		"text de confirm.title a b":                        `text de confirm.title "a b"`,
		"text confirm.title a b c":                         "a name and a text",
		"text de confirm.title a\ntext de confirm.title b": "text de confirm.title is already set",
		"languages":    "auto, or codes such as de fr",
		"color accent": "a name and one or two colors",
		"text confirm.title a\ntext confirm.title b": "confirm.title",
		"color accent red\ncolor accent blue":        "accent",
		"language":                                   "a code such as de",
		"help_url":                                   "a URL",
		"template":                                   "a path",
		"titel x":                                    "titel",
	} {
		if _, err := read(block); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", block, err, part)
		}
	}
}
