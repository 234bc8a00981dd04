package authn

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// APITokenConfig lets in programs that send an API token which Django has issued,
// in `Authorization`. Each option belongs to one library, or to two, and has the
// meaning and the default of the library's setting.
type APITokenConfig struct {
	// The library: `drf` for rest_framework.authtoken, `knox` for django-rest-knox,
	// or `simplejwt` for djangorestframework-simplejwt. Required.
	Library string `json:"library"`

	// drf, knox: the table of tokens; `database.table` for another database.
	// Default: `authtoken_token`, `knox_authtoken`.
	Table string `json:"table,omitempty"`

	// drf: the word in front of a token, TokenAuthentication.keyword. Default:
	// `Token`.
	Keyword string `json:"keyword,omitempty"`

	// knox: the word in front of a token, AUTH_HEADER_PREFIX. Default: `Token`.
	Prefix string `json:"prefix,omitempty"`

	// knox: the library's version, `4` or `5`. They hash tokens in different ways,
	// and neither knows the tokens of the other. Default: 5.
	Generation int `json:"generation,omitempty"`

	// knox: whether tokens in use end later, AUTO_REFRESH. Default: false.
	AutoRefresh bool `json:"auto_refresh,omitempty"`

	// knox: how long from now a token in use ends, TOKEN_TTL. Default: 10h.
	TokenTTL caddy.Duration `json:"token_ttl,omitempty"`

	// knox: by how much later it must end for that to be written,
	// MIN_REFRESH_INTERVAL. Default: 60s.
	MinRefreshInterval caddy.Duration `json:"min_refresh_interval,omitempty"`

	// knox: the longest time from a token's issue to its end, AUTO_REFRESH_MAX_TTL.
	// Default: no limit.
	MaxTTL caddy.Duration `json:"max_ttl,omitempty"`

	// simplejwt: `HS256`, `HS384`, `HS512`, `RS256`, `RS384`, `RS512`, `ES256` or
	// `ES384`. Default: HS256.
	Algorithm string `json:"algorithm,omitempty"`

	// simplejwt: SIGNING_KEY, for HS256, HS384 and HS512. Placeholders as in
	// `secret_key`. Default: `secret_key`.
	SigningKey string `json:"signing_key,omitempty"`

	// simplejwt: VERIFYING_KEY, for the other algorithms: the public key in PEM,
	// as `{file./etc/caddy/jwt.pem}`.
	VerifyingKey string `json:"verifying_key,omitempty"`

	// simplejwt: AUDIENCE. A token must be for one of these. Default: for any.
	Audience []string `json:"audience,omitempty"`

	// simplejwt: ISSUER. A token must be of one of these. Default: of any.
	Issuer []string `json:"issuer,omitempty"`

	// simplejwt: LEEWAY, by which clocks may differ. Default: 0.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// simplejwt: AUTH_HEADER_TYPES, in exactly this letter case. Default: `Bearer`.
	HeaderTypes []string `json:"header_types,omitempty"`

	// simplejwt: the column of USER_ID_FIELD. Default: the primary key that Django
	// knows.
	UserIDField string `json:"user_id_field,omitempty"`

	// simplejwt: USER_ID_CLAIM. Default: `user_id`.
	UserIDClaim string `json:"user_id_claim,omitempty"`

	// simplejwt: the types of the tokens in AUTH_TOKEN_CLASSES: `access`,
	// `sliding`. Default: `access`.
	TokenTypes []string `json:"token_types,omitempty"`

	// simplejwt: TOKEN_TYPE_CLAIM; `-` for None. Default: `token_type`.
	TokenTypeClaim string `json:"token_type_claim,omitempty"`

	// simplejwt: JTI_CLAIM; `-` for None. Default: `jti`.
	JTIClaim string `json:"jti_claim,omitempty"`

	// simplejwt: CHECK_REVOKE_TOKEN: a new password ends tokens. Default: false.
	CheckRevokeToken bool `json:"check_revoke_token,omitempty"`

	// simplejwt: REVOKE_TOKEN_CLAIM. Default: `hash_password`.
	RevokeTokenClaim string `json:"revoke_token_claim,omitempty"`

	// simplejwt: CHECK_USER_IS_ACTIVE: inactive users are rejected. Default: true.
	CheckUserIsActive *bool `json:"check_user_is_active,omitempty"`

	// simplejwt: whether tokens of other types than `access` are looked for in the
	// tables of the blacklist app, as SimpleJWT does. Default: they aren't.
	Blacklist *userstore.Blacklist `json:"blacklist,omitempty"`
}

// The libraries.
const (
	libraryDRF       = "drf"
	libraryKnox      = "knox"
	librarySimpleJWT = "simplejwt"
)

// noClaim is the name of a claim that Django has None for.
const noClaim = "-"

// APITokenOption is the option api_token with its block.
func APITokenOption(to *APITokensConfig) directive.Option {
	// The options write to the latest of the configurations.
	cfg := new(APITokenConfig)
	read := func(args []string) error {
		if n := len(*to); n > 0 {
			earlier := *cfg
			(*to)[n-1] = &earlier
		}
		*cfg = APITokenConfig{Library: args[0]}
		if err := cfg.checkLibrary(); err != nil {
			return err
		}
		*to = append(*to, cfg)
		return nil
	}
	return directive.Values(1, 1, "drf, knox or simplejwt", read).Repeated().HoldingSecrets().With(directive.Options{
		"table":                directive.Text(&cfg.Table, "the name of a table"),
		"keyword":              directive.Text(&cfg.Keyword, "a word such as Token"),
		"prefix":               directive.Text(&cfg.Prefix, "a word such as Token"),
		"generation":           directive.Positive(&cfg.Generation),
		"auto_refresh":         directive.Switch(&cfg.AutoRefresh),
		"token_ttl":            directive.Duration(&cfg.TokenTTL),
		"min_refresh_interval": directive.Duration(&cfg.MinRefreshInterval),
		"max_ttl":              directive.Duration(&cfg.MaxTTL),
		"algorithm":            directive.Text(&cfg.Algorithm, "an algorithm such as HS256 or RS256"),
		"signing_key":          directive.Text(&cfg.SigningKey, "a key, as {env.SIMPLE_JWT_SIGNING_KEY}").Secret(),
		"verifying_key":        directive.Text(&cfg.VerifyingKey, "a public key in PEM, as {file./etc/caddy/jwt.pem}").Secret(),
		"audience":             directive.Texts(&cfg.Audience, "one name or more"),
		"issuer":               directive.Texts(&cfg.Issuer, "one name or more"),
		"leeway":               directive.NotNegativeDuration(&cfg.Leeway),
		"header_types":         directive.Texts(&cfg.HeaderTypes, "one word or more, such as Bearer"),
		"user_id_field":        directive.Text(&cfg.UserIDField, "the name of a column"),
		"user_id_claim":        directive.Text(&cfg.UserIDClaim, "the name of a claim"),
		"token_types":          directive.Texts(&cfg.TokenTypes, "access, sliding or both"),
		"token_type_claim":     directive.Text(&cfg.TokenTypeClaim, "the name of a claim, or -"),
		"jti_claim":            directive.Text(&cfg.JTIClaim, "the name of a claim, or -"),
		"check_revoke_token":   directive.Switch(&cfg.CheckRevokeToken),
		"revoke_token_claim":   directive.Text(&cfg.RevokeTokenClaim, "the name of a claim"),
		"check_user_is_active": directive.SwitchPointer(&cfg.CheckUserIsActive),
		"blacklist":            blacklistOption(&cfg.Blacklist),
	})
}

// blacklistOption are the tables of SimpleJWT's blacklist app.
func blacklistOption(to **userstore.Blacklist) directive.Option {
	return directive.Values(0, 2, "nothing, or the tables of outstanding and of blacklisted tokens", func(args []string) error {
		*to = new(userstore.Blacklist)
		switch len(args) {
		case 1:
			return errors.New("it takes no value, or two: the table of outstanding tokens, and that of blacklisted ones")
		case 2:
			(*to).Outstanding, (*to).Blacklisted = args[0], args[1]
		}
		return nil
	})
}

// APITokensConfig are the blocks api_token of a handler.
type APITokensConfig []*APITokenConfig

// Option implements Config.
func (APITokensConfig) Option() string { return "api_token" }

// Validate implements Config.
func (all APITokensConfig) Validate() error {
	for i, c := range all {
		if err := c.checkLibrary(); err != nil {
			return err
		}
		if err := c.validate(); err != nil {
			return setting.In(c.Library, err)
		}
		isSame := func(other *APITokenConfig) bool { return other.Library == c.Library && other.isLike(c) }
		if slices.ContainsFunc(all[:i], isSame) {
			return setting.Errorf(c.Library, "%s is there twice for the same tokens", c.Library)
		}
	}
	return nil
}

// isLike reports whether both would read the same tokens.
func (c *APITokenConfig) isLike(other *APITokenConfig) bool {
	if c.Library != librarySimpleJWT {
		return c.table() == other.table() && c.keyword() == other.keyword()
	}
	return c.SigningKey == other.SigningKey && c.VerifyingKey == other.VerifyingKey && slices.Equal(c.HeaderTypes, other.HeaderTypes) &&
		slices.Equal(c.TokenTypes, other.TokenTypes) && slices.Equal(c.Audience, other.Audience) && slices.Equal(c.Issuer, other.Issuer)
}

func (c *APITokenConfig) checkLibrary() error {
	switch c.Library {
	case libraryDRF, libraryKnox, librarySimpleJWT:
		return nil
	case "":
		return setting.Errorf("library", "library is missing: it must be drf, knox or simplejwt")
	}
	return setting.Errorf("library", "%q: it must be drf, knox or simplejwt", c.Library)
}

func (c *APITokenConfig) validate() error {
	if name, of := c.misplaced(); name != "" {
		if own := c.wordOption(); name == "keyword" || name == "prefix" || name == "header_types" {
			return setting.Errorf(name, "%s is no option of %s; did you mean %s?", name, c.Library, own)
		}
		return setting.Errorf(name, "%s is no option of %s; it is for %s", name, c.Library, strings.Join(of, " and "))
	}
	if err := c.checkWords(); err != nil {
		return err
	}
	for _, d := range []struct {
		name  string
		value caddy.Duration
	}{{"token_ttl", c.TokenTTL}, {"min_refresh_interval", c.MinRefreshInterval}, {"max_ttl", c.MaxTTL}, {"leeway", c.Leeway}} {
		if err := setting.CheckDuration(d.name, time.Duration(d.value)); err != nil {
			return err
		}
	}
	switch {
	case c.Generation != 0 && c.Generation != int(apitoken.Knox4) && c.Generation != int(apitoken.Knox5):
		return setting.Errorf("generation", "generation %d: it must be 4, or 5 for knox from 5.0", c.Generation)
	case !c.AutoRefresh && (c.TokenTTL != 0 || c.MinRefreshInterval != 0 || c.MaxTTL != 0):
		return setting.Errorf("auto_refresh", "token_ttl, min_refresh_interval and max_ttl matter with auto_refresh only: add that")
	case c.Library != librarySimpleJWT:
		return nil
	}
	return c.validateJWT()
}

// wordOption is the library's option for the word in front of a token.
func (c *APITokenConfig) wordOption() string {
	return map[string]string{libraryDRF: "keyword", libraryKnox: "prefix", librarySimpleJWT: "header_types"}[c.Library]
}

// checkWords checks the words in front of tokens. Each is one part of Authorization, for
// Django as well, and one that no other credentials begin with.
func (c *APITokenConfig) checkWords() error {
	option := c.wordOption()
	for _, word := range append([]string{c.Keyword, c.Prefix}, c.HeaderTypes...) {
		switch {
		case word == "":
		case !httpguts.ValidHeaderFieldName(word): // both are tokens (RFC 9110, section 11.1)
			return setting.Errorf(option, "%s %q: it must be one word, such as Token or Bearer", option, word)
		case strings.EqualFold(word, "Basic"):
			return setting.Errorf(option, "%s %s: that is the word in front of a name and a password: choose another, such as Token", option, word)
		}
	}
	return nil
}

// validateJWT checks SimpleJWT's options, without its keys.
func (c *APITokenConfig) validateJWT() error {
	settings := c.jwtSettings()
	if err := apitoken.CheckAlgorithm(cmp.Or(c.Algorithm, "HS256")); err != nil {
		return setting.Of("algorithm", err)
	}
	isHMAC := c.Algorithm == "" || strings.HasPrefix(c.Algorithm, "HS")
	switch {
	case isHMAC && c.VerifyingKey != "":
		return setting.Errorf("verifying_key", "verifying_key is for RS256, ES256 and the like: with %s, tokens are checked by signing_key", cmp.Or(c.Algorithm, "HS256"))
	case !isHMAC && c.VerifyingKey == "":
		return setting.Errorf("verifying_key", "algorithm %s needs a verifying_key", c.Algorithm)
	case !isHMAC && c.SigningKey != "":
		return setting.Errorf("signing_key", "signing_key is Django's alone with %s: leave it out, the gateway needs the verifying_key", c.Algorithm)
	case c.RevokeTokenClaim != "" && !c.CheckRevokeToken:
		return setting.Errorf("revoke_token_claim", "revoke_token_claim matters with check_revoke_token only: add that")
	case c.Blacklist != nil && c.JTIClaim == noClaim:
		return setting.Errorf("blacklist", "the blacklist knows tokens by jti_claim, which is none")
	}
	settings.Algorithm, settings.SigningKey, settings.VerifyingKey = "HS256", "not resolved yet", ""
	if _, err := apitoken.NewJWTs(settings); err != nil {
		return setting.Of("leeway", err)
	}
	return nil
}

// misplaced is an option that is set and isn't one of the library, and the libraries
// that have it.
func (c *APITokenConfig) misplaced() (name string, of []string) {
	for _, option := range []struct {
		name  string
		isSet bool
		of    []string
	}{
		{"table", c.Table != "", []string{libraryDRF, libraryKnox}},
		{"keyword", c.Keyword != "", []string{libraryDRF}},
		{"prefix", c.Prefix != "", []string{libraryKnox}},
		{"generation", c.Generation != 0, []string{libraryKnox}},
		{"auto_refresh", c.AutoRefresh, []string{libraryKnox}},
		{"token_ttl", c.TokenTTL != 0, []string{libraryKnox}},
		{"min_refresh_interval", c.MinRefreshInterval != 0, []string{libraryKnox}},
		{"max_ttl", c.MaxTTL != 0, []string{libraryKnox}},
		{"algorithm", c.Algorithm != "", []string{librarySimpleJWT}},
		{"signing_key", c.SigningKey != "", []string{librarySimpleJWT}},
		{"verifying_key", c.VerifyingKey != "", []string{librarySimpleJWT}},
		{"audience", len(c.Audience) > 0, []string{librarySimpleJWT}},
		{"issuer", len(c.Issuer) > 0, []string{librarySimpleJWT}},
		{"leeway", c.Leeway != 0, []string{librarySimpleJWT}},
		{"header_types", len(c.HeaderTypes) > 0, []string{librarySimpleJWT}},
		{"user_id_field", c.UserIDField != "", []string{librarySimpleJWT}},
		{"user_id_claim", c.UserIDClaim != "", []string{librarySimpleJWT}},
		{"token_types", len(c.TokenTypes) > 0, []string{librarySimpleJWT}},
		{"token_type_claim", c.TokenTypeClaim != "", []string{librarySimpleJWT}},
		{"jti_claim", c.JTIClaim != "", []string{librarySimpleJWT}},
		{"check_revoke_token", c.CheckRevokeToken, []string{librarySimpleJWT}},
		{"revoke_token_claim", c.RevokeTokenClaim != "", []string{librarySimpleJWT}},
		{"check_user_is_active", c.CheckUserIsActive != nil, []string{librarySimpleJWT}},
		{"blacklist", c.Blacklist != nil, []string{librarySimpleJWT}},
	} {
		if option.isSet && !slices.Contains(option.of, c.Library) {
			return option.name, option.of
		}
	}
	return "", nil
}

func (c *APITokenConfig) table() string {
	if c.Library == libraryKnox {
		return cmp.Or(c.Table, "knox_authtoken")
	}
	return cmp.Or(c.Table, "authtoken_token")
}

func (c *APITokenConfig) keyword() string { return cmp.Or(c.Keyword, c.Prefix, "Token") }

func (c *APITokenConfig) generation() apitoken.KnoxGeneration {
	if c.Generation == int(apitoken.Knox4) {
		return apitoken.Knox4
	}
	return apitoken.Knox5
}

// refresh has the defaults of knox's settings filled in.
func (c *APITokenConfig) refresh() *apitoken.KnoxRefresh {
	return &apitoken.KnoxRefresh{
		TTL:         cmp.Or(time.Duration(c.TokenTTL), 10*time.Hour),
		MaxTTL:      time.Duration(c.MaxTTL),
		MinInterval: cmp.Or(time.Duration(c.MinRefreshInterval), time.Minute),
	}
}

// jwtSettings are the settings without keys.
func (c *APITokenConfig) jwtSettings() apitoken.JWTSettings {
	settings := apitoken.JWTSettings{
		Algorithm:        c.Algorithm,
		Audience:         c.Audience,
		Issuer:           c.Issuer,
		Leeway:           time.Duration(c.Leeway),
		HeaderTypes:      c.HeaderTypes,
		UserIDClaim:      c.UserIDClaim,
		TokenTypes:       c.TokenTypes,
		TokenTypeClaim:   c.TokenTypeClaim,
		JTIClaim:         c.JTIClaim,
		CheckRevokeToken: c.CheckRevokeToken,
		RevokeTokenClaim: c.RevokeTokenClaim,
		IgnoreIsActive:   c.acceptsInactive(),
	}
	if settings.WithoutTokenType = c.TokenTypeClaim == noClaim; settings.WithoutTokenType {
		settings.TokenTypeClaim = ""
	}
	if settings.WithoutJTI = c.JTIClaim == noClaim; settings.WithoutJTI {
		settings.JTIClaim = ""
	}
	return settings
}

func (c *APITokenConfig) acceptsInactive() bool {
	return c.CheckUserIsActive != nil && !*c.CheckUserIsActive
}

// New implements Config.
func (all APITokensConfig) New(env *Environment) (ConfiguredScheme, error) {
	s := new(APITokens)
	var ways ways
	for _, c := range all {
		l, err := c.newLibrary(env, &ways)
		if err != nil {
			return nil, setting.In(c.Library, err)
		}
		s.libraries = append(s.libraries, l)
	}
	return s, nil
}

// ways are the ways by which tokens lead to users.
type ways []*userstore.Via

// share returns the known way that reads the same rows, or else adds via under a
// name of its own.
func (w *ways) share(via *userstore.Via) *userstore.Via {
	same := 1
	for _, other := range *w {
		switch {
		case other.Table == via.Table && other.Column == via.Column && other.Until == via.Until:
			return other
		case strings.HasPrefix(other.Name, via.Name):
			same++
		}
	}
	if same > 1 {
		via.Name += "_" + strconv.Itoa(same)
	}
	*w = append(*w, via)
	return via
}

func (c *APITokenConfig) newLibrary(env *Environment, ways *ways) (library, error) {
	switch c.Library {
	case libraryDRF:
		return newDRF(c, ways), nil
	case libraryKnox:
		return newKnox(c, env, ways), nil
	}
	return newSimpleJWT(c, env, ways)
}

// newSimpleJWT reads tokens of djangorestframework-simplejwt.
func newSimpleJWT(c *APITokenConfig, env *Environment, ways *ways) (library, error) {
	settings := c.jwtSettings()
	var err error
	if settings.VerifyingKey, err = env.Resolve("verifying_key", c.VerifyingKey); err != nil {
		return nil, err
	}
	if settings.SigningKey, err = env.Resolve("signing_key", c.SigningKey); err != nil {
		return nil, err
	}
	if c.VerifyingKey == "" {
		settings.SigningKey = cmp.Or(settings.SigningKey, env.Settings.SecretKey)
	}
	jwts, err := apitoken.NewJWTs(settings)
	if err != nil {
		key := "signing_key"
		if c.VerifyingKey != "" {
			key = "verifying_key"
		}
		return nil, setting.Errorf(key, "%s: %w", key, err)
	}
	via := &userstore.Via{Name: librarySimpleJWT, Option: "api_token: simplejwt: user_id_field"}
	if c.UserIDField != "id" && c.UserIDField != "pk" {
		via.Column = c.UserIDField
	}
	return &simpleJWT{
		jwts:      jwts,
		via:       ways.share(via),
		blacklist: c.Blacklist,
		store:     env.Store,
		now:       env.Now,
	}, nil
}
