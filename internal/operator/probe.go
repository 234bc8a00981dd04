package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// defaultProbe is the health check of the site that the container image has.
const defaultProbe = "http://localhost:8080/_sesame/health"

func (m maker) probeCommand() *cobra.Command {
	cmd := m.command("probe [URL]", "Asks a running gateway for a health check", `
Requests the URL of a health check, and ends with 0 if the answer is 2xx, and with
1 otherwise. It is for containers without curl, whose supervisor runs a command to
see whether they work. It reads no configuration.

Without URL, that is `+defaultProbe+`. For a site with another
name, --connect says where the gateway listens:

  caddy sesame probe https://app.example.com/_sesame/health --connect localhost:443
`, cobra.MaximumNArgs(1), runProbe)
	cmd.Flags().String("connect", "", "Host and port to connect to (default: those of the URL)")
	cmd.Flags().Duration("timeout", defaultTimeout, "How long to wait for the answer")
	return cmd
}

// runProbe is `caddy sesame probe`.
func runProbe(cmd *command, args []string) (int, error) {
	address := defaultProbe
	if len(args) > 0 {
		address = args[0]
	}
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return exitFailed, fmt.Errorf("%q is no URL of a health check, as %s", address, defaultProbe)
	}
	timeout, err := cmd.timeout()
	if err != nil {
		return exitFailed, err
	}
	ctx, cancel := context.WithTimeout(cmd.context(), timeout)
	defer cancel()
	status, err := probe(ctx, address, cmd.text("connect"))
	if err != nil {
		return exitFailed, err
	}
	fmt.Fprintln(cmd.OutOrStdout(), status)
	return exitOK, nil
}

// probe requests a URL, and returns the status and the text of an answer that is
// 2xx. The connection goes to another address than the URL's if one is given.
func probe(ctx context.Context, address, connect string) (string, error) {
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
				if connect != "" {
					to = connect
				}
				return new(net.Dialer).DialContext(ctx, network, to)
			},
		},
		// A redirect isn't the check's answer: it may lead to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("the gateway doesn't answer: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	said := strings.TrimSpace(answer.Status + " " + strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the answer: %w", err)
	case answer.StatusCode/100 == 3:
		return "", fmt.Errorf("the answer is %s, a redirect to %q: give the URL of the health check itself", answer.Status, answer.Header.Get("Location"))
	case answer.StatusCode/100 != 2:
		return "", errors.New(said)
	default:
		return said, nil
	}
}
