package authn

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// PasswordConfig lets users in by their user name and their password in Django.
// The password is checked against the hash in the user's row, as Django does.
//
// Hashing is expensive on purpose. So a bounded number of checks is at work at
// once, others wait, and a client that sends wrong passwords waits longer and
// longer. Once a client's password was right, it isn't hashed again as long as
// the user has it.
type PasswordConfig struct {
	// Whether `Authorization: Basic` is read, for programs such as curl, git and
	// WebDAV clients. All such credentials end at the gateway then. Default: false.
	Basic bool `json:"basic,omitempty"`

	// The names of users, in this order: `username`, `email`. An address that
	// several users have finds none of them. Default: `username`.
	Identifier []string `json:"identifier,omitempty"`

	// Django's PASSWORD_HASHERS, each by the name that its hashes begin with:
	// `pbkdf2_sha256`, `pbkdf2_sha1`, `argon2`, `bcrypt_sha256`, `bcrypt`,
	// `scrypt`, `md5`, `sha1`, `unsalted_md5`, `unsalted_sha1`. Hashes of other
	// hashers are rejected. The first hasher makes new hashes. Default: Django's
	// default.
	Hashers []string `json:"hashers,omitempty"`

	// Django's version, such as `5.2`. It decides how much work a new hash takes:
	// for a user who doesn't exist, and when `upgrade_hash` writes one. Default:
	// the newest that is known.
	DjangoVersion string `json:"django_version,omitempty"`

	// Whether a hash that Django would replace at a login is replaced: one of
	// another hasher than the first, or with fewer iterations. That ends the
	// user's sessions and tokens, as it does in Django. Default: false.
	UpgradeHash bool `json:"upgrade_hash,omitempty"`

	// How many passwords are hashed at a time. Argon2 takes 100 MiB for each.
	// Default: half as many as there are CPUs, at least 1.
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	// What to do with the right password of a user who has a second factor in
	// Django, with django-otp or allauth: `ask`, which has the login page ask for the
	// code, and rejects the password over Basic; `reject`; or `ignore`, which accepts
	// the password alone. Links that the login page mails are treated alike, unless
	// `email_link` has a `second_factor` of its own. Default: `ask` where the login
	// page has a form for passwords, otherwise `reject`; for links, `ask`.
	SecondFactor string `json:"second_factor,omitempty"`

	// The tables with second factors, each with the columns `user_id` and
	// `confirmed` as those of django-otp, or `user_id` and `type` as allauth's.
	// Default: those of well-known packages that exist when the configuration is
	// loaded.
	SecondFactorTables []string `json:"second_factor_tables,omitempty"`

	// OTP_TOTP_SYNC: whether a code teaches how much the user's clock differs. Default:
	// true.
	OTPTOTPSync *bool `json:"otp_totp_sync,omitempty"`

	// OTP_TOTP_THROTTLE_FACTOR: for how many seconds a wrong code of an app locks the
	// device, twice as long each time; 0 for never. Default: 1.
	OTPTOTPThrottleFactor *int `json:"otp_totp_throttle_factor,omitempty"`

	// OTP_STATIC_THROTTLE_FACTOR: the same for static tokens. Default: 1.
	OTPStaticThrottleFactor *int `json:"otp_static_throttle_factor,omitempty"`

	// MFA_TOTP_PERIOD: for how many seconds an app of allauth shows a code. Default:
	// 30.
	MFATOTPPeriod int `json:"mfa_totp_period,omitempty"`

	// MFA_TOTP_DIGITS: how many digits the codes of allauth's apps have. Default: 6.
	MFATOTPDigits int `json:"mfa_totp_digits,omitempty"`

	// MFA_TOTP_TOLERANCE: codes of how many periods before and after the current one
	// are right. Default: 0.
	MFATOTPTolerance int `json:"mfa_totp_tolerance,omitempty"`

	// MFA_RECOVERY_CODE_COUNT: how many recovery codes a user has. Default: 10.
	MFARecoveryCodeCount int `json:"mfa_recovery_code_count,omitempty"`

	// MFA_RECOVERY_CODE_DIGITS: how many digits they have. Default: 8.
	MFARecoveryCodeDigits int `json:"mfa_recovery_code_digits,omitempty"`
}

// What is done with the login of a user who has a second factor.
const (
	SecondFactorAsk    = "ask"
	SecondFactorReject = "reject"
	SecondFactorIgnore = "ignore"
)

// CheckSecondFactor returns an error for a value of an option second_factor that is
// none of these. Empty is the option's default.
func CheckSecondFactor(value string) error {
	switch value {
	case "", SecondFactorAsk, SecondFactorReject, SecondFactorIgnore:
		return nil
	}
	return setting.Errorf("second_factor", "second_factor %q: it must be %s, %s or %s", value, SecondFactorAsk, SecondFactorReject, SecondFactorIgnore)
}

// PasswordOption is the option password with its block.
func PasswordOption(to **PasswordConfig) directive.Option {
	cfg := new(PasswordConfig)
	return directive.Block(func() { *to = cfg }, factorOptions(cfg, directive.Options{
		"basic":                directive.Switch(&cfg.Basic),
		"identifier":           directive.Texts(&cfg.Identifier, "username, email or both"),
		"hashers":              directive.Texts(&cfg.Hashers, "names of hashers, such as argon2 pbkdf2_sha256"),
		"django_version":       directive.Text(&cfg.DjangoVersion, "a version such as 5.2"),
		"upgrade_hash":         directive.Switch(&cfg.UpgradeHash),
		"max_concurrent":       directive.Positive(&cfg.MaxConcurrent),
		"second_factor":        directive.Text(&cfg.SecondFactor, "ask, reject or ignore"),
		"second_factor_tables": directive.Texts(&cfg.SecondFactorTables, "tables, such as otp_totp_totpdevice"),
	})).Example("basic on")
}

// Option implements Config.
func (*PasswordConfig) Option() string { return "password" }

// Validate implements Config.
func (c *PasswordConfig) Validate() error {
	for i, name := range c.Identifier {
		if f := userstore.Field(name); f != userstore.Username && f != userstore.Email {
			return setting.Errorf("identifier", "identifier %q: it must be username or email", name)
		}
		if slices.Contains(c.Identifier[:i], name) {
			return setting.Errorf("identifier", "identifier names %s twice", name)
		}
	}
	if c.MaxConcurrent < 0 || c.MaxConcurrent > math.MaxInt16 {
		return setting.Errorf("max_concurrent", "max_concurrent %d: it must be a number of hashes from 1 to %d", c.MaxConcurrent, math.MaxInt16)
	}
	if err := CheckSecondFactor(c.SecondFactor); err != nil {
		return err
	}
	if _, err := c.FactorSettings(); err != nil {
		return err
	}
	_, err := c.newHashers()
	return err
}

// errHasher says how a hasher is named.
var errHasher = errors.New("name a hasher as its hashes begin: pbkdf2_sha256, pbkdf2_sha1, argon2, bcrypt_sha256, bcrypt, scrypt, md5, sha1, unsalted_md5 or unsalted_sha1")

// hasherClasses are the classes of PASSWORD_HASHERS, in django.contrib.auth.hashers.
var hasherClasses = map[string]password.Algorithm{
	"PBKDF2PasswordHasher":       password.PBKDF2SHA256,
	"PBKDF2SHA1PasswordHasher":   password.PBKDF2SHA1,
	"Argon2PasswordHasher":       password.Argon2,
	"BCryptSHA256PasswordHasher": password.BcryptSHA256,
	"BCryptPasswordHasher":       password.Bcrypt,
	"ScryptPasswordHasher":       password.Scrypt,
	"MD5PasswordHasher":          password.MD5,
	"SHA1PasswordHasher":         password.SHA1,
	"UnsaltedMD5PasswordHasher":  password.UnsaltedMD5,
	"UnsaltedSHA1PasswordHasher": password.UnsaltedSHA1,
}

// meantHasher is the end of an error about a hasher's name: the name that was probably
// meant, if there is one.
func meantHasher(name string) string {
	if algorithm, ok := hasherClasses[name[strings.LastIndex(name, ".")+1:]]; ok {
		return "; write " + string(algorithm)
	}
	var names []string
	for _, algorithm := range hasherClasses {
		names = append(names, string(algorithm))
	}
	if meant := nearest.Name(name, names); meant != "" {
		return "; did you mean " + meant + "?"
	}
	return ""
}

// AsksSecondFactor reports whether second factors are to be asked for by name.
func (c *PasswordConfig) AsksSecondFactor() bool { return c.SecondFactor == SecondFactorAsk }

// IgnoresTables reports whether tables of second factors are named that passwords don't
// depend on.
func (c *PasswordConfig) IgnoresTables() bool {
	return c.SecondFactor == SecondFactorIgnore && len(c.SecondFactorTables) > 0
}

// newHashers returns the hashers for the options. The error names the option.
func (c *PasswordConfig) newHashers() (*password.Hashers, error) {
	var settings password.Settings
	for i, name := range c.Hashers {
		if _, err := password.New(password.Settings{Hashers: []password.Algorithm{password.Algorithm(name)}}); err != nil {
			return nil, setting.Errorf("hashers", "hashers %q: %w%s", name, errHasher, meantHasher(name))
		}
		if slices.Contains(c.Hashers[:i], name) {
			return nil, setting.Errorf("hashers", "hashers names %s twice", name)
		}
		settings.Hashers = append(settings.Hashers, password.Algorithm(name))
	}
	if c.DjangoVersion != "" {
		if _, err := password.New(password.Settings{Version: c.DjangoVersion}); err != nil {
			return nil, setting.Errorf("django_version", "django_version %q: it must be a version of Django that is known, such as 5.2; leave it out for a newer one", c.DjangoVersion)
		}
		settings.Version = c.DjangoVersion
	}
	hashers, err := password.New(settings)
	return hashers, setting.Of("hashers", err)
}

// identifiers are the columns with the names that users log in by.
func (c *PasswordConfig) identifiers() []userstore.Field {
	if len(c.Identifier) == 0 {
		return []userstore.Field{userstore.Username}
	}
	fields := make([]userstore.Field, len(c.Identifier))
	for i, name := range c.Identifier {
		fields[i] = userstore.Field(name)
	}
	return fields
}

// New implements Config.
func (c *PasswordConfig) New(env *Environment) (ConfiguredScheme, error) {
	hashers, err := c.newHashers()
	if err != nil {
		return nil, err
	}
	how, err := json.Marshal(hashers.Settings()) // a hasher that is no longer in use ends verdicts
	if err != nil {
		return nil, fmt.Errorf("telling password checks apart: %w", err)
	}
	shared, err := hashing.Acquire(hashing.Key{AtWork: c.MaxConcurrent, Users: env.Users + "\x00" + string(how)})
	if err != nil {
		return nil, err
	}
	return &Password{
		config:    c,
		hashers:   hashers,
		shared:    shared,
		names:     &userstore.Via{Name: "identifier", Option: "password: identifier", Fields: c.identifiers()},
		upgrade:   func() upgrader { return env.Store() },
		now:       env.Now,
		logger:    env.Logger,
		challenge: BasicChallenge(env.Realm),
		hasForm:   env.AsksPassword,
		hashed:    cmp.Or(env.Hashed, new(atomic.Uint64)),
	}, nil
}
