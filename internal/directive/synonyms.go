package directive

import (
	"maps"
	"slices"
	"strings"
)

// synonyms are names of options in other programs, in lower case and without
// dashes and underscores.
var synonyms = map[string][]string{
	"ca": {"tls_ca"}, "cacert": {"tls_ca"}, "cert": {"tls_cert"}, "certificate": {"tls_cert"}, "tlscertificate": {"tls_cert"},
	"pk": {"primary_key"}, "id": {"primary_key"}, "idcolumn": {"primary_key"}, "userid": {"primary_key"},
	"name": {"username"}, "user": {"username"}, "login": {"username"}, "usercolumn": {"username"},
	"enabled": {"is_active"}, "admin": {"is_superuser"}, "extra": {"columns"}, "fields": {"columns"},
	"maxconns": {"max_open_conns"}, "maxconnections": {"max_open_conns"}, "poolsize": {"max_open_conns"}, "pool": {"max_open_conns"},
	"database": {"dsn", "userstore"}, "db": {"dsn", "userstore"}, "mysql": {"dsn", "userstore"}, "url": {"dsn"}, "host": {"dsn"},
	"ttl": {"max_age"}, "expire": {"max_age"}, "expires": {"ttl", "max_age"}, "expiry": {"max_age"}, "lifetime": {"max_age"}, "duration": {"max_age"},
	"cookiename": {"name"}, "cookiedomain": {"domain"}, "cookiepath": {"path"}, "cookieage": {"max_age"}, "cookiesecure": {"secure"}, "cookiesamesite": {"same_site"},
	"sessioncookiename": {"name"}, "sessioncookiedomain": {"domain"}, "sessioncookiepath": {"path"}, "sessioncookieage": {"max_age"},
	"sessioncookiesecure": {"secure"}, "sessioncookiesamesite": {"same_site"},
	"aud": {"audience"}, "iss": {"issuer"}, "key": {"keys"}, "privatekey": {"keys"},
	"title": {"text"}, "message": {"text"}, "lang": {"language"}, "colour": {"color"}, "colors": {"color"}, "css": {"color", "template"},
	"loginurl": {"help_url"}, "loginpage": {"help_url"}, "redirecturl": {"help_url"},
	"ratelimit": {"limit_failures"}, "limit": {"limit_failures"}, "throttle": {"limit_failures"},
	"usetimezone": {"use_tz"}, "headers": {"identity"}, "header": {"identity"}, "jwt": {"assertion"}, "allow": {"require"}, "groups": {"require"},
	"public": {"optional"}, "anonymous": {"optional"}, "previouskeys": {"secret_key_fallbacks"}, "oldkeys": {"secret_key_fallbacks"},
}

// elsewhere says where to set something that isn't an option of sesame.
var elsewhere = map[string]string{
	"trustedproxies": "it is a global option of Caddy: write it in servers, in the block at the beginning of the Caddyfile",
	"httponly":       "the session's cookie always is; remove the line",
	"alg":            "assertions are always signed with Ed25519 (EdDSA); remove the line",
	"algorithm":      "assertions are always signed with Ed25519 (EdDSA); remove the line",
	"tls":            "write tls=true behind the database in the dsn, as in tcp(host:3306)/database?tls=true",
	"ssl":            "write tls=true behind the database in the dsn, as in tcp(host:3306)/database?tls=true",
	"sslmode":        "write tls=true behind the database in the dsn, as in tcp(host:3306)/database?tls=true",
	"port":           "write it in the dsn, as in user:password@tcp(host:3306)/database",
	"matcher":        "write it behind sesame, as in sesame /admin/* {",
	"path":           "to protect some paths only, write a matcher behind sesame, as in sesame /admin/* {",
	"log":            "it is a directive of the site: write it beside sesame",
}

// plainName returns a name in the form of synonyms.
func plainName(name string) string {
	return strings.NewReplacer("-", "", "_", "", "=", "", ":", "").Replace(strings.ToLower(withoutValue(name)))
}

// synonym returns the hint on a name that other programs use for an option of
// this block.
func synonym(name string, options Options) (hint string, ok bool) {
	for _, meant := range synonyms[plainName(name)] {
		if _, isHere := options[meant]; isHere {
			return "; did you mean " + meant + "?", true
		}
	}
	return "", false
}

// synonymElsewhere is synonym for options of other blocks, or outside of
// sesame.
func synonymElsewhere(name string, tree Options) (hint string, ok bool) {
	plain := plainName(name)
	if where, isOther := elsewhere[plain]; isOther && !isElsewhere(name, "", tree) {
		return "; " + where, true
	}
	for _, meant := range synonyms[plain] {
		if isElsewhere(name, "", tree) {
			break
		}
		for _, block := range slices.Sorted(maps.Keys(tree)) {
			if _, isThere := tree[block].block[meant]; isThere {
				return "; did you mean " + meant + ", in the block of " + block + "?", true
			}
		}
	}
	return "", false
}

// isOff and isOn recognize words for a switch, for options that aren't
// switches.
func isOff(word string) bool {
	return slices.Contains([]string{"off", "false", "no", "none", "0"}, word)
}
func isOn(word string) bool { return slices.Contains([]string{"on", "true", "yes", "1"}, word) }
