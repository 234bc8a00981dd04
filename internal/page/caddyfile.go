package page

import (
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

// Option is the pages option with its block.
func Option(to **Config) directive.Option {
	cfg := &Config{Texts: make(map[string]string), Colors: make(map[string][]string)}
	text := func(args []string) error {
		named := 1 // up to the name
		if checkLanguage("text", args[0]) == nil && len(args) > 2 {
			named = 2
		}
		if len(args) != named+1 {
			return fmt.Errorf("text takes a name and a text; there are %d: %s. Quote a value that has spaces: text %s %q",
				len(args), strings.Join(args, " "), strings.Join(args[:named], " "), strings.Join(args[named:], " "))
		}
		if named == 1 {
			cfg.Texts[args[0]] = args[1]
			return nil
		}
		if cfg.TextsIn == nil {
			cfg.TextsIn = make(map[string]map[string]string)
		}
		if cfg.TextsIn[args[0]] == nil {
			cfg.TextsIn[args[0]] = make(map[string]string)
		}
		cfg.TextsIn[args[0]][args[1]] = args[2]
		return nil
	}
	nameOfText := func(args []string) string { return strings.Join(args[:max(0, len(args)-1)], " ") }
	color := func(args []string) error {
		cfg.Colors[args[0]] = args[1:]
		return nil
	}
	const colorForm = `a name and one or two colors; quote a color that begins with #, as "#1a5fb4", since # begins a comment`
	return directive.Block(func() { *to = cfg }, directive.Options{
		"name":         directive.Text(&cfg.Name, "a name; quote one that has spaces"),
		"logo":         directive.Text(&cfg.Logo, "a path"),
		"favicon":      directive.Text(&cfg.Favicon, "a path"),
		"help_url":     directive.Text(&cfg.HelpURL, "a URL"),
		"expired_hint": directive.Switch(&cfg.ExpiredHint),
		"language":     directive.Text(&cfg.Language, "a code such as de"),
		"languages":    directive.Texts(&cfg.Languages, "auto, or codes such as de fr"),
		"template":     directive.Text(&cfg.Template, "a path"),
		"text":         directive.Any(2, "a name and a text", text).RepeatedBy(nameOfText).OrEmpty(),
		"color":        directive.Any(2, colorForm, color).RepeatedBy(directive.First),
	})
}
