package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// configReader reads a configuration as JSON, from a file or, for -, from stdin. It
// returns the names of the file and of the adapter, too. caddycmd.LoadConfig is a
// configReader.
type configReader func(file, adapter string) (config []byte, usedFile, usedAdapter string, err error)

const adjacentFile = "Caddyfile"

// readConfig does what caddycmd.LoadConfig does, but without its log lines, which
// would precede a command's answer.
func readConfig(file, adapter string) ([]byte, string, string, error) {
	if adapter != "" && file == "" {
		return nil, "", "", errors.New("--adapter goes with --config: name the file that it adapts")
	}
	text, file, err := readConfigFile(file)
	if err != nil || len(text) == 0 {
		return nil, file, "", err
	}
	if adapter == "" && isCaddyfile(file) {
		adapter = "caddyfile"
	}
	if adapter == "" {
		if err := json.Unmarshal(text, new(any)); err != nil {
			return nil, "", "", fmt.Errorf("reading %s: it is not JSON: %w; if it is another format, name its --adapter", file, err)
		}
		return text, file, "", nil
	}
	a := caddyconfig.GetAdapter(adapter)
	if a == nil {
		return nil, "", "", fmt.Errorf("--adapter %q: this Caddy has no such adapter", adapter)
	}
	adapted, _, err := a.Adapt(text, map[string]any{"filename": file})
	if err != nil {
		return nil, "", "", fmt.Errorf("adapting %s: %w", file, err)
	}
	return adapted, file, adapter, nil
}

// readConfigFile reads a file. Without a name, it reads the Caddyfile in the
// current directory, if there is one.
func readConfigFile(file string) ([]byte, string, error) {
	switch file {
	case "-":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, "", fmt.Errorf("reading the configuration from stdin: %w", err)
		}
		return text, file, nil
	case "":
		text, err := os.ReadFile(adjacentFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", nil
		}
		return text, adjacentFile, err
	default:
		text, err := os.ReadFile(file) //nolint:gosec // the caller of the command chooses
		if err != nil {
			return nil, "", fmt.Errorf("reading the configuration: %w", err)
		}
		return text, file, nil
	}
}

// isCaddyfile reports whether Caddy would take a file for a Caddyfile by its name.
func isCaddyfile(file string) bool {
	name := strings.ToLower(filepath.Base(file))
	return filepath.Ext(name) != ".json" && (strings.HasPrefix(name, "caddyfile") || strings.HasSuffix(name, ".caddyfile"))
}
