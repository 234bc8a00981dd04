package authn

import (
	"cmp"
	"strings"
)

// BasicChallenge is the challenge of Basic in WWW-Authenticate (RFC 7617, section
// 2), which must have a realm. Clients are told to send UTF-8.
func BasicChallenge(realm string) string {
	return "Basic realm=" + Quote(cmp.Or(realm, "sesame")) + `, charset="UTF-8"`
}

// Quote returns a text as a quoted-string (RFC 9110, section 5.6.4).
func Quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
