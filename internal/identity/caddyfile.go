package identity

import (
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

// Option is the identity option with its block of header fields and their values.
func Option(to *[]Header) directive.Option {
	return directive.Free("a header field and its value", func(name string, args []string) error {
		if field, ok := strings.CutSuffix(name, ":"); ok {
			return fmt.Errorf("a colon stands behind the name of the header field %s: remove it", field)
		}
		if len(args) != 1 {
			return fmt.Errorf("wrong argument count: the header field %s takes one value, and there are %d; quote a value that has spaces", name, len(args))
		}
		*to = append(*to, Header{Name: name, Value: args[0]})
		return nil
	}).WithBlocks(func() directive.Options {
		header := &(*to)[len(*to)-1]
		return directive.Options{
			"encoding":  directive.Text(&header.Encoding, "percent, base64 or rfc2047"),
			"separator": directive.Text(&header.Separator, "one of , ; | or fields"),
			"map":       mapOption(func(line GroupMapping) { header.Map = append(header.Map, line) }),
			"unmapped":  directive.Text(&header.Unmapped, unmappedForm),
			"max_size":  directive.Size(&header.MaxSize),
		}
	})
}

// unmappedForm says how unmapped is written.
const unmappedForm = "keep or drop"

// mapOption is the option map, whose lines are added.
func mapOption(add func(GroupMapping)) directive.Option {
	return directive.Values(2, 2, "the name of a group and the application's name for it", func(args []string) error {
		add(GroupMapping{Group: args[0], Name: args[1]})
		return nil
	}).RepeatedBy(directive.First)
}

// AssertionOption is the assertion option with its block.
func AssertionOption(to **AssertionConfig) directive.Option {
	cfg := new(AssertionConfig)
	claim := func(args []string) error {
		cfg.Claims = append(cfg.Claims, AssertionClaim{Name: args[0], Value: args[1]})
		return nil
	}
	last := func() *AssertionClaim { return &cfg.Claims[len(cfg.Claims)-1] }
	return directive.Block(func() { *to = cfg }, directive.Options{
		"audience": directive.Texts(&cfg.Audience, "one name or more"),
		"header":   directive.Text(&cfg.Header, "the name of a header field"),
		"issuer":   directive.Text(&cfg.Issuer, "a name"),
		"ttl":      directive.Duration(&cfg.TTL),
		"claim": directive.Values(2, 2, "a name and a value", claim).RepeatedBy(directive.First).With(directive.Options{
			"map": mapOption(func(line GroupMapping) { last().Map = append(last().Map, line) }),
			"unmapped": directive.Values(1, 1, unmappedForm, func(args []string) error {
				last().Unmapped = args[0]
				return nil
			}),
		}),
		"max_size": directive.Size(&cfg.MaxSize),
		"keys":     directive.Texts(&cfg.Keys, "one key or more").Secret(),
	})
}
