package apitoken_test

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
)

// question is a header, and all that the verdict on it depends on.
type question struct {
	Do       string `json:"do"` // drf, knox, knox_create or jwt
	Header   string `json:"header"`
	Now      int64  `json:"now"`
	Password string `json:"password"`
	IsActive bool   `json:"is_active"`

	Key string `json:"key,omitempty"` // DRF's row

	TokenKey string `json:"token_key,omitempty"` // knox's row
	Digest   string `json:"digest,omitempty"`
	Expires  int64  `json:"expires,omitempty"`

	Settings *jwtSettings `json:"settings,omitempty"`
}

type jwtSettings struct {
	Algorithm    string   `json:"algorithm"`
	SigningKey   string   `json:"signing_key"`
	VerifyingKey string   `json:"verifying_key"`
	Audience     []string `json:"audience,omitempty"`
	Issuer       string   `json:"issuer,omitempty"`
	Leeway       int      `json:"leeway"`
	CheckRevoke  bool     `json:"check_revoke"`
}

// answer is the user, "" where the library refuses, nil for another scheme.
type answer struct {
	User *string `json:"user"`

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

func (q *question) ours(t testing.TB, generation apitoken.KnoxGeneration) (string, error) {
	t.Helper()
	now := time.Unix(q.Now, 0)
	switch q.Do {
	case "drf":
		token, err := apitoken.FromHeader(q.Header, "Token")
		if err != nil {
			return "", err
		}
		if !apitoken.IsDRFKey(token) || token != q.Key || !q.IsActive {
			return "", apitoken.UnknownUser
		}
		return theUser, nil
	case "knox":
		token, err := apitoken.FromHeader(q.Header, "Token")
		if err != nil {
			return "", err
		}
		knox, err := apitoken.ParseKnox(token, generation)
		if err != nil {
			return "", err
		}
		expires := time.Unix(q.Expires, 0)
		if knox.TokenKey != q.TokenKey || !knox.Matches(q.Digest) || apitoken.KnoxExpired(&expires, now) || !q.IsActive {
			return "", apitoken.UnknownUser
		}
		return theUser, nil
	}
	jwts := q.newJWTs(t)
	token, err := jwts.FromHeader(q.Header)
	if err != nil {
		return "", err
	}
	parsed, err := jwts.Parse(token, now)
	if err != nil {
		return "", err
	}
	return parsed.UserID(), jwts.Verify(&parsed, apitoken.User{Password: q.Password, IsActive: q.IsActive})
}

func (q *question) newJWTs(t testing.TB) *apitoken.JWTs {
	t.Helper()
	s := apitoken.JWTSettings{
		Algorithm: q.Settings.Algorithm, SigningKey: q.Settings.SigningKey, VerifyingKey: q.Settings.VerifyingKey,
		Audience: q.Settings.Audience, Leeway: time.Duration(q.Settings.Leeway) * time.Second, CheckRevokeToken: q.Settings.CheckRevoke,
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
	vectors, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Question question `json:"question"`
		Answer   answer   `json:"answer"`
	}
	if err := json.Unmarshal(vectors, &all); err != nil {
		t.Fatal(err)
	}
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
