package child

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// TempDir makes a directory for this program's temporary files, and removes
// the directories of earlier runs that have ended without removing theirs. The
// prefix must be the same each time. The caller removes the directory.
func TempDir(prefix string) (string, error) {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"-*-*"))
	if err != nil {
		return "", fmt.Errorf("looking for former directories: %w", err)
	}
	for _, dir := range all {
		of, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix+"-"), "-")
		pid, err := strconv.Atoi(of)
		if err != nil || pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		_ = os.RemoveAll(dir) // another user's is not ours to remove
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s-%d-", prefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("making a temporary directory: %w", err)
	}
	return dir, nil
}
