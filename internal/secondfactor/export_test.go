package secondfactor

import (
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Accepts returns which factor accepts a code; empty for none.
func Accepts(factors []*userstore.Factor, code string, now time.Time) string {
	return string(verify(factors, code, now).accepted)
}
