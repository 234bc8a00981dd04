package apitoken

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// JWTSettings are SimpleJWT's, the dictionary SIMPLE_JWT, under the names that
// it has for them.
type JWTSettings struct {
	// Algorithm is ALGORITHM: HS256, HS384, HS512, RS256, RS384, RS512, ES256
	// or ES384. A token of any other is refused, whatever it says. Default:
	// HS256.
	Algorithm string
	// SigningKey is SIGNING_KEY, SECRET_KEY by default, for the algorithms HS.
	SigningKey string
	// VerifyingKey is VERIFYING_KEY for the other algorithms: a public key in
	// PEM.
	VerifyingKey string
	// Audience is AUDIENCE: a token must be for one of these. Empty: for any.
	Audience []string
	// Issuer is ISSUER: a token must be of one of these. Empty: of any.
	Issuer []string
	// Leeway is LEEWAY, by which clocks may differ. Default: 0.
	Leeway time.Duration
	// HeaderTypes are AUTH_HEADER_TYPES, in exactly this case. Default:
	// "Bearer".
	HeaderTypes []string
	// UserIDClaim is USER_ID_CLAIM. Default: "user_id".
	UserIDClaim string
	// TokenTypes are the token_type of each of AUTH_TOKEN_CLASSES. Default:
	// "access".
	TokenTypes []string
	// TokenTypeClaim is TOKEN_TYPE_CLAIM. Default: "token_type".
	TokenTypeClaim string
	// JTIClaim is JTI_CLAIM. Default: "jti".
	JTIClaim string
	// WithoutTokenType and WithoutJTI tell that the claim is None in Django:
	// then tokens needn't have it.
	WithoutTokenType, WithoutJTI bool
	// CheckRevokeToken is CHECK_REVOKE_TOKEN: a new password ends tokens.
	CheckRevokeToken bool
	// RevokeTokenClaim is REVOKE_TOKEN_CLAIM. Default: "hash_password".
	RevokeTokenClaim string
	// IgnoreIsActive is CHECK_USER_IS_ACTIVE = False.
	IgnoreIsActive bool
}

func setDefault(value *string, to string) {
	if *value == "" {
		*value = to
	}
}

func (s JWTSettings) withDefaults() (JWTSettings, error) {
	setDefault(&s.Algorithm, "HS256")
	setDefault(&s.UserIDClaim, "user_id")
	setDefault(&s.TokenTypeClaim, "token_type")
	setDefault(&s.JTIClaim, "jti")
	setDefault(&s.RevokeTokenClaim, "hash_password")
	if len(s.HeaderTypes) == 0 {
		s.HeaderTypes = []string{"Bearer"}
	}
	if len(s.TokenTypes) == 0 {
		s.TokenTypes = []string{"access"}
	}
	s.HeaderTypes, s.TokenTypes = slices.Clone(s.HeaderTypes), slices.Clone(s.TokenTypes)
	s.Audience, s.Issuer = slices.Clone(s.Audience), slices.Clone(s.Issuer)
	if s.Leeway < 0 {
		return s, errors.New("the Leeway can't be negative")
	}
	return s, nil
}

// verifier returns the function that checks signatures of the algorithm.
func (s JWTSettings) verifier() (verifier, error) {
	family, hash, err := algorithmOf(s.Algorithm)
	if err != nil {
		return nil, err
	}
	if family == "HS" {
		switch {
		case s.SigningKey == "":
			return nil, errors.New("SigningKey must be set: it is Django's SECRET_KEY by default")
		case strings.Contains(s.SigningKey, "-----BEGIN "), strings.HasPrefix(s.SigningKey, "ssh-"):
			return nil, fmt.Errorf("SigningKey is a key of another kind: with %s, any client with the public key could sign", s.Algorithm)
		}
		return newHMACVerifier(hash, []byte(s.SigningKey)), nil
	}
	key, err := parsePublicKey(s.VerifyingKey)
	if err != nil {
		return nil, fmt.Errorf("VerifyingKey: %w", err)
	}
	verify, err := newKeyVerifier(family, hash, key)
	if err != nil {
		return nil, fmt.Errorf("VerifyingKey for %s: %w", s.Algorithm, err)
	}
	return verify, nil
}
