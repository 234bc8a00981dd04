package sesame

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestWrongJSONNamesFieldAndRemedy decodes as Caddy does what is misspelled or of
// the wrong type.
func TestWrongJSONNamesFieldAndRemedy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ config, want string }{
		{`{"maxage": "10m"}`, `unknown field "maxage"; did you mean max_age?`},
		{`{"dsn": "x"}`, `unknown field "dsn"; it belongs in userstore`},
		{`{"nothing_near": 1}`, `unknown field "nothing_near"; the fields are api_token, assertion, auth_service, cache, confirm,`},
		{`{"one_time": "yes"}`, `one_time: it must be true or false, without quotes, not "yes"`},
		{`{"token_name": 5}`, "token_name: it must be a text in quotes, not a number"},
		{`{"secret_key": 12345}`, "secret_key: it must be a text in quotes, not a number"},
		{`{"secret_key": ["a"]}`, "secret_key: it must be a text in quotes, not a list"},
		{`{"tokens": "v2"}`, `tokens: it must be a list, as in ["…"], not a text`},
		{`{"max_age": "10min"}`, `max_age: it must be a duration in quotes, such as "10m" or "1d", not "10min"`},
		{`{"max_age": {}}`, `max_age: it must be a duration in quotes, such as "10m" or "1d", not an object`},
		{`{"watch": "off"}`, `watch: it must be a duration in quotes, such as "10m" or "1d", not "off"`},
		{`{"session": true}`, `session: it must be an object, as in {"name": …}, not true`},
		{`{"session": {"maxage": "1h"}}`, `session: unknown field "maxage"; did you mean max_age?`},
		{`{"session": {"update_last_login": "on"}}`, `session: update_last_login: it must be true or false, without quotes, not "on"`},
		{`{"identity": {"X-User": "x"}}`, `identity: it must be a list of objects, as in [{"name": …}], not an object`},
		{`{"identity": [{"name": "A", "value": "b"}, {"header": "X"}]}`, `identity: 1: unknown field "header"; the fields are encoding, map, max_size, name, separator, unmapped, value`},
		{`{"require": ["staff"]}`, `require: 0: it must be an object, as in {"groups": …}, not a text`},
		{`{"require": [{"group": ["a"]}]}`, `require: 0: unknown field "group"; did you mean groups?`},
		{`{"token_from": ["query"]}`, `token_from: 0: it must be an object, as in {"from": …}, not a text`},
		{`{"userstore": {"tabel": "x"}}`, `userstore: unknown field "tabel"; did you mean table?`},
		{`{"userstore": {"columns": ["a"]}}`, `userstore: columns: it must be an object, as in {"primary_key": …}, not a list`},
		{`{"userstore": {"groups": true}}`, `userstore: groups: it must be an object, as in {"table": …}, not true`},
		{`{"userstore": {"replicas": "u:hush@tcp(h)/d"}}`, `userstore: replicas: it must be a list, as in ["…"], not a text`},
		{`{"userstore": {"max_open_conns": "5"}}`, `userstore: max_open_conns: it must be a whole number, without quotes, not "5"`},
		{`{"userstore": {"max_open_conns": 1.5}}`, `userstore: max_open_conns: it must be a whole number, without quotes, not 1.5`},
		{`{"cache": "5s"}`, `cache: it must be an object, as in {"for": …}, not a text`},
		{`{"cache": {"for": "5s", "max_size": "64MiB"}}`, `cache: max_size: it must be a whole number, without quotes, not "64MiB"`},
		{`{"limit_failures": "20 per 1m"}`, `limit_failures: it must be an object, as in {"failures": …}, not a text`},
		{`{"pages": {"colors": {"accent": "red"}}}`, `pages: colors: accent: it must be a list, as in ["…"], not a text`},
		{`{"pages": {"color": {}}}`, `pages: unknown field "color"; did you mean colors?`},
		{`{"assertion": {"audience": "x"}}`, `assertion: audience: it must be a list, as in ["…"], not a text`},
		{`{"source": "Caddyfile:3", "maxage": "10m"}`, `Caddyfile:3: unknown field "maxage"; did you mean max_age?`},
	} {
		t.Run(test.config, func(t *testing.T) {
			t.Parallel()
			err := caddy.StrictUnmarshalJSON([]byte(test.config), new(Handler))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "12345")) {
				t.Errorf("the error may hold a secret: %v", err)
			}
		})
	}
}

// TestEveryLetterCaseOfAFieldIsRead decodes what encoding/json accepts.
func TestEveryLetterCaseOfAFieldIsRead(t *testing.T) {
	t.Parallel()
	h := new(Handler)
	if err := caddy.StrictUnmarshalJSON([]byte(`{"Token_Name": "t", "session": null}`), h); err != nil || h.TokenName != "t" {
		t.Errorf("token_name %q, error %v", h.TokenName, err)
	}
}

// TestJSONWithValuesThatNoCaddyfileHasIsRejected has durations below zero and of
// nanoseconds, and blocks of api_token without a library.
func TestJSONWithValuesThatNoCaddyfileHasIsRejected(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{
		`"max_age": "-5m"`:              "max_age: -5m0s is negative: write a duration such as 10m",
		`"max_age": 0`:                  "max_age: 0 would reject every token",
		`"watch": "-1s"`:                "watch: -1s is negative",
		`"session": {"max_age": "-1h"}`: "session: max_age: -1h0m0s is negative",
		`"api_token": [{"library": "simplejwt", "leeway": "-5s"}]`:                     "api_token: simplejwt: leeway: -5s is negative",
		`"api_token": [{"library": "simplejwt", "leeway": 5}]`:                         `api_token: simplejwt: leeway: 5ns is too short to be meant: a number in JSON is nanoseconds; write seconds as "5s"`,
		`"api_token": [{"library": "knox", "auto_refresh": true, "token_ttl": 36000}]`: "api_token: knox: token_ttl: 36µs is too short to be meant",
		`"api_token": [{"table": "x"}]`:                                                "api_token: library is missing: it must be drf, knox or simplejwt",
		`"api_token": [{"library": "dfr"}]`:                                            `api_token: "dfr": it must be drf, knox or simplejwt`,
		`"cache": {"for": "-5s"}`:                                                      "cache: for: -5s is negative",
		`"userstore": {"conn_max_lifetime": "-1s"}`:                                    "userstore: conn_max_lifetime: -1s is negative",
	} {
		h := new(Handler)
		if err := json.Unmarshal([]byte("{"+option+"}"), h); err != nil {
			t.Fatal(err)
		}
		if _, err := newRequestGate(h, new(tally)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", option, err, want)
		}
	}
}
