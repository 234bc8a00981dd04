package sesame

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// isValidating reports whether this process is `caddy validate`, or `caddy adapt
// --validate`: it provisions a configuration, and runs none. Caddy doesn't tell
// modules.
func isValidating() bool {
	args := os.Args[min(1, len(os.Args)):]
	first := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	if first < 0 {
		return false
	}
	isOn := func(arg string) bool { return arg == "--validate" || arg == "--validate=true" }
	return args[first] == "validate" || args[first] == "adapt" && slices.ContainsFunc(args, isOn)
}

// noteSkipped says which checks a validation has left out, as the database
// can't be reached from where it runs.
func (h *Handler) noteSkipped(ctx context.Context, store *userstore.MySQL) {
	if _, err := store.Schema(ctx); errors.Is(err, userstore.ErrUnavailable) {
		h.logger.Warn("validated without the database, which can't be reached: "+
			"not checked are the connection, the table, its columns, the packer, and the rights; `caddy sesame check` does that",
			zap.Error(err))
	}
}
