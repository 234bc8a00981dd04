//go:build !unix

package operator

import (
	"errors"
	"io"
)

// dialSystemLog fails: there is no syslog.
func dialSystemLog() (io.WriteCloser, error) { return nil, errors.New("no syslog on this system") }
