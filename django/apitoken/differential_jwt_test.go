package apitoken_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// keys are what random JWTs are signed with.
type keys struct {
	settings []jwtSettings // one of each algorithm
	sign     map[string]func(signed string) []byte
}

func newKeys(t *testing.T, rnd *rand.Rand) *keys {
	t.Helper()
	k := &keys{sign: make(map[string]func(string) []byte)}
	for name, hash := range map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512} {
		secret := strings.Repeat("kü"[:2+rnd.IntN(2)], 40)
		if rnd.IntN(2) == 0 {
			secret = randomText(rnd, "abc019 '\"$ü€😀", 150) + strings.Repeat("k", 64)
		}
		secret = strings.ToValidUTF8(secret, "?")
		k.settings = append(k.settings, jwtSettings{Algorithm: name, SigningKey: secret})
		k.sign[name] = func(signed string) []byte {
			mac := hmac.New(hash.New, []byte(secret))
			_, _ = mac.Write([]byte(signed))
			return mac.Sum(nil)
		}
	}
	rsaKey, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, hash := range map[string]crypto.Hash{"RS256": crypto.SHA256, "RS512": crypto.SHA512} {
		k.settings = append(k.settings, jwtSettings{Algorithm: name, VerifyingKey: publicPEM(t, &rsaKey.PublicKey)})
		k.sign[name] = func(signed string) []byte {
			signature, _ := rsa.SignPKCS1v15(nil, rsaKey, hash, digestOf(hash, signed))
			return signature
		}
	}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, cryptorand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		hash, size := crypto.SHA256, 32
		if name == "ES384" {
			hash, size = crypto.SHA384, 48
		}
		k.settings = append(k.settings, jwtSettings{Algorithm: name, VerifyingKey: publicPEM(t, &key.PublicKey)})
		k.sign[name] = func(signed string) []byte {
			r, s, _ := ecdsa.Sign(cryptorand.Reader, key, digestOf(hash, signed))
			signature := make([]byte, 2*size)
			r.FillBytes(signature[:size])
			s.FillBytes(signature[size:])
			return signature
		}
		k.sign[name+" in DER"] = func(signed string) []byte {
			signature, _ := ecdsa.SignASN1(cryptorand.Reader, key, digestOf(hash, signed))
			return signature
		}
	}
	return k
}

func digestOf(hash crypto.Hash, text string) []byte {
	h := hash.New()
	_, _ = h.Write([]byte(text))
	return h.Sum(nil)
}

func publicPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// randomSettings returns settings with any algorithm.
func (k *keys) randomSettings(rnd *rand.Rand) *jwtSettings {
	s := pick(rnd, k.settings...)
	s.Issuer, s.Leeway, s.CheckRevoke = pick(rnd, "", "", "i", "ü"), pick(rnd, 0, 0, 10), rnd.IntN(4) == 0
	s.IgnoreIsActive = rnd.IntN(6) == 0
	s.TokenTypes = pick(rnd, nil, nil, []string{"sliding"}, []string{"access", "sliding"}, []string{"refresh", "access"})
	s.HeaderTypes = pick(rnd, nil, nil, []string{"JWT"}, []string{"Bearer", "JWT"})
	s.UserIDClaim, s.TokenTypeClaim = pick(rnd, "", "", "uid", "sub"), pick(rnd, "", "", "typ")
	s.JTIClaim = pick(rnd, "", "", "id")
	if rnd.IntN(3) == 0 {
		s.Audience = []string{"a", "b"}
	}
	return &s
}

// goodClaims returns claims that the settings mostly accept, for the user whose row
// has the password.
func (s *jwtSettings) goodClaims(rnd *rand.Rand, password string) []string {
	types := s.TokenTypes
	if types == nil {
		types = []string{"access"}
	}
	claims := []string{
		fmt.Sprintf(`"exp":%d`, start+pick(rnd, 300, 300, 300, 1, 0, -10, -9)), `"iat":1700000000`,
		named(s.JTIClaim, "jti") + pick(rnd, `:"0123"`, `:"0123"`, `:"ü"`),
		named(s.TokenTypeClaim, "token_type") + `:"` + pick(rnd, types...) + `"`,
		named(s.UserIDClaim, "user_id") + `:"42"`,
	}
	if s.UserIDClaim != "sub" && rnd.IntN(4) == 0 { // sub must be a text
		claims[4] = named(s.UserIDClaim, "user_id") + `:42`
	}
	if s.TokenTypes != nil {
		claims = append(claims, `"refresh_exp":1700086400`)
	}
	if s.Issuer != "" {
		claims = append(claims, `"iss":"`+s.Issuer+`"`)
	}
	if s.Audience != nil {
		claims = append(claims, `"aud":`+pick(rnd, `"a"`, `["x","b"]`))
	}
	if s.CheckRevoke {
		sum := map[string]string{"a": "0CC175B9C0F1B6A831C399E269772661", "ü": "C03410A5204B21CD8229FF754688D743"}[password]
		claims = append(claims, `"hash_password":"`+pick(rnd, sum, sum, strings.ToLower(sum), "")+`"`)
	}
	return claims
}

func named(name, byDefault string) string {
	if name == "" {
		name = byDefault
	}
	return `"` + name + `"`
}

// randomJWT signs claims that SimpleJWT may accept or not.
func (k *keys) randomJWT(rnd *rand.Rand) question {
	q := question{Do: "jwt", Now: randomNow(rnd), Password: pick(rnd, "a", "ü"), IsActive: rnd.IntN(6) > 0, Settings: k.randomSettings(rnd)}
	if rnd.IntN(8) == 0 {
		q.Blacklist = pick(rnd, []string{"0123"}, []string{"x", "ü"}, []string{"42"})
	}
	claims := q.Settings.goodClaims(rnd, q.Password)
	for rnd.IntN(3) == 0 {
		at := rnd.IntN(len(claims))
		switch rnd.IntN(3) {
		case 0:
			name, _, _ := strings.Cut(claims[at], ":")
			claims = append(claims, name+":"+randomValue(rnd))
		case 1:
			claims = append(claims, pick(rnd, `"nbf"`, `"sub"`, `"iat"`, `"jti"`, `"x"`, `"\u0065xp"`, `"EXP"`, `"ü"`, `"refresh_exp"`)+":"+randomValue(rnd))
		default:
			claims = append(claims[:at:at], claims[at+1:]...)
			if len(claims) == 0 {
				claims = []string{`"x":1`}
			}
		}
	}
	payload := pick(rnd, "", "", "", "", " ", "\ufeff") + "{" + strings.Join(claims, pick(rnd, ",", ",", " ,\n")) + "}"
	if q.Settings.TokenTypes != nil {
		// SimpleJWT's blacklist can't be queried with text that isn't UTF-8.
		payload = strings.ReplaceAll(payload, `"\ud83d"`, `"x"`)
	}
	q.setHeader(rnd, pick(rnd, append(q.Settings.HeaderTypes, "Bearer")...), k.randomToken(rnd, q.Settings.Algorithm, payload))
	return q
}

// randomToken signs a payload, mostly with the algorithm.
func (k *keys) randomToken(rnd *rand.Rand, algorithm, payload string) string {
	header := `{"typ":"JWT","alg":"` + algorithm + `"}`
	if rnd.IntN(6) == 0 {
		header = strings.ReplaceAll(pick(rnd, `{"alg":"none"}`, `{"alg":"none","alg":"HS256"}`, `{"alg":"HS256","alg":"none"}`, `{"alg":"hs256"}`, `{"alg":"HS512"}`, `{}`, `[]`,
			`{"alg":"HS256","crit":["x"]}`, `{"alg":"HS256","crit":[]}`, `{"alg":"HS256","kid":1}`, `{"alg":"HS256","kid":"1"}`, `{"alg":"HS256","b64":false}`,
			`{"alg":"HS256","b64":true}`, `{"alg":["HS256"]}`, `{"alg":null}`, `{"ALG":"HS256"}`, `{"\u0061lg":"HS256"}`, ` {"alg" : "HS256"} `, "\ufeff"+`{"alg":"HS256"}`,
			`{"alg":"HS256","x":NaN}`, `{"alg":"HS256"`, `{"alg":"HS256"}x`, "", `{"alg":"HS256","typ":1}`, `{"alg":"HS256","jwk":{},"jku":"https://x/","x5c":[]}`, `{"alg":"RS256"}`),
			"HS256", pick(rnd, algorithm, algorithm, algorithm, "HS256"))
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature := k.sign[algorithm](signed)
	switch rnd.IntN(16) {
	case 0: // with another key
		signature = k.sign[pick(rnd, k.settings...).Algorithm](signed)
	case 1: // with a public key as the secret
		for _, s := range k.settings {
			if s.Algorithm == algorithm && s.VerifyingKey != "" {
				mac := hmac.New(sha256.New, []byte(s.VerifyingKey))
				_, _ = mac.Write([]byte(signed))
				signature = mac.Sum(nil)
			}
		}
	case 2:
		if inDER := k.sign[algorithm+" in DER"]; inDER != nil {
			signature = inDER(signed)
		}
	case 3:
		signature = append(signature, pick(rnd, "", "\x00", "x")...)
		signature = signature[:len(signature)-rnd.IntN(2)]
	case 4:
		half := len(signature) / 2
		signature = append(signature[half:len(signature):len(signature)], signature[:half]...)
	case 5:
		signature = make([]byte, len(signature))
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// randomValue returns a value of any JSON type, often at the edge of a time.
func randomValue(rnd *rand.Rand) string {
	return pick(rnd, "1", "42", "0", "-1", `"42"`, `"x"`, `""`, "null", "[]", "{}", `["a"]`, `["a",1]`, "NaN", "Infinity", "1e3", "1e400",
		"1700000000", "1700000000.5", "1700000000.25", "1700000001.0", "17e8", "-1e400", "true", "false", `"\ud83d"`, `"1_000"`, `" 5 "`, `"1700000000"`, `"sliding"`, `"i"`, `[]`, `["b"]`, "1700000001", "1699999999.9", "1700000010.9", "1700000011", "1699999990", "1699999990.5", "1699999989.99",
		"253402300799", "253402300800", `"1800000000"`, `"1.5"`, `"1e3"`, `"+5"`, `"-5"`, `"a"`, `"i"`, `"access"`, `"refresh"`, "1800000000", "1.8e9", strings.Repeat("9", 400), strings.Repeat("9", 4301))
}

func signHS256(key, header, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = fmt.Fprint(mac, signed)
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
