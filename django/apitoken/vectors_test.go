package apitoken_test

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// question is a header, and everything that the verdict depends on.
type question struct {
	Do       string  `json:"do"` // drf, knox, knox_create or jwt
	Header   string  `json:"header"`
	Bytes    []byte  `json:"bytes,omitempty"` // Text as bytes, if it may not be UTF-8
	Keyword  string  `json:"keyword,omitempty"`
	Now      float64 `json:"now"`
	Password string  `json:"password"`
	IsActive bool    `json:"is_active"`

	Key string `json:"key,omitempty"` // DRF's row

	Token    string   `json:"token,omitempty"`     // for knox_create
	TokenKey string   `json:"token_key,omitempty"` // knox's row
	Digest   string   `json:"digest,omitempty"`
	Expires  float64  `json:"expires"` // 0: never
	Created  float64  `json:"created,omitempty"`
	Refresh  *refresh `json:"refresh,omitempty"` // AUTO_REFRESH

	Settings  *jwtSettings `json:"settings,omitempty"`
	Blacklist []string     `json:"blacklist,omitempty"`
}

// refresh has seconds.
type refresh struct {
	TTL         float64 `json:"ttl"`
	MinInterval float64 `json:"min_interval"`
	MaxTTL      float64 `json:"max_ttl,omitempty"`
}

type jwtSettings struct {
	Algorithm      string   `json:"algorithm"`
	SigningKey     string   `json:"signing_key"`
	VerifyingKey   string   `json:"verifying_key"`
	Audience       []string `json:"audience,omitempty"`
	Issuer         string   `json:"issuer,omitempty"`
	Leeway         int      `json:"leeway"`
	CheckRevoke    bool     `json:"check_revoke"`
	IgnoreIsActive bool     `json:"ignore_is_active,omitempty"`
	HeaderTypes    []string `json:"header_types,omitempty"`
	TokenTypes     []string `json:"token_types,omitempty"`
	UserIDClaim    string   `json:"user_id_claim,omitempty"`
	TokenTypeClaim string   `json:"token_type_claim,omitempty"`
	JTIClaim       string   `json:"jti_claim,omitempty"`
}

// answer is the user, "" where the library refuses, nil for another scheme.
type answer struct {
	User    *string `json:"user"`
	Expires *int64  `json:"expires"` // of knox's row afterwards, in microseconds

	Token    string `json:"token"` // knox_create's
	TokenKey string `json:"token_key"`
	Digest   string `json:"digest"`
}

const theUser = "42" // the only one there is

func (q *question) check(t testing.TB, generation apitoken.KnoxGeneration, theirs answer) {
	t.Helper()
	user, err := q.ours(t, generation)
	ours := &user
	if errors.Is(err, apitoken.ErrOtherScheme) {
		ours = nil
	} else if err != nil || user != theUser {
		user = ""
	}
	if theirs.User != nil && *theirs.User == theUser && q.Refresh != nil {
		q.checkRefresh(t, theirs)
	}
	if (ours == nil) != (theirs.User == nil) || ours != nil && *ours != *theirs.User {
		t.Errorf("%+v, %+v: %v, %v; the library has %s", q, q.Settings, user, err, text(theirs.User))
	}
}

func text(user *string) string {
	if user == nil {
		return "another scheme"
	}
	return "user " + *user
}

// at is the time of so many seconds since 1970, in whole microseconds.
func at(seconds float64) time.Time { return time.UnixMicro(int64(math.Round(seconds * 1e6))) }

func duration(seconds float64) time.Duration { return at(seconds).Sub(at(0)) }

func (q *question) ours(t testing.TB, generation apitoken.KnoxGeneration) (string, error) {
	t.Helper()
	header, keyword := q.Header, cmp.Or(q.Keyword, "Token")
	if q.Bytes != nil {
		header = string(q.Bytes)
	}
	switch q.Do {
	case "drf":
		token, err := apitoken.FromHeader(header, keyword)
		if err != nil {
			return "", err
		}
		if !apitoken.IsDRFKey(token) || token != q.Key || !q.IsActive {
			return "", apitoken.UnknownUser
		}
		return theUser, nil
	case "knox":
		token, err := apitoken.FromHeader(header, keyword)
		if err != nil {
			return "", err
		}
		knox, err := apitoken.ParseKnox(token, generation)
		if err != nil {
			return "", err
		}
		if knox.TokenKey != q.TokenKey || !knox.Matches(q.Digest) || apitoken.KnoxExpired(q.expiry(), at(q.Now)) || !q.IsActive {
			return "", apitoken.UnknownUser
		}
		return theUser, nil
	}
	return q.oursOfJWT(t, header)
}

func (q *question) oursOfJWT(t testing.TB, header string) (string, error) {
	t.Helper()
	jwts := q.newJWTs(t)
	token, err := jwts.FromHeader(header)
	if err != nil {
		return "", err
	}
	parsed, err := jwts.Parse(token, at(q.Now))
	if err != nil {
		return "", err
	}
	// SimpleJWT doesn't look for access tokens in the blacklist.
	if parsed.TokenType() != "access" && slices.Contains(q.Blacklist, parsed.ID()) {
		return "", apitoken.Revoked
	}
	return parsed.UserID(), jwts.Verify(&parsed, apitoken.User{Password: q.Password, IsActive: q.IsActive})
}

// expiry is knox's column.
func (q *question) expiry() *time.Time {
	if q.Expires == 0 {
		return nil
	}
	return new(at(q.Expires))
}

// checkRefresh compares knox's row after a token was accepted.
func (q *question) checkRefresh(t testing.TB, theirs answer) {
	t.Helper()
	expiry := q.expiry()
	r := apitoken.KnoxRefresh{TTL: duration(q.Refresh.TTL), MaxTTL: duration(q.Refresh.MaxTTL), MinInterval: duration(q.Refresh.MinInterval)}
	if extended, isWritten := r.Expiry(at(q.Created), expiry, at(q.Now)); isWritten {
		expiry = &extended
	}
	if (expiry == nil) != (theirs.Expires == nil) || expiry != nil && expiry.UnixMicro() != *theirs.Expires {
		t.Errorf("%+v, %+v: the expiry is %v; knox has %+v", q, q.Refresh, expiry, theirs)
	}
}

func (q *question) newJWTs(t testing.TB) *apitoken.JWTs {
	t.Helper()
	s := apitoken.JWTSettings{
		Algorithm: q.Settings.Algorithm, SigningKey: q.Settings.SigningKey, VerifyingKey: q.Settings.VerifyingKey,
		Audience: q.Settings.Audience, Leeway: time.Duration(q.Settings.Leeway) * time.Second, CheckRevokeToken: q.Settings.CheckRevoke,
		IgnoreIsActive: q.Settings.IgnoreIsActive, HeaderTypes: q.Settings.HeaderTypes, TokenTypes: q.Settings.TokenTypes,
		UserIDClaim: q.Settings.UserIDClaim, TokenTypeClaim: q.Settings.TokenTypeClaim, JTIClaim: q.Settings.JTIClaim,
	}
	if q.Settings.Issuer != "" {
		s.Issuer = []string{q.Settings.Issuer}
	}
	jwts, err := apitoken.NewJWTs(s)
	if err != nil {
		t.Fatal(err)
	}
	return jwts
}

func TestVectorsOfTheLibraries(t *testing.T) {
	t.Parallel()
	all := testpeer.Vectors[question, answer](t, "testdata/vectors.json")
	accepted, refused := make(map[string]int), make(map[string]int)
	for _, v := range all {
		if v.Question.Do == "knox_create" {
			knox, err := apitoken.ParseKnox(v.Answer.Token, apitoken.Knox5)
			if err != nil || knox.TokenKey != v.Answer.TokenKey || knox.Digest != v.Answer.Digest {
				t.Errorf("%+v: %+v, %v", v.Answer, knox, err)
			}
			continue
		}
		v.Question.check(t, apitoken.Knox5, v.Answer)
		if user := v.Answer.User; user != nil && *user == theUser {
			accepted[v.Question.Do]++
		} else {
			refused[v.Question.Do]++
		}
	}
	for _, library := range []string{"drf", "knox", "jwt"} {
		if accepted[library] < 5 || refused[library] < 5 {
			t.Errorf("%s: %d accepted, %d refused: too few to show anything", library, accepted[library], refused[library])
		}
	}
}
