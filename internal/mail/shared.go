package mail

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/secret"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// inUse has the Senders of this process by their settings, so that a reload neither
// loses nor repeats queued mails.
var inUse = caddy.NewUsagePool()

// former are the Senders that no configuration uses any more, and that still
// have mails to send.
var former struct {
	mu      sync.Mutex
	senders []*Sender
}

// Acquire returns the Sender of a configuration, which all handlers with the
// same settings share. It replaces placeholders and reads files, but doesn't
// connect: a mail server that is away keeps no gateway from starting. Each call
// needs one Release.
func Acquire(c *Config, log *zap.Logger) (*Sender, error) {
	s, err := c.provisioned()
	if err != nil {
		return nil, err
	}
	value, _, err := inUse.LoadOrNew(s.key(), func() (caddy.Destructor, error) { return newSender(s, log), nil })
	if err != nil {
		return nil, fmt.Errorf("sharing a mail server: %w", err)
	}
	sender := value.(*Sender)
	sender.logger.Store(log)
	if s.plaintext && !s.isLocal() {
		log.Warn("mails are sent unencrypted, and everyone on the way can use the links in them: "+
			"remove smtp_tls off, and use a server with TLS", zap.String("server", s.address()))
	}
	return sender, nil
}

// provisioned returns the settings of a configuration, with placeholders
// replaced and files read.
func (c *Config) provisioned() (settings, error) {
	s, err := c.resolve(secret.Resolve)
	if err != nil {
		return s, err
	}
	s.authorities, err = c.readAuthorities()
	return s, setting.Of("smtp_ca", err)
}

// Release releases a Sender that Acquire returned. The last one ends it: what is
// queued is still sent, by the workers that it has. If the process ends, Release
// waits for them, and for those of former configurations, for some seconds.
func (s *Sender) Release() error {
	if _, err := inUse.Delete(s.key); err != nil {
		return fmt.Errorf("releasing a mail server: %w", err)
	}
	if caddy.Exiting() {
		drainFormer()
	}
	return nil
}

// Destruct is called by UsagePool after the last Release.
func (s *Sender) Destruct() error {
	s.close()
	former.mu.Lock()
	defer former.mu.Unlock()
	former.senders = append(slices.DeleteFunc(former.senders, (*Sender).isDrained), s)
	return nil
}

// drainFormer drains all Senders that no configuration uses.
func drainFormer() {
	former.mu.Lock()
	defer former.mu.Unlock()
	var draining sync.WaitGroup
	for _, s := range former.senders {
		draining.Go(s.drain)
	}
	draining.Wait()
	former.senders = nil
}

// key identifies settings without holding the password.
func (s *settings) key() [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%#v", *s))
}
