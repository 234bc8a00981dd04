package identity

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// UnmarshalHeaders reads the block of the option identity: header fields and
// their values.
func UnmarshalHeaders(d *caddyfile.Dispenser) ([]Header, error) {
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var headers []Header
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		header := Header{Name: d.Val()}
		if !d.AllArgs(&header.Value) {
			return nil, d.ArgErr()
		}
		headers = append(headers, header)
	}
	if len(headers) == 0 {
		return nil, d.Err("identity is empty: it needs lines of a header field and its value, or leave it out")
	}
	return headers, nil
}
