package identity

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// trustedNames are the header fields in which gateways and servers commonly
// pass the identity of the user to applications. Applications trust them, so
// they are removed from the requests of clients, whatever identity names. A
// star at the end matches any rest of the name.
//
// Fields that client programs themselves send are not listed: X-Auth-Token,
// X-Auth-Key, X-User-Id and X-User-Email, which are parts of an application's
// own login, X-Api-Key, and Impersonate-*, which Kubernetes grants to users it
// knows.
var trustedNames = []string{
	// Authelia, Apache, IIS, most applications with a "remote user"; the second
	// with Kubernetes, the third with Apache after an internal redirect, the last
	// with Oracle Access Manager.
	"Remote-*", "X-Remote-*", "Redirect-*", "Http-Remote-*", "OAM-Remote-User",

	// oauth2-proxy, Traefik's forward auth, Jenkins, SonarQube, Rundeck.
	"X-Forwarded-User", "X-Forwarded-User-Id", "X-Forwarded-Username", "X-Forwarded-Email", "X-Forwarded-Mail", "X-Forwarded-Name",
	"X-Forwarded-Login", "X-Forwarded-Group", "X-Forwarded-Groups", "X-Forwarded-Role", "X-Forwarded-Roles",
	"X-Forwarded-Preferred-Username", "X-Forwarded-Uuid", "X-Forwarded-Access-Token", "X-Forwarded-Id-Token",

	// nginx's auth_request with oauth2-proxy; Keycloak Gatekeeper; Traefik.
	"X-Auth-Request-*",
	"X-Auth-User", "X-Auth-Username", "X-Auth-Userid", "X-Auth-Email", "X-Auth-Name",
	"X-Auth-Group", "X-Auth-Groups", "X-Auth-Role", "X-Auth-Roles", "X-Auth-Subject",

	// Grafana, Gitea, FreshRSS.
	"X-Webauth", "X-Webauth-*",

	// Kong, Envoy, Apache APISIX, Google's Endpoints; YunoHost; Sandstorm.
	"X-Authenticated-*", "Authenticated-User", "X-Consumer-*", "X-Credential-Identifier",
	"X-Userinfo", "X-Endpoint-Api-Userinfo", "X-Apigateway-Api-Userinfo",
	"Ynh-User", "Ynh-User-*", "X-Sandstorm-*",

	// LemonLDAP::NG, whose fields Tiny Tiny RSS, GLPI and others read.
	"Auth-User", "Auth-Mail", "Auth-Cn", "Auth-Name", "Auth-Groups", "User-Name", "User-Mail",

	// Ory Oathkeeper, OpenSearch and others.
	"X-User", "X-User-Name", "X-User-Group", "X-User-Groups", "X-User-Role", "X-User-Roles",
	"X-Proxy-User", "X-Proxy-Roles", "X-SSO-User",

	// authentik, Vouch, Pomerium, caddy-security.
	"X-Authentik-*", "X-Vouch-*", "X-Pomerium-*", "X-Token-User-*", "X-Token-Subject",

	// Google's IAP, AWS's load balancer, Azure's App Service, Cloudflare Access,
	// Tailscale.
	"X-Goog-Authenticated-*", "X-Goog-Iap-*", "X-Amzn-Oidc-*", "X-Ms-Client-Principal", "X-Ms-Client-Principal-*",
	"X-Ms-Token-*", "Cf-Access-*", "Tailscale-*", "X-Tailscale-*",

	// Shibboleth, mod_auth_openidc, mod_auth_mellon, SiteMinder, WebSEAL.
	"Shib-*", "Eppn", "Oidc-Claim-*", "Oidc-Access-Token", "Mellon-*", "Sm-User", "Sm-User-*", "Sm-Userdn", "Sm-Universalid",
	"Iv-User", "Iv-Groups", "Iv-Creds",

	// Certificates of clients: RFC 9440, nginx, Apache, HAProxy, Traefik, Envoy,
	// Azure.
	"Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Client-Cert-*", "X-Client-Certificate",
	"X-Client-Dn", "X-Client-Verify", "X-Client-Cn", "Ssl-Client-*", "X-Ssl-Client-*", "X-Ssl-Cert",
	"X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-*", "X-Arr-ClientCert",
}

// trusted is trustedNames, folded.
var trusted = foldNames(trustedNames)

// IsTrusted reports whether a header field of a client is removed because
// applications commonly trust it.
func IsTrusted(name string) bool { return trusted.has(name) }

// foldedNames is a set of folded names.
type foldedNames struct {
	exact    map[string]struct{}
	prefixes [256][]string // by their first letter or digit
	starts   [256]bool     // whether any name starts with a letter or digit
}

func foldNames(names []string) *foldedNames {
	set := &foldedNames{exact: make(map[string]struct{}, len(names))}
	for _, name := range names {
		prefix, isPrefix := strings.CutSuffix(name, "*")
		folded := fold(prefix)
		set.starts[folded[0]] = true
		if isPrefix {
			set.prefixes[folded[0]] = append(set.prefixes[folded[0]], folded)
		} else {
			set.exact[folded] = struct{}{}
		}
	}
	return set
}

// usualLength is at least the length of most names of header fields.
const usualLength = 64

// has reports whether a name, once folded, is in the set. It allocates only for
// names that are longer than usual.
func (s *foldedNames) has(name string) bool {
	i := 0
	for ; i < len(name); i++ {
		if first, ok := foldByte(name[i]); ok {
			if !s.starts[first] {
				return false
			}
			break
		}
	}
	var room [usualLength]byte
	folded := appendFolded(room[:0], name[i:])
	if len(folded) == 0 {
		return false
	}
	if _, ok := s.exact[string(folded)]; ok {
		return true
	}
	for _, prefix := range s.prefixes[folded[0]] {
		if len(folded) >= len(prefix) && string(folded[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// Pass exempts fields from removal that applications commonly trust: by name,
// or by the beginning of names with a star at the end. Other spellings of an
// exempted field are still removed. The error names the option.
func (id *Fields) Pass(names []string) error {
	for _, name := range names {
		prefix, isPrefix := strings.CutSuffix(name, "*")
		folded := fold(prefix)
		switch {
		case name == "*":
			return errors.New("pass_header \"*\": it is not a valid header field name, and would let clients set every field: name the fields that a proxy in front sets")
		case strings.Contains(prefix, "*"):
			return fmt.Errorf("pass_header %q: a star can stand at the end only, as in X-Auth-Request-*", name)
		case !httpguts.ValidHeaderFieldName(prefix) || folded == "":
			return fmt.Errorf("pass_header %q: it is not a valid header field name", name)
		case folded == foldedProxyAuthorization:
			return fmt.Errorf("pass_header %s: this field is for proxies, not for applications (RFC 9110, section 11.7.2), and is never passed on", name)
		case slices.ContainsFunc(id.folded, func(ours string) bool {
			return ours == folded || isPrefix && strings.HasPrefix(ours, folded)
		}):
			return fmt.Errorf("pass_header %s: the gateway itself sets this field, so no client may; remove it here, or name another field in identity or assertion", name)
		case isPrefix && !anyHasPrefix(trusted, folded), !isPrefix && !trusted.has(name) && folded != foldedAuthorization:
			return fmt.Errorf("pass_header %s: the gateway passes this field on anyway; check its spelling, or leave it out", name)
		}
		if isPrefix {
			id.passedPrefixes = append(id.passedPrefixes, http.CanonicalHeaderKey(prefix))
		} else {
			id.passed = append(id.passed, http.CanonicalHeaderKey(name))
		}
		id.passesCredentials = id.passesCredentials || !isPrefix && folded == foldedAuthorization
	}
	return nil
}

// anyHasPrefix reports whether names of the set begin with prefix, or are all
// covered by a shorter prefix.
func anyHasPrefix(set *foldedNames, prefix string) bool {
	for name := range set.exact {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.ContainsFunc(set.prefixes[prefix[0]], func(other string) bool {
		return strings.HasPrefix(other, prefix) || strings.HasPrefix(prefix, other)
	})
}

// passes reports whether an option lets a client's field through.
func (id *Fields) passes(name string) bool {
	if slices.Contains(id.passed, name) {
		return true
	}
	return slices.ContainsFunc(id.passedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
