package rawuri

import (
	"net/url"
	"strings"
	"unicode"
)

// OwnTarget returns the target of a next parameter if it is a page of this site, and
// otherwise the fallback. It rejects every target that browsers, proxies or
// applications could take for one on another host: //host, /\host, encoded forms of
// these, another scheme, and control characters, which browsers drop.
func OwnTarget(next, fallback string) string {
	if next == "" || next[0] != '/' || len(next) > maxTarget {
		return fallback
	}
	for i := range len(next) {
		if next[i] <= ' ' || next[i] == 0x7f || next[i] == '\\' {
			return fallback
		}
	}
	parsed, err := url.Parse(next)
	if err != nil || parsed.Scheme != "" || parsed.Host != "" || parsed.User != nil || parsed.Opaque != "" {
		return fallback
	}
	// Decoded once more, the path must not be another host's either.
	decoded := parsed.Path
	for range maxDecodings {
		if looksLikeHost(decoded) {
			return fallback
		}
		decoded = decodeParameter(decoded)
	}
	return next
}

// looksLikeHost reports whether browsers could take the start of a path for a
// host: it has two slashes, of either kind, or a control character, as browsers
// drop some of those and see two slashes then.
func looksLikeHost(path string) bool {
	if len(path) > 1 && (path[1] == '/' || path[1] == '\\') {
		return true
	}
	return strings.ContainsFunc(path, unicode.IsControl)
}

const (
	// maxTarget is the length of the longest accepted target: that of a long URL.
	maxTarget = 2048
	// maxDecodings is how often an application may decode a path.
	maxDecodings = 3
)
