package secondfactor

import (
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Accepts returns which factor accepts a code, by the libraries' defaults; empty for
// none.
func Accepts(factors []*userstore.Factor, code string, now time.Time) string {
	return AcceptsWith(new(authn.PasswordConfig), factors, code, now)
}

// AcceptsWith is Accepts with the settings of a configuration.
func AcceptsWith(cfg *authn.PasswordConfig, factors []*userstore.Factor, code string, now time.Time) string {
	settings, err := cfg.FactorSettings()
	if err != nil {
		return err.Error()
	}
	return string(verify(&settings, factors, code, now).accepted)
}
