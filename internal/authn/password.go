package authn

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Password is the scheme of user names and passwords.
type Password struct {
	config    *PasswordConfig
	hashers   *password.Hashers
	shared    *hashing.Shared
	names     *userstore.Via
	upgrade   func() upgrader
	now       func() time.Time
	logger    *zap.Logger
	challenge string
	hasForm   bool // the login page asks for passwords
	hashed    *atomic.Uint64
	warned    atomic.Int64 // when the log was told last of a hash that can't be checked
}

// upgrader is what writes hashes.
type upgrader interface {
	UpgradePassword(ctx context.Context, user *userstore.User, hash string) error
}

// Why a password is rejected.
const (
	passwordMalformed    = passwordReason("malformed")
	passwordCrossSite    = passwordReason("cross_site")
	passwordUnknownUser  = passwordReason("unknown_user")
	passwordInactiveUser = passwordReason("inactive_user")
	passwordWrong        = passwordReason("wrong_password")
	passwordUnusable     = passwordReason("unusable_password")
	passwordHash         = passwordReason("unsupported_hash")
	passwordSecondFactor = passwordReason("second_factor")
	passwordTooMany      = passwordReason("too_many")
)

// passwordReason is why a password is rejected, by its name in metrics and logs.
type passwordReason string

func (r passwordReason) String() string { return string(r) }

func (r passwordReason) Error() string {
	switch r {
	case passwordMalformed:
		return "the credentials of Basic are malformed"
	case passwordCrossSite:
		return "a page of another origin has sent the request"
	case passwordUnknownUser:
		return "no user, or several, have the name"
	case passwordInactiveUser:
		return "the user is inactive"
	case passwordUnusable:
		return "the user has no usable password"
	case passwordHash:
		return "the user's hash can't be checked"
	case passwordTooMany:
		return "the client has sent too many wrong passwords, and this one wasn't checked"
	case passwordSecondFactor:
		return "the user has a second factor that can't be asked for"
	}
	return "the password is wrong"
}

// Name implements Scheme.
func (*Password) Name() string { return "password" }

// Cookies implements ConfiguredScheme.
func (*Password) Cookies() []string { return nil }

// AddNeeds implements ConfiguredScheme.
func (s *Password) AddNeeds(needs *userstore.Needs) {
	needs.Vias = append(needs.Vias, s.names)
	if s.config.SecondFactor != SecondFactorIgnore {
		needs.ReadSecondFactors("password")
	}
	needs.SecondFactorTables = append(needs.SecondFactorTables, s.config.SecondFactorTables...)
	needs.AskSecondFactors = needs.AskSecondFactors || s.asksSecondFactor()
	needs.UpgradePassword = needs.UpgradePassword || s.config.UpgradeHash
}

// asksSecondFactor reports whether the login page asks for the code of a second
// factor.
func (s *Password) asksSecondFactor() bool {
	return s.hasForm && (s.config.SecondFactor == "" || s.config.SecondFactor == SecondFactorAsk)
}

// Identifiers are the names by which users log in: `username`, `email` or both.
func (s *Password) Identifiers() []string {
	names := make([]string, len(s.names.Fields))
	for i, field := range s.names.Fields {
		names[i] = string(field)
	}
	return names
}

// Close releases what the scheme shares with other handlers.
func (s *Password) Close() error { return s.shared.Release() }

// Challenges implements AuthorizationScheme.
func (s *Password) Challenges() []string {
	if !s.config.Basic {
		return nil
	}
	return []string{s.challenge}
}

// IsAuthorization reports whether credentials in Authorization are the scheme's.
func (s *Password) IsAuthorization(credentials string) bool {
	_, ok := claim.AfterScheme(credentials, "Basic")
	return ok && s.config.Basic
}

// Take implements Scheme. If there are several Basic credentials, none counts,
// because the user is ambiguous.
func (s *Password) Take(r *http.Request) []Credential {
	if !s.config.Basic || len(r.Header["Authorization"]) == 0 {
		return nil
	}
	taken := claim.TakeAuthorization(r.Header, s.IsAuthorization)
	if len(taken) == 0 {
		return nil
	}
	if len(taken) > 1 {
		return []Credential{s.rejected(r, RejectAs(Malformed, passwordMalformed))}
	}
	encoded, _ := claim.AfterScheme(taken[0], "Basic")
	identifier, password, err := parseBasic(encoded)
	if err != nil {
		return []Credential{s.rejected(r, RejectAs(Malformed, basicError{err}))}
	}
	// Once its user has entered a password, a browser sends Basic with each
	// request, including requests made by pages of other origins.
	if isOpener := len(r.Header["Upgrade"]) > 0; (isOpener || !origin.IsSafe(r.Method)) && origin.Of(r).IsOther() {
		return []Credential{s.rejected(r, Reject(passwordCrossSite))}
	}
	return []Credential{s.Credential(r, identifier, password)}
}

// basicError says why credentials of Basic are rejected.
type basicError struct{ error }

func (basicError) String() string { return passwordMalformed.String() }

// rejected is a credential that is rejected whatever the row is.
func (s *Password) rejected(r *http.Request, err error) *PasswordCredential {
	return &PasswordCredential{scheme: s, client: clientOf(r), err: err}
}

// Credential returns the credential of a user who has sent an identifier and a
// password, by Basic or otherwise.
func (s *Password) Credential(r *http.Request, identifier, password string) *PasswordCredential {
	c := &PasswordCredential{
		scheme: s, client: clientOf(r), identifier: identifier, password: password,
		credentials: s.shared.Verdicts.Of(identifier, password),
	}
	c.guessed = c.credentials.ID()
	c.subject, c.isKnown = s.shared.Verdicts.Subject(c.credentials)
	return c
}

// FormCredential returns the credential of a user who has sent a form of the login
// page, which can ask for a second factor: see ProvenPassword.
func (s *Password) FormCredential(r *http.Request, identifier, password string) *PasswordCredential {
	c := s.Credential(r, identifier, password)
	c.asks = s.asksSecondFactor()
	return c
}

// ProvenPassword is the error for the right password of a user who has a second
// factor that the login page can ask for. It is no rejection, and no user.
type ProvenPassword struct {
	user    token.PrimaryKey
	encoded string
	better  string
}

func (*ProvenPassword) Error() string { return "the password is right, and a second factor is missing" }

// PrimaryKey is the key of the user whose password it is.
func (p *ProvenPassword) PrimaryKey() token.PrimaryKey { return p.user }

// Encoded is the hash in the user's row.
func (p *ProvenPassword) Encoded() string { return p.encoded }

// Better is the hash that is to replace Encoded once the login is complete; empty for
// none.
func (p *ProvenPassword) Better() string { return p.better }

// clientOf is the client that a request is from.
func clientOf(r *http.Request) hashing.Client {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return hashing.Client(limit.ClientOf(address))
}

// PasswordCredential is a user name and a password.
type PasswordCredential struct {
	scheme               *Password
	client               hashing.Client
	err                  error // why it is rejected already
	identifier, password string
	asks                 bool // for a second factor; see ProvenPassword
	credentials          hashing.Credentials
	guessed              string // identifies the credentials among a client's guesses
	at                   time.Time

	// subject is the user whom the credentials last belonged to, if isKnown.
	subject hashing.Subject
	isKnown bool

	isUpgraded bool   // or was tried to be
	better     string // the hash to write once the second factor was right; empty for none
}

// Scheme implements Credential.
func (*PasswordCredential) Scheme() string { return new(Password).Name() }

// Subject implements Credential. The user of credentials that were right before
// is looked up by the primary key, together with those of other requests.
func (c *PasswordCredential) Subject(_ context.Context, at At) (userstore.Key, error) {
	c.at = at.Now
	switch {
	case c.err != nil:
		return userstore.Key{}, c.err
	case c.isKnown:
		return userstore.ByPrimaryKey(c.subject.PrimaryKey), nil
	}
	return c.scheme.names.Key(c.identifier), nil
}

// Prove implements Credential. It knows only credentials that were right before.
func (c *PasswordCredential) Prove(user *userstore.User) error {
	if user.Password != nil && c.scheme.shared.Verdicts.Accepts(c.credentials, user.PrimaryKey, *user.Password) {
		return nil
	}
	return Reject(passwordWrong)
}

// ProveSlowly implements SlowCredential.
func (c *PasswordCredential) ProveSlowly(ctx context.Context, user *userstore.User) error {
	if c.isKnown && !c.isStillNamed(user) {
		c.isKnown = false
		return ErrAgain // the user was renamed, or has gone: another one may have the name now
	}
	if user == nil || c.Prove(user) != nil || c.hasToHash(user) {
		if err := c.guess(ctx, user); err != nil {
			return err
		}
	} else if !c.isKnown {
		c.remember(user, *user.Password) // by this spelling of the name, too
	}
	c.password = "" // the request may take long
	return c.meetsSecondFactor(user)
}

// hasToHash reports whether credentials that were right before are hashed again, as
// no better hash could be written then: the login wasn't completed with a second factor.
func (c *PasswordCredential) hasToHash(user *userstore.User) bool {
	if !c.mayUpgrade(user) || !c.asksFor(user) {
		return false
	}
	isOld, err := c.scheme.hashers.MustUpdate(*user.Password)
	return err == nil && isOld
}

// isStillNamed reports whether a row still has the name that the user was found by.
func (c *PasswordCredential) isStillNamed(user *userstore.User) bool {
	return user != nil && valueOf(user, userstore.Field(c.subject.Field)) == c.subject.Value
}

// valueOf returns the value of an identifier's column; empty for NULL.
func valueOf(user *userstore.User, field userstore.Field) string {
	switch {
	case field == userstore.Username:
		return user.Username
	case user.Email != nil:
		return *user.Email
	}
	return ""
}

// meetsSecondFactor rejects the right password of a user who has a second factor,
// unless the login page can ask for it. Such a password is no guess. Its client may
// know why it is rejected, as Django's own login asks for the second factor then.
func (c *PasswordCredential) meetsSecondFactor(user *userstore.User) error {
	switch {
	case c.scheme.config.SecondFactor == SecondFactorIgnore || !user.HasSecondFactor():
		return nil
	case c.asksFor(user):
		return &ProvenPassword{user.PrimaryKey, *user.Password, c.better} // only a user who has a password has had it proven
	}
	return Stale{RejectAs(SecondFactor, passwordSecondFactor)}
}

// asksFor reports whether the login page asks a user for the second factor.
func (c *PasswordCredential) asksFor(user *userstore.User) bool {
	return c.asks && user.IsActive && user.HasSecondFactor()
}

// checked is the result of hashing a password.
type checked struct {
	err     error  // of Hashers.Verify
	upgrade string // the hash to write; empty for none
}

// guess hashes the password. user is nil for users who don't exist.
func (c *PasswordCredential) guess(ctx context.Context, user *userstore.User) error {
	guess := hashing.Guess{Client: c.client, User: "name " + c.credentials.Name(), Credentials: c.credentials}
	if user != nil {
		guess.User = "key " + user.PrimaryKey.String()
		if user.Password != nil {
			guess.Encoded = *user.Password
		}
	}
	guess.Threads = c.scheme.threads(guess.Encoded)
	var became checked
	isRight, err := c.scheme.shared.Check(ctx, guess, func() bool {
		c.scheme.hashed.Add(1)
		became = c.scheme.check(c.password, guess.Encoded, c.mayUpgrade(user))
		return became.err == nil
	})
	if many, ok := errors.AsType[*hashing.TooMany](err); ok {
		return &limit.Exceeded{Wait: many.Wait, Reason: Reject(passwordTooMany)} // which limit_failures counts
	}
	switch {
	case err != nil:
		return err
	case user == nil:
		return Reject(passwordUnknownUser)
	case !isRight:
		return c.scheme.whyNot(user, became.err)
	}
	c.remember(user, guess.Encoded)
	switch {
	case became.upgrade == "":
		return nil
	case c.asksFor(user):
		c.better = became.upgrade // the password alone must not end the user's sessions
		return nil
	}
	return c.write(ctx, user, became.upgrade)
}

// mayUpgrade reports whether a better hash of the password may be written.
func (c *PasswordCredential) mayUpgrade(user *userstore.User) bool {
	if !c.scheme.config.UpgradeHash || c.isUpgraded || user == nil || !user.IsActive || user.Password == nil {
		return false
	}
	return c.asksFor(user) || c.meetsSecondFactor(user) == nil
}

// check hashes a password, and compares it with a hash. The hash is empty if the
// user doesn't exist, or has no password; the check then takes as long.
func (s *Password) check(given, encoded string, mayUpgrade bool) checked {
	if encoded == "" {
		s.hashers.HardenRuntime(given)
		return checked{err: password.ErrUnusable}
	}
	mustUpdate, err := s.hashers.Verify(given, encoded)
	if err != nil || !mustUpdate || !mayUpgrade {
		return checked{err: err}
	}
	made, err := s.hashers.Make(given)
	if err != nil {
		return checked{} // bcrypt can't take the password; the hash stays
	}
	return checked{upgrade: made}
}

// argon2Threads is Argon2's parallelism by default: hashing one password takes so
// many CPUs, if there are.
const argon2Threads = 8

// threads is how many CPUs hashing takes at once, for a hash or for none.
func (s *Password) threads(encoded string) int {
	algorithm, err := password.Identify(encoded)
	if err != nil {
		algorithm = s.hashers.Settings().Hashers[0]
	}
	if algorithm == password.Argon2 {
		return argon2Threads
	}
	return 1
}

// warnInterval is the least time between two warnings of hashes that can't be
// checked.
const warnInterval = time.Minute

// whyNot returns why a password is rejected. It warns of a hash that can't be
// checked, once in a while.
func (s *Password) whyNot(user *userstore.User, err error) error {
	switch {
	case err == nil || errors.Is(err, password.ErrMismatch): // nil if another request has found it
		return Reject(passwordWrong)
	case errors.Is(err, password.ErrUnusable):
		return Reject(passwordUnusable)
	}
	now := s.now().UnixNano()
	if last := s.warned.Load(); now-last >= int64(warnInterval) && s.warned.CompareAndSwap(last, now) {
		s.logger.Warn("a user's password hash can't be checked, and the password is rejected",
			zap.Stringer("user", user.PrimaryKey), zap.Error(err))
	}
	return Reject(passwordHash)
}

// remember notes that the credentials belong to a user with a hash.
func (c *PasswordCredential) remember(user *userstore.User, encoded string) {
	for _, field := range c.scheme.names.Fields {
		value := valueOf(user, field)
		if strings.EqualFold(value, c.identifier) {
			c.subject = hashing.Subject{PrimaryKey: user.PrimaryKey, Field: string(field), Value: value}
			c.scheme.shared.Verdicts.Remember(c.credentials, c.subject, encoded)
			return
		}
	}
}

// write writes a better hash of the password, and has the row read again. If
// writing fails, the user is let in all the same.
func (c *PasswordCredential) write(ctx context.Context, user *userstore.User, hash string) error {
	c.isUpgraded = true
	err := c.scheme.upgrade().UpgradePassword(ctx, user, hash)
	switch {
	case err == nil:
		c.remember(user, hash)
		c.subject.PrimaryKey, c.isKnown = user.PrimaryKey, c.subject.Field != ""
		return ErrAgain
	case errors.Is(err, userstore.ErrChanged):
		return ErrAgain // the password isn't known to be right any more
	case ctx.Err() != nil:
		return ctx.Err()
	}
	c.scheme.logger.Warn("a better hash of a password could not be written", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
	return nil
}

// Origin implements Credential. A password can't be revoked, only changed, so it
// counts as made at the time of the request.
func (c *PasswordCredential) Origin() (fingerprint string, issued time.Time) { return "", c.at }

// Traits implements Credential.
func (c *PasswordCredential) Traits() Traits {
	return Traits{NeedsFresh: true, Guess: c.guessed, Reasons: passwordReasons}
}

var passwordReasons = &Reasons{UnknownUser: Reject(passwordUnknownUser), InactiveUser: Reject(passwordInactiveUser), Revoked: Reject(passwordWrong)}

// Interface guards
var (
	_ Config              = (*PasswordConfig)(nil)
	_ ConfiguredScheme    = (*Password)(nil)
	_ SlowCredential      = (*PasswordCredential)(nil)
	_ AuthorizationScheme = (*Password)(nil)
)
