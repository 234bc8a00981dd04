package emaillink

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/loglimit"
	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/internal/seal"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Links sends links to users who ask for one, and knows what they are signed with.
type Links struct {
	env     Environment
	base    string // of URLs, without a slash at the end
	maxAge  time.Duration
	sealer  *seal.Sealer // of Pendings
	counts  *counts
	lines   loglimit.Limit // about links that aren't sent
	mail    Sender
	release func() error // the mail server
	tokens  atomic.Pointer[token.Tokens]
	queue   queue
	ctx     context.Context // of the work in the background
	stop    context.CancelFunc
	working sync.WaitGroup
}

// Environment has what links are made with.
type Environment struct {
	// Users returns the store.
	Users func() Users

	// Accepts says whether a user may log in: active, and as the site requires it.
	Accepts func(*userstore.User) error

	// Site returns the settings of the site's tokens. It fails while the store can't
	// be asked how primary keys are written.
	Site func(ctx context.Context) (token.Settings, error)

	// SiteName is what mails call the site; empty for its host.
	SiteName string

	// Path is that of the login page, and TokenName the parameter of tokens.
	Path, TokenName string

	// Key signs and encrypts what pages and mails hold.
	Key []byte

	Now    func() time.Time
	Logger *zap.Logger

	// Mail sends the mails; nil for the server of the configuration.
	Mail Sender

	// Counts are what the requests and links are counted in; nil if nothing reads them.
	Counts *Counts
}

// Users finds users. It is a *userstore.MySQL.
type Users interface {
	FindByAddress(ctx context.Context, addresses []string) (map[string][]*userstore.User, error)
}

// A Sender queues mails, and returns at once. It is a *mail.Sender.
type Sender interface {
	Send(m mail.Message) error
}

// Language has the texts of mails. It is a *page.Language.
type Language interface {
	Tag() string
	Dir() string
	Text(key string, pairs ...string) string
	Plural(key string, n int, pairs ...string) string
}

// New makes the links of a configuration, which is valid. Close ends them.
func New(cfg *Config, env Environment) (*Links, error) {
	env.Counts = cmp.Or(env.Counts, new(Counts))
	l := &Links{env: env, sealer: seal.New(env.Key, "pending"), maxAge: cfg.maxAge(), mail: env.Mail, lines: loglimit.Limit{Most: mostLines, Per: linesPer}, release: func() error { return nil }}
	var err error
	if l.base, err = cfg.resolveBaseURL(); err != nil {
		return nil, err
	}
	key := countsKey{l.base, defaultLimitAddress, defaultLimitClient, defaultLimitTotal}
	for limit, configured := range map[*Limit]*Limit{&key.address: cfg.LimitAddress, &key.client: cfg.LimitClient, &key.total: cfg.LimitTotal} {
		if configured != nil {
			*limit = *configured
		}
	}
	if l.counts, err = acquireCounts(key); err != nil {
		return nil, fmt.Errorf("counting links: %w", err)
	}
	if l.mail == nil {
		sender, err := mail.Acquire(&cfg.Mail, env.Logger.Named("mail"))
		if err != nil {
			_ = l.counts.release() // err has the cause
			return nil, setting.In("mail", err)
		}
		l.mail, l.release = sender, sender.Release
	}
	l.queue.dropped = &l.env.Counts.requests[resultDropped]
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l, nil
}

// Close ends the work in the background. What waits for a look-up is given up.
func (l *Links) Close() error {
	l.stop()
	l.working.Wait()
	if n := l.queue.clear(); n > 0 {
		l.env.Counts.requests[resultDropped].Add(uint64(n))
		l.env.Logger.Warn("links that were asked for weren't sent, since the configuration has ended", zap.Int("links", n))
	}
	err := l.release()
	if countsErr := l.counts.release(); err == nil {
		err = countsErr
	}
	return err
}

// MaxAge is how long links and codes are valid.
func (l *Links) MaxAge() time.Duration { return l.maxAge }

// A Request asks for a link.
type Request struct {
	// Address is where the link goes, if users have it. User is the primary key of
	// the only user whom it is for, or empty.
	Address, User string

	Client   limit.Client
	Tie      string // the browser's cookie
	Scope    string // of the page that the link leads to
	Next     string
	Length   session.Length
	Language Language

	// Mailed is called for each user whom a mail was queued for; nil for nothing.
	Mailed func(*userstore.User)
}

// waiting is a request in the queue.
type waiting struct {
	Request
	pending *Pending
}

// Ask queues a link for sending. No user is looked up before the answer, so that
// answer and time are the same for every address. The error is a *limit.Exceeded for a client
// that has asked too often. Over the other limits, there is no error and no mail.
func (l *Links) Ask(r Request) (*Pending, error) {
	pending := l.newPending(r.Address, r.User, r.Length)
	v, wait := l.counts.take(uint64(r.Client), addressKey(r.Address), l.env.Now())
	became := resultAccepted
	switch v {
	case overClient:
		l.env.Counts.requests[resultOverClient].Add(1)
		return nil, &limit.Exceeded{Wait: wait}
	case overAddress:
		became = resultOverAddress
	case overTotal:
		became = resultOverTotal
	default:
		if !l.queue.join(&waiting{r, pending}, func() { l.working.Go(l.work) }) {
			became = resultDropped
		}
	}
	l.env.Counts.requests[became].Add(1)
	if became != resultAccepted {
		l.tellUnsent(became, r.Address)
	}
	return pending, nil
}

// tellUnsent logs that a link isn't sent.
func (l *Links) tellUnsent(why result, address string) {
	if omitted, ok := l.lines.Take(why.String()); ok {
		l.env.Logger.Warn("a link that was asked for isn't sent",
			zap.Stringer("reason", why), zap.String("domain", domainOf(address)), zap.Int("omitted", omitted))
	}
}

// mostLines of one kind about links that aren't sent are logged in linesPer, since
// clients can ask for as many as they like.
const (
	mostLines = 10
	linesPer  = time.Minute
)

// seed is the key of the process under which addresses are hashed.
var seed = maphash.MakeSeed()

// addressKey identifies an address in the limits. Case doesn't count there.
func addressKey(address string) uint64 { return maphash.String(seed, userstore.FoldAddress(address)) }

// domainOf is the part of an address that may be logged.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// IsAddress reports whether a text may be an e-mail address. It is the same for
// every text of a form, and says nothing of users.
func IsAddress(text string) bool {
	at := strings.LastIndexByte(text, '@')
	return at > 0 && at < len(text)-1 && len(text) <= longestAddress && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// longestAddress is that of RFC 5321, section 4.5.3.1.3, without angle brackets.
const longestAddress = 254
