package sesame

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// minimal is a directive without mistakes, whose last line is empty.
const minimal = `sesame {
	secret_key {env.SECRET_KEY}
	userstore mysql {
		dsn {env.DSN}
	}
	`

// TestCaddyfileErrors checks that each mistake is named with its option and
// line.
func TestCaddyfileErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, directive, want string
	}{
		{"nothing", "sesame", "secret_key is missing"},
		{"no store", "sesame {\n secret_key x\n}", "userstore is missing"},
		{"no dsn", "sesame {\n secret_key x\n userstore mysql\n}", "no dsn"},
		{"argument", "sesame x {\n}", "wrong argument count"},
		{"unknown option", minimal + "max_aeg 1m\n}", `unrecognized option "max_aeg"; did you mean max_age?, at Testfile:6`},
		{"a setting's name", minimal + "SESAME_MAX_AGE 600\n}", `unrecognized option "SESAME_MAX_AGE"; did you mean max_age?, at Testfile:6`},
		{"an option of a block outside of it", minimal + "dsn x\n}", `unrecognized option "dsn"; it belongs in the block of userstore, at Testfile:6`},
		{"an option of the directive in a block", minimal + "session {\n token_name x\n }\n}", `unrecognized option "token_name" of session; it belongs in the sesame block itself, outside of session, at Testfile:7`},
		{"an option that is near nothing", minimal + "reverse_proxy x\n}", `unrecognized option "reverse_proxy"; the options are api_token, assertion, auth_service, cache,`},
		{"a duration in two words", minimal + "max_age 10 m\n}", "max_age takes one value, a duration such as 10m or 1d, or a number of seconds; there are 2: 10 m. Write a duration without spaces: 10m, at Testfile:6"},
		{"session with a value", minimal + "session 7d\n}", "session takes a block, and no value; there is 1: 7d. Options stand in its block, each in a line of its own, such as: max_age 7d, at Testfile:6"},
		{"color that is a comment", minimal + "pages {\n color accent #1a5fb4\n }\n}", `quote a color that begins with #, as "#1a5fb4", since # begins a comment; there is 1: accent, at Testfile:7`},
		{"value with spaces", minimal + "realm my app\n}", `realm takes one value, a text; there are 2: my app. Quote a value that has spaces: "my app", at Testfile:6`},
		{"identity with two values", minimal + "identity {\n X-User a b\n }\n}", "the header field X-User takes one value, and there are 2"},
		{"requirement", minimal + "require groups editors\n}", `unrecognized requirement "groups": it must be group, permission, user, staff or superuser; did you mean group?, at Testfile:6`},
		{"unknown option of the store", "sesame {\n secret_key x\n userstore mysql {\n tabel x\n }\n}", `unrecognized option "tabel" of userstore; did you mean table?, at Testfile:4`},
		{"unknown store", "sesame {\n userstore postgres {\n }\n}", "the only kind of store is mysql, at Testfile:2"},
		{"unknown option of session", minimal + "session {\n max_aeg 1h\n }\n}", `unrecognized option "max_aeg" of session; did you mean max_age?, at Testfile:7`},
		{"undecided", minimal + "undecided `AUTH_USER_MODEL: a manager hides users.`\n}", "undecided: AUTH_USER_MODEL: a manager hides users. Decide, then remove this line, at Testfile:6"},
		{"too many values of groups", "sesame {\n secret_key x\n userstore mysql {\n groups a b c d\n }\n}", "groups: it takes nothing, a table, that and its column with the user,"},
		{"twice", minimal + "max_age 1m\n max_age 2m\n}", "max_age is already set in line 6, at Testfile:7"},
		{"switch", minimal + "optional maybe\n}", `optional: it must be on or off, not "maybe", at Testfile:6`},
		{"duration", minimal + "max_age soon\n}", "max_age: it must be a duration"},
		{"no duration", minimal + "max_age 0\n}", "max_age: it must be a duration"},
		{"signature", minimal + "signature_size 65\n}", "signature_size 65: it must be from 1 to 64 bytes, at Testfile:6"},
		{"signature in words", minimal + "signature_size ten\n}", "signature_size: it must be a whole number"},
		{"insecure", minimal + "invalidate_on_password_change off\n}", "insecure configuration"},
		{"insecure without a password", "sesame {\n secret_key x\n userstore mysql {\n dsn {env.DSN}\n password -\n }\n}", "insecure configuration"},
		{"version", minimal + "tokens v2 v3\n}", `tokens: unknown version of tokens "v3": it must be v2 or v1, at Testfile:6`},
		{"digest", minimal + "digest crc32\n}", `unknown digest "crc32"`},
		{"packer", minimal + "packer sesame.packers.Nope\n}", "unknown packer"},
		{"own packer", minimal + "packer app.Packer\n}", "packer app.Packer is not one of django-sesame's"},
		{"encoding", minimal + "packer_encoding hex:3\n}", "packer_encoding: hex:3: the number of digits must be even, from 2 to 510, at Testfile:6"},
		{"source", minimal + "token_from cookie\n}", `token_from "cookie": it must be query, bearer, basic or header, at Testfile:6`},
		{"source without a name", minimal + "token_from query header\n}", "the name of the header field is missing, at Testfile:6"},
		{"source twice", minimal + "token_from query query\n}", "token_from names the same source twice, at Testfile:6"},
		{"source of the identity", minimal + "token_from header remote.user\n}", "that is an identity header field"},
		{"preflight", minimal + "preflight maybe\n}", `preflight "maybe": it must be pass or refuse, at Testfile:6`},
		{"identity", minimal + "identity {\n Host x\n }\n}", "identity Host: this header field has another meaning"},
		{"identity's name", minimal + "identity {\n \"a b\" x\n }\n}", "it is not a valid header field name"},
		{"identity twice", minimal + "identity {\n Remote-User x\n Remote_User y\n }\n}", "can't be told from another"},
		{"identity without lines", minimal + "identity {\n }\n}", "identity is empty"},
		{"store's limits", "sesame {\n secret_key x\n userstore mysql {\n dsn {env.DSN}\n query_timeout -1s\n }\n}", "query_timeout: it must be a duration such as 2s or 5m, not \"-1s\", at Testfile:5"},
		{"password as identity", "sesame {\n secret_key x\n userstore mysql {\n dsn {env.DSN}\n columns password\n }\n}", "never passed on"},
		{"confirm", minimal + "confirm sometimes\n}", "confirm \"sometimes\": it must be strict, always, one_time or off, at Testfile:6"},
		{"reserved path", minimal + "reserved_path login\n}", "reserved_path \"login\": it must be off, or begin and end with a slash"},
		{"cookie", minimal + "session {\n name \"a b\"\n }\n}", "session: name \"a b\": it is not a valid cookie name, at Testfile:7"},
		{"same_site", minimal + "session {\n same_site none\n secure off\n }\n}", "session: same_site none"},
		{"end_cookies, a name", minimal + "session {\n end_cookies sessionid \"a b\"\n }\n}", "session: end_cookies \"a b\": it is not a valid cookie name; write it like sessionid, wordpress_* or sid:/app/, at Testfile:7"},
		{"end_cookies, a path", minimal + "session {\n end_cookies sid:app\n }\n}", "session: end_cookies \"sid:app\": the path of a cookie must begin with a slash, as in sid:/app/, at Testfile:7"},
		{"end_cookies, our own", minimal + "session {\n name who\n end_cookies __Host-who\n }\n}", "that is the gateway's own cookie"},
		{"end_cookies, none", minimal + "session {\n end_cookies\n }\n}", "end_cookies"},
		{"language", minimal + "pages {\n language german\n }\n}", "pages: language \"german\": it must be the code of a language, such as de, en or pt-BR, and not its name, at Testfile:7"},
		{"language with an underscore", minimal + "pages {\n language de_DE\n }\n}", "pages: language \"de_DE\""},
		{"help_url", minimal + "pages {\n help_url javascript:alert(1)\n }\n}", "pages: help_url"},
		{"colour", minimal + "pages {\n color accent \"red;}\"\n }\n}", "pages: color accent"},
		{"text", minimal + "pages {\n text nope.title x\n }\n}", "pages: text nope.title"},
		{"cache", minimal + "cache\n}", "wrong argument count"},
		{"long cache", minimal + "cache 1h\n}", "cache: 1h0m0s is too long for users who may no longer log in; 5m0s is the most, at Testfile:6"},
		{"size", minimal + "cache 5s {\n max_size many\n }\n}", `max_size: it must be a size such as 64MiB, not "many", at Testfile:7`},
		{"unknown option of cache", minimal + "cache 5s {\n ttl 1s\n }\n}", `unrecognized option "ttl" of cache; it belongs in the block of assertion, at Testfile:7`},
		{"salt", minimal + "salt \"\"\n}", "salt has an empty value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.directive))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestCaddyfileErrorsHoldNoSecrets puts secrets where mistakes are.
func TestCaddyfileErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	for _, directive := range []string{
		"sesame {\n secret_key hush hush2\n}",
		"sesame {\n secret_key {hush\n userstore mysql {\n dsn hush:hush@tcp(\n }\n}",
		"sesame {\n secret_key x\n userstore mysql {\n dsn hush:hush@udp(x)/y z\n }\n}",
		"sesame {\n secret_key x\n userstore mysql {\n dsn \"root:hush@nonsense\"\n }\n}",
		"sesame {\n secret_key x\n key hush hush\n}",
		"sesame {\n secret_key_fallbacks hush \"\"\n}",
		"sesame {\n assertion {\n keys hush \"\"\n }\n}",
		"sesame {\n assertion {\n keys hush\n keys hush\n }\n}",
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(directive))
		if err == nil {
			t.Errorf("%s: no error", directive)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

// everyOption is a Caddyfile with all options, and everyOptionJSON what it becomes.
const everyOption = `sesame {
		secret_key {env.KEY}
		secret_key_fallbacks {env.OLD} {env.OLDER}
		token_name token
		token_from bearer query header X-Token
		max_age 1.5
		one_time
		invalidate_on_password_change off
		invalidate_on_email_change on
		packer app.Packer
		packer_encoding hex:24
		primary_key_field uuid
		tokens v1
		key {env.SESAME_KEY}
		signature_size 16
		salt s
		digest sha256
		iterations 5
		use_tz off
		time_zone Europe/Paris
		scope a:{http.request.uri.path.0}
		optional
		preflight pass
		require group a "b c"
		require staff
		require superuser
		require user alice
		require permission app.do_it
		realm "my app"
		identity {
			X-User {http.auth.user.id}
		}
		assertion {
			audience one two
			header X-Assertion
			issuer me
			ttl 30s
			claim role {http.auth.user.a}
			keys {env.ASSERTION_KEY} {env.ASSERTION_KEY_OLD}
		}
		cache 5s {
			max_users 1000
			max_size 8MiB
		}
		session {
			name s
			max_age 1h
			idle 10m
			domain example.com
			path /app
			same_site strict
			secure on
			update_last_login off
			redirect safari_off
		}
		confirm always
		reserved_path /-/
		watch 10s
		pages {
			help_url /help
			expired_hint
			language de
			text confirm.title Hallo
			color accent teal "#0fa"
		}
		userstore mysql {
			dsn {env.DSN}
			replica {env.REPLICA}
			replica_file /run/replica
			tls_ca /etc/ca.pem
			tls_cert /etc/own.pem
			tls_key /etc/own.key
			tls_server_name db
			table app.users
			primary_key uid
			password pw
			last_login seen
			is_active -
			email mail
			username -
			is_staff
			is_superuser root
			columns a b
			groups app.members member role app.roles code title
			permissions app.granted holder
			relation_key number
			revocations app.revoked
			query_timeout 1s
			max_open_conns 5
			max_idle_conns 2
			conn_max_lifetime 1m
			conn_max_idle_time 30s
			start_without
		}
	}`

const everyOptionJSON = `{"secret_key":"{env.KEY}","secret_key_fallbacks":["{env.OLD}","{env.OLDER}"],"token_name":"token",` +
	`"token_from":[{"from":"bearer"},{"from":"query"},{"from":"header","name":"X-Token"}],"max_age":1500000000,"one_time":true,` +
	`"invalidate_on_password_change":false,"invalidate_on_email_change":true,"packer":"app.Packer","packer_encoding":"hex:24",` +
	`"primary_key_field":"uuid","tokens":["v1"],"key":"{env.SESAME_KEY}","signature_size":16,"salt":"s","digest":"sha256","iterations":5,` +
	`"use_tz":false,"time_zone":"Europe/Paris","scope":"a:{http.request.uri.path.0}","optional":true,"preflight":"pass","require":[{"groups":["a","b c"]},{"staff":true},{"superuser":true},{"users":["alice"]},{"permissions":["app.do_it"]}],` +
	`"identity":[{"name":"X-User","value":"{http.auth.user.id}"}],` +
	`"assertion":{"header":"X-Assertion","audience":["one","two"],"issuer":"me","ttl":30000000000,"claims":[{"name":"role","value":"{http.auth.user.a}"}],"keys":["{env.ASSERTION_KEY}","{env.ASSERTION_KEY_OLD}"]},` +
	`"realm":"my app",` +
	`"userstore":{"dsn":"{env.DSN}","tls_ca":"/etc/ca.pem","tls_cert":"/etc/own.pem","tls_key":"/etc/own.key","tls_server_name":"db","replicas":["{env.REPLICA}"],"replica_files":["/run/replica"],"table":"app.users","columns":{"primary_key":"uid","password":"pw","last_login":"seen","is_active":"-","email":"mail","username":"-","is_staff":"is_staff","is_superuser":"root","relation_key":"number","extra":["a","b"]},` +
	`"revocations":"app.revoked","groups":{"table":"app.members","user":"member","group":"role","names":{"table":"app.roles","key":"code","name":"title"}},"permissions":{"table":"app.granted","user":"holder"},"query_timeout":1000000000,"max_open_conns":5,"max_idle_conns":2,"conn_max_lifetime":60000000000,"conn_max_idle_time":30000000000,"start_without":true},` +
	`"cache":{"for":5000000000,"max_users":1000,"max_size":8388608},` +
	`"session":{"name":"s","max_age":3600000000000,"idle":600000000000,"domain":"example.com","path":"/app","same_site":"strict","secure":"on","update_last_login":false,"redirect":"safari_off"},` +
	`"confirm":"always","reserved_path":"/-/","watch":10000000000,` +
	`"pages":{"help_url":"/help","expired_hint":true,"language":"de","texts":{"confirm.title":"Hallo"},"colors":{"accent":["teal","#0fa"]}},` +
	`"source":"Testfile:1"}`

// TestCaddyfileToJSON reads every option, and compares with the JSON that a
// user of that form writes.
func TestCaddyfileToJSON(t *testing.T) {
	t.Parallel()
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(everyOption)); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != everyOptionJSON {
		t.Errorf("JSON:\n%s\nwant:\n%s", got, everyOptionJSON)
	}
}

// TestDurationsThatAreNanosecondsAreRejected reads numbers of JSON that were
// meant to be seconds.
func TestDurationsThatAreNanosecondsAreRejected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ option, want string }{
		{`"max_age": 600`, `max_age: 600ns is too short to be meant: a number in JSON is nanoseconds; write seconds as "600s"`},
		{`"max_age": 600000`, "max_age: 600µs is too short"},
		{`"watch": 30`, "watch: 30ns is too short"},
		{`"session": {"max_age": 3600}`, "session: max_age: 3.6µs is too short"},
		{`"session": {"idle": 60}`, "session: idle: 60ns"},
		{`"cache": {"for": 5}`, "cache: for: 5ns"},
		{`"assertion": {"audience": ["x"], "ttl": 30}`, "assertion: ttl: 30ns"},
		{`"limit_failures": {"failures": 20, "per": 60}`, "limit_failures: per: 60ns"},
		{`"userstore": {"dsn": "x", "query_timeout": 2}`, "userstore: query_timeout: 2ns"},
		{`"userstore": {"dsn": "x", "conn_max_lifetime": 60}`, "userstore: conn_max_lifetime: 60ns"},
		{`"userstore": {"dsn": "x", "conn_max_idle_time": 60}`, "userstore: conn_max_idle_time: 60ns"},
		{`"max_age": "600s"`, ""},
		{`"max_age": 600000000000, "watch": 0`, ""},
	} {
		h := new(Handler)
		if err := json.Unmarshal([]byte("{"+test.option+"}"), h); err != nil {
			t.Fatal(err)
		}
		_, err := newRequestGate(h, new(tally))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q in it", test.option, err, test.want)
		}
	}
}
