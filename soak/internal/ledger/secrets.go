package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// Secrets look for what must be in no log.
type Secrets struct {
	begin *regexp.Regexp
	texts []string
}

// NewSecrets looks for words of base64 that begin with one of some prefixes, as
// tokens and sessions do, and for other texts.
func NewSecrets(prefixes []string, texts ...string) *Secrets {
	begin := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		begin[i] = regexp.QuoteMeta(prefix)
	}
	return &Secrets{regexp.MustCompile("(" + strings.Join(begin, "|") + `)[\w-]{12,}`), texts}
}

// LookIn reads a file, and returns its size and the first line with a secret.
func (s *Secrets) LookIn(path string) (size int64, found string, err error) {
	file, err := os.Open(path) //nolint:gosec // the caller says where
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		size += int64(len(line))
		if found == "" && s.AreIn(line) {
			found = line
		}
		if errors.Is(err, io.EOF) {
			return size, found, nil
		}
		if err != nil {
			return size, found, fmt.Errorf("reading %s: %w", path, err)
		}
	}
}

// AreIn reports whether a secret is in a text.
func (s *Secrets) AreIn(text string) bool {
	if s.begin.MatchString(text) {
		return true
	}
	for _, secret := range s.texts {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}
