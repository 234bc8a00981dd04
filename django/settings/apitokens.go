package settings

import (
	"slices"
	"strconv"
	"strings"
)

// apiLogins are the tokens that Django REST framework accepts.
type apiLogins struct {
	Tokens []apiToken `json:"tokens"`
	Basic  bool       `json:"basic"` // whether all views accept passwords of programs
}

// apiToken is a kind of token.
type apiToken struct {
	Kind  string `json:"kind"`  // drf, knox, simplejwt
	Scope string `json:"scope"` // all: the settings name it; some: only views do
	Place *place `json:"place"`

	Keyword    string          `json:"keyword"`    // drf
	Generation int             `json:"generation"` // knox
	Settings   librarySettings `json:"settings"`   // knox, simplejwt
	Types      []string        `json:"types"`      // simplejwt
	OwnKey     bool            `json:"own_key"`    // whether SIGNING_KEY isn't SECRET_KEY
	UserColumn string          `json:"user_column"`
	Blacklist  *jwtBlacklists  `json:"blacklist"`
}

// jwtBlacklists are the tables of SimpleJWT's blacklist.
type jwtBlacklists struct {
	Outstanding *place `json:"outstanding"`
	Blacklisted *place `json:"blacklisted"`
}

// The environment variables of keys that aren't SECRET_KEY.
const (
	envSigningKey   = "SIMPLE_JWT_SIGNING_KEY"
	envVerifyingKey = "SIMPLE_JWT_VERIFYING_KEY"
)

// apiTokens writes which tokens of Django REST framework to accept. Tokens that
// only some views accept are written as comments, because the gateway would accept
// them everywhere.
func (b *block) apiTokens() error {
	if b.login == nil {
		return nil
	}
	for _, token := range b.login.API.Tokens {
		n := &nested{head: "api_token " + token.Kind}
		var env []EnvVar
		var err error
		switch token.Kind {
		case "drf":
			err = b.drf(n, &token)
		case "knox":
			err = b.knox(n, &token)
		case "simplejwt":
			env, err = b.simpleJWT(n, &token)
		default:
			err = problem("REST_FRAMEWORK", "tokens of the kind %q aren't known", token.Kind)
		}
		switch {
		case err != nil:
		case token.Scope == "all":
			if err = b.nest(n); err == nil {
				b.report.Env = append(b.report.Env, env...)
				b.hasVias = true
			}
		default:
			b.comment("Some views of the project accept these tokens, and others don't. To accept them in")
			b.comment("all requests, remove the #:")
			err = b.nestComment(n)
		}
		if err != nil {
			b.note("REST_FRAMEWORK", "%v: the gateway can't accept the tokens of %s", err, token.Kind)
		}
	}
	return nil
}

// tableOf adds option table for a table that isn't the default.
func (b *block) tableOf(n *nested, at *place, byDefault string) error {
	table, err := b.placed(at)
	if err == nil && table != byDefault {
		n.option("table", table)
	}
	return err
}

// drf is for tokens of rest_framework.authtoken.
func (b *block) drf(n *nested, token *apiToken) error {
	if token.Keyword != "Token" {
		n.option("keyword", token.Keyword)
	}
	return b.tableOf(n, token.Place, "authtoken_token")
}

// knox is for tokens of django-rest-knox.
func (b *block) knox(n *nested, token *apiToken) error {
	if err := b.tableOf(n, token.Place, "knox_authtoken"); err != nil {
		return err
	}
	if prefix, _ := token.Settings["AUTH_HEADER_PREFIX"].(string); prefix != "" && prefix != "Token" {
		n.option("prefix", prefix)
	}
	n.option("generation", strconv.Itoa(token.Generation))
	if token.Settings["AUTO_REFRESH"] != true || token.Settings["TOKEN_TTL"] == nil {
		return nil
	}
	n.option("auto_refresh", "on")
	b.note("REST_KNOX", "AUTO_REFRESH: the gateway needs the right to update expiry in the table of tokens")
	for _, option := range []struct {
		name, setting string
		byDefault     float64
	}{
		{"token_ttl", "TOKEN_TTL", 10 * 60 * 60},
		{"min_refresh_interval", "MIN_REFRESH_INTERVAL", 60},
		{"max_ttl", "AUTO_REFRESH_MAX_TTL", 0},
	} {
		value := token.Settings[option.setting]
		if value == nil {
			continue
		}
		seconds, err := secondsOf(value)
		if err != nil {
			return problem("REST_KNOX", "%s: %w", option.setting, err)
		}
		if seconds != option.byDefault {
			n.option(option.name, formatSeconds(seconds)+"s")
		}
	}
	return nil
}

// simpleJWT is for tokens of djangorestframework-simplejwt. It returns the
// environment variables of its keys.
func (b *block) simpleJWT(n *nested, token *apiToken) (env []EnvVar, err error) {
	algorithm, _ := token.Settings["ALGORITHM"].(string)
	if algorithm != "" && algorithm != "HS256" {
		n.option("algorithm", algorithm)
	}
	switch {
	case algorithm != "" && !strings.HasPrefix(algorithm, "HS"):
		n.secret("verifying_key", "{env."+envVerifyingKey+"}")
		env = append(env, EnvVar{envVerifyingKey, "SIMPLE_JWT['VERIFYING_KEY']"})
	case token.OwnKey:
		n.secret("signing_key", "{env."+envSigningKey+"}")
		env = append(env, EnvVar{envSigningKey, "SIMPLE_JWT['SIGNING_KEY']"})
	}
	for _, option := range []struct{ name, setting, byDefault string }{
		{"audience", "AUDIENCE", ""},
		{"issuer", "ISSUER", ""},
		{"header_types", "AUTH_HEADER_TYPES", "Bearer"},
		{"user_id_claim", "USER_ID_CLAIM", "user_id"},
		{"token_type_claim", "TOKEN_TYPE_CLAIM", "token_type"},
		{"jti_claim", "JTI_CLAIM", "jti"},
		{"revoke_token_claim", "REVOKE_TOKEN_CLAIM", "hash_password"},
	} {
		words, err := token.Settings.words(option.setting)
		if err != nil {
			return nil, problem("SIMPLE_JWT", "%w", err)
		}
		if len(words) > 0 && !slices.Equal(words, []string{option.byDefault}) {
			n.option(option.name, words...)
		}
	}
	if token.UserColumn != "" {
		n.option("user_id_field", token.UserColumn)
	}
	if len(token.Types) > 0 && !slices.Equal(token.Types, []string{"access"}) {
		n.option("token_types", token.Types...)
	}
	return env, b.jwtChecks(n, token)
}

// jwtChecks writes SimpleJWT's checks besides the signature.
func (b *block) jwtChecks(n *nested, token *apiToken) error {
	for _, claim := range []struct{ option, setting string }{{"token_type_claim", "TOKEN_TYPE_CLAIM"}, {"jti_claim", "JTI_CLAIM"}} {
		if value, isSet := token.Settings[claim.setting]; isSet && value == nil {
			n.option(claim.option, "-")
		}
	}
	if leeway := token.Settings["LEEWAY"]; leeway != nil {
		seconds, err := secondsOf(leeway)
		if err != nil || seconds < 0 {
			return problem("SIMPLE_JWT", "LEEWAY must be a number of seconds, or a timedelta")
		}
		if seconds > 0 {
			n.option("leeway", formatSeconds(seconds)+"s")
		}
	}
	if token.Settings["CHECK_REVOKE_TOKEN"] == true {
		n.option("check_revoke_token", "on")
	}
	if token.Settings["CHECK_USER_IS_ACTIVE"] == false {
		n.option("check_user_is_active", "off")
	}
	if token.Blacklist == nil {
		return nil
	}
	outstanding, err := b.placed(token.Blacklist.Outstanding)
	if err != nil {
		return err
	}
	blacklisted, err := b.placed(token.Blacklist.Blacklisted)
	if err != nil {
		return err
	}
	if outstanding == "token_blacklist_outstandingtoken" && blacklisted == "token_blacklist_blacklistedtoken" {
		n.option("blacklist")
	} else {
		n.option("blacklist", outstanding, blacklisted)
	}
	return nil
}

// librarySettings are the settings of a library, as Script prints them.
type librarySettings pyDict

// UnmarshalJSON reads them like Django's settings.
func (s *librarySettings) UnmarshalJSON(raw []byte) error {
	value, err := decodeJSON(raw)
	dict, _ := value.(pyDict)
	*s = librarySettings(dict)
	return err
}

// words returns a setting that is a string or several, without None.
func (s librarySettings) words(name string) ([]string, error) {
	switch value := s[name].(type) {
	case nil:
		return nil, nil
	case string:
		return []string{value}, nil
	case []any:
		var words []string
		for _, item := range value {
			word, ok := item.(string)
			if !ok {
				return nil, problem(name, "it must be a list of strings")
			}
			words = append(words, word)
		}
		return words, nil
	default:
		return nil, problem(name, "it must be a string or a list of strings")
	}
}
