package operator

import (
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

// flowFindings returns the findings about the site that the handler is in.
func (c *configuration) flowFindings(of *configured) []finding {
	for _, flow := range c.flows {
		if strings.HasPrefix(of.path, flow.path+".") {
			return flow.walk.findings
		}
	}
	return nil
}

// checkProxies is about the addresses that limit_failures counts by.
func (c *checker) checkProxies() {
	const check = "client_ip"
	if c.server == nil || !limit.TrustsInventedAddresses(c.server) {
		return
	}
	c.warn(check, "trusted_proxies is set without trusted_proxies_strict: a client can invent the address that limit_failures counts by, and have another's limited", limit.ProxyAdvice)
}
