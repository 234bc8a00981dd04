package settings

import (
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// passwordLogins are the passwords that Django checks.
type passwordLogins struct {
	Identifiers   []string `json:"identifiers"` // username, email
	Hashers       []hasher `json:"hashers"`     // nil for the default of the project's Django
	SecondFactors struct {
		Tables  []string `json:"tables"`
		Unknown []string `json:"unknown"` // applications that may ask for second factors
	} `json:"second_factors"`
}

// hasher is an item of PASSWORD_HASHERS.
type hasher struct {
	Path      string   `json:"path"`
	Algorithm string   `json:"algorithm"`
	Own       []string `json:"own"`     // what the project's class checks a password by
	Changed   []string `json:"changed"` // the parameters of new hashes that differ from Django's
}

const hashersSetting = "PASSWORD_HASHERS"

// passwords writes, as a comment, how to accept Django's passwords. Programs
// can't use them in every project: to let them is the operator's decision.
func (b *block) passwords() error {
	if b.login == nil || b.login.Password == nil {
		return nil
	}
	p := b.login.Password
	n := &nested{head: "password"}
	n.option("basic", "on")
	if !(len(p.Identifiers) == 1 && p.Identifiers[0] == "username") {
		n.option("identifier", p.Identifiers...)
	}
	if p.Hashers != nil {
		names := b.hashers(p.Hashers)
		if len(names) == 0 {
			b.note(hashersSetting, "the gateway knows none of them: it can't check passwords")
			return nil
		}
		n.option("hashers", names...)
	}
	version := b.version
	if parts := strings.Split(version, "."); len(parts) > 2 {
		version = strings.Join(parts[:2], ".")
	}
	if _, err := password.New(password.Settings{Version: version}); err == nil && version != "" {
		n.option("django_version", version)
	} else {
		n.comment("Leave upgrade_hash off: which hashes this version of Django makes isn't known.")
	}
	b.secondFactor(n)
	b.comment("Passwords can be accepted, too, from programs by Authorization: Basic. That is a")
	b.comment("way in that Django may not have. To open it, remove the # in front of these lines:")
	if err := b.nestComment(n); err != nil {
		b.note(hashersSetting, "option password can't be written: %v", err)
	}
	return nil
}

// hashers returns the names of the hashers that the gateway knows.
func (b *block) hashers(all []hasher) []string {
	var names []string
	for _, h := range all {
		_, err := password.New(password.Settings{Hashers: []password.Algorithm{password.Algorithm(h.Algorithm)}})
		switch {
		case err != nil || len(h.Own) > 0:
			b.note(hashersSetting, "the gateway can't check the hashes that %q makes, and rejects such passwords", h.Path)
			continue
		case len(h.Changed) > 0:
			b.note(hashersSetting, "%q makes hashes with other parameters than Django's (%s). The gateway checks them; but upgrade_hash would replace them by hashes with Django's parameters, so leave it off", h.Path, strings.Join(h.Changed, ", "))
		}
		if !slices.Contains(names, h.Algorithm) {
			names = append(names, h.Algorithm)
		}
	}
	return names
}

// secondFactor writes what to do with users who have a second factor.
func (b *block) secondFactor(n *nested) {
	factors := b.login.Password.SecondFactors
	switch {
	case len(factors.Tables) > 0:
		n.comment("A password alone isn't enough for users who have a confirmed device in")
		for _, table := range factors.Tables {
			if isPlain(table) {
				n.comment("%s", table)
			}
			if !userstore.IsSecondFactor(table) {
				b.note("INSTALLED_APPS", "the devices in %q are second factors that the gateway doesn't know: option password would let in users who have no other one", table)
			}
		}
		n.comment("so that these are rejected: the default is second_factor reject.")
	case len(factors.Unknown) > 0:
		n.comment("The project may ask for second factors that the gateway doesn't know.")
		b.note("INSTALLED_APPS", "%q may ask users for a second factor, which the gateway doesn't know: option password would let them in by the password alone", strings.Join(factors.Unknown, ", "))
	default:
		n.comment("The project has neither django-otp nor allauth.mfa: there are no second factors to look for.")
		n.option("second_factor", "ignore")
	}
}
