package operator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// upstream is the address of an application, as a proxy dials it.
type upstream struct {
	Dial string `json:"dial"`
}

// address is the upstream by a name that all proxies to it have in common; empty for
// one that only a request tells.
func (u upstream) address() string {
	if strings.Contains(u.Dial, "{") {
		return ""
	}
	if port, ok := strings.CutPrefix(u.Dial, "localhost:"); ok {
		return "127.0.0.1:" + port
	}
	return u.Dial
}

// reach are the upstreams that requests come to, with the handler that sends them
// there.
type reach map[string]string

func (to reach) add(h *handlerJSON, path string) {
	for _, upstream := range h.Upstreams {
		if address := upstream.address(); address != "" && to[address] == "" {
			to[address] = path
		}
	}
}

// openReach follows requests through the sites of a server that have no sesame.
func openReach(routes []route, named map[string]route, path string, hasSesame func(route) bool) reach {
	w := newFlowWalk(named)
	for i, r := range routes {
		if !hasSesame(r) {
			w.route(r, path+".routes."+strconv.Itoa(i), &passage{})
		}
	}
	return w.open
}

// findOpen reports applications behind sesame that another site of the configuration
// leads to without it. An application that trusts Remote-User gets there what the
// client has sent.
func (w *flowWalk) findOpen(open reach) {
	for _, address := range slices.Sorted(maps.Keys(w.guarded)) {
		if path, ok := open[address]; ok {
			w.add(verdictWarn, fmt.Sprintf("%s, which is behind sesame here, gets requests of another site without it (%s), with any Remote-User that a client sends", address, path),
				"place sesame in front of it there as well, with optional if that site is for everyone")
		}
	}
}
