package page

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/placeholders"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// checkHelpURL checks that help_url is a link that leads somewhere, and not a
// script. Placeholders are allowed in parameters only, so that no request can
// change where the link leads.
func checkHelpURL(helpURL string) error {
	if helpURL == "" {
		return nil
	}
	place, parameters := splitHelpURL(helpURL)
	parsed, err := url.Parse(place)
	switch {
	case strings.Contains(place, "{"):
		return setting.Errorf("help_url", "help_url %q: placeholders can stand in its parameters only, as in https://app.example.com/links?next={http.request.uri}", helpURL)
	case err != nil:
		return setting.Errorf("help_url", "help_url %q: it must be an https: or mailto: URL, or a path", helpURL)
	case parsed.Scheme == "mailto" && parsed.Opaque == "":
		return setting.Errorf("help_url", "help_url %q: mailto: must be followed by an address", helpURL)
	case parsed.Scheme == "mailto", parsed.Scheme == "" && strings.HasPrefix(place, "/") && parsed.Host == "":
	case parsed.Scheme == "" && isHostLike(place):
		return setting.Errorf("help_url", "help_url %q: browsers read it as a path below the current page, or as a host with the scheme of that page: write https://%s",
			helpURL, strings.TrimLeft(helpURL, "/"))
	case parsed.Scheme == "":
		return setting.Errorf("help_url", "help_url %q: a path must begin with a slash: write /%s, or a whole URL with https:", helpURL, helpURL)
	case parsed.Scheme != "https" && parsed.Scheme != "http", parsed.Hostname() == "":
		return setting.Errorf("help_url", "help_url %q: it must be an https: or mailto: URL, or a path", helpURL)
	}
	if strings.Count(parameters, "{") != strings.Count(parameters, "}") {
		return setting.Errorf("help_url", "help_url %q: a brace of a placeholder is missing: write it as in https://app.example.com/links?next={http.request.uri}", helpURL)
	}
	for key := range placeholdersIn(parameters) {
		if err := placeholders.Check(key); err != nil {
			return setting.Errorf("help_url", "help_url %q: %w", helpURL, err)
		}
		if !isForHelp(key) {
			return setting.Errorf("help_url", "help_url %q: {%s} may hold a credential, or is unknown: "+
				"use those of the URL, such as {http.request.uri}, {http.request.host} and variables ({http.vars.*})", helpURL, key)
		}
	}
	return nil
}

// isHostLike reports whether a URL without a scheme begins with a host.
func isHostLike(place string) bool {
	host, _, _ := strings.Cut(strings.TrimLeft(place, "/"), "/")
	return strings.HasPrefix(place, "//") || strings.Contains(host, ".") && !strings.HasPrefix(place, ".")
}

// splitHelpURL splits the URL where its parameters begin, in the query or the
// fragment.
func splitHelpURL(helpURL string) (place, parameters string) {
	if i := strings.IndexAny(helpURL, "?#"); i >= 0 {
		return helpURL[:i], helpURL[i:]
	}
	return helpURL, ""
}

// placeholdersIn yields the placeholders of a text.
func placeholdersIn(text string) func(yield func(key string) bool) {
	return func(yield func(key string) bool) {
		var keys []string
		_, _ = caddy.NewEmptyReplacer().ReplaceFunc(text, func(key string, _ any) (any, error) {
			keys = append(keys, key)
			return "", nil
		})
		for _, key := range keys {
			if !yield(key) {
				return
			}
		}
	}
}

// isForHelp reports whether a placeholder may be used in a link. Header
// fields, cookies and the body may contain credentials.
func isForHelp(key string) bool {
	switch key {
	case "http.request.uri", "http.request.uri_escaped", "http.request.orig_uri", "http.request.host", "http.request.hostport", "http.request.scheme", "http.request.method":
		return true
	}
	for _, prefix := range []string{"http.request.uri.", "http.request.orig_uri.", "http.request.host.", "http.vars.", "http.regexp.", "env.", "system.hostname"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// HelpURL is help_url for a request that Caddy handles, with the values of its
// placeholders percent-encoded. clean removes tokens from a value.
func (p *Pages) HelpURL(r *http.Request, clean func(string) string) string {
	helpURL := p.config.HelpURL
	if !strings.Contains(helpURL, "{") {
		return helpURL
	}
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	place, parameters := splitHelpURL(helpURL)
	replaced, err := replacer.ReplaceFunc(parameters, func(key string, value any) (any, error) {
		text := caddy.ToString(value)
		if strings.HasSuffix(key, "_escaped") { // {%uri}
			if decoded, err := url.QueryUnescape(text); err == nil {
				text = decoded
			}
		}
		// Mail programs show a plus sign as it is.
		return strings.ReplaceAll(url.QueryEscape(clean(text)), "+", "%20"), nil
	})
	if err != nil {
		return place // unreachable: the function above has no error
	}
	return place + replaced
}

// IsHelp reports whether a request that Caddy handles is for the page of the
// same site that help_url links to.
func (p *Pages) IsHelp(r *http.Request) bool {
	if p.helpPath == "" || p.helpHost != "" && !strings.EqualFold(p.helpHost, r.Host) {
		return false
	}
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return r.URL.Path == p.helpPath || ok && original.URL.Path == p.helpPath
}

// setHelp stores the host and path of help_url, for IsHelp.
func (p *Pages) setHelp() error {
	if err := checkHelpURL(p.config.HelpURL); err != nil || p.config.HelpURL == "" {
		return err
	}
	place, _ := splitHelpURL(p.config.HelpURL)
	parsed, err := url.Parse(place)
	if err != nil || parsed.Scheme == "mailto" {
		return err
	}
	p.helpHost, p.helpPath = parsed.Host, parsed.Path
	if p.helpPath == "" {
		p.helpPath = "/"
	}
	return nil
}
