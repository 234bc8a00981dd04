package sesame

import (
	"path"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// checkReservedPath rejects paths that no request has after Caddy and browsers
// have cleaned it, so that the gateway's pages could not be reached.
func (h *Handler) checkReservedPath() error {
	reserved := h.ReservedPath
	if reserved == "" || reserved == reservedOff || !strings.HasPrefix(reserved, "/") {
		return nil // or rejected as a whole
	}
	if i := strings.IndexAny(reserved, "*{}?#% \\"); i >= 0 {
		return setting.Errorf("reserved_path", "reserved_path %q: %q can't be in it: write a plain path, as %s", reserved, reserved[i:i+1], defaultReservedPath)
	}
	if cleaned := path.Clean(reserved); strings.TrimSuffix(reserved, "/") != cleaned && reserved != "/" {
		return setting.Errorf("reserved_path", "reserved_path %q: requests for it come as %s/: write that", reserved, strings.TrimSuffix(cleaned, "/"))
	}
	return nil
}
