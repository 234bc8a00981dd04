package apitoken_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

var (
	differentialPairs = flag.Int("pairs", 3_000, "how `many` verdicts the differential test compares")
	differentialSeed  = flag.Uint64("seed", 0, "the `number` that the differential test's inputs follow from, or 0 for another each time")
)

// TestDifferential has the libraries and this package judge random headers.
func TestDifferential(t *testing.T) {
	t.Parallel()
	sources := testpeer.Checkouts(t, "API_TOKEN_SRC", "Django REST framework, knox, SimpleJWT, PyJWT and Django, all of them")
	seed := *differentialSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	peer := testpeer.Start(t, "testdata/peer.py", sources...)
	var has struct {
		Generation apitoken.KnoxGeneration `json:"generation"`
	}
	peer.Ask(t, nil, &has)
	accepted, compared := make(map[string]int), 0
	for compared < *differentialPairs && !t.Failed() {
		created := make([]question, 20)
		for i := range created {
			created[i] = question{Do: "knox_create", Now: 1_700_000_000}
		}
		var rows []answer
		peer.Ask(t, created, &rows)
		var questions []question
		for _, row := range rows {
			questions = append(questions, randomKnox(rnd, row), randomDRF(rnd))
			for range 8 {
				questions = append(questions, randomJWT(rnd))
			}
		}
		var answers []answer
		peer.Ask(t, questions, &answers)
		for i, q := range questions {
			q.check(t, has.Generation, answers[i])
			if answers[i].User != nil && *answers[i].User == theUser {
				accepted[q.Do]++
			}
		}
		compared += len(questions)
	}
	t.Logf("seed %d, knox %d: %d verdicts, accepted %v", seed, has.Generation, compared, accepted)
}

func pick[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

// randomHeader puts a token in a header, mostly the right way.
func randomHeader(rnd *rand.Rand, keyword, token string) string {
	switch rnd.IntN(8) {
	case 0:
		keyword = pick(rnd, strings.ToUpper(keyword), strings.ToLower(keyword), "Bearer", "Token", "", "Toen", "To\u212aen")
	case 1:
		token = pick(rnd, token+" x", " "+token, token+"\t", token+"ü", "", token+"\v")
	case 2:
		at := rnd.IntN(len(token))
		token = token[:at] + pick(rnd, "", "A", "=", ".", "!", "é", "-", "_", "0") + token[at+rnd.IntN(2):]
	}
	return keyword + pick(rnd, " ", " ", " ", "\t", "  ", "\f") + token
}

func randomDRF(rnd *rand.Rand) question {
	key := apitoken.NewDRFKey()
	return question{Do: "drf", Now: 1_700_000_000, IsActive: rnd.IntN(5) > 0, Key: key, Header: randomHeader(rnd, "Token", key)}
}

func randomKnox(rnd *rand.Rand, row answer) question {
	return question{
		Do: "knox", Now: 1_700_000_000, IsActive: rnd.IntN(5) > 0, TokenKey: row.TokenKey, Digest: row.Digest,
		Expires: 1_700_000_000 + pick(rnd, int64(0), 1, 1000, -1), Header: randomHeader(rnd, "Token", pick(rnd, row.Token, row.Token, strings.ToUpper(row.Token))),
	}
}

// randomJWT signs claims that SimpleJWT may accept or not.
func randomJWT(rnd *rand.Rand) question {
	q := question{Do: "jwt", Now: 1_700_000_000, Password: pick(rnd, "a", "ü"), IsActive: rnd.IntN(6) > 0, Settings: &jwtSettings{
		Algorithm: "HS256", SigningKey: strings.Repeat("k", 40), Issuer: pick(rnd, "", "", "i"), Leeway: pick(rnd, 0, 10), CheckRevoke: rnd.IntN(4) == 0,
	}}
	if rnd.IntN(3) == 0 {
		q.Settings.Audience = []string{"a", "b"}
	}
	claims := []string{`"exp":1700000300`, `"iat":1700000000`, `"jti":"0123"`, `"token_type":"access"`, `"user_id":"42"`}
	if q.Settings.Issuer != "" {
		claims = append(claims, `"iss":"i"`)
	}
	if q.Settings.Audience != nil {
		claims = append(claims, `"aud":`+pick(rnd, `"a"`, `["x","b"]`))
	}
	if q.Settings.CheckRevoke {
		claims = append(claims, `"hash_password":"`+pick(rnd, "0CC175B9C0F1B6A831C399E269772661", "0cc175b9c0f1b6a831c399e269772661")+`"`)
	}
	for rnd.IntN(3) == 0 {
		at := rnd.IntN(len(claims))
		switch rnd.IntN(3) {
		case 0:
			name, _, _ := strings.Cut(claims[at], ":")
			claims = append(claims, name+":"+randomValue(rnd))
		case 1:
			claims = append(claims, pick(rnd, `"nbf"`, `"sub"`, `"x"`, `"\u0065xp"`, `"EXP"`, `"ü"`)+":"+randomValue(rnd))
		default:
			claims = append(claims[:at:at], claims[at+1:]...)
			if len(claims) == 0 {
				claims = []string{`"x":1`}
			}
		}
	}
	header := `{"typ":"JWT","alg":"HS256"}`
	if rnd.IntN(6) == 0 {
		header = pick(rnd, `{"alg":"none"}`, `{"alg":"none","alg":"HS256"}`, `{"alg":"HS256","alg":"none"}`, `{"alg":"hs256"}`, `{"alg":"HS512"}`, `{}`, `[]`,
			`{"alg":"HS256","crit":["x"]}`, `{"alg":"HS256","crit":[]}`, `{"alg":"HS256","kid":1}`, `{"alg":"HS256","kid":"1"}`, `{"alg":"HS256","b64":false}`,
			`{"alg":"HS256","b64":true}`, `{"alg":["HS256"]}`, `{"alg":null}`, `{"ALG":"HS256"}`, `{"\u0061lg":"HS256"}`, ` {"alg" : "HS256"} `, "\ufeff"+`{"alg":"HS256"}`,
			`{"alg":"HS256","x":NaN}`, `{"alg":"HS256"`, `{"alg":"HS256"}x`, "")
	}
	q.Header = randomHeader(rnd, "Bearer", signHS256(q.Settings.SigningKey, header, pick(rnd, "", "", "", "", " ", "\ufeff")+"{"+strings.Join(claims, pick(rnd, ",", ",", " ,\n"))+"}"))
	return q
}

func randomValue(rnd *rand.Rand) string {
	return pick(rnd, "1", "42", "0", "-1", `"42"`, `"x"`, `""`, "null", "[]", "{}", `["a"]`, `["a",1]`, "NaN", "Infinity", "1e3", "1e400",
		"1700000000", "1700000000.5", "1700000001", "1699999999.9", "1700000010.9", "1700000011", "1699999990", "1699999990.5", "1699999989.99",
		"253402300799", "253402300800", `"1800000000"`, `"1.5"`, `"1e3"`, `"+5"`, `"-5"`, `"a"`, `"i"`, `"access"`, `"refresh"`, "1800000000", "1.8e9", strings.Repeat("9", 400), strings.Repeat("9", 4301))
}

func signHS256(key, header, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = fmt.Fprint(mac, signed)
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
