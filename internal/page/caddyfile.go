package page

import "github.com/caddy-sesame/caddy-sesame/internal/directive"

// Option is the pages option with its block.
func Option(to **Config) directive.Option {
	cfg := &Config{Texts: make(map[string]string), Colors: make(map[string][]string)}
	text := func(args []string) error {
		cfg.Texts[args[0]] = args[1]
		return nil
	}
	color := func(args []string) error {
		cfg.Colors[args[0]] = args[1:]
		return nil
	}
	const colorForm = `a name and one or two colors; quote a color that begins with #, as "#1a5fb4", since # begins a comment`
	return directive.Block(func() { *to = cfg }, directive.Options{
		"help_url":     directive.Text(&cfg.HelpURL, "a URL"),
		"expired_hint": directive.Switch(&cfg.ExpiredHint),
		"language":     directive.Text(&cfg.Language, "a code such as de"),
		"template":     directive.Text(&cfg.Template, "a path"),
		"text":         directive.Values(2, 2, "a name and a text", text).RepeatedBy(directive.First).OrEmpty(),
		"color":        directive.Any(2, colorForm, color).RepeatedBy(directive.First),
	})
}
