package login

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/emaillink"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Config turns on the page on which users log in by themselves, at
// `/_sesame/login`. Browsers that ask for a page without being logged in are shown
// the page in place of the one that they asked for.
type Config struct {
	// Whether the page asks for a user name and a password. The block `password`
	// says how they are checked. Default: false.
	Password bool `json:"password,omitempty"`

	// Sends users a link by which they log in. Default: none.
	EmailLink *emaillink.Config `json:"email_link,omitempty"`

	// How long a session lasts of a user who chooses to be remembered. The page
	// offers the choice only if this is set. Default: not offered.
	Remember caddy.Duration `json:"remember,omitempty"`

	// Whether browsers that need to log in are sent to the page (303), rather than
	// shown it under the URL that they asked for (401). Default: false.
	Redirect bool `json:"redirect,omitempty"`
}

// Option is the option login with its block.
func Option(to **Config) directive.Option {
	cfg := new(Config)
	return directive.Block(func() { *to = cfg }, directive.Options{
		"password":   directive.Switch(&cfg.Password),
		"email_link": emaillink.Option(&cfg.EmailLink),
		"remember":   directive.Duration(&cfg.Remember),
		"redirect":   directive.Switch(&cfg.Redirect),
	}).Example("password")
}

// Validate returns the first error that can be found without secrets and without a
// database. It names the option within the block.
func (c *Config) Validate() error {
	if len(c.methods()) == 0 {
		return setting.Errorf("login", "login offers no way to log in: write password or email_link into its block")
	}
	if c.EmailLink != nil {
		if err := c.EmailLink.Validate(); err != nil {
			return setting.In("email_link", err)
		}
		if err := authn.CheckSecondFactor(c.EmailLink.SecondFactor); err != nil {
			return setting.In("email_link", err)
		}
	}
	if age := time.Duration(c.Remember); age < 0 {
		return setting.Errorf("remember", "remember %s: it must be a duration such as 30d", age)
	}
	return nil
}

// LinkFactor is what is done with an e-mailed link of a user who has a second factor, as
// the page's own option says, or that of the block password, which may be nil.
func (c *Config) LinkFactor(passwords *authn.PasswordConfig) string {
	inherited := ""
	if passwords != nil {
		inherited = passwords.SecondFactor
	}
	return cmp.Or(c.EmailLink.SecondFactor, inherited, authn.SecondFactorAsk)
}

// ReadsSecondFactors reports whether links depend on second factors. c may be nil, and so
// may the block password.
func (c *Config) ReadsSecondFactors(passwords *authn.PasswordConfig) bool {
	return c != nil && c.EmailLink != nil && c.LinkFactor(passwords) != authn.SecondFactorIgnore
}

// AddNeeds adds what the page needs from the store beside what schemes need. c may be
// nil, and so may the block password.
func (c *Config) AddNeeds(passwords *authn.PasswordConfig, needs *userstore.Needs) {
	if c == nil || c.EmailLink == nil {
		return
	}
	needs.Email, needs.LastLogin = true, true
	if c.ReadsSecondFactors(passwords) {
		needs.ReadSecondFactors("login: email_link")
	}
	needs.AskSecondFactors = needs.AskSecondFactors || c.LinkFactor(passwords) == authn.SecondFactorAsk
}

// methods are the names of the forms that the page offers.
func (c *Config) methods() (names []string) {
	if c.Password {
		names = append(names, methodPassword)
	}
	if c.EmailLink != nil {
		names = append(names, methodEmailLink)
	}
	return slices.Clip(names)
}

// The names of methods, and of the steps that follow them.
const (
	methodPassword  = "password"
	methodEmailLink = "email_link"
	stepEmailCode   = "email_code"

	// methodSeparator stands between the method of a login and its second factor.
	methodSeparator = "+"
)
