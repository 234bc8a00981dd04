package operator

import (
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
)

// checkRoutes is about the handlers of the site around sesame.
func (c *checker) checkRoutes() {
	findings := c.config.flowFindings(c.configured)
	c.findings = append(c.findings, findings...)
	if len(findings) == 0 {
		c.ok("routes", "what the site answers with is behind sesame")
	}
}

// flowFindings are those about the site that a handler is in.
func (c *configuration) flowFindings(of *configured) []finding {
	for _, flow := range c.flows {
		if strings.HasPrefix(of.path, flow.path+".") {
			return flow.findings
		}
	}
	return nil
}

// loggingModules are the handlers that can end a request in front of sesame, so
// that its access line has the whole URL, and what they are in a Caddyfile.
var loggingModules = map[string]string{
	"request_body":    "request_body (413)",
	"static_response": "redir, respond or abort",
	"error":           "error",
}

// loggingInFront are the directives in front of the handler that may end
// requests with a token.
func (c *configured) loggingInFront() []string {
	var names []string
	for module, name := range loggingModules {
		if slices.Contains(c.before, module) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkProxies is about the addresses that limit_failures counts by.
func (c *checker) checkProxies() {
	const check = "client_ip"
	if c.server == nil || !limit.TrustsInventedAddresses(c.server) {
		return
	}
	c.warn(check, "trusted_proxies is set without trusted_proxies_strict: a client can invent the address that limit_failures counts by, and have another's limited", limit.ProxyAdvice)
}
