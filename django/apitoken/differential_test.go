package apitoken_test

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// TestDifferential has the libraries and this package judge random headers.
func TestDifferential(t *testing.T) {
	t.Parallel()
	sources := testpeer.Checkouts(t, "API_TOKEN_SRC", "Django REST framework, knox, SimpleJWT, PyJWT and Django, all of them")
	d := testpeer.NewDifferential(t, 3_000, 1)
	rnd := d.Rand
	peer := testpeer.Start(t, "testdata/peer.py", sources...)
	var has struct {
		Generation apitoken.KnoxGeneration `json:"generation"`
	}
	peer.Ask(t, nil, &has)
	keys := newKeys(t, rnd)
	accepted := make(map[string]int)
	for d.Goes(t) {
		created := make([]question, 20)
		for i := range created {
			created[i] = question{Do: "knox_create", Now: start, Token: randomKnoxToken(rnd, has.Generation)}
		}
		var rows []answer
		peer.Ask(t, created, &rows)
		var questions []question
		for _, row := range rows {
			questions = append(questions, randomKnox(rnd, row, has.Generation), randomDRF(rnd))
			for range 6 {
				questions = append(questions, keys.randomJWT(rnd))
			}
		}
		var answers []answer
		peer.Ask(t, questions, &answers)
		for i, q := range questions {
			q.check(t, has.Generation, answers[i])
			kind := q.Do
			if q.Settings != nil {
				kind = q.Settings.Algorithm
			}
			if answers[i].User != nil && *answers[i].User == theUser {
				accepted[kind]++
			}
		}
		d.Compared(len(questions))
	}
	t.Logf("knox %d: accepted %v", has.Generation, accepted)
}

const start = 1_700_000_000 // in seconds since 1970

func pick[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

// randomNow is start, and a bit.
func randomNow(rnd *rand.Rand) float64 { return start + float64(rnd.IntN(64))/64 }

// setHeader puts a token in the question's header, mostly the right way.
func (q *question) setHeader(rnd *rand.Rand, keyword, token string) {
	switch rnd.IntN(8) {
	case 0:
		keyword = pick(rnd, strings.ToUpper(keyword), strings.ToLower(keyword), "Bearer", "Token", "", "Toen", "To\u212aen", keyword+"\xff", "\xa0"+keyword)
	case 1:
		token = pick(rnd, token+" x", " "+token, token+"\t", token+"ü", "", token+"\v", token+"\xff", "\xa0"+token, token+"\x85", token+"\x1c", token+"\x00")
	case 2:
		at := rnd.IntN(len(token))
		token = token[:at] + pick(rnd, "", "A", "=", ".", "!", "é", "-", "_", "0", "\xc3", "\x00") + token[at+rnd.IntN(2):]
	}
	header := keyword + pick(rnd, " ", " ", " ", "\t", "  ", "\f", "\r\n") + token
	if utf8.ValidString(header) {
		q.Header = header
	} else {
		q.Bytes = []byte(header)
	}
}

func randomText(rnd *rand.Rand, characters string, most int) string {
	all := []rune(characters)
	text := make([]rune, 1+rnd.IntN(most))
	for i := range text {
		text[i] = all[rnd.IntN(len(all))]
	}
	return string(text)
}

func randomDRF(rnd *rand.Rand) question {
	q := question{Do: "drf", Now: randomNow(rnd), IsActive: rnd.IntN(5) > 0, Keyword: pick(rnd, "Token", "Token", "Bearer", "Api-Key"), Key: apitoken.NewDRFKey()}
	token := q.Key
	switch rnd.IntN(4) {
	case 0: // one that the application made
		q.Key = randomText(rnd, "abAB09-_.=~üß€😀", 40)
		token = q.Key
	case 1:
		token = pick(rnd, strings.ToUpper(q.Key), q.Key+"0", q.Key[:39], q.Key+q.Key, apitoken.NewDRFKey())
	}
	q.setHeader(rnd, q.Keyword, token)
	return q
}

// randomKnoxToken is a token that knox didn't make, but takes, or "" for one
// that it is to make.
func randomKnoxToken(rnd *rand.Rand, generation apitoken.KnoxGeneration) string {
	switch {
	case rnd.IntN(2) == 0:
		return ""
	case generation == apitoken.Knox4:
		return hex.EncodeToString([]byte(randomText(rnd, "abcxyz\x00\xff", 20)))
	}
	return pick(rnd, "", "prefix_", "ü€-", "0") + randomText(rnd, "abAB09-_.=~üß€😀", 40)
}

func randomKnox(rnd *rand.Rand, row answer, generation apitoken.KnoxGeneration) question {
	q := question{
		Do: "knox", Now: randomNow(rnd), IsActive: rnd.IntN(5) > 0, TokenKey: row.TokenKey, Digest: row.Digest, Keyword: pick(rnd, "Token", "Token", "Bearer"),
	}
	if q.Expires = pick(rnd, q.Now, q.Now+1, q.Now+1000, q.Now+36000, q.Now-1, q.Now-1e-6, q.Now+1e-6); rnd.IntN(6) == 0 {
		q.Expires = 0
	}
	if rnd.IntN(2) == 0 {
		q.Created = q.Now - float64(rnd.IntN(100_000))
		q.Refresh = &refresh{TTL: pick(rnd, 36000, 1000, 1060.5, 0, 61), MinInterval: pick(rnd, 60., 0, 1, 35000, 60.5)}
		if generation == apitoken.Knox5 {
			q.Refresh.MaxTTL = pick(rnd, 0, 1, 36000, 100_000, q.Now-q.Created+1000)
		}
	}
	q.setHeader(rnd, q.Keyword, pick(rnd, row.Token, row.Token, row.Token, strings.ToUpper(row.Token), row.Token+"00", row.Token+row.Token))
	return q
}
