package userstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// tlsFiles says how a server's certificate is checked, and which certificate the
// gateway presents, in addition to the DSN.
type tlsFiles struct {
	authorities string // PEM; empty for the system's
	cert, key   string // names of files
	serverName  string
}

// tlsFiles returns the TLS settings of a configuration. The authorities are
// read, so that a configuration that is loaded after their file changed gets
// another pool.
func (c *Config) tlsFiles() (tlsFiles, error) {
	files := tlsFiles{cert: c.TLSCert, key: c.TLSKey, serverName: c.TLSServerName}
	if c.TLSCA == "" {
		return files, nil
	}
	text, err := os.ReadFile(c.TLSCA)
	if err != nil {
		if strings.HasPrefix(c.TLSCA, "-----BEGIN") {
			return files, errors.New("tls_ca is a certificate itself: write it to a file, and name the file")
		}
		return files, fmt.Errorf("tls_ca: %w: name a file that Caddy's system user can read", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return files, fmt.Errorf("tls_ca: %s has no certificate in PEM: name the file with the certificate of the authority", c.TLSCA)
	}
	files.authorities = string(text)
	return files, nil
}

// validateTLS checks the options without reading the files.
func (c *Config) validateTLS() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		option := "tls_cert"
		if c.TLSCert == "" {
			option = "tls_key"
		}
		return setting.Errorf(option, "tls_cert and tls_key need each other: the certificate of this gateway, and its key")
	}
	return nil
}

// set makes connections use TLS, and check the server's certificate.
func (f tlsFiles) set(cfg *mysql.Config) error {
	if f == (tlsFiles{}) {
		return nil
	}
	switch cfg.TLSConfig {
	case "", "true":
	default:
		return fmt.Errorf("the dsn has tls=%s, which checks no certificate, and tls_ca or the like is set: "+
			"remove the parameter, or write tls=true", cfg.TLSConfig)
	}
	if cfg.Net == "unix" && f.serverName == "" {
		return errors.New("over a unix socket, TLS has no name to check: set tls_server_name, " +
			"or remove the other tls options, as a socket doesn't leave this machine")
	}
	cfg.TLSConfig = ""
	cfg.TLS = &tls.Config{ServerName: f.serverName, MinVersion: tls.VersionTLS12}
	if f.authorities != "" {
		cfg.TLS.RootCAs = x509.NewCertPool()
		cfg.TLS.RootCAs.AppendCertsFromPEM([]byte(f.authorities))
	}
	if f.cert == "" {
		return nil
	}
	if _, err := f.certificate(nil); err != nil {
		return err
	}
	cfg.TLS.GetClientCertificate = f.certificate
	return nil
}

// certificate reads the gateway's own certificate. It is read for each
// connection, since certificates are renewed.
func (f tlsFiles) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, setting.Errorf("tls_cert", "tls_cert and tls_key: %w: name the files with this gateway's certificate and with its key, both in PEM", err)
	}
	return &certificate, nil
}

// checksCertificate reports whether connections are made only to servers with
// a valid certificate.
func checksCertificate(cfg *mysql.Config) bool {
	return cfg.TLS != nil && !cfg.TLS.InsecureSkipVerify && !cfg.AllowFallbackToPlaintext
}
