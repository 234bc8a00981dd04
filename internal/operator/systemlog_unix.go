//go:build unix

package operator

import (
	"io"
	"log/syslog"
	"os"
)

// dialSystemLog opens syslog with the facility for authentication, whose file only
// administrators can read. SESAME_SYSLOG_SOCKET names another socket.
func dialSystemLog() (io.WriteCloser, error) {
	const tag = "caddy-sesame"
	network := ""
	socket := os.Getenv("SESAME_SYSLOG_SOCKET")
	if socket != "" {
		network = "unixgram"
	}
	return opened(syslog.Dial(network, socket, syslog.LOG_NOTICE|syslog.LOG_AUTHPRIV, tag))
}

// opened returns a nil interface, not an interface with a nil in it, if the log
// couldn't be opened.
func opened(w *syslog.Writer, err error) (io.WriteCloser, error) {
	if err != nil {
		return nil, err
	}
	return w, nil
}
