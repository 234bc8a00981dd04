package apitoken

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/django/internal/python"
)

// JWTs checks tokens of SimpleJWT under given settings. It is safe for
// concurrent use.
type JWTs struct {
	settings JWTSettings
	verify   verifier
}

// NewJWTs returns JWTs, or an error that names the setting that can't be
// right. It never repeats a key.
func NewJWTs(settings JWTSettings) (*JWTs, error) {
	settings, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	verify, err := settings.verifier()
	if err != nil {
		return nil, err
	}
	return &JWTs{settings, verify}, nil
}

// Settings returns the settings with every default filled in.
func (j *JWTs) Settings() JWTSettings { return j.settings }

// FromHeader returns the token of an Authorization header of one of
// HeaderTypes. The error is ErrOtherScheme or ErrHeader.
func (j *JWTs) FromHeader(value string) (string, error) {
	return fromHeader(value, func(scheme string) bool { return slices.Contains(j.settings.HeaderTypes, scheme) })
}

// IsJWT reports whether a token has the form of a signed JWT: three parts
// between dots. It doesn't say that it is valid.
func IsJWT(token string) bool {
	return strings.Count(token, ".") == 2 && token[0] != '.' && !strings.Contains(token, "..")
}

// User is the row of the user whose primary key a token holds.
type User struct {
	Password string // the column password
	IsActive bool
}

// ParsedJWT is a token after all checks that don't need the user's row.
type ParsedJWT struct {
	by       *JWTs  // the JWTs that parsed the token: nil in the zero value
	refused  Reason // why the token was refused, or 0
	isSigned bool

	userID    string
	id        string
	tokenType string
	revoke    string
	expires   time.Time
	issued    time.Time
}

// IsSigned reports whether the token is signed with the key of the settings, be it
// refused or not. One that isn't may be another application's.
func (p *ParsedJWT) IsSigned() bool { return p.isSigned }

// UserID is the primary key of the row that Verify needs: the text of the
// claim, or a whole number in decimal. It is empty where Parse refused the
// token.
func (p *ParsedJWT) UserID() string { return p.userID }

// ID is the claim jti, by which SimpleJWT's blacklist finds a token. If the claim
// isn't a text, or isn't UTF-8, ID is its JSON.
func (p *ParsedJWT) ID() string { return p.id }

// TokenType is the claim token_type.
func (p *ParsedJWT) TokenType() string { return p.tokenType }

// Expires is when the token ends, in UTC, without the leeway.
func (p *ParsedJWT) Expires() time.Time { return p.expires }

// Issued returns the time of the claim iat; the zero time if there is none.
func (p *ParsedJWT) Issued() time.Time { return p.issued }

// Parse checks signature and claims of a token. The error is a Reason.
func (j *JWTs) Parse(token string, now time.Time) (ParsedJWT, error) {
	p := ParsedJWT{by: j}
	if p.refused = j.parse(&p, token, now); p.refused != 0 {
		return ParsedJWT{by: j, refused: p.refused, isSigned: p.isSigned}, p.refused
	}
	return p, nil
}

func (j *JWTs) parse(p *ParsedJWT, token string, now time.Time) Reason {
	if strings.Count(token, ".") != 2 {
		return Malformed
	}
	lastDot := strings.LastIndexByte(token, '.')
	signed := token[:lastDot]
	headerPart, payloadPart, _ := strings.Cut(signed, ".")
	header, err := python.DecodeBase64(headerPart)
	if err != nil {
		return Malformed
	}
	signature, err := python.DecodeBase64(token[lastDot+1:])
	if err != nil {
		return Malformed
	}
	if reason := j.checkHeader(string(header)); reason != 0 {
		return reason
	}
	if !j.verify(signed, signature) {
		return BadSignature
	}
	p.isSigned = true
	payload, err := python.DecodeBase64(payloadPart)
	if err != nil {
		return Malformed
	}
	claims, ok := j.readClaims(string(payload))
	if !ok {
		return Malformed
	}
	if reason := j.checkTimes(claims, now); reason != 0 {
		return reason
	}
	if reason := j.checkClaims(claims); reason != 0 {
		return reason
	}
	return j.fill(p, claims)
}

// checkHeader checks the JOSE header. It must name the algorithm of the settings.
// Extensions that must be understood are refused.
func (j *JWTs) checkHeader(text string) Reason {
	var algorithm, keyID, critical, isEncoded string
	err := python.Object(strings.TrimPrefix(text, byteOrderMark), func(m python.Member) {
		switch name, _ := unquote(m.Name); name {
		case "alg":
			algorithm = m.Value
		case "kid":
			keyID = m.Value
		case "crit":
			critical = m.Value
		case "b64":
			isEncoded = m.Value
		}
	})
	if err != nil || !utf8.ValidString(text) {
		return Malformed
	}
	if keyID != "" && !isText(keyID) || critical != "" || isEncoded == "false" {
		return Malformed
	}
	if name, isText := unquote(algorithm); !isText || name != j.settings.Algorithm {
		return WrongAlgorithm
	}
	return 0
}

const byteOrderMark = "\ufeff" // which Python skips

func unquote(quoted string) (string, bool) { return python.Unquote(quoted, python.UTF8) }

// isText reports whether a JSON value is a text. Some can't be unquoted: Python
// has texts with half a pair of surrogates.
func isText(value string) bool { return value[0] == '"' }

// claims are the JSON values of the claims that are checked. Empty: the claim is
// missing.
type claims struct {
	expires, issued, notBefore   string
	issuer, audience, subject    string
	jwtID, id, tokenType, userID string
	revoke                       string
}

func (j *JWTs) readClaims(text string) (c claims, ok bool) {
	s := &j.settings
	err := python.Object(strings.TrimPrefix(text, byteOrderMark), func(m python.Member) {
		name, _ := unquote(m.Name)
		for _, claim := range [...]struct {
			name  string
			value *string
		}{
			{"exp", &c.expires},
			{"iat", &c.issued},
			{"nbf", &c.notBefore},
			{"iss", &c.issuer},
			{"aud", &c.audience},
			{"sub", &c.subject},
			{"jti", &c.jwtID},
			{s.JTIClaim, &c.id},
			{s.TokenTypeClaim, &c.tokenType},
			{s.UserIDClaim, &c.userID},
			{s.RevokeTokenClaim, &c.revoke},
		} {
			if claim.name == name {
				*claim.value = m.Value
			}
		}
	})
	return c, err == nil && utf8.ValidString(text)
}

// maxTime is the last second of the year 9999, which Python's datetime ends
// with.
const maxTime = 253402300799

// checkTimes checks exp, nbf and iat. Python takes the whole seconds of them.
func (j *JWTs) checkTimes(c claims, now time.Time) Reason {
	latest, earliest := epoch(now.Add(j.settings.Leeway)), epoch(now.Add(-j.settings.Leeway))
	for _, value := range []string{c.issued, c.notBefore} {
		if value == "" {
			continue
		}
		at, ok := secondsOrText(value)
		switch {
		case !ok:
			return Malformed
		case at > latest:
			return NotYetValid
		}
	}
	if c.expires == "" {
		return MissingClaim
	}
	at, ok := wholeSeconds(c.expires)
	switch {
	case !ok || at > maxTime:
		return Malformed
	case at <= earliest:
		return Expired
	}
	return 0
}

func epoch(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

// secondsOrText reads what PyJWT takes for iat and nbf: anything that Python's
// int reads, which is a number, a text of an integer, or true and false for 1
// and 0.
func secondsOrText(value string) (float64, bool) {
	switch value {
	case "true":
		return 1, true
	case "false":
		return 0, true
	}
	if text, isText := unquote(value); isText {
		return python.Int(text)
	}
	return wholeSeconds(value)
}

// wholeSeconds reads a number, and drops its fraction like Python's int.
func wholeSeconds(value string) (float64, bool) {
	if c := value[0]; c != '-' && (c < '0' || c > '9') {
		return 0, false // a text, a list, true
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsInf(seconds, 0) || math.IsNaN(seconds) {
		return 0, false
	}
	return math.Trunc(seconds), true
}

// checkClaims checks the claims that every token of an application must have.
func (j *JWTs) checkClaims(c claims) Reason {
	s := &j.settings
	if len(s.Issuer) > 0 {
		if c.issuer == "" {
			return MissingClaim
		}
		if issuer, isText := unquote(c.issuer); !isText || !slices.Contains(s.Issuer, issuer) {
			return WrongIssuer
		}
	}
	if reason := j.checkAudience(c.audience); reason != 0 {
		return reason
	}
	for _, value := range []string{c.subject, c.jwtID} {
		if value != "" && !isText(value) {
			return Malformed
		}
	}
	if !s.WithoutJTI && c.id == "" {
		return MissingClaim
	}
	if s.WithoutTokenType {
		return 0
	}
	if c.tokenType == "" {
		return MissingClaim
	}
	if tokenType, isText := unquote(c.tokenType); !isText || !slices.Contains(s.TokenTypes, tokenType) {
		return WrongType
	}
	return 0
}

// checkAudience checks aud: a text or a list of texts.
func (j *JWTs) checkAudience(value string) Reason {
	if len(j.settings.Audience) == 0 {
		return 0
	}
	if value == "" {
		return MissingClaim
	}
	if audience, isText := unquote(value); isText {
		if slices.Contains(j.settings.Audience, audience) {
			return 0
		}
		return WrongAudience
	}
	isOurs, allTexts := false, true
	err := python.List(value, func(element string) {
		audience, _ := unquote(element)
		allTexts = allTexts && isText(element)
		isOurs = isOurs || slices.Contains(j.settings.Audience, audience)
	})
	if err != nil || !allTexts || !isOurs {
		return WrongAudience
	}
	return 0
}

// fill keeps what Verify and the caller need.
func (j *JWTs) fill(p *ParsedJWT, c claims) Reason {
	if c.userID == "" {
		return MissingClaim
	}
	userID, isText := unquote(c.userID)
	if !isText {
		userID = c.userID
		if _, err := strconv.ParseInt(userID, 10, 64); err != nil {
			return Malformed
		}
	}
	if userID == "" {
		return Malformed
	}
	p.userID = userID
	if p.id, isText = unquote(c.id); !isText {
		p.id = c.id // a number; the blacklist has its digits
	}
	p.tokenType, _ = unquote(c.tokenType)
	p.revoke, _ = unquote(c.revoke)
	seconds, _ := wholeSeconds(c.expires)
	p.expires = time.Unix(int64(seconds), 0).UTC()
	if c.issued != "" {
		seconds, _ = secondsOrText(c.issued)
		p.issued = time.Unix(int64(seconds), 0).UTC()
	}
	return 0
}

// Verify checks the token against the row of the user whose primary key it holds.
// The error is a Reason. Verify also refuses tokens that Parse has refused, or that
// other JWTs have parsed.
func (j *JWTs) Verify(p *ParsedJWT, user User) error {
	switch {
	case p.by != j:
		return Malformed
	case p.refused != 0:
		return p.refused
	case !user.IsActive && !j.settings.IgnoreIsActive:
		return InactiveUser
	}
	if !j.settings.CheckRevokeToken {
		return nil
	}
	sum := md5.Sum([]byte(user.Password))
	if subtle.ConstantTimeCompare([]byte(p.revoke), []byte(strings.ToUpper(hex.EncodeToString(sum[:])))) != 1 {
		return Revoked
	}
	return nil
}
