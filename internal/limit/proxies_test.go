package limit

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestInventedAddressesAreFoundInConfigurations(t *testing.T) {
	t.Parallel()
	const proxies = `"trusted_proxies": {"source": "static", "ranges": ["10.0.0.0/8"]}`
	for _, test := range []struct {
		name, server string
		want         bool
	}{
		{"no proxy is trusted", `{}`, false},
		{"only strict", `{"trusted_proxies_strict": 1}`, false},
		{"a proxy is trusted", `{` + proxies + `}`, true},
		{"a proxy is trusted strictly", `{` + proxies + `, "trusted_proxies_strict": 1}`, false},
		{"Unix sockets are trusted", `{"trusted_proxies_unix": true}`, true},
		{"Unix sockets are trusted strictly", `{"trusted_proxies_unix": true, "trusted_proxies_strict": 1}`, false},
		{"a field of one address", `{` + proxies + `, "client_ip_headers": ["CF-Connecting-IP"]}`, false},
		{"a field of one address, or else that of many", `{` + proxies + `, "client_ip_headers": ["CF-Connecting-IP", "x-forwarded-for"]}`, true},
	} {
		server := new(caddyhttp.Server)
		if err := json.Unmarshal([]byte(test.server), server); err != nil {
			t.Fatal(err)
		}
		if got := TrustsInventedAddresses(server); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}
