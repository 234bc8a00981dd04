package rawuri

import "net/url"

// OwnTarget returns where a next parameter leads if that is a page of this
// site, or else the fallback. What browsers, proxies or apps could take for
// another host isn't: //host, /\host, encoded forms of these, another scheme,
// or anything with a control character, which browsers drop.
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
	// Decoded once more, the path must not begin with two slashes either.
	decoded := parsed.Path
	for range maxDecodings {
		if len(decoded) > 1 && (decoded[1] == '/' || decoded[1] == '\\') {
			return fallback
		}
		again, err := url.PathUnescape(decoded)
		if err != nil || again == decoded {
			break
		}
		decoded = again
	}
	return next
}

const (
	// maxTarget is the longest target that is taken: that of a long URL.
	maxTarget = 2048
	// maxDecodings is how often an app behind may decode a path.
	maxDecodings = 3
)
