package identity

import "github.com/caddy-sesame/caddy-sesame/internal/directive"

// AssertionOption is the assertion option with its block.
func AssertionOption(to **AssertionConfig) directive.Option {
	cfg := new(AssertionConfig)
	claim := func(args []string) error {
		cfg.Claims = append(cfg.Claims, AssertionClaim{Name: args[0], Value: args[1]})
		return nil
	}
	return directive.Block(func() { *to = cfg }, directive.Options{
		"audience": directive.Texts(&cfg.Audience, "one name or more"),
		"header":   directive.Text(&cfg.Header, "the name of a header field"),
		"issuer":   directive.Text(&cfg.Issuer, "a name"),
		"ttl":      directive.Duration(&cfg.TTL),
		"claim":    directive.Values(2, 2, "a name and a value", claim).RepeatedBy(directive.First),
		"keys":     directive.Texts(&cfg.Keys, "one key or more").Secret(),
	})
}
